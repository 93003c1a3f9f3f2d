package store

import (
	"io"

	"rtls/store/internal/vfs"
)

// File is a message's file as it is. Its lines end in CRLF or in LF. It is safe for
// concurrent reads.
type File struct {
	f    vfs.File
	info vfs.Info // when it was opened
	wire int64    // octets of the message in wire form, as the index has it
	bond uint64   // in its name
}

var _ io.ReaderAt = (*File)(nil)

// Size is the number of octets when it was opened.
func (f *File) Size() int64 { return f.info.Size }

// ReadAt reads octets of the file.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

// Unchanged says whether the file is, by size and time, what it was when it was
// opened. What was read before that is of one state of it.
func (f *File) Unchanged() bool {
	now, err := f.f.Stat()
	return err == nil && now.Size == f.info.Size && now.ModTime.Equal(f.info.ModTime)
}

// Stamp says which octets the message has.
func (f *File) Stamp() Stamp { return Stamp{f.wire, f.bond, f.info.ModTime.UnixNano()} }

// Close releases the file.
func (f *File) Close() error { return f.f.Close() }
