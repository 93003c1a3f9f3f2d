package spool

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Config is what a spool needs of the world. The zero value works.
type Config struct {
	FS    FS
	Now   func() time.Time
	Rand  io.Reader      // for identifiers
	Share func() float64 // for jitter, in [0,1)
	UID   func() int     // who we are
}

func (c Config) withDefaults() Config {
	if c.FS == nil {
		c.FS = OS{}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Share == nil {
		c.Share = mathrand.Float64
	}
	if c.UID == nil {
		c.UID = os.Geteuid
	}
	return c
}

// Spool is a spool of which this process is the owner, or into which it can only
// drop messages. It is safe for concurrent use.
type Spool struct {
	c     Config
	dir   string
	owner int
	drop  bool // there is a drop directory
}

// Errors that a caller can tell apart.
var (
	ErrNone     = errors.New("there is no spool")
	ErrNotOwner = errors.New("the spool belongs to another user")
	ErrBusy     = errors.New("the message is in use by another process")
	ErrNoID     = errors.New("there is no such message")
)

// Open opens the spool in a directory. Where there is none it makes one that only
// its owner can use, if create is set, and else returns ErrNone.
func Open(dir string, create bool, c Config) (*Spool, error) {
	s := &Spool{c: c.withDefaults(), dir: dir}
	info, err := s.c.FS.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if !create {
			return nil, fmt.Errorf("%w in %s", ErrNone, dir)
		}
		if err = s.makeDir(dir); err == nil {
			info, err = s.c.FS.Stat(dir)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	if !info.Dir {
		return nil, fmt.Errorf("open spool: %s is no directory", dir)
	}
	s.owner = info.Owner
	door, err := s.c.FS.Stat(s.path("drop", ""))
	s.drop = err == nil && door.Dir
	if info.Mode&0o022 != 0 {
		return nil, fmt.Errorf("open spool: others than its owner can write in %s: mode %04o", dir, info.Mode)
	}
	switch {
	case s.Owned():
		for _, name := range []string{"queue", "failed", "state"} {
			if err := s.makeDir(s.path(name, "")); err != nil {
				return nil, fmt.Errorf("open spool: %w", err)
			}
		}
	case !s.drop:
		return nil, fmt.Errorf("%w: %s is of uid %d, and has no drop directory", ErrNotOwner, dir, s.owner)
	}
	return s, nil
}

// makeDir makes a directory and those above it, durably, where they are missing. Those
// above it may be links.
func (s *Spool) makeDir(dir string) error {
	if info, err := s.c.FS.Stat(dir); err == nil {
		if !info.Dir {
			return fmt.Errorf("%s is no directory", dir)
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if _, err := s.c.FS.Stat(parent + "/."); err != nil && parent != dir {
		if err := s.makeDir(parent); err != nil {
			return err
		}
	}
	if err := s.c.FS.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return s.c.FS.SyncDir(parent)
}

// Owned says whether this process owns the spool. Others can Add, and nothing else.
func (s *Spool) Owned() bool { return s.owner == s.c.UID() }

func (s *Spool) path(place, name string) string { return filepath.Join(s.dir, place, name) }

func (s *Spool) now() time.Time { return s.c.Now().UTC().Round(0) }

func (s *Spool) newID() (string, error) {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], uint64(s.now().UnixNano()))
	if _, err := io.ReadFull(s.c.Rand, raw[8:]); err != nil {
		return "", err
	}
	return base32.NewEncoding(idAlphabet).WithPadding(base32.NoPadding).EncodeToString(raw[:]), nil
}

// Add keeps a message: Q0 to Q3. It fills in ID, Time and UID. An attempt that was
// made before is told in why, else nil; the first flush comes after its back-off.
func (s *Spool) Add(r Record, content io.WriterTo, why *Failure) (id string, err error) {
	if r.ID, err = s.newID(); err != nil {
		return "", fmt.Errorf("name the message: %w", err)
	}
	r.Time, r.UID = s.now(), s.c.UID()
	head, err := r.encode()
	if err != nil {
		return "", fmt.Errorf("keep the message: %w", err)
	}
	if err := s.add(&r, head, content, why); err != nil {
		return "", fmt.Errorf("keep the message: %w", err)
	}
	return r.ID, nil
}

func (s *Spool) add(r *Record, head []byte, content io.WriterTo, why *Failure) error {
	place, mode := "queue", os.FileMode(0o600)
	if !s.Owned() {
		place = "drop"
		door, err := s.c.FS.Stat(s.path(place, ""))
		if err != nil {
			return err
		}
		if door.Mode&unix.S_ISGID != 0 {
			mode = 0o640 // the group is the flusher's
		}
	}
	d, err := s.c.FS.Create(s.path(place, ""), r.ID, mode) // Q1
	if err != nil {
		return err
	}
	defer d.Close() // what is left of a hidden name is no failure
	if err := write(d, r, head, content); err != nil {
		return err
	}
	if err := d.Finish(); err != nil { // Q1 -> Q2
		return err
	}
	if why != nil && s.Owned() {
		// Before the name: nobody may send what is in doubt and does not look so.
		if err := s.writeState(r.ID, s.after(&State{}, r, why, false)); err != nil {
			return err
		}
	}
	name := s.path(place, r.ID)
	if err := d.Link(name); err != nil {
		return err
	}
	if s.Owned() {
		err = s.c.FS.SyncDir(s.path(place, ""))
	} else {
		err = d.SyncAll() // who may not list a directory may not sync it
	}
	if err != nil {
		return errors.Join(err, s.c.FS.Remove(name)) // G2
	}
	return nil // Q3
}

// write writes a message's file.
func write(d Draft, r *Record, head []byte, content io.WriterTo) error {
	out := bufio.NewWriterSize(d, 64<<10)
	sum := sha256.New()
	_, _ = out.Write(head) // Flush has the error
	n, err := content.WriteTo(struct{ io.Writer }{io.MultiWriter(out, sum)})
	if err != nil {
		return err
	}
	if n != r.Size {
		return fmt.Errorf("the message has %d octets and not %d", n, r.Size)
	}
	fmt.Fprintf(out, "%s %x\n", endWord, sum.Sum(nil))
	return out.Flush()
}
