package lda

import (
	"context"
	"errors"
	"io"
	"os"
)

// spoolMemory is how much of a message a Spool holds in memory.
const spoolMemory = 1 << 20

// Spool holds a message until it is known what is to be done with it: the beginning in
// memory, what is longer in a file without a name. It is written by one goroutine, and
// then read by as many as like. Who has made one closes it.
type Spool struct {
	mem  []byte
	file *os.File
	size int64
	bare int64 // line feeds without a carriage return
	cr   bool  // the last octet was one
}

var _ io.ReaderAt = (*Spool)(nil)

func (s *Spool) Write(p []byte) (int, error) {
	for _, b := range p {
		if b == '\n' && !s.cr {
			s.bare++
		}
		s.cr = b == '\r'
	}
	if s.file == nil && len(s.mem)+len(p) > spoolMemory {
		f, err := os.CreateTemp("", "rtls-lda-*") // mode 0600
		if err != nil {
			return 0, err
		}
		s.file = f
		if err := os.Remove(f.Name()); err != nil {
			return 0, err
		}
		if _, err := f.Write(s.mem); err != nil {
			return 0, err
		}
		s.mem = nil
	}
	s.size += int64(len(p))
	if s.file != nil {
		return s.file.Write(p)
	}
	s.mem = append(s.mem, p...)
	return len(p), nil
}

func (s *Spool) ReadAt(p []byte, at int64) (int, error) {
	if s.file != nil {
		return s.file.ReadAt(p, at)
	}
	if at >= int64(len(s.mem)) {
		return 0, io.EOF
	}
	n := copy(p, s.mem[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (s *Spool) Close() {
	if s.file != nil {
		s.file.Close() // it has no name, and nobody needs its content any more
	}
}

// Size is the number of octets that were written.
func (s *Spool) Size() int64 { return s.size }

// Reader reads all that was written.
func (s *Spool) Reader() io.Reader { return s.from(0) }

// from reads from an offset on.
func (s *Spool) from(at int64) io.Reader { return io.NewSectionReader(s, at, s.size-at) }

// spoolFor reads the whole message into the spool if one of the recipients has a
// script, and returns what to read it from in either case.
func (j *job) spoolFor(ctx context.Context, rcpts []Recipient, msg io.Reader) (io.Reader, error) {
	if !j.a.anyScript(rcpts) {
		return msg, nil
	}
	j.spool = &Spool{}
	for _, piece := range j.h.kept() {
		if _, err := j.spool.Write(piece); err != nil {
			return nil, err
		}
	}
	head := j.spool.size
	for buf := make([]byte, chunk); !j.h.atEOF; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := fill(msg, buf)
		if _, werr := j.spool.Write(buf[:n]); werr != nil {
			return nil, werr
		}
		if err == io.EOF { // not errors.Is: nothing wrapped is a message's end
			break
		}
		if err != nil {
			return nil, err
		}
	}
	return j.spool.from(head), nil
}

// anyScript says whether a filter will have to see the message.
func (a *Agent) anyScript(rcpts []Recipient) bool {
	for _, r := range rcpts {
		for _, t := range r.Targets() {
			u, ok, err := a.cfg.Lookup(t.User)
			if err != nil || !ok || u.Script == "" {
				continue
			}
			// Whatever else is wrong with it, the filter will say.
			if _, err := os.Stat(u.Script); !errors.Is(err, os.ErrNotExist) {
				return true
			}
		}
	}
	return false
}
