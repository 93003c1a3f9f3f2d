package lda

import (
	"bytes"
	"io"
	"strings"

	"rtls/internal/requiretls"
)

// maxHeader is how much of a header is read into memory and judged. What stands
// behind it is delivered all the same, as it is.
const maxHeader = 1 << 20

// headerBuf is where most headers fit.
const headerBuf = 8 << 10

// Fields of our own.
const (
	deliveryField = "RTLS-Delivery"
	esmtpField    = "Require-TLS-ESMTP" // Postfix: the message came with REQUIRETLS
)

// header is the beginning of a message and what matters in it.
type header struct {
	buf      []byte // all that was read so far, some of the body included
	whole    bool   // the header ends within buf
	atEOF    bool   // the message ends with buf
	eol      string // line end of the first line; empty if there is none
	fromLine string // the mbox "From " line that was cut off, if any

	removed      []span   // fields that are not to be stored
	returnPath   []string // values of Return-Path, which are removed
	forged       int      // RTLS-Delivery fields, which only we may write; removed
	tlsRequired  []string
	esmtp        []string // values of Require-TLS-ESMTP
	deliveredTo  []string // those of earlier hops
	messageID    string
	seenReceived bool
	hops         int    // Received fields
	receivedID   string // of the topmost Received field
}

type span struct{ from, to int }

// readHeader reads up to and somewhat beyond the end of the header. mbox says
// that a first line of the form "From sender date" may have been put in front,
// which is then not part of the message.
func readHeader(r io.Reader, mbox bool) (*header, error) {
	h := &header{buf: make([]byte, 0, headerBuf)}
	end, scanned := -1, 0
	for end < 0 && !h.atEOF && len(h.buf) < maxHeader {
		if len(h.buf) == cap(h.buf) {
			grown := make([]byte, len(h.buf), min(4*cap(h.buf), maxHeader))
			copy(grown, h.buf)
			h.buf = grown
		}
		n, err := r.Read(h.buf[len(h.buf):cap(h.buf)])
		h.buf = h.buf[:len(h.buf)+n]
		switch {
		case err == io.EOF: // not errors.Is: nothing wrapped is a message's end
			h.atEOF = true
		case err != nil:
			return nil, err
		}
		end, scanned = emptyLine(h.buf, scanned)
	}
	switch {
	case end >= 0:
		h.whole = true
	case h.atEOF:
		h.whole, end = true, len(h.buf)
	default:
		end = scanned // whole lines only
	}
	if mbox {
		end -= h.cutFromLine()
	}
	if i := bytes.IndexByte(h.buf, '\n'); i > 0 && h.buf[i-1] == '\r' {
		h.eol = "\r\n"
	} else if i >= 0 {
		h.eol = "\n"
	}
	h.scan(max(end, 0))
	return h, nil
}

// emptyLine looks for the first empty line from a line start on. It returns
// where that line is, or -1, and the start of the last line it has not seen the
// end of.
func emptyLine(buf []byte, from int) (at, scanned int) {
	for {
		i := bytes.IndexByte(buf[from:], '\n')
		if i < 0 {
			return -1, from
		}
		if i == 0 || (i == 1 && buf[from] == '\r') {
			return from, from
		}
		from += i + 1
	}
}

// cutFromLine removes an mbox separator line and returns its length.
func (h *header) cutFromLine() int {
	i := bytes.IndexByte(h.buf, '\n')
	rest, ok := bytes.CutPrefix(h.buf[:i+1], []byte("From "))
	// "From : x" is a header field in an obsolete but lawful spelling.
	if !ok || bytes.HasPrefix(bytes.TrimLeft(rest, " \t"), []byte(":")) {
		return 0
	}
	h.fromLine = string(bytes.TrimRight(rest, "\r\n"))
	h.buf = h.buf[i+1:]
	return i + 1
}

// scan goes through the fields of buf[:end]. The last field of a header that is
// longer may be longer as well, and is not looked at.
func (h *header) scan(end int) {
	for at := 0; at < end; {
		next := fieldEnd(h.buf[:end], at)
		if next == end && !h.whole {
			return
		}
		h.field(h.buf[at:next], span{at, next})
		at = next
	}
}

// fieldEnd is where the next field starts: continuation lines belong to the
// field above them.
func fieldEnd(buf []byte, at int) int {
	for {
		i := bytes.IndexByte(buf[at:], '\n')
		if i < 0 {
			return len(buf)
		}
		at += i + 1
		if at >= len(buf) || (buf[at] != ' ' && buf[at] != '\t') {
			return at
		}
	}
}

func (h *header) field(raw []byte, where span) {
	rawName, rawValue, ok := bytes.Cut(raw, []byte(":"))
	if !ok || len(rawName) == 0 || len(rawName) > 64 || rawName[0] == ' ' || rawName[0] == '\t' {
		return
	}
	name := strings.ToLower(strings.TrimRight(string(rawName), " \t"))
	value := func() string { return strings.Trim(string(rawValue), " \t\r\n") }
	switch name {
	case "return-path":
		h.returnPath = append(h.returnPath, value())
		h.removed = append(h.removed, where)
	case strings.ToLower(deliveryField):
		h.forged++
		h.removed = append(h.removed, where)
	case strings.ToLower(requiretls.HeaderName):
		h.tlsRequired = append(h.tlsRequired, value())
	case strings.ToLower(esmtpField):
		h.esmtp = append(h.esmtp, value())
	case "received":
		if h.hops++; !h.seenReceived {
			h.seenReceived, h.receivedID = true, receivedID(value())
		}
	case "delivered-to":
		// One above the topmost Received was written by the agent that hands
		// the message to us, in this very hop: Postfix does so with flags=D.
		if h.seenReceived {
			h.deliveredTo = append(h.deliveredTo, value())
		}
	case "message-id":
		if h.messageID == "" {
			h.messageID = value()
		}
	}
}

// kept are the pieces of buf that are stored, in order.
func (h *header) kept() [][]byte {
	var pieces [][]byte
	at := 0
	for _, s := range h.removed {
		if s.from > at {
			pieces = append(pieces, h.buf[at:s.from])
		}
		at = s.to
	}
	if at < len(h.buf) {
		pieces = append(pieces, h.buf[at:])
	}
	return pieces
}
