package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"rtls/store/internal/index"
)

func (c *checker) checkMailboxes(ctx context.Context) error {
	for _, m := range c.dirs {
		err := c.checkMailbox(ctx, m)
		if errors.Is(err, fs.ErrNotExist) && !c.a.isMailbox(m.dir) || errors.Is(err, ErrNoMailbox) {
			continue // it was deleted or renamed just now
		}
		if err != nil {
			return fmt.Errorf("mailbox %q: %w", m.name, err)
		}
	}
	return nil
}

func (c *checker) checkMailbox(ctx context.Context, m mailboxDir) error {
	if err := c.checkDirectories(ctx, m); err != nil {
		return err
	}
	if err := c.mailboxLeftovers(ctx, m); err != nil {
		return err
	}
	if err := c.checkMetadata(ctx, filepath.Join(m.dir, metadataFile), m.name); err != nil {
		return err
	}
	record, err := c.checkIdentity(ctx, m)
	if err != nil {
		return err
	}
	v := &view{a: c.a, dir: m.dir}
	sizes, err := c.checkFiles(ctx, m, v)
	if err != nil || record.ID == 0 {
		return err
	}
	if _, err := c.a.fs.Stat(filepath.Join(m.dir, "new")); errors.Is(err, fs.ErrNotExist) {
		return nil // and a check makes none
	}
	if err := c.checkRows(ctx, m, record.Object, sizes); err != nil {
		return err
	}
	return c.checkView(ctx, m, record.Object)
}

// checkDirectories looks at what a mailbox consists of.
func (c *checker) checkDirectories(ctx context.Context, m mailboxDir) error {
	for _, sub := range []string{"new", "tmp"} {
		path := filepath.Join(m.dir, sub)
		_, err := c.a.fs.Stat(path)
		if err == nil {
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		f := Finding{Kind: KindDirectory, Path: path, Mailbox: m.name, Text: "is missing", Repair: "make it"}
		if err := c.found(ctx, f, func() error { return c.a.makeMaildir(m.dir) }); err != nil {
			return err
		}
	}
	for _, sub := range []string{"", "cur", "new", "tmp", identityFile} {
		if err := c.lookAt(ctx, filepath.Join(m.dir, sub), m.name); err != nil {
			return err
		}
	}
	return nil
}

// checkIdentity holds a mailbox's identity file against the index, and returns the
// record, with the ID 0 if there is none.
func (c *checker) checkIdentity(ctx context.Context, m mailboxDir) (index.Mailbox, error) {
	text, repair, record, err := c.identityFault(ctx, m)
	if err != nil || text == "" {
		return record, err
	}
	f := Finding{Kind: KindIdentity, Path: filepath.Join(m.dir, identityFile), Mailbox: m.name, Text: text, Repair: repair}
	if err := c.found(ctx, f, func() error { return c.mendIdentity(ctx, m) }); err != nil {
		return record, err
	}
	if c.repair {
		_, _, record, err = c.identityFault(ctx, m)
	}
	return record, err
}

func (c *checker) identityFault(ctx context.Context, m mailboxDir) (text, repair string, record index.Mailbox, err error) {
	id, err := c.a.readIdentity(m.dir)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing && !errors.Is(err, errIdentity) {
		return "", "", record, err
	}
	damaged := err != nil
	if c.ix != nil {
		err = c.ix.View(ctx, func(tx index.Tx) (err error) {
			if damaged {
				record, err = tx.MailboxAt(c.a.relative(m.dir))
			} else {
				record, err = tx.Mailbox(id.object)
			}
			return err
		})
		if err != nil && !errors.Is(err, index.ErrNoMailbox) {
			return "", "", record, err
		}
	}
	switch {
	case damaged && record.ID != 0:
		c.known[record.Object] = m.dir
		return "is missing or makes no sense", "write what the index knows", record, nil
	case missing:
		return "", "", record, nil // nobody has opened the mailbox yet
	case damaged:
		return "makes no sense", "make the mailbox a new one, with another UIDVALIDITY", record, nil
	}
	if other := c.known[id.object]; other != "" && other != m.dir {
		if found, err := c.a.readIdentity(other); err == nil && found.object == id.object {
			return "is the same as that of " + filepath.Base(other), "give the copy an identity of its own, with another UIDVALIDITY", index.Mailbox{}, nil
		}
	}
	c.known[id.object] = m.dir
	if record.ID == 0 {
		return "", "", record, nil // the next to open the mailbox makes its record
	}
	if id, err = c.a.readIdentity(m.dir); err != nil { // UIDs are reserved before they are given
		return "", "", record, err
	}
	switch {
	case id.uidNext < record.UIDNext:
		return fmt.Sprintf("covers UIDs below %d, but all below %d were given", id.uidNext, record.UIDNext), "write what the index knows", record, nil
	case id.uidValidity != record.UIDValidity:
		return fmt.Sprintf("has UIDVALIDITY %d, the index has %d", id.uidValidity, record.UIDValidity), "write what the index knows", record, nil
	}
	return "", "", record, nil
}

// mendIdentity makes identity file and index agree, as opening the mailbox does as
// far as it can. Of two mailboxes with one identity, the one that the index knows at
// its place keeps it.
func (c *checker) mendIdentity(ctx context.Context, m mailboxDir) error {
	return c.ix.Update(ctx, func(tx index.Tx) error {
		if id, err := c.a.readIdentity(m.dir); err == nil {
			if other := c.known[id.object]; other != "" && other != m.dir {
				kept, _, err := c.a.identify(tx, other)
				if err != nil {
					return err
				}
				c.known[kept.object] = other
			}
		}
		id, record, err := c.a.identify(tx, m.dir)
		if err != nil {
			return err
		}
		c.known[id.object] = m.dir
		if id.uidNext >= record.UIDNext && id.uidValidity == record.UIDValidity {
			return nil
		}
		id.uidNext, id.uidValidity = max(id.uidNext, record.UIDNext), record.UIDValidity
		return c.a.writeIdentity(m.dir, id)
	})
}
