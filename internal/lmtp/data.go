package lmtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// dotReader reads the content that follows DATA (RFC 5321 section 4.5.2). Only
// CR LF . CR LF ends it: a line feed or a carriage return alone is content, or
// two servers could differ in where a message ends. It works on whole buffers,
// since a message has far more octets than dots at a line's start.
type dotReader struct {
	r   *bufio.Reader
	mid bool // not at the start of a line; what precedes the content counts as CR LF
	cr  bool // the last octet was CR
	err error
}

func (d *dotReader) Read(p []byte) (int, error) {
	if d.err == nil && len(p) > 0 && !d.mid {
		d.err = d.lineStart()
	}
	if d.err != nil || len(p) == 0 {
		return 0, d.err
	}
	if _, err := d.r.Peek(1); err != nil {
		return 0, d.fail(err)
	}
	window, _ := d.r.Peek(min(d.r.Buffered(), len(p)))
	n := len(window)
	switch {
	case d.cr && window[0] == '\n':
		n, d.mid = 1, false
	default:
		if i := bytes.Index(window, []byte("\r\n.")); i >= 0 {
			n = i + 2
		}
		d.mid = !bytes.HasSuffix(window[:n], []byte("\r\n"))
	}
	d.cr = window[n-1] == '\r'
	copy(p, window[:n])
	_, err := d.r.Discard(n)
	return n, err
}

// lineStart looks at the start of a line: it returns io.EOF at the end of the
// content and removes a dot that was stuffed. Waiting for three octets is safe:
// after a dot at a line's start no content can end with fewer.
func (d *dotReader) lineStart() error {
	first, err := d.r.Peek(1)
	if err != nil {
		return d.fail(err)
	}
	d.mid = true
	if first[0] != '.' {
		return nil
	}
	three, err := d.r.Peek(3)
	if err != nil {
		return d.fail(err)
	}
	if string(three) == ".\r\n" {
		_, _ = d.r.Discard(3)
		return io.EOF
	}
	_, err = d.r.Discard(1)
	d.cr = false
	return err
}

func (d *dotReader) fail(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	d.err = err
	return err
}

// sizeLimit fails when there is more than left; the rest stays unread.
type sizeLimit struct {
	r        io.Reader
	left     int64
	exceeded bool
}

func (l *sizeLimit) Read(p []byte) (int, error) {
	if l.exceeded {
		return 0, tooLarge()
	}
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		l.exceeded = true
		return 0, tooLarge()
	}
	return n, err
}
