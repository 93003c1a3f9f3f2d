// Package transfer undoes content transfer encodings (RFC 2045 section 6). What
// is damaged is read as far as it makes sense: decoding never fails.
package transfer

import (
	"bufio"
	"bytes"
	"io"
	"strings"
)

// NewReader decodes what r holds. known is false for an encoding that there is no
// way to undo; then octets are passed on as they are. Errors are those of r.
func NewReader(encoding string, r io.Reader) (decoded io.Reader, known bool) {
	switch strings.ToLower(encoding) {
	case "", "7bit", "8bit", "binary":
		return r, true
	case "base64":
		return &base64Reader{r: buffered(r)}, true
	case "quoted-printable":
		return &quotedReader{r: buffered(r)}, true
	}
	return r, false
}

// buffered takes no more memory than there is to read, where that is known.
func buffered(r io.Reader) *bufio.Reader {
	size := int64(8 << 10)
	if s, ok := r.(*io.SectionReader); ok {
		size = min(size, s.Size()+1)
	}
	return bufio.NewReaderSize(r, int(size))
}

// base64Reader passes over whatever is not of the alphabet, which RFC 2045 asks
// for, and goes on behind padding, where some mailers have joined two texts.
type base64Reader struct {
	r    *bufio.Reader
	bits uint32
	n    uint // bits in bits
}

func (b *base64Reader) Read(p []byte) (int, error) {
	for i := range p {
		for b.n < 8 {
			c, err := b.r.ReadByte()
			if err != nil {
				return i, err
			}
			v := base64Value(c)
			if c == '=' {
				b.bits, b.n = 0, 0
			}
			if v < 0 {
				continue
			}
			b.bits, b.n = b.bits<<6|uint32(v), b.n+6
		}
		b.n -= 8
		p[i] = byte(b.bits >> b.n)
		b.bits &= 1<<b.n - 1
	}
	return len(p), nil
}

func base64Value(c byte) int {
	switch {
	case c >= 'A' && c <= 'Z':
		return int(c - 'A')
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 26
	case c >= '0' && c <= '9':
		return int(c-'0') + 52
	case c == '+':
		return 62
	case c == '/':
		return 63
	}
	return -1
}

// quotedReader leaves an "=" alone that starts nothing.
type quotedReader struct {
	r    *bufio.Reader
	held []byte // read, and with what follows it something else
	line []byte // decoded, not yet read
	err  error
}

// mostHeld is how many blanks in a row may turn out to be those at the end of a line.
const mostHeld = 64 << 10

func (q *quotedReader) Read(p []byte) (int, error) {
	for len(q.line) == 0 {
		if q.err != nil {
			return 0, q.err
		}
		var raw []byte
		raw, q.err = q.r.ReadSlice('\n')
		if len(q.held) > 0 {
			raw = append(q.held, raw...)
		}
		if q.err != bufio.ErrBufferFull {
			q.held = nil
			q.line = decodeLine(raw)
			continue
		}
		q.err = nil
		whole := len(raw) - unfinished(raw)
		q.held = append([]byte(nil), raw[whole:]...)
		q.line = decode(make([]byte, 0, whole), raw[:whole])
	}
	n := copy(p, q.line)
	q.line = q.line[n:]
	return n, nil
}

// unfinished is the length of the end of a piece of a line that is not to be decoded
// without what follows: an escape, or what may be the end of the line.
func unfinished(raw []byte) int {
	body := bytes.TrimRight(raw, " \t\r")
	n := len(raw) - len(body)
	switch {
	case n > mostHeld:
		return 0
	case bytes.HasSuffix(body, []byte("=")):
		return n + 1
	case n == 0 && len(body) > 1 && body[len(body)-2] == '=':
		return 2
	}
	return n
}

// decodeLine decodes a line, or the rest of one. The end of the text ends one, too: its
// line feed belongs to the boundary that follows.
func decodeLine(raw []byte) []byte {
	body := bytes.TrimSuffix(raw, []byte("\n"))
	if len(body) < len(raw) {
		body = bytes.TrimSuffix(body, []byte("\r"))
	}
	end := raw[len(body):]
	body = bytes.TrimRight(body, " \t") // added on the way (RFC 2045 section 6.7, rule 3)
	if soft := bytes.TrimSuffix(body, []byte("=")); len(soft) < len(body) {
		body, end = soft, nil // rule 5
	}
	return append(decode(make([]byte, 0, len(raw)), body), end...)
}

// decode appends what body stands for to out.
func decode(out, body []byte) []byte {
	for i := 0; i < len(body); i++ {
		if body[i] == '=' && i+2 < len(body) {
			hi, lo := hexValue(body[i+1]), hexValue(body[i+2])
			if hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		out = append(out, body[i])
	}
	return out
}

func hexValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
