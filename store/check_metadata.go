package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// checkAccountMetadata looks at the annotations of the account.
func (c *checker) checkAccountMetadata(ctx context.Context) error {
	return c.checkMetadata(ctx, filepath.Join(c.a.private(), accountMetadataFile), "")
}

// checkMetadata looks at a file of annotations. Of one that makes no sense Repair keeps
// the entries that do, and puts it aside as it was.
func (c *checker) checkMetadata(ctx context.Context, path, mailbox string) error {
	info, err := c.a.fs.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := c.access(ctx, path, mailbox, info); err != nil {
		return err
	}
	f := Finding{Kind: KindMetadata, Path: path, Mailbox: mailbox}
	if !info.Mode.IsRegular() {
		f.Text, f.Repair = "is no file", "move it to .rtls/aside/"
		return c.found(ctx, f, func() error { return c.moveAside(path) })
	}
	if _, err := c.a.readMetadata(path); !errors.Is(err, errMetadata) {
		return err
	}
	f.Text, f.Repair = "makes no sense", "move it to .rtls/aside/, and keep the annotations that do"
	return c.found(ctx, f, func() error {
		return c.locked(ctx, func() error { return c.mendMetadata(path) })
	})
}

// mendMetadata has the file in both places for a moment: what is good in it is missing
// at no time.
func (c *checker) mendMetadata(path string) error {
	raw, err := c.a.fs.ReadFile(path)
	if err != nil {
		return err
	}
	good, whole := parseMetadata(string(raw))
	if whole {
		return errChanged
	}
	aside, err := c.asideDir()
	if err != nil {
		return err
	}
	if err := c.a.fs.Link(path, filepath.Join(aside, string(c.a.names.key()))); err != nil {
		return err
	}
	if err := c.a.fs.SyncDir(aside); err != nil {
		return err
	}
	good = changedMetadata(nil, good)
	err = c.a.writeMetadata(path, good)
	if errors.Is(err, ErrAnnotations) { // nobody of ours has written that
		return fmt.Errorf("%w; take some out by hand", err)
	}
	return err
}
