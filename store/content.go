package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"
)

// Content is a message in wire form: its bytes, where a line feed that has no
// carriage return before it is preceded by one. Files that have none are read
// in place. It is safe for concurrent reads.
type Content struct {
	f    *File
	size int64
	file int64 // octets of the file

	bare  bool   // the file has line feeds without carriage return
	small []byte // all of the wire form, if it is little and not the file's

	mu sync.Mutex // guards marks
	// marks are pairs of offsets that belong together, in rising order. The
	// file is read once, from front to back, as most readers do; a look back
	// starts at the mark before it.
	marks []mark
}

type mark struct{ wire, file int64 }

var _ io.ReaderAt = (*Content)(nil)

const (
	smallFile    = 128 << 10 // octets of a file that is converted as a whole
	convertLen   = 32 << 10  // octets of a larger one that are converted at once
	markDistance = 256 << 10
)

// newContent takes over f.
func newContent(f *File) (*Content, error) {
	size := f.Size()
	c := &Content{f: f, file: size, size: size, marks: []mark{{}}}
	if f.wire == size {
		return c, nil // no line feed lacks its carriage return
	}
	if size <= smallFile {
		return c, c.readSmall()
	}
	bare, err := countBare(f, size)
	if err != nil {
		return nil, err
	}
	c.bare, c.size = bare > 0, size+bare
	return c, nil
}

// readSmall converts a file as a whole: it takes one look, where counting takes one
// and each reader another.
func (c *Content) readSmall() error {
	raw := make([]byte, c.file)
	if n, err := c.f.ReadAt(raw, 0); n < len(raw) {
		return fmt.Errorf("message file has shrunk: %w", noEOF(err))
	}
	var n lineCounter
	_, _ = n.Write(raw) // never fails
	if c.bare = n.bare > 0; c.bare {
		c.size += n.bare
		c.small = appendWire(make([]byte, 0, c.size), raw, false)
	}
	return nil
}

// countBare counts line feeds without a carriage return before them.
func countBare(f io.ReaderAt, size int64) (int64, error) {
	var n lineCounter
	_, err := io.Copy(&n, io.NewSectionReader(f, 0, size))
	return n.bare, err
}

// lineCounter counts the line feeds, in all that is written to it, that have no
// carriage return before them.
type lineCounter struct {
	bare int64
	cr   bool // the last octet was a carriage return
}

func (n *lineCounter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n.bare += int64(bytes.Count(p, []byte("\n")) - bytes.Count(p, []byte("\r\n")))
	if n.cr && p[0] == '\n' {
		n.bare--
	}
	n.cr = p[len(p)-1] == '\r'
	return len(p), nil
}

// Size is the number of octets in wire form.
func (c *Content) Size() int64 { return c.size }

// Stamp says which octets the message has.
func (c *Content) Stamp() Stamp { return c.f.Stamp() }

// Close releases the content.
func (c *Content) Close() error { return c.f.Close() }

// ReadAt reads octets of the wire form.
func (c *Content) ReadAt(p []byte, off int64) (int, error) {
	if !c.bare {
		return c.f.ReadAt(p, off)
	}
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	if off >= c.size {
		return 0, io.EOF
	}
	n := 0
	if c.small != nil {
		if n = copy(p, c.small[off:]); n < len(p) {
			return n, io.EOF
		}
		return n, nil
	}
	from := c.before(off)
	buf := make([]byte, convertLen)
	out := make([]byte, 0, 2*convertLen)
	for n < len(p) && from.file < c.file {
		var err error
		if out, err = c.convert(from, buf, out[:0]); err != nil {
			return n, err
		}
		if skip := off + int64(n) - from.wire; skip < int64(len(out)) {
			n += copy(p[n:], out[skip:])
		}
		from = mark{from.wire + int64(len(out)), min(from.file+convertLen, c.file)}
		c.remember(from)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// convert reads the piece of the file that starts at from and appends its wire
// form to out.
func (c *Content) convert(from mark, buf, out []byte) ([]byte, error) {
	piece := buf[:min(convertLen, c.file-from.file)]
	if n, err := c.f.ReadAt(piece, from.file); n < len(piece) {
		return nil, fmt.Errorf("message file has shrunk: %w", noEOF(err))
	}
	cr := false
	if from.file > 0 {
		var last [1]byte
		if _, err := c.f.ReadAt(last[:], from.file-1); err != nil {
			return nil, noEOF(err)
		}
		cr = last[0] == '\r'
	}
	return appendWire(out, piece, cr), nil
}

// appendWire appends the wire form of octets of a file; cr says that a carriage return
// is before them.
func appendWire(out, piece []byte, cr bool) []byte {
	for len(piece) > 0 {
		i := bytes.IndexByte(piece, '\n')
		if i < 0 {
			return append(out, piece...)
		}
		if i > 0 {
			cr = piece[i-1] == '\r'
		}
		out = append(out, piece[:i]...)
		if !cr {
			out = append(out, '\r')
		}
		out = append(out, '\n')
		piece, cr = piece[i+1:], false
	}
	return out
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (c *Content) before(off int64) mark {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := sort.Search(len(c.marks), func(i int) bool { return c.marks[i].wire > off })
	return c.marks[i-1]
}

// remember keeps a mark now and then, and always the last place, where the next
// read most likely starts.
func (c *Content) remember(m mark) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.marks) - 1
	switch {
	case m.wire <= c.marks[last].wire:
	case last > 0 && c.marks[last].wire-c.marks[last-1].wire < markDistance:
		c.marks[last] = m
	default:
		c.marks = append(c.marks, m)
	}
}
