package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"
	"time"
)

// writeLeftover starts the names that vfs.WriteFile writes to.
const writeLeftover = ".rtls-"

// leftovers finds entries of a directory that nothing has touched for so long, with
// what remove says about them. Those that are named for want are looked at only.
func (c *checker) leftovers(ctx context.Context, dir, mailbox string, age time.Duration, what string, want func(name string) bool) error {
	names, err := c.a.fs.Names(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if !want(name) {
			continue
		}
		path := filepath.Join(dir, name)
		info, err := c.a.fs.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		last := time.Unix(0, max(info.Stamp.Modified, info.Stamp.Changed))
		if idle := c.a.clock().Sub(last); idle < age {
			continue
		}
		remove := c.a.fs.Remove
		if info.Mode.IsDir() {
			remove = c.a.fs.RemoveAll
		}
		f := Finding{Kind: KindLeftover, Path: path, Mailbox: mailbox, Text: what, Repair: "remove it"}
		if err := c.found(ctx, f, func() error { return remove(path) }); err != nil {
			return err
		}
	}
	return nil
}

func isWriteLeftover(name string) bool { return strings.HasPrefix(name, writeLeftover) }
func anyName(string) bool              { return true }

// mailboxLeftovers looks for what deliveries and writers left in a mailbox.
func (c *checker) mailboxLeftovers(ctx context.Context, m mailboxDir) error {
	err := c.leftovers(ctx, m.dir, m.name, staleAfter, "was not written to its end", isWriteLeftover)
	if err != nil {
		return err
	}
	tmp := filepath.Join(m.dir, "tmp")
	return c.leftovers(ctx, tmp, m.name, staleAfter, "was never delivered, and nobody was told that it was", func(name string) bool {
		info, err := c.a.fs.Stat(filepath.Join(tmp, name))
		return err == nil && info.Mode.IsRegular()
	})
}

// checkPrivateLeftovers looks for what is left in .rtls/.
func (c *checker) checkPrivateLeftovers(ctx context.Context) error {
	private := c.a.private()
	ofNoMailbox := func(name string) bool { return c.known[name] == "" }
	ofNoImport := func(name string) bool {
		known, readable := c.a.journalOf(name, maps.Keys(c.known))
		return isWriteLeftover(name) || readable && !known
	}
	for _, l := range []struct {
		dir  string
		age  time.Duration
		what string
		want func(string) bool
	}{
		{private, staleAfter, "was not written to its end", isWriteLeftover},
		{private, onceKeep, "is an index that was put aside more than a week ago", func(name string) bool {
			return strings.HasPrefix(name, filepath.Base(c.a.indexPath())+damagedSuffix)
		}},
		{filepath.Join(private, "trash"), staleAfter, "is left of a mailbox that was deleted", anyName},
		{c.a.onceDir(), staleAfter, "was not written to its end", isWriteLeftover},
		{filepath.Join(private, "views"), staleAfter, "is the packed view of no mailbox", ofNoMailbox},
		{c.a.importDir(), staleAfter, "notes what was imported into a mailbox that is gone", ofNoImport},
		{filepath.Join(private, "summaries"), staleAfter, "has summaries of messages of no mailbox", ofNoMailbox},
	} {
		if err := c.leftovers(ctx, l.dir, "", l.age, l.what, l.want); err != nil {
			return err
		}
	}
	return c.checkOnce(ctx)
}

// checkOnce looks for traces of deliveries that are no more use. They are as usual as
// they are small, so they are one finding.
func (c *checker) checkOnce(ctx context.Context) error {
	dir := c.a.onceDir()
	names, err := c.a.fs.Names(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var old []string
	for _, name := range names {
		path := filepath.Join(dir, name)
		info, err := c.a.fs.Stat(path)
		if err == nil && !isWriteLeftover(name) && c.a.clock().Sub(time.Unix(0, info.Stamp.Changed)) >= onceKeep {
			old = append(old, path)
		}
	}
	if len(old) == 0 {
		return nil
	}
	f := Finding{Kind: KindLeftover, Path: dir, Text: fmt.Sprintf("has %d traces of deliveries that are older than a week", len(old)), Repair: "remove them"}
	return c.found(ctx, f, func() error {
		for _, path := range old {
			if err := c.a.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	})
}
