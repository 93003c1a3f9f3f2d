package wire

import (
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	writeBuffer = 32 << 10 // two TLS records
	keepBuffer  = 4 << 10  // a larger buffer is given back when it is empty
	maxQuoted   = 1 << 10  // longer strings are sent as literals
	maxText     = 400      // octets of human-readable text in a response
)

// Writer writes responses. Nothing is sent before Flush, or before 32 KiB have
// come together. Errors are kept: once one has happened nothing more is written.
// It belongs to one goroutine at a time.
type Writer struct {
	w    io.Writer
	buf  []byte
	sent uint64
	err  error
	utf8 bool
}

// NewWriter writes to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// SetUTF8 says whether the client has enabled UTF-8 in quoted strings and in
// mailbox names (RFC 6855, RFC 9051).
func (w *Writer) SetUTF8(on bool) { w.utf8 = on }

// Err is the first error that happened.
func (w *Writer) Err() error { return w.err }

// Sent is the number of octets written so far, those in the buffer included.
func (w *Writer) Sent() uint64 { return w.sent + uint64(len(w.buf)) }

// Flush sends what is in the buffer.
func (w *Writer) Flush() error {
	if w.err == nil && len(w.buf) > 0 {
		var n int
		n, w.err = w.w.Write(w.buf)
		w.sent += uint64(n)
	}
	w.buf = w.buf[:0]
	if cap(w.buf) > keepBuffer {
		w.buf = nil
	}
	return w.err
}

func (w *Writer) room() {
	if len(w.buf) >= writeBuffer {
		if w.err == nil {
			var n int
			n, w.err = w.w.Write(w.buf)
			w.sent += uint64(n)
		}
		w.buf = w.buf[:0]
	}
}

// Write adds octets as they are: those of a literal.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	for rest := p; len(rest) > 0; {
		n := min(len(rest), max(0, writeBuffer-len(w.buf)))
		w.buf = append(w.buf, rest[:n]...)
		rest = rest[n:]
		w.room()
	}
	return len(p), w.err
}

// Raw adds parts of a response as they are.
func (w *Writer) Raw(parts ...string) {
	for _, s := range parts {
		w.buf = append(w.buf, s...)
	}
	w.room()
}

// Num adds a number.
func (w *Writer) Num(n uint64) { w.buf = strconv.AppendUint(w.buf, n, 10) }

// Set adds ranges of numbers.
func (w *Writer) Set(ranges []Range) {
	w.buf = AppendSet(w.buf, ranges)
	w.room()
}

// Line adds parts and the end of the line.
func (w *Writer) Line(parts ...string) {
	w.Raw(parts...)
	w.CRLF()
}

// CRLF ends a line.
func (w *Writer) CRLF() {
	w.buf = append(w.buf, '\r', '\n')
	w.room()
}

// Status adds a status response: tag ("*" for an untagged one), OK, NO, BAD or
// BYE, a response code without brackets (or empty), and text, which is made
// harmless.
func (w *Writer) Status(tag, status, code, text string) {
	w.Raw(tag, " ", status, " ")
	if code != "" {
		w.Raw("[", code, "] ")
	}
	w.Line(w.Text(text))
}

// Text makes a text fit to stand in a response: one line without control
// characters, of bounded length, not empty, and ASCII unless the client has
// asked for more. Text that would read as a response code loses its bracket.
func (w *Writer) Text(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && (!w.utf8 || r < 0xa0 || r == utf8.RuneError) {
			return '?'
		}
		return r
	}, s)
	for len(s) > maxText {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	if strings.HasPrefix(s, "[") {
		s = "(" + s[1:]
	}
	if s == "" {
		return "-"
	}
	return s
}

// String adds a string, quoted if it may be, else as a literal.
func (w *Writer) String(s string) {
	var has kinds
	if len(s) > maxQuoted {
		has = needsLiteral
	} else {
		for i := range len(s) {
			has |= kindOf[s[i]]
		}
	}
	if has&isEightBit != 0 && (!w.utf8 || !utf8.ValidString(s)) {
		has |= needsLiteral
	}
	switch {
	case has&needsLiteral != 0:
		w.literal(s)
	case has&needsEscape != 0:
		w.quote(s)
	default:
		w.buf = append(w.buf, '"')
		w.buf = append(w.buf, s...)
		w.buf = append(w.buf, '"')
		w.room()
	}
}

// String8 adds a string that may hold NUL, then as a literal8 (RFC 3516 section 4.5).
func (w *Writer) String8(s string) {
	if strings.IndexByte(s, 0) < 0 {
		w.String(s)
		return
	}
	w.Raw("~")
	w.Literal(int64(len(s)))
	w.Raw(s)
}

// kinds are kinds of octets, as far as quoted strings are concerned.
type kinds uint8

const (
	needsLiteral kinds = 1 << iota
	needsEscape
	isEightBit
)

var kindOf = func() (table [256]kinds) {
	for c := 0x80; c < len(table); c++ {
		table[c] = isEightBit
	}
	table[0], table['\r'], table['\n'] = needsLiteral, needsLiteral, needsLiteral
	table['"'], table['\\'] = needsEscape, needsEscape
	return table
}()

func (w *Writer) literal(s string) {
	w.Literal(int64(len(s)))
	start := len(w.buf)
	w.buf = append(w.buf, s...)
	for i := start; i < len(w.buf); i++ {
		if w.buf[i] == 0 {
			w.buf[i] = 0x80 // a literal may hold anything but NUL (RFC 9051, CHAR8)
		}
	}
	w.room()
}

func (w *Writer) quote(s string) {
	w.buf = append(w.buf, '"')
	for {
		i := strings.IndexAny(s, `"\`)
		if i < 0 {
			break
		}
		w.buf = append(w.buf, s[:i]...)
		w.buf = append(w.buf, '\\', s[i])
		s = s[i+1:]
	}
	w.buf = append(w.buf, s...)
	w.buf = append(w.buf, '"')
	w.room()
}

// Literal adds the announcement of a literal, whose octets have to follow.
func (w *Writer) Literal(size int64) {
	w.Raw("{")
	w.Num(uint64(size))
	w.Raw("}\r\n")
}

// AString adds a string, bare where it may be.
func (w *Writer) AString(s string) {
	if s == "" || strings.EqualFold(s, "NIL") {
		w.String(s)
		return
	}
	for i := range len(s) {
		if !isAStringChar(s[i]) {
			w.String(s)
			return
		}
	}
	w.Raw(s)
}

// Mailbox adds a mailbox name.
func (w *Writer) Mailbox(name string) {
	if !w.utf8 {
		name = EncodeUTF7(name)
	}
	w.AString(name)
}
