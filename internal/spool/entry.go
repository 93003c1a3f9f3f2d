package spool

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"

	"golang.org/x/sys/unix"
)

func sectionOf(r io.ReaderAt) *io.SectionReader { return io.NewSectionReader(r, 0, math.MaxInt64) }

// entry is a message whose lock we hold: G5.
type entry struct {
	s     *Spool
	place string
	id    string
	f     File
	info  Info

	lost   bool    // its state was
	record *Record // once read
	start  int64   // of the text
}

// claim locks a message: fs.ErrNotExist, ErrBusy, or *Damage for what is no file of
// ours at all.
func (s *Spool) claim(place, id string) (*entry, error) {
	path := s.path(place, id)
	f, err := s.c.FS.Open(path)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
		return nil, damaged("it is no regular file")
	}
	if err != nil {
		return nil, err
	}
	e := &entry{s: s, place: place, id: id, f: f}
	if err := e.lock(path); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (e *entry) lock(path string) (err error) {
	if e.info, err = e.f.Info(); err != nil {
		return err
	}
	if !e.info.Regular {
		return damaged("it is no regular file")
	}
	ok, err := e.f.Lock(true)
	if err != nil {
		return err
	}
	if !ok {
		return ErrBusy
	}
	// Who had the lock before may have been done with it.
	now, err := e.s.c.FS.Stat(path)
	if err != nil {
		return err
	}
	if now.Inode != e.info.Inode {
		return fs.ErrNotExist
	}
	e.info, err = e.f.Info()
	return err
}

func (e *entry) close() { _ = e.f.Close() }

// move takes the message to another place, durably.
func (e *entry) move(to string) error {
	if err := e.s.c.FS.Rename(e.s.path(e.place, e.id), e.s.path(to, e.id)); err != nil {
		return err
	}
	from := e.place
	e.place = to
	if err := e.s.c.FS.SyncDir(e.s.path(to, "")); err != nil {
		return err
	}
	return e.s.c.FS.SyncDir(e.s.path(from, ""))
}

// remove takes the name away, durably: Q6.
func (e *entry) remove() error {
	if err := e.s.c.FS.Remove(e.s.path(e.place, e.id)); err != nil {
		return err
	}
	return e.s.c.FS.SyncDir(e.s.path(e.place, ""))
}

// read reads the head, and checks it against the file that it is in.
func (e *entry) read() (err error) {
	e.record, e.start, err = readHead(e.f, e.info, e.id, e.s.owner)
	return err
}

func readHead(f File, info Info, id string, owner int) (*Record, int64, error) {
	r, start, err := decode(sectionOf(f))
	if err != nil {
		return nil, 0, err
	}
	switch {
	case r.ID != id:
		return nil, 0, damaged("it is the file of message %s", r.ID)
	case r.UID != info.Owner:
		return nil, 0, damaged("it names uid %d and belongs to uid %d", r.UID, info.Owner)
	case info.Links != 1 && info.Owner != owner: // who may have made a link to another's file
		return nil, 0, damaged("it has %d names", info.Links)
	case info.Owner != owner && r.Route.Host != "":
		return nil, 0, damaged("uid %d has no right to choose a server", info.Owner)
	case info.Size != start+r.Size+endLen:
		return nil, 0, damaged("it has %d octets, and should have %d", info.Size, start+r.Size+endLen)
	}
	return r, start, nil
}

// verify reads the text once, before a server is asked to take it.
func (e *entry) verify() error {
	c := &checker{}
	if err := e.copyText(c, nil); err != nil {
		return err
	}
	switch {
	case c.bad != "":
		return damaged("the text has %s", c.bad)
	case c.last != '\n':
		return damaged("the last line does not end")
	case c.eight != e.record.EightBit:
		return damaged("it says that the text is 8-bit: %v", e.record.EightBit)
	}
	return nil
}

// checker looks for what no message that compose made has in it.
type checker struct {
	last  byte
	eight bool
	bad   string
}

func (c *checker) Write(p []byte) (int, error) {
	for _, b := range p {
		switch {
		case b == 0:
			c.bad = "a NUL"
		case b == '\n' && c.last != '\r':
			c.bad = "a line feed alone"
		case b != '\n' && c.last == '\r':
			c.bad = "a carriage return alone"
		}
		c.eight = c.eight || b >= 0x80
		c.last = b
	}
	return len(p), nil
}

// copyText writes the text to w. Before the last octet goes it compares the
// checksum and calls before: nobody is given all of a text that is not the one
// that was added.
func (e *entry) copyText(w io.Writer, before func() error) error {
	want := make([]byte, endLen)
	if _, err := e.f.ReadAt(want, e.start+e.record.Size); err != nil {
		return unexpected(err)
	}
	sum := sha256.New()
	buf := make([]byte, 64<<10)
	for at, left := e.start, e.record.Size; left > 0; {
		part := buf[:min(left, int64(len(buf)))]
		if _, err := e.f.ReadAt(part, at); err != nil {
			return unexpected(err)
		}
		sum.Write(part)
		at += int64(len(part))
		left -= int64(len(part))
		if left == 0 {
			if fmt.Sprintf("%s %x\n", endWord, sum.Sum(nil)) != string(want) {
				return damaged("the checksum of the text is wrong")
			}
			if before != nil {
				if err := before(); err != nil {
					return err
				}
			}
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return damaged("it ends too early")
	}
	return err
}

// names lists the messages in a place, oldest first.
func (s *Spool) names(place string) ([]string, error) {
	all, err := s.c.FS.Names(s.path(place, ""))
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(name string) bool { return !ValidID(name) })
	slices.Sort(all)
	return slices.Compact(all), nil
}
