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

// FileState is what a look at a message's file tells without reading it. An alteration
// that leaves it as it was is found by Account.Check alone, as with G13.
type FileState struct {
	Wire     int64 // octets of the message in wire form, as the index has it
	Size     int64 // octets of the file
	Modified int64 // time of the file, in nanoseconds since 1970
}

// State is that of the file when it was opened.
func (c *Content) State() FileState {
	return FileState{c.f.wire, c.f.info.Size, c.f.info.ModTime.UnixNano()}
}

// Unchanged says whether the file is what it was when it was opened, see
// File.Unchanged.
func (c *Content) Unchanged() bool { return c.f.Unchanged() }

// FileState looks at a message's file. It returns false where the file is not to be
// seen under the name that it had last, whatever the reason.
func (m *Mailbox) FileState(uid uint32) (FileState, bool) {
	s := m.v.snap.Load()
	at, ok := s.Find(uid)
	if !ok {
		return FileState{}, false
	}
	c, i := s.locate(at)
	r := &c.rows[i]
	info, err := m.v.a.fs.Stat(m.v.path(r.inNew, s.name(c, i)))
	return FileState{r.wireSize, info.Size, info.ModTime.UnixNano()}, err == nil && info.Mode.IsRegular()
}
