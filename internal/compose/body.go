package compose

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
)

var errNUL = errors.New("the message holds a NUL octet")

// normaliser writes text on with every line end made CRLF: LF, CRLF, and CR alone.
// A CR LF pair may be cut by two writes.
type normaliser struct {
	w     io.Writer
	buf   []byte // the output of one Write
	cr    bool   // the last octet was a CR, whose CRLF is written
	open  bool   // the last line has no end yet
	eight bool   // an octet above 127 was seen
	width int    // octets of the last line, which has no end yet
	long  bool   // a line has more than maxLine octets
}

func (n *normaliser) Write(p []byte) (int, error) {
	size := len(p)
	if bytes.IndexByte(p, 0) >= 0 {
		return 0, errNUL
	}
	n.eight = n.eight || hasEightBit(p)
	n.buf = slices.Grow(n.buf[:0], size+size/32) // a CR for each line, of which most are longer
	if n.cr && size > 0 {
		n.cr = false
		if p[0] == '\n' {
			p = p[1:]
		}
	}
	for len(p) > 0 {
		line, rest, ended := bytes.Cut(p, []byte("\n"))
		n.line(line, ended)
		p = rest
	}
	_, err := n.w.Write(n.buf)
	return size, err
}

// line takes what stands before a LF, or before the end of a write.
func (n *normaliser) line(line []byte, ended bool) {
	for {
		at := bytes.IndexByte(line, '\r')
		if at < 0 {
			break
		}
		n.end(line[:at])
		line = line[at+1:]
		if len(line) == 0 { // "\r\n", or "\r" with the rest still to come
			n.cr = !ended
			return
		}
	}
	if ended {
		n.end(line)
		return
	}
	n.buf = append(n.buf, line...)
	n.open = n.open || len(line) > 0
	n.width += len(line)
	n.long = n.long || n.width > maxLine
}

func (n *normaliser) end(line []byte) {
	n.long = n.long || n.width+len(line) > maxLine
	n.width = 0
	n.buf = append(append(n.buf, line...), '\r', '\n')
	n.open = false
}

// finish ends the last line.
func (n *normaliser) finish() error {
	if !n.open {
		return nil
	}
	n.open = false
	_, err := io.WriteString(n.w, "\r\n")
	return err
}

// hasEightBit looks for an octet above 127, eight at a time.
func hasEightBit(p []byte) bool {
	const high = 0x8080808080808080
	for ; len(p) >= 8; p = p[8:] {
		if binary.NativeEndian.Uint64(p)&high != 0 {
			return true
		}
	}
	for _, c := range p {
		if c >= 0x80 {
			return true
		}
	}
	return false
}
