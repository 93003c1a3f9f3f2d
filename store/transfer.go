package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"rtls/store/internal/index"
)

// UIDPair tells where a copied message went.
type UIDPair struct{ Source, Dest uint32 }

// Copy copies messages with flags, keywords, date, tag and origin into another
// mailbox: all or none; UIDs that are not there are passed over. It fails
// with ErrQuota where there is no room for all of them. uidValidity is the
// destination's. It is durable when it returns.
func (m *Mailbox) Copy(ctx context.Context, uids []uint32, dest string) (uidValidity uint32, pairs []UIDPair, err error) {
	return m.copy(ctx, uids, dest, false)
}

// Move is Copy, and the messages are gone from here. At no time is a message in
// neither mailbox; after an error it may be in both.
func (m *Mailbox) Move(ctx context.Context, uids []uint32, dest string) (uidValidity uint32, pairs []UIDPair, err error) {
	return m.copy(ctx, uids, dest, true)
}

// copy is one Copy or Move.
func (m *Mailbox) copy(ctx context.Context, uids []uint32, dest string, move bool) (uidValidity uint32, pairs []UIDPair, err error) {
	to, pairs, err := m.v.transfer(ctx, uids, dest, move)
	if err != nil {
		return 0, nil, fmt.Errorf("copy messages: %w", err)
	}
	m.v.a.announce(to.dir)
	m.v.copySummaries(ctx, to, pairs)
	return to.uidValidity, pairs, nil
}

// copied says where messages were copied to.
type copied struct {
	dir, object string
	uidValidity uint32
}

func (v *view) transfer(ctx context.Context, uids []uint32, dest string, move bool) (copied copied, pairs []UIDPair, err error) {
	done := dealt(ctx)
	dir, err := v.a.existing(dest)
	if err != nil {
		return copied, nil, err
	}
	if v.a.limited() && !move {
		if err := v.a.counted(ctx); err != nil {
			return copied, nil, err
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	var linked []string
	err = v.change(ctx, func(tx index.Tx, c *change) error {
		pairs, linked = nil, nil
		s := v.snap.Load()
		to, err := v.target(tx, dir, c)
		if err != nil {
			return err
		}
		copied.dir, copied.object, copied.uidValidity = dir, to.c.m.Object, to.c.m.UIDValidity
		if err := to.prepareLetters(tx, s, uids); err != nil {
			return err
		}
		if !move {
			if err := v.a.room(tx, sizeOf(s, sorted(uids))); err != nil {
				return err
			}
		}
		var rows []int
		for _, uid := range sorted(uids) {
			done.Add(1)
			at, ok := s.Find(uid)
			if !ok {
				continue
			}
			msg, err := v.link(s, at, to)
			if msg.Name != "" {
				linked = append(linked, to.v.path(false, msg.Name))
			}
			if err != nil {
				return err
			}
			rows = append(rows, at)
			pairs = append(pairs, UIDPair{uid, msg.UID})
		}
		if len(rows) == 0 {
			return nil
		}
		if err := v.a.fs.SyncDir(to.v.sub("cur")); err != nil {
			return err
		}
		if to.v != v {
			if err := to.v.write(tx, to.c); err != nil {
				return err
			}
		}
		if move {
			linked = nil // from here on there is no way back
			return v.remove(s, rows, c, new(atomic.Int64))
		}
		return nil
	})
	if err != nil {
		for _, path := range linked {
			err = errors.Join(err, v.a.fs.Remove(path))
		}
		return copied, nil, err
	}
	return copied, pairs, nil
}

// sizeOf is what messages take of a quota.
func sizeOf(s *Snapshot, uids []uint32) (q Quota) {
	for _, uid := range uids {
		if at, ok := s.Find(uid); ok {
			q.Bytes += s.At(at).Size
			q.Messages++
		}
	}
	return q
}

// destination is the mailbox that messages are copied to.
type destination struct {
	v       *view // v itself, or one that nobody else has
	c       *change
	modSeq  uint64
	letters letterTable
}

// target prepares the destination in dir. Sessions that have it open find out from
// the index.
func (v *view) target(tx index.Tx, dir string, c *change) (*destination, error) {
	if dir == v.dir {
		return &destination{v: v, c: c, modSeq: c.next(v.snap.Load())}, nil
	}
	to := &view{a: v.a, dir: dir}
	var err error
	if to.id, to.record, err = v.a.identify(tx, dir); err != nil {
		return nil, err
	}
	to.snap.Store(&Snapshot{}) // counting only looks there for what is replaced
	tc := &change{m: to.record}
	tc.m.ModSeq++
	return &destination{v: to, c: tc, modSeq: tc.m.ModSeq}, nil
}

// link gives a message a second name, in the destination.
func (v *view) link(s *Snapshot, at int, to *destination) (index.Message, error) {
	if to.c.m.UIDNext >= freed {
		return index.Message{}, fmt.Errorf("mailbox %s has used up its UIDs", to.v.dir)
	}
	from, key := v.at(s, at), s.At(at).Key
	msg := s.message(at)
	const tries = 3
	for range tries {
		name := v.a.copyName(from.name, func(extra string) string { return to.lettersOf(v, extra, msg.Keywords) })
		path := to.v.path(false, name)
		err := v.a.fs.Link(v.path(from.inNew, from.name), path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			// Too many links, or another file system.
			err = v.copyFile(from, to.v, name, s.At(at).InternalDate())
		}
		if err == nil {
			msg.Name, msg.New, msg.ModSeq, msg.UID = name, false, to.modSeq, to.c.m.UIDNext
			to.c.m.UIDNext++
			to.c.put = append(to.c.put, msg)
			return msg, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return index.Message{}, err
		}
		if from, err = v.findFile(key); err != nil {
			return index.Message{}, err
		}
	}
	return index.Message{}, fmt.Errorf("%w: %s", ErrNoMessage, key)
}

// copyName is a new name with what the old one says; letters are those of the copy.
// mbsync's own UID, ",U=", is none of the copy's.
func (a *Account) copyName(name string, letters func(extra string) string) string {
	p := parseName(name)
	b := []byte(a.names.copyKey(p.key))
	for field := range strings.SplitSeq(strings.TrimPrefix(p.base, string(p.key)), ",") {
		if field != "" && !strings.HasPrefix(field, "U=") {
			b = append(b, ',')
			b = append(b, field...)
		}
	}
	return a.names.fit(string(appendInfo(b, p.flags, letters(p.extra))))
}

// copyFile copies a message's bytes, where it cannot be linked.
func (v *view) copyFile(from file, to *view, name string, date time.Time) error {
	source, err := v.a.fs.Open(v.path(from.inNew, from.name))
	if err != nil {
		return err
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	temp, err := v.a.fs.Temp(to.sub("tmp"), string(v.a.names.key()))
	if err != nil {
		return err
	}
	defer temp.Close()
	n, err := io.Copy(temp, io.NewSectionReader(source, 0, info.Size))
	if err == nil && n != info.Size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = temp.SetTime(date)
	}
	if err == nil {
		err = temp.Finish()
	}
	if err != nil {
		return fmt.Errorf("copy message: %w", err)
	}
	return temp.Link(filepath.Join(to.sub("cur"), name))
}
