package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"rtls/store/internal/index"
)

// ErrQuota says that an account has no room for a message. It may come wrapped.
var ErrQuota = errors.New("account is over its quota")

// Quota limits what an account holds in all its mailboxes (RFC 9208). Zero is no
// limit.
type Quota struct {
	Bytes    int64 // octets on the wire, resource STORAGE
	Messages int64 // resource MESSAGE
}

// SetQuota replaces the quota of Options for what this Account does from now on;
// it changes nothing for other processes, and nothing for what is under way. Under a quota a Commit, an Append and a
// Copy fail with ErrQuota where there is no room, and a delivery opens the index. A
// Move is never refused.
func (a *Account) SetQuota(q Quota) { a.quota.Store(&q) }

// Quota returns the quota in force.
func (a *Account) Quota() Quota { return *a.quota.Load() }

// Usage returns the octets on the wire and the number of messages that the account
// holds, from the index's counters and the names in new/. What other programs have
// put into cur/, or taken away, counts from the next Sync of the mailbox; so does a
// message that was committed with flags while there was no quota. What they have put
// into new/ counts with the octets of its file until then: to count its lines, too, each
// delivery under a quota would have to read all of it.
func (a *Account) Usage(ctx context.Context) (bytes, messages int64, err error) {
	var u Quota
	if err := a.counted(ctx); err != nil {
		return 0, 0, err
	}
	// Even for looking it takes that nobody moves messages from new/ to cur/.
	err = a.locked(ctx, func(tx index.Tx) error {
		u, err = a.usage(tx)
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("find usage: %w", err)
	}
	return u.Bytes, u.Messages, nil
}

// counted brings mailboxes into the index that it does not know, because they are
// new or it was lost. Without a quota nobody has to call it; with one it has to be
// called before a transaction is begun and before a view is locked.
func (a *Account) counted(ctx context.Context) error {
	dirs, err := a.folders()
	if err != nil {
		return err
	}
	ix, err := a.index(ctx)
	if err != nil {
		return err
	}
	var unknown []string
	err = ix.View(ctx, func(tx index.Tx) error {
		for name, dir := range dirs {
			if _, err := a.recordOf(tx, dir); errors.Is(err, index.ErrNoMailbox) {
				unknown = append(unknown, name)
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for mailboxes that are not counted: %w", err)
	}
	for _, name := range unknown {
		m, err := a.Mailbox(ctx, name)
		if errors.Is(err, ErrNoMailbox) {
			continue // it was deleted just now
		}
		if err == nil {
			err = m.Close()
		}
		if err != nil {
			return fmt.Errorf("count messages of %q: %w", name, err)
		}
	}
	return nil
}

// recordOf finds the index's record of a mailbox and changes nothing.
func (a *Account) recordOf(tx index.Tx, dir string) (index.Mailbox, error) {
	id, err := a.readIdentity(dir)
	switch {
	case err == nil:
		return tx.Mailbox(id.object)
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, errIdentity):
		return tx.MailboxAt(a.relative(dir))
	}
	return index.Mailbox{}, err
}

// usage is what the account holds. Nobody can move messages to cur/ meanwhile: that
// takes a transaction.
func (a *Account) usage(tx index.Tx) (Quota, error) {
	dirs, err := a.folders()
	if err != nil {
		return Quota{}, err
	}
	var u Quota
	for _, dir := range dirs {
		record, err := a.recordOf(tx, dir)
		if err != nil && !errors.Is(err, index.ErrNoMailbox) {
			return u, err
		}
		u.Bytes += record.Size
		u.Messages += int64(record.Messages)
		if err := a.addWaiting(tx, dir, record.ID, &u); err != nil {
			return u, err
		}
	}
	return u, nil
}

// addWaiting adds what is in new/ and not in the index.
func (a *Account) addWaiting(tx index.Tx, dir string, id int64, u *Quota) error {
	v := &view{a: a, dir: dir}
	listed, err := v.list(true, nil)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(listed) == 0:
		return nil
	}
	known := make(map[Key]bool)
	if id != 0 {
		names, err := tx.NamesInNew(id)
		if err != nil {
			return err
		}
		for _, name := range names {
			known[parseName(name).key] = true
		}
	}
	for _, f := range listed {
		p := parseName(f.name)
		if known[p.key] {
			continue
		}
		size := p.wireSize
		if size < 0 {
			size = p.fileSize
		}
		if size < 0 {
			info, err := a.fs.Stat(filepath.Join(dir, "new", f.name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			size = info.Size
		}
		u.Bytes += size
		u.Messages++
	}
	return nil
}

// limited says whether there is a quota.
func (a *Account) limited() bool { return a.Quota() != Quota{} }

// room returns ErrQuota unless what is needed fits, within the transaction in which
// it gets its names. What needs nothing more fits always.
func (a *Account) room(tx index.Tx, need Quota) error {
	limit := a.Quota()
	if limit == (Quota{}) {
		return nil
	}
	u, err := a.usage(tx)
	if err != nil {
		return fmt.Errorf("find usage: %w", err)
	}
	if limit.Bytes > 0 && need.Bytes > max(0, limit.Bytes-u.Bytes) {
		return fmt.Errorf("%w: %d octets of %d are taken, %d more do not fit", ErrQuota, u.Bytes, limit.Bytes, need.Bytes)
	}
	if limit.Messages > 0 && need.Messages > max(0, limit.Messages-u.Messages) {
		return fmt.Errorf("%w: there are %d messages of %d", ErrQuota, u.Messages, limit.Messages)
	}
	return nil
}

// admit runs f, which names a message of size octets in new/, if there is room for
// it. Without a quota it needs no index.
func (a *Account) admit(size int64, f func() error) error {
	if !a.limited() {
		return f()
	}
	ctx := context.Background() // a Commit is not cut off halfway
	if err := a.counted(ctx); err != nil {
		return err
	}
	done := false
	err := a.locked(ctx, func(tx index.Tx) error {
		if err := a.room(tx, Quota{Bytes: size, Messages: 1}); err != nil {
			return err
		}
		err := f()
		done = err == nil
		return err
	})
	if done {
		return nil // there was nothing to be written to the index that could fail
	}
	return err
}
