package submit

import (
	"bytes"
	"errors"
	"io"
)

// dotWriter doubles the dot at the start of a line (RFC 5321 section 4.5.2). It
// expects CRLF line ends, so that a LF is always one.
type dotWriter struct {
	w         io.Writer
	lineStart bool  // the next octet is the first of a line
	err       error // of w
}

var (
	dot     = []byte{'.'}
	lineDot = []byte("\n.")
)

func (d *dotWriter) Write(p []byte) (int, error) {
	size := len(p)
	if size == 0 {
		return 0, nil
	}
	if d.lineStart && p[0] == '.' {
		d.put(dot)
	}
	d.lineStart = p[size-1] == '\n'
	for {
		at := bytes.Index(p, lineDot)
		if at < 0 {
			break
		}
		d.put(p[:at+2])
		p = p[at+1:] // the dot once more
	}
	d.put(p)
	return size, d.err
}

// chunkWriter writes as many octets as were announced, and none beyond.
type chunkWriter struct {
	w    io.Writer
	left int64
	err  error // of w
}

func (c *chunkWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > c.left {
		return 0, errTooLong
	}
	c.left -= int64(len(p))
	_, c.err = c.w.Write(p)
	return len(p), c.err
}

var errTooLong = errors.New("the message is longer than was said")

func (d *dotWriter) put(p []byte) {
	if d.err == nil {
		_, d.err = d.w.Write(p)
	}
}
