package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"rtls/store/internal/index"
	"rtls/store/internal/sqlite"
)

// checkIndexFile looks whether the index can be used. A check makes none and puts none
// aside; a repair goes on with one that can be.
func (c *checker) checkIndexFile(ctx context.Context) error {
	damaged, err := c.indexState(ctx)
	if err != nil {
		return err
	}
	if damaged != "" {
		f := Finding{Kind: KindIndex, Path: c.a.indexPath(), Text: damaged,
			Repair: "put it aside and make a new one; messages get new UIDs, keywords that are no letters in file names are lost"}
		var use error
		err := c.found(ctx, f, func() error {
			_, use = c.a.index(ctx)
			return use
		})
		if err != nil || use != nil {
			return errors.Join(err, use)
		}
	}
	if c.repair {
		if c.ix, err = c.a.index(ctx); err != nil {
			return err
		}
	}
	return c.checkOrphans(ctx)
}

// indexState opens the index for the checker, and says what is wrong with it as a
// whole. A handle in which there is damage is closed.
func (c *checker) indexState(ctx context.Context) (damaged string, err error) {
	a := c.a
	if _, err := a.fs.Stat(a.indexPath()); errors.Is(err, fs.ErrNotExist) {
		dirs, err := a.folders()
		if err != nil {
			return "", err
		}
		for _, dir := range dirs {
			if _, err := a.readIdentity(dir); err == nil {
				return "is missing", nil
			}
		}
		return "", nil // nobody has opened a mailbox yet
	} else if err != nil {
		return "", err
	}
	ix, err := a.peekIndex(ctx)
	if err == nil {
		err = damageOf(ctx, ix.Index.(index.Checker))
	}
	if errors.Is(err, sqlite.ErrDamaged) {
		if ix != nil {
			if cerr := a.dropIndex(ix, true); cerr != nil {
				return "", cerr
			}
		}
		return err.Error(), nil
	}
	if err != nil {
		return "", fmt.Errorf("open index: %w", err)
	}
	c.ix = ix
	return "", nil
}

// peekIndex is index, but leaves a damaged one where it is.
func (a *Account) peekIndex(ctx context.Context) (*guardedIndex, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return nil, fs.ErrClosed
	case a.ix == nil:
		ix, err := a.openIndex(ctx)
		if err != nil {
			return nil, err
		}
		a.useLocked(ix)
	}
	return a.ix.(*guardedIndex), nil
}

func (c *checker) checkOrphans(ctx context.Context) error {
	if c.ix == nil {
		return nil
	}
	engine := c.ix.(*guardedIndex).Index.(index.Checker)
	n, err := engine.Orphans(ctx, false)
	if err != nil || n == 0 {
		return err
	}
	f := Finding{Kind: KindIndex, Path: c.a.indexPath(), Text: fmt.Sprintf("has %d entries of no mailbox or message", n), Repair: "remove them"}
	return c.found(ctx, f, func() error {
		_, err := engine.Orphans(ctx, true)
		return err
	})
}

// checkRecords looks for mailboxes that only the index has.
func (c *checker) checkRecords(ctx context.Context) error {
	if c.ix == nil {
		return nil
	}
	var records, lost []index.Mailbox
	err := c.ix.View(ctx, func(tx index.Tx) (err error) {
		records, err = tx.Mailboxes()
		return err
	})
	for _, m := range records {
		if err == nil && c.lost(m) {
			lost = append(lost, m)
		}
	}
	if err != nil || len(lost) == 0 {
		return err
	}
	// Somebody may have renamed the mailbox meanwhile, or just made it.
	if err := c.locked(ctx, c.readIdentities); err != nil {
		return err
	}
	for _, m := range lost {
		if !c.lost(m) {
			continue
		}
		f := Finding{Kind: KindIndex, Path: filepath.Join(c.a.maildir(), m.Dir), Text: fmt.Sprintf("is not there, but the index has %d messages of it", m.Messages), Repair: "let the index forget it"}
		err := c.found(ctx, f, func() error {
			return c.ix.Update(ctx, func(tx index.Tx) error {
				if err := c.readIdentities(); err != nil {
					return err
				}
				if !c.lost(m) {
					return errChanged
				}
				return tx.DeleteMailbox(m.ID)
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// lost says that no directory is the mailbox of a record.
func (c *checker) lost(m index.Mailbox) bool {
	if c.known[m.Object] != "" {
		return false
	}
	dir := filepath.Join(c.a.maildir(), m.Dir)
	if _, err := c.a.fs.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return true
	}
	_, err := c.a.readIdentity(dir)
	return err == nil // it has become another mailbox
}

// readIdentities brings known up to date.
func (c *checker) readIdentities() error {
	dirs, err := c.a.folders()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		switch id, err := c.a.readIdentity(dir); {
		case err == nil:
			c.known[id.object] = dir
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errIdentity):
			return err
		}
	}
	return nil
}
