package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rtls/store/internal/index"
)

// Flags are the system flags of a message. They are kept in the file's name.
type Flags uint8

// The flags, in the order of their names.
const (
	Answered Flags = 1 << iota
	Deleted
	Draft
	Flagged
	Passed // $Forwarded
	Seen
)

// FlagOp says what a FlagChange does with its flags and keywords.
type FlagOp uint8

// The operations of RFC 9051 section 6.4.6.
const (
	FlagsAdd FlagOp = iota
	FlagsRemove
	FlagsReplace
)

// FlagChange is a change of flags and keywords.
type FlagChange struct {
	UIDs     []uint32 // those that are not there are passed over
	Op       FlagOp
	Flags    Flags
	Keywords []string

	// With Conditional set, messages whose ModSeq is above UnchangedSince are
	// left alone (RFC 7162 section 3.1.3).
	Conditional    bool
	UnchangedSince uint64
}

// SetFlags changes flags and keywords; it is durable when it returns. It returns
// the UIDs, in order, of messages that a condition kept from being changed. The
// tag is not a keyword and is out of its reach.
func (m *Mailbox) SetFlags(ctx context.Context, fc FlagChange) (modified []uint32, err error) {
	keywords, err := cleanKeywords(fc.Keywords)
	if err != nil {
		return nil, err
	}
	v := m.v
	v.mu.Lock()
	defer v.mu.Unlock()
	err = v.change(ctx, func(_ index.Tx, c *change) error {
		modified = nil
		s := v.snap.Load()
		letters, err := v.lettersFor(s.usedLetters, given(fc.Op, keywords))
		if err != nil {
			return err
		}
		renamed := false
		for _, uid := range sorted(fc.UIDs) {
			at, ok := s.Find(uid)
			if !ok {
				continue
			}
			msg := s.At(at)
			if fc.Conditional && msg.ModSeq > fc.UnchangedSince {
				modified = append(modified, uid)
				continue
			}
			next := s.message(at)
			flags := combine(fc.Op, msg.Flags, fc.Flags)
			words := combineKeywords(fc.Op, msg.Keywords, keywords)
			next.Keywords = strings.Join(words, " ")
			rewords := next.Keywords != strings.Join(msg.Keywords, " ")
			if extra := parseName(next.Name).extra; flags != msg.Flags || (rewords && letters.letters(extra, words) != extra) {
				known := &letters
				if !rewords {
					known = &letterTable{} // and so the letters stay as they are
				}
				if err := v.rename(&next, msg.Key, flags, words, known); errors.Is(err, ErrNoMessage) {
					continue // somebody has just removed it
				} else if err != nil {
					return err
				}
				renamed = true
			} else if !rewords {
				continue
			}
			next.ModSeq = c.next(s)
			c.put = append(c.put, next)
		}
		if !renamed {
			return nil
		}
		return v.a.fs.SyncDir(v.sub("cur"))
	})
	if err != nil {
		return nil, fmt.Errorf("change flags: %w", err)
	}
	return modified, nil
}

func sorted(uids []uint32) []uint32 {
	if slices.IsSorted(uids) {
		return slices.Compact(slices.Clone(uids))
	}
	uids = slices.Clone(uids)
	slices.Sort(uids)
	return slices.Compact(uids)
}

func combine(op FlagOp, old, change Flags) Flags {
	switch op {
	case FlagsAdd:
		return old | change
	case FlagsRemove:
		return old &^ change
	}
	return change
}

func combineKeywords(op FlagOp, old, change []string) []string {
	switch op {
	case FlagsAdd:
		all := slices.Concat(old, change)
		slices.Sort(all)
		return slices.Compact(all)
	case FlagsRemove:
		return slices.DeleteFunc(slices.Clone(old), func(k string) bool { return slices.Contains(change, k) })
	}
	return change
}

// cleanKeywords sorts keywords and refuses what would not survive being stored.
func cleanKeywords(keywords []string) ([]string, error) {
	keywords = slices.Clone(keywords)
	slices.Sort(keywords)
	keywords = slices.Compact(keywords)
	for _, k := range keywords {
		if k == "" || strings.ContainsFunc(k, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return nil, fmt.Errorf("keyword %q holds a character that is not allowed", k)
		}
	}
	return keywords, nil
}

// given are the keywords that a change may bring to messages.
func given(op FlagOp, keywords []string) []string {
	if op == FlagsRemove {
		return nil
	}
	return keywords
}

// rename gives the file of msg the name that says flags and keywords, and msg that
// name. If somebody else has renamed it meanwhile, it is looked for.
func (v *view) rename(msg *index.Message, key Key, flags Flags, keywords []string, letters *letterTable) error {
	from := file{msg.Name, msg.New}
	const tries = 3
	for range tries {
		p := parseName(from.name)
		to := string(appendInfo([]byte(p.base), flags, letters.letters(p.extra, keywords)))
		err := v.a.fs.Rename(v.path(from.inNew, from.name), v.path(false, to))
		if errors.Is(err, fs.ErrExist) && !from.inNew && to == from.name {
			err = nil
		}
		if err == nil {
			msg.Name, msg.New = to, false
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if from, err = v.findFile(key); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %s", ErrNoMessage, key)
}

// Append commits a delivery started on this mailbox with flags and keywords, and
// returns its UID (S1 to S4). On error nothing was stored and the delivery is
// aborted. It fails with ErrQuota where there is no room.
func (m *Mailbox) Append(ctx context.Context, d *Delivery, meta Meta) (uid uint32, err error) {
	defer d.Abort()
	keywords, err := cleanKeywords(meta.Keywords)
	if err != nil {
		return 0, err
	}
	v := m.v
	if d.dir != v.dir {
		return 0, fmt.Errorf("delivery is for another mailbox than %q", m.name)
	}
	if meta.Date.IsZero() {
		meta.Date = v.a.clock() // of the file too, so that both are the same
	}
	if err := d.finish(meta); err != nil {
		return 0, err
	}
	if v.a.limited() {
		if err := v.a.counted(ctx); err != nil {
			return 0, err
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	linked := ""
	// The name appears while the index is locked: whoever lists it next finds
	// it in the index.
	err = v.change(ctx, func(tx index.Tx, c *change) error {
		s := v.snap.Load()
		if c.m.UIDNext >= freed {
			return fmt.Errorf("mailbox %s has used up its UIDs", v.dir)
		}
		if err := v.a.room(tx, Quota{Bytes: d.draft.wireSize(), Messages: 1}); err != nil {
			return err
		}
		letters, err := v.lettersFor(s.usedLetters, keywords)
		if err != nil {
			return err
		}
		d.letters = letters.letters("", keywords)
		_, name, err := d.link(meta, true)
		if err != nil {
			return err
		}
		linked = name
		uid = c.m.UIDNext
		c.m.UIDNext++
		c.put = append(c.put, index.Message{
			UID: uid, ModSeq: c.next(s), Name: name,
			Size: d.draft.wireSize(), Date: meta.Date.Unix(), Keywords: strings.Join(keywords, " "),
		})
		return nil
	})
	if err != nil {
		if linked != "" {
			err = errors.Join(err, v.a.fs.Remove(v.path(false, linked)))
		}
		return 0, fmt.Errorf("append message: %w", err)
	}
	return uid, nil
}

// Expunge removes the messages with the given UIDs for good, whatever their
// flags; UIDs that are not there are passed over. It is durable when it returns.
// On error some may be gone.
func (m *Mailbox) Expunge(ctx context.Context, uids []uint32) error {
	v := m.v
	v.mu.Lock()
	defer v.mu.Unlock()
	err := v.change(ctx, func(_ index.Tx, c *change) error {
		s := v.snap.Load()
		var rows []int
		for _, uid := range sorted(uids) {
			if at, ok := s.Find(uid); ok {
				rows = append(rows, at)
			}
		}
		return v.remove(s, rows, c)
	})
	if err != nil {
		return fmt.Errorf("expunge: %w", err)
	}
	return nil
}

// remove deletes files, then makes that durable and lets the index forget them:
// the other way round a crash could bring a message back as a new one.
func (v *view) remove(s *Snapshot, rows []int, c *change) error {
	if len(rows) == 0 {
		return nil
	}
	for _, at := range rows {
		msg := s.At(at)
		if err := v.removeFile(v.at(s, at), msg.Key); err != nil {
			return err
		}
		c.removed = append(c.removed, msg.UID)
	}
	c.next(s)
	return v.a.fs.SyncDir(v.sub("cur"))
}

func (v *view) removeFile(f file, key Key) error {
	const tries = 3
	for range tries {
		err := v.a.fs.Remove(v.path(f.inNew, f.name))
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if f, err = v.findFile(key); errors.Is(err, ErrNoMessage) {
			return nil // somebody else was faster
		} else if err != nil {
			return err
		}
	}
	return fmt.Errorf("message %s is renamed faster than it can be removed", key)
}

// UIDPair tells where a copied message went.
type UIDPair struct{ Source, Dest uint32 }

// Copy copies messages with flags, keywords, date, tag and origin into another
// mailbox: all or none; UIDs that are not there are passed over. It fails
// with ErrQuota where there is no room for all of them. uidValidity is the
// destination's. It is durable when it returns.
func (m *Mailbox) Copy(ctx context.Context, uids []uint32, dest string) (uidValidity uint32, pairs []UIDPair, err error) {
	return m.transfer(ctx, uids, dest, false)
}

// Move is Copy, and the messages are gone from here. At no time is a message in
// neither mailbox; after an error it may be in both.
func (m *Mailbox) Move(ctx context.Context, uids []uint32, dest string) (uidValidity uint32, pairs []UIDPair, err error) {
	return m.transfer(ctx, uids, dest, true)
}

// transfer is one Copy or Move.
func (m *Mailbox) transfer(ctx context.Context, uids []uint32, dest string, move bool) (uidValidity uint32, pairs []UIDPair, err error) {
	v := m.v
	dir, err := v.a.existing(dest)
	if err != nil {
		return 0, nil, err
	}
	if v.a.limited() && !move {
		if err := v.a.counted(ctx); err != nil {
			return 0, nil, err
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
		uidValidity = to.c.m.UIDValidity
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
		if err := copySummaries(tx, c.m.ID, to.c.m.ID, pairs); err != nil {
			return err
		}
		if move {
			linked = nil // from here on there is no way back
			return v.remove(s, rows, c)
		}
		return nil
	})
	if err != nil {
		for _, path := range linked {
			err = errors.Join(err, v.a.fs.Remove(path))
		}
		return 0, nil, fmt.Errorf("copy messages: %w", err)
	}
	v.a.announce(dir)
	return uidValidity, pairs, nil
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
			err = v.copyFile(from, to.v, name, time.Unix(msg.Date, 0))
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
	return string(appendInfo(b, p.flags, letters(p.extra)))
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
