// Package transfer undoes content transfer encodings (RFC 2045 section 6). What
// is damaged is read as far as it makes sense: decoding never fails.
package transfer

import (
	"bufio"
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
	line []byte // decoded, not yet read
	err  error
}

func (q *quotedReader) Read(p []byte) (int, error) {
	for len(q.line) == 0 {
		if q.err != nil {
			return 0, q.err
		}
		var raw []byte
		raw, q.err = q.r.ReadSlice('\n')
		if q.err == bufio.ErrBufferFull {
			q.err = nil
			raw = q.uncut(raw)
		}
		q.line = decodeLine(raw)
	}
	n := copy(p, q.line)
	q.line = q.line[n:]
	return n, nil
}

// uncut adds to a piece of a line that ends within an escape the rest of that.
func (q *quotedReader) uncut(raw []byte) []byte {
	out := append([]byte(nil), raw...)
	for n := len(out); n > 1 && out[n-1] != '\n' && (out[n-1] == '=' || out[n-2] == '='); n = len(out) {
		c, err := q.r.ReadByte()
		if err != nil {
			break // and again with the next read
		}
		out = append(out, c)
	}
	return out
}

// decodeLine decodes a line, or a piece of one.
func decodeLine(raw []byte) []byte {
	body := raw
	end := ""
	if n := len(body); n > 0 && body[n-1] == '\n' {
		body, end = body[:n-1], "\n"
		if n > 1 && body[n-2] == '\r' {
			body, end = body[:n-2], "\r\n"
		}
		for len(body) > 0 && (body[len(body)-1] == ' ' || body[len(body)-1] == '\t') {
			body = body[:len(body)-1] // added on the way (RFC 2045 section 6.7, rule 3)
		}
	}
	if n := len(body); n > 0 && body[n-1] == '=' && end != "" {
		body, end = body[:n-1], ""
	}
	out := make([]byte, 0, len(body)+len(end))
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
	return append(out, end...)
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
