package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"

	"rtls/store/internal/index"
	"rtls/store/internal/vfs"
)

// A message's name binds its tag to its octets, so that neither can be exchanged
// unnoticed: H in the name is made of both. Names and octets go separate ways when a
// program edits a file in place, when a disk fails, or when a backup puts files back
// under the wrong names. Whoever finds that out says so in the log and takes tag and
// bond out of the name; the message stays, and its tag is unknown from then on. It is
// found out when a message is opened whose file has not the size or the time that
// the index has of it, when a message comes into the index with a file of another
// size, when it is imported, and by Check, which reads all files.
//
// The bond is no signature: who can write to the store can make any.

// contentSum is what a name says of a message's octets.
type contentSum struct {
	fileSize, wireSize int64
	digest             [sha256.Size]byte // of the file
}

// bind makes the bond of the octets with a tag: 64 bits of SHA-256 of their digest
// and the tag's two letters.
func (c *contentSum) bind(tag Tag, origin Origin) uint64 {
	sum := sha256.Sum256(append(c.digest[:], tagLetters[tag], originLetters[origin]))
	return binary.BigEndian.Uint64(sum[:])
}

// binds says whether the octets are those that a name was made for.
func (c *contentSum) binds(p *parsedName) bool {
	return p.bound && c.bind(p.tag, p.origin) == p.bond
}

// summer works a contentSum out of what is written to it.
type summer struct {
	size  int64
	lines lineCounter
	hash  hash.Hash
}

func newSummer() summer { return summer{hash: sha256.New()} }

func (s *summer) Write(p []byte) (int, error) {
	_, _ = s.lines.Write(p) // neither of them fails
	_, _ = s.hash.Write(p)
	s.size += int64(len(p))
	return len(p), nil
}

func (s *summer) sum() contentSum {
	c := contentSum{fileSize: s.size, wireSize: s.size + s.lines.bare}
	s.hash.Sum(c.digest[:0])
	return c
}

// sumOf reads a file.
func sumOf(f vfs.File) (contentSum, error) {
	info, err := f.Stat()
	if err != nil {
		return contentSum{}, err
	}
	s := newSummer()
	if _, err := io.Copy(&s, io.NewSectionReader(f, 0, info.Size)); err != nil {
		return contentSum{}, err
	}
	return s.sum(), nil
}

func (a *Account) sumOfFile(path string) (contentSum, error) {
	f, err := a.fs.Open(path)
	if err != nil {
		return contentSum{}, err
	}
	defer f.Close()
	c, err := sumOf(f)
	if err != nil {
		return c, fmt.Errorf("read message: %w", err)
	}
	return c, nil
}

// suspect says whether a file looks as if it were no longer the one that the index
// has: it is read whole only then.
func suspect(info vfs.Info, p *parsedName, msg *Message) bool {
	date := msg.Date.Unix()
	if msg.dates != nil {
		date = msg.dates.learn(msg.UID, info.ModTime.Unix())
	}
	return p.fileSize >= 0 && info.Size != p.fileSize || info.ModTime.Unix() != date
}

// seen is what a file looked like when it was read and found to be what its name
// says, although it had been suspect.
type seen struct {
	size, modified int64
}

// trust says whether an opened file is what the index has, and reads it if it is
// suspect. After false it is to be opened again: the index knows better by now.
func (v *view) trust(ctx context.Context, f file, opened *File, msg *Message) (bool, error) {
	info := opened.info
	p := parseName(f.name)
	if !suspect(info, &p, msg) {
		return true, nil
	}
	now := seen{info.Size, info.ModTime.UnixNano()}
	v.seenMu.Lock()
	known := v.seen[msg.UID] == now
	v.seenMu.Unlock()
	if known {
		return true, nil
	}
	c, err := sumOf(opened.f)
	if err != nil {
		return false, fmt.Errorf("read message: %w", err)
	}
	if c.wireSize != msg.Size || p.bound && !c.binds(&p) {
		return false, v.altered(ctx, msg, f, c)
	}
	v.seenMu.Lock()
	defer v.seenMu.Unlock()
	if v.seen == nil {
		v.seen = make(map[uint32]seen)
	}
	v.seen[msg.UID] = now
	return true, nil
}

// altered is told that the file of a message has other octets than its name was made
// for, or its row: the name loses its tag, the row gets the size that there is.
func (v *view) altered(ctx context.Context, msg *Message, f file, c contentSum) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	err := v.change(ctx, func(tx index.Tx, ch *change) error {
		s := v.snap.Load()
		at, ok := s.Find(msg.UID)
		if !ok || v.at(s, at) != f {
			return nil // renamed meanwhile; it is looked at again
		}
		next := s.message(at)
		next.Size = c.wireSize
		if p := parseName(f.name); p.bound {
			name, err := v.unbind(f, &p, c)
			if err != nil {
				return err
			}
			next.Name = name
		}
		next.ModSeq = ch.next(s)
		ch.put = append(ch.put, next)
		return nil
	})
	if err != nil {
		return fmt.Errorf("message was altered: %w", err)
	}
	return nil
}

// unbind takes tag and bond out of the name of a file whose octets are not those that
// it was made for, and says so.
func (v *view) unbind(f file, p *parsedName, c contentSum) (name string, err error) {
	name = unboundName(p.key, c)
	if p.hasInfo {
		name += ":" + p.info
	}
	v.a.log.Error("message has been altered: its tag is unknown now", "dir", v.dir, "name", f.name, "now", name, "tag", p.tag.String(), "origin", p.origin.String())
	err = v.renameFile(f, file{name, f.inNew})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("take tag out of a name: %w", err)
	}
	if err != nil {
		return f.name, nil // gone or renamed: the next look at the directory tells
	}
	sub := "cur"
	if f.inNew {
		sub = "new"
	}
	return name, v.a.fs.SyncDir(v.sub(sub))
}
