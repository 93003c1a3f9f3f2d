package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"rtls/store/internal/index"
)

// update writes a difference into the index. The listing may be older than what
// the index says by now, so each name is looked at once more. It must be called
// with mu held.
func (v *view) update(ctx context.Context, d *difference) error {
	before := v.snap.Load()
	gone := make([]uint32, 0, len(d.missing))
	for _, i := range d.missing {
		c, j := before.locate(i)
		gone = append(gone, c.rows[j].uid)
	}
	return v.change(ctx, func(_ index.Tx, c *change) error {
		s := v.snap.Load()
		for _, uid := range gone {
			// A message that has changed since was not gone then.
			if before == s {
				c.removed = append(c.removed, uid)
			}
		}
		if err := v.adoptMoved(s, d, c); err != nil {
			return err
		}
		if err := v.sortOutTwice(s, d); err != nil {
			return err
		}
		if err := v.adoptAdded(s, d, c); err != nil {
			return err
		}
		if err := v.adoptLetters(s, c.put); err != nil {
			return err
		}
		if len(c.put) > 0 || len(c.removed) > 0 {
			modSeq := c.next(s)
			for i := range c.put {
				c.put[i].ModSeq = modSeq
			}
		}
		return nil
	})
}

// adoptMoved takes over the names that messages have got from somebody else, with
// the flags in them.
func (v *view) adoptMoved(s *Snapshot, d *difference, c *change) error {
	for _, f := range d.moved {
		at, ok := v.find(s, keyOf(f.name))
		if !ok || s.is(at, f) {
			continue
		}
		switch _, err := v.a.fs.Stat(v.path(f.inNew, f.name)); {
		case errors.Is(err, fs.ErrNotExist):
			continue // it has moved on
		case err != nil:
			return err
		}
		if old := v.at(s, at); f.inNew && !old.inNew {
			// It may have its name in cur/ as before, where this look did not go.
			if _, err := v.a.fs.Stat(v.path(false, old.name)); err == nil {
				d.unsure = true
				d.twice = append(d.twice, f)
				continue
			}
		}
		msg := s.message(at)
		msg.Name, msg.New = f.name, f.inNew
		c.put = append(c.put, msg)
	}
	return nil
}

// sortOutTwice looks at names whose key another file has, too. Most often one of
// the two is gone by now. Two names of one file are one message: what is left of
// a move from new/ to cur/ that was cut off, or twins, see twins.go. Two files are two
// messages, and the second gets a key of its own.
func (v *view) sortOutTwice(s *Snapshot, d *difference) error {
	for _, f := range d.twice {
		p := parseName(f.name)
		other, ok := v.otherOf(s, d, f, p.key)
		if !ok {
			continue
		}
		mine, err := v.a.fs.Stat(v.path(f.inNew, f.name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		theirs, err := v.a.fs.Stat(v.path(other.inNew, other.name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if mine.Inode == theirs.Inode {
			if !f.inNew && !other.inNew {
				v.noteTwin(p.key, mine.Inode)
			}
			d.oneOf(f, other)
			continue
		}
		own := file{v.a.names.fit(string(v.a.names.key()) + strings.TrimPrefix(f.name, string(p.key))), f.inNew}
		err = v.a.fs.Rename(v.path(f.inNew, f.name), v.path(own.inNew, own.name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("give a message a name of its own: %w", err)
		}
		v.a.log.Warn("two messages had one name", "dir", v.dir, "name", f.name, "now", own.name)
		if d.sure && !d.regular(f) {
			d.odd[own.name] = struct{}{}
		}
		d.added = append(d.added, own)
	}
	return nil
}

// oneOf leaves one of two names of a file. The name in new/ is removed, but not
// before that in cur/ is durable.
func (d *difference) oneOf(f, other file) {
	if f.inNew == other.inNew {
		return // the one that was seen first is as good
	}
	if at := slices.Index(d.added, other); at >= 0 {
		if f.inNew {
			d.added[at] = f // adoptAdded finds the name in cur/ again
		}
		return
	}
	if f.inNew {
		d.left = append(d.left, f)
	}
}

// otherOf is the other file of a key.
func (v *view) otherOf(s *Snapshot, d *difference, f file, key Key) (file, bool) {
	same := func(g file) bool { return g != f && keyOf(g.name) == key }
	for _, list := range [][]file{d.moved, d.added} {
		if i := slices.IndexFunc(list, same); i >= 0 {
			return list[i], true
		}
	}
	if at, ok := v.find(s, key); ok {
		return v.at(s, at), !s.is(at, f)
	}
	return file{}, false
}

// adoptAdded gives new messages their UIDs, in the order of their names, and moves
// them from new/ to cur/: listing new/ must stay cheap (S3 to S4).
func (v *view) adoptAdded(s *Snapshot, d *difference, c *change) error {
	unknown := d.added[:0:0]
	for _, f := range d.added {
		if _, known := v.find(s, keyOf(f.name)); !known { // else another process was faster
			unknown = append(unknown, f)
		}
	}
	found, err := v.examineAll(d, unknown)
	if err != nil {
		return err
	}
	d.unsure = d.unsure || len(found) < len(unknown)
	if uint64(len(found)) > uint64(freed-c.m.UIDNext) {
		return fmt.Errorf("mailbox %s has used up its UIDs", v.dir)
	}
	moved := d.left
	c.put = slices.Grow(c.put, len(found))
	for _, at := range nameOrder(found) {
		msg := found[at]
		if msg.New {
			if name, ok := v.moveToCur(msg.Name); ok {
				moved = append(moved, file{msg.Name, true})
				msg.Name, msg.New = name, false
			}
		}
		msg.UID = c.m.UIDNext
		c.m.UIDNext++
		c.put = append(c.put, msg)
	}
	if len(found) > s.Len() {
		v.keys = nil // making a new table takes less than letting it grow
	}
	return v.finishMove(moved)
}

// moveToCur gives a file in new/ a second name in cur/. It does not matter if
// that fails: the message stays where it is.
func (v *view) moveToCur(name string) (string, bool) {
	target := name
	if !strings.Contains(name, ":") {
		target = string(appendInfo([]byte(name), 0, ""))
	}
	from, to := v.path(true, name), v.path(false, target)
	err := v.a.fs.Link(from, to)
	if errors.Is(err, fs.ErrExist) {
		// Perhaps we were cut off here the last time.
		a, aerr := v.a.fs.Stat(from)
		b, berr := v.a.fs.Stat(to)
		if aerr == nil && berr == nil && a.Inode == b.Inode {
			err = nil
		}
	}
	if err != nil {
		v.a.log.Warn("message stays in new/", "dir", v.dir, "name", name, "err", err)
	}
	return target, err == nil
}

// finishMove removes the names in new/, once those in cur/ are durable: at no time
// is there a message without a durable name.
func (v *view) finishMove(moved []file) error {
	if len(moved) == 0 {
		return nil
	}
	if err := v.a.fs.SyncDir(v.sub("cur")); err != nil {
		return err
	}
	for _, f := range moved {
		if err := v.a.fs.Remove(v.path(true, f.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("move message to cur/: %w", err)
		}
	}
	return nil
}

// Looking at many files takes as long as a file system takes to answer: several
// questions are under way at once.
const (
	examiners   = 8
	examineFrom = 100 // below that many, it is not worth it
)

// examineAll examines files, and returns what it finds out of those that are
// messages.
func (v *view) examineAll(d *difference, files []file) ([]index.Message, error) {
	found := make([]index.Message, len(files))
	is := make([]bool, len(files))
	var left []int // those that have to be looked at
	for i, f := range files {
		if found[i], is[i] = fromName(d, f); !is[i] {
			left = append(left, i)
		}
	}
	examine := func(from, step int) (err error) {
		for n := from; n < len(left) && err == nil; n += step {
			i := left[n]
			found[i], is[i], err = v.examine(files[i])
		}
		return err
	}
	if len(left) < examineFrom {
		if err := examine(0, 1); err != nil {
			return nil, err
		}
	} else {
		var wait sync.WaitGroup
		var errs [examiners]error
		for n := range examiners {
			wait.Go(func() { errs[n] = examine(n, examiners) })
		}
		wait.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			return nil, err
		}
	}
	n := 0
	for i, ok := range is {
		if ok {
			found[n] = found[i]
			n++
		}
	}
	return found[:n], nil
}

// fromName takes the word of a name for the sizes of a message, and leaves its date for
// later (see dates.go): so a mailbox of another server is opened without a look at each
// file. A tag that is bound to the octets is worth the look.
func fromName(d *difference, f file) (index.Message, bool) {
	p := parseName(f.name)
	if p.bound || p.fileSize < 0 || p.wireSize < p.fileSize || !d.regular(f) {
		return index.Message{}, false
	}
	return index.Message{Name: f.name, Size: p.wireSize, Date: index.NoDate}, true
}

// examine finds out what the index wants to know of a new file. It returns false
// for what is no message, or is gone.
func (v *view) examine(f file) (msg index.Message, ok bool, err error) {
	path := v.path(f.inNew, f.name)
	info, err := v.a.fs.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && !info.Mode.IsRegular()) {
		return msg, false, nil
	}
	if err != nil {
		return msg, false, err
	}
	msg = index.Message{Name: f.name, New: f.inNew, Date: info.ModTime.Unix(), Size: info.Size}
	p := parseName(f.name)
	if p.bound && p.fileSize >= 0 && p.fileSize != info.Size {
		return v.examineAltered(f, &p, msg)
	}
	if p.wireSize >= 0 && p.fileSize == info.Size {
		msg.Size = p.wireSize
		return msg, true, nil
	}
	file, err := v.a.fs.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return msg, false, nil
	case err != nil:
		v.a.log.Warn("message cannot be read", "path", path, "err", err)
		return msg, true, nil
	}
	defer file.Close()
	bare, err := countBare(file, info.Size)
	if err != nil {
		return msg, false, fmt.Errorf("read message: %w", err)
	}
	msg.Size += bare
	return msg, true, nil
}

// examineAltered is examine of a file whose size is not that which its tag is bound
// to.
func (v *view) examineAltered(f file, p *parsedName, msg index.Message) (index.Message, bool, error) {
	c, err := v.a.sumOfFile(v.path(f.inNew, f.name))
	if errors.Is(err, fs.ErrNotExist) {
		return msg, false, nil
	}
	if err == nil {
		msg.Size = c.wireSize
		msg.Name, err = v.unbind(f, p, c)
	}
	return msg, err == nil, err
}
