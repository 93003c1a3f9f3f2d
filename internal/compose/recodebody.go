package compose

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime/quotedprintable"
	"strings"
	"unicode/utf8"

	"rtls/internal/mimetree"
)

// findings is what a stretch of a message holds.
type findings struct {
	size  int64
	eight int64 // octets above 127
	long  bool  // a line of more than 998 octets
	utf8  bool  // it is valid UTF-8
}

// bad says whether it has to be encoded.
func (f findings) bad(seven bool) bool { return f.long || seven && f.eight > 0 }

// survey reads a stretch of the message.
func (c *recoder) survey(span mimetree.Span) (findings, error) {
	s := surveyor{findings: findings{utf8: true}}
	_, err := io.CopyBuffer(&s, struct{ io.Reader }{io.NewSectionReader(c.r, span.Start, span.Size())}, make([]byte, 32<<10))
	s.utf8 = s.utf8 && len(s.cut) == 0
	return s.findings, err
}

type surveyor struct {
	findings
	column int
	cut    []byte // the start of a UTF-8 sequence that goes on, in buf
	buf    []byte
}

func (s *surveyor) Write(p []byte) (int, error) {
	s.size += int64(len(p))
	for rest := p; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		s.column += len(bytes.TrimSuffix(line, []byte("\r")))
		s.long = s.long || s.column > maxLine
		if ended {
			s.column = 0
		}
		rest = after
	}
	if !hasEightBit(p) && len(s.cut) == 0 {
		return len(p), nil
	}
	for _, b := range p {
		if b >= 0x80 {
			s.eight++
		}
	}
	s.checkUTF8(p)
	return len(p), nil
}

// checkUTF8 takes care of sequences that lie in two pieces.
func (s *surveyor) checkUTF8(p []byte) {
	if !s.utf8 {
		return
	}
	text := append(append(s.buf[:0], s.cut...), p...) // cut is at its end, or was taken along
	end := len(text)
	for i := 1; i <= min(utf8.UTFMax-1, len(text)); i++ {
		if tail := text[len(text)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				end = len(text) - i
			}
			break
		}
	}
	s.utf8 = utf8.Valid(text[:end])
	s.buf, s.cut = text, text[end:]
}

func isEncoding(p *mimetree.Part, name string) bool { return strings.EqualFold(p.Encoding, name) }

// body writes the body of a part in an encoding.
func (c *recoder) body(p *mimetree.Part, encoding string) error {
	text := io.Reader(io.NewSectionReader(c.r, p.Body.Start, p.Body.Size()))
	if isEncoding(p, "quoted-printable") {
		text = quotedprintable.NewReader(text)
	}
	buf := make([]byte, 32<<10)
	c.done = p.Body.End
	if encoding == "quoted-printable" {
		w := quotedprintable.NewWriter(c.out)
		w.Binary = !p.Is("text", "") // else line feeds that are none would become line ends
		if _, err := io.CopyBuffer(w, struct{ io.Reader }{text}, buf); err != nil {
			return badEncoding(err)
		}
		err := w.Close()
		if err == nil && w.Binary && p.Body.End == c.size {
			_, err = io.WriteString(c.out, "=\r\n") // the last line's end, which is none of the part
		}
		return err
	}
	lines := &lineBreaker{w: c.out}
	if isEncoding(p, "base64") { // it only lacks line ends
		if _, err := io.CopyBuffer(lines, struct{ io.Reader }{text}, buf); err != nil {
			return err
		}
	} else {
		w := base64.NewEncoder(base64.StdEncoding, lines)
		if _, err := io.CopyBuffer(w, struct{ io.Reader }{text}, buf); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
	if lines.column > 0 && p.Body.End == c.size {
		_, err := io.WriteString(c.out, "\r\n")
		return err
	}
	return nil
}

// badEncoding takes an error of the decoder for one of the message.
func badEncoding(err error) error {
	if strings.HasPrefix(err.Error(), "quotedprintable:") || errors.Is(err, io.ErrUnexpectedEOF) {
		return refuse("a part that should be quoted-printable is not: %w", err)
	}
	return err
}

// lineBreaker writes base64 in lines of 76 octets (RFC 2045 section 6.8). Line ends
// within what it gets are dropped.
type lineBreaker struct {
	w      io.Writer
	column int
	buf    []byte
}

func (l *lineBreaker) Write(p []byte) (int, error) {
	l.buf = l.buf[:0]
	for _, b := range p {
		if b == '\r' || b == '\n' || b == ' ' || b == '\t' {
			continue
		}
		if l.column == 76 {
			l.buf = append(l.buf, '\r', '\n')
			l.column = 0
		}
		l.buf = append(l.buf, b)
		l.column++
	}
	_, err := l.w.Write(l.buf)
	return len(p), err
}
