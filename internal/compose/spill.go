package compose

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxMemory is the size up to which a body stays in memory.
const maxMemory = 64 << 10

// Spill keeps what is written to it: in memory at first, in a file without a name
// once that is too much. The file is gone when the process is, however it ends.
type Spill struct {
	dir  string
	mem  []byte // once there is a file, room to read it with
	file *os.File
	size int64
}

// NewSpill makes one whose file is in dir, or in /tmp if that is empty.
func NewSpill(dir string) *Spill {
	if dir == "" {
		dir = "/tmp"
	}
	return &Spill{dir: dir}
}

func (s *Spill) Write(p []byte) (int, error) {
	s.size += int64(len(p))
	if s.file == nil && len(s.mem)+len(p) <= maxMemory {
		s.mem = append(s.mem, p...)
		return len(p), nil
	}
	if s.file == nil {
		f, err := unnamedFile(s.dir)
		if err != nil {
			return 0, err
		}
		s.file = f
		if _, err := f.Write(s.mem); err != nil {
			return 0, err
		}
	}
	return s.file.Write(p)
}

// WriteTo writes everything to w. It can be called again.
func (s *Spill) WriteTo(w io.Writer) (int64, error) {
	if s.file == nil {
		n, err := w.Write(s.mem)
		return int64(n), err
	}
	if cap(s.mem) == 0 { // the first piece was too much at once
		s.mem = make([]byte, maxMemory)
	}
	n, err := io.CopyBuffer(writerOnly{w}, io.NewSectionReader(s.file, 0, s.size), s.mem[:cap(s.mem)])
	if err == nil && n != s.size {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// writerOnly hides a ReadFrom, which would read in pieces of its own size.
type writerOnly struct{ io.Writer }

// ReadAt reads what was written.
func (s *Spill) ReadAt(p []byte, off int64) (int, error) {
	if s.file != nil {
		return s.file.ReadAt(p, off)
	}
	return bytes.NewReader(s.mem).ReadAt(p, off)
}

// Close frees the file.
func (s *Spill) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// unnamedFile makes a file that has no name, or loses it at once where the file
// system knows no such files.
func unnamedFile(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600)
	if err == nil {
		return f, nil
	}
	f, err = os.CreateTemp(dir, "rtls-send-")
	if err != nil {
		return nil, fmt.Errorf("keep the message in a temporary file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("keep the message in a temporary file: %w", err)
	}
	return f, nil
}
