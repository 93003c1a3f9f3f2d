package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
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

	bare  bool    // the file has line feeds without carriage return
	small *[]byte // all of the wire form, if it is little and not the file's; from buffers

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
	c := &Content{f: f, file: size, size: size}
	if f.wire == size {
		return c, nil // no line feed lacks its carriage return
	}
	if size <= smallFile {
		return c, c.readSmall()
	}
	c.marks = []mark{{}}
	bare, err := countBare(f, size)
	if err != nil {
		return nil, err
	}
	c.bare, c.size = bare > 0, size+bare
	return c, nil
}

// buffers are for small files: they go through millions of them.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// readSmall converts a file as a whole: it takes one look, where counting takes one
// and each reader another.
func (c *Content) readSmall() error {
	from := buffers.Get().(*[]byte)
	defer buffers.Put(from)
	raw := slices.Grow((*from)[:0], int(c.file))[:c.file]
	*from = raw
	if n, err := c.f.ReadAt(raw, 0); n < len(raw) {
		return fmt.Errorf("message file has shrunk: %w", noEOF(err))
	}
	to := buffers.Get().(*[]byte)
	likely := c.file + c.file/32
	if c.f.wire > c.file && c.f.wire <= 2*c.file {
		likely = c.f.wire
	}
	*to = appendWire(slices.Grow((*to)[:0], int(likely)), raw, false)
	c.size = int64(len(*to))
	if c.bare = c.size > c.file; !c.bare {
		buffers.Put(to)
		return nil
	}
	c.small = to
	return nil
}

// InMemory returns a range of the wire form if it is in memory. The octets are valid
// until Close and must not be changed.
func (c *Content) InMemory(from, to int64) (octets []byte, ok bool) {
	if c.small == nil || from < 0 || from > to || to > c.size {
		return nil, false
	}
	return (*c.small)[from:to], true
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

// Close releases the content. Nobody may be reading it any more.
func (c *Content) Close() error {
	if c.small != nil {
		buffers.Put(c.small)
		c.small = nil
	}
	return c.f.Close()
}

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
		if n = copy(p, (*c.small)[off:]); n < len(p) {
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
