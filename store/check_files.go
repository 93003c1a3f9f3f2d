package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"rtls/store/internal/index"
	"rtls/store/internal/vfs"
)

// checkFiles reads the messages of a mailbox. It returns the sizes on the wire of
// those whose names do not say them.
func (c *checker) checkFiles(ctx context.Context, m mailboxDir, v *view) (sizes map[Key]int64, err error) {
	listed, err := c.separate(ctx, m, v)
	if err != nil {
		return nil, err
	}
	if c.repair {
		// What is in new/, or another program has renamed, comes to its place now
		// and not while we are at it.
		if err := c.within(ctx, m, func(v *view) error { return v.settle(ctx) }); err != nil {
			return nil, err
		}
		if listed, err = v.listAll(); err != nil {
			return nil, err
		}
	}
	sizes = make(map[Key]int64)
	for _, f := range listed {
		if err := c.checkFile(ctx, m, v, f, sizes); err != nil {
			return nil, err
		}
		c.step()
	}
	return sizes, nil
}

// separate looks for names of one key, and returns those that it has seen. Of three,
// the second and the third may be of one kind and the first of another, so a repair
// looks again.
func (c *checker) separate(ctx context.Context, m mailboxDir, v *view) (listed []file, err error) {
	for tries := 5; ; tries-- {
		listed, err = v.listAll()
		if errors.Is(err, fs.ErrNotExist) && !c.repair {
			listed, err = v.list(false, nil) // new/ is missing, as was said
		}
		if err != nil {
			return nil, err
		}
		twins := 0
		first := make(map[Key]int32, len(listed))
		for i, f := range listed {
			key := parseName(f.name).key
			at, twice := first[key]
			if !twice {
				first[key] = int32(i)
				continue
			}
			twins++
			if err := c.checkTwins(ctx, m, v, [2]file{listed[at], f}); err != nil {
				return nil, err
			}
		}
		if twins == 0 || !c.repair || tries == 0 || c.failed != nil {
			return listed, nil
		}
	}
}

// checkFile looks at one name in cur/ or new/.
func (c *checker) checkFile(ctx context.Context, m mailboxDir, v *view, f file, sizes map[Key]int64) error {
	path := v.path(f.inNew, f.name)
	info, err := c.a.fs.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // somebody has just renamed it
	}
	if err != nil {
		return err
	}
	if !info.Mode.IsRegular() {
		what := "is no file"
		if info.Mode.IsDir() {
			what = "is a directory"
		}
		finding := Finding{Kind: KindStranger, Path: path, Mailbox: m.name, Text: what, Repair: "move it to .rtls/aside/"}
		return c.found(ctx, finding, func() error { return c.moveAside(path) })
	}
	if err := c.access(ctx, path, m.name, info); err != nil {
		return err
	}
	p := parseName(f.name)
	sum, err := c.a.sumOfFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return c.found(ctx, Finding{Kind: KindUnreadable, Path: path, Mailbox: m.name, Key: p.key, Text: err.Error()}, nil)
	}
	kind, text := nameFault(&p, sum)
	if text == "" {
		if p.wireSize < 0 {
			sizes[p.key] = sum.wireSize
		}
		return nil
	}
	again, err := c.a.fs.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && again.Stamp.Modified != info.Stamp.Modified {
		return nil // somebody writes to it, or did away with it
	}
	if err != nil {
		return err
	}
	repair := "correct the name; the message stays as it is"
	if kind == KindAltered || p.tagged() && !p.bound {
		repair = "take the tag out of the name; the message stays as it is"
	}
	finding := Finding{Kind: kind, Path: path, Mailbox: m.name, Key: p.key, Text: text, Repair: repair}
	return c.found(ctx, finding, func() error { return c.mendName(ctx, m, f, sum) })
}

// tagged says whether a name has fields of a tag, of whatever use.
func (p *parsedName) tagged() bool {
	return strings.Contains(p.base, ",T=") || strings.Contains(p.base, ",H=")
}

// nameFault holds a name against the file's octets.
func nameFault(p *parsedName, sum contentSum) (kind, text string) {
	switch {
	case p.bound && !sum.binds(p):
		return KindAltered, fmt.Sprintf("has not the octets that its tag (%s, %s) was given to", p.tag, p.origin)
	case p.tagged() && !p.bound:
		return KindName, "has a tag that is damaged"
	case p.fileSize >= 0 && p.fileSize != sum.fileSize:
		return KindName, fmt.Sprintf("has %d octets, not %d", sum.fileSize, p.fileSize)
	case p.wireSize >= 0 && p.wireSize != sum.wireSize:
		return KindName, fmt.Sprintf("has %d octets on the wire, not %d", sum.wireSize, p.wireSize)
	}
	return "", ""
}

// trueName is a name with what is true of the file: the sizes that it says are right,
// and it has no tag unless that is bound to the octets.
func trueName(name string, sum contentSum) string {
	p := parseName(name)
	trusted := sum.binds(&p)
	b := []byte(p.key)
	for field := range strings.SplitSeq(strings.TrimPrefix(p.base, string(p.key)), ",") {
		switch {
		case field == "", !trusted && (strings.HasPrefix(field, "T=") || strings.HasPrefix(field, "H=")):
			continue
		case strings.HasPrefix(field, "S="):
			field = fmt.Sprintf("S=%d", sum.fileSize)
		case strings.HasPrefix(field, "W="):
			field = fmt.Sprintf("W=%d", sum.wireSize)
		}
		b = append(append(b, ','), field...)
	}
	if p.hasInfo {
		b = append(append(b, ':'), p.info...)
	}
	return string(b)
}

// mendName gives a file its true name, and its row, if it has one. The UID stays.
func (c *checker) mendName(ctx context.Context, m mailboxDir, f file, sum contentSum) error {
	return c.within(ctx, m, func(v *view) error {
		return v.change(ctx, func(tx index.Tx, ch *change) error {
			s := v.snap.Load()
			at, known := v.find(s, parseName(f.name).key)
			if known && !s.is(at, f) {
				return errChanged
			}
			to := trueName(f.name, sum)
			path := v.path(f.inNew, to)
			if err := v.a.fs.Rename(v.path(f.inNew, f.name), path); err != nil {
				return err
			}
			if err := v.a.fs.SyncDir(filepath.Dir(path)); err != nil || !known {
				return err
			}
			next := s.message(at)
			next.Name, next.Size, next.ModSeq = to, sum.wireSize, ch.next(s)
			ch.put = append(ch.put, next)
			return nil
		})
	})
}

// within runs f on an open mailbox, with its view locked.
func (c *checker) within(ctx context.Context, m mailboxDir, f func(v *view) error) error {
	mb, err := c.a.Mailbox(ctx, m.name)
	if err != nil {
		return err
	}
	mb.v.mu.Lock()
	err = f(mb.v)
	mb.v.mu.Unlock()
	return errors.Join(err, mb.Close())
}

// asideDir makes .rtls/aside/.
func (c *checker) asideDir() (string, error) {
	dir := filepath.Join(c.a.private(), "aside")
	if err := c.a.fs.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return dir, c.a.fs.SyncDir(c.a.private())
}

// moveAside moves what is no message out of a mailbox, durably.
func (c *checker) moveAside(path string) error {
	parent, err := c.asideDir()
	if err != nil {
		return err
	}
	if err := c.a.fs.Rename(path, filepath.Join(parent, string(c.a.names.key()))); err != nil {
		return err
	}
	if err := c.a.fs.SyncDir(parent); err != nil {
		return err
	}
	return c.a.fs.SyncDir(filepath.Dir(path))
}

// checkTwins looks at two names of one key. While a message moves from new/ to cur/
// it has both; nobody of ours is moving it while the index is locked.
func (c *checker) checkTwins(ctx context.Context, m mailboxDir, v *view, pair [2]file) error {
	var infos [2]vfs.Info
	look := func() error {
		for i, f := range pair {
			var err error
			if infos[i], err = c.a.fs.Stat(v.path(f.inNew, f.name)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := c.locked(ctx, look); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if !infos[0].Mode.IsRegular() || !infos[1].Mode.IsRegular() {
		return nil // a stranger
	}
	one := infos[0].Inode == infos[1].Inode
	f := Finding{Kind: KindDuplicate, Path: v.path(pair[1].inNew, pair[1].name), Mailbox: m.name, Key: parseName(pair[1].name).key}
	if one {
		f.Text, f.Repair = "is the same file as "+pair[0].name, "leave one of the two names"
	} else {
		f.Text, f.Repair = "has the key of another message, "+pair[0].name, "give it a key of its own"
	}
	return c.found(ctx, f, func() error {
		if one {
			return c.dropName(ctx, m, pair)
		}
		return c.within(ctx, m, func(v *view) error { return v.settle(ctx) })
	})
}

// dropName takes one of two names of a file away: that in new/, or that which the
// index has not.
func (c *checker) dropName(ctx context.Context, m mailboxDir, pair [2]file) error {
	return c.within(ctx, m, func(v *view) error {
		return v.change(ctx, func(_ index.Tx, _ *change) error {
			keep, drop := pair[0], pair[1]
			s := v.snap.Load()
			at, known := v.find(s, parseName(drop.name).key)
			if keep.inNew && !drop.inNew || keep.inNew == drop.inNew && known && s.is(at, drop) {
				keep, drop = drop, keep
			}
			kept, err := v.a.fs.Stat(v.path(keep.inNew, keep.name))
			if err != nil {
				return err
			}
			dropped, err := v.a.fs.Stat(v.path(drop.inNew, drop.name))
			if errors.Is(err, fs.ErrNotExist) {
				return nil // opening the mailbox has done it
			}
			if err != nil {
				return err
			}
			if kept.Inode != dropped.Inode || kept.Links < 2 {
				return errChanged
			}
			if err := v.a.fs.SyncDir(filepath.Dir(v.path(keep.inNew, keep.name))); err != nil {
				return err
			}
			return v.a.fs.Remove(v.path(drop.inNew, drop.name))
		})
	})
}
