package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"rtls/store/internal/index"
)

// MailboxInfo is one mailbox of a listing.
type MailboxInfo struct {
	Name       string // UTF-8, hierarchy separator "/", INBOX in capitals
	Exists     bool   // false for a subscription without a mailbox
	Subscribed bool
	ObjectID   string // see Mailbox.ObjectID; empty where it is not known yet
	SpecialUse string // "Sent", "Drafts", "Trash", "Junk", "Archive", "All", "Flagged" or empty (RFC 6154); by its name if nothing else says so
}

// Mailboxes lists all mailboxes and subscriptions, sorted by name, INBOX first.
func (a *Account) Mailboxes(ctx context.Context) ([]MailboxInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dirs, err := a.folders()
	if err != nil {
		return nil, err
	}
	subscribed, err := a.subscriptions()
	if err != nil {
		return nil, err
	}
	var list []MailboxInfo
	for name, dir := range dirs {
		id, err := a.readIdentity(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errIdentity) {
			return nil, fmt.Errorf("list mailboxes: %w", err)
		}
		list = append(list, MailboxInfo{Name: name, Exists: true, Subscribed: slices.Contains(subscribed, name), SpecialUse: id.specialUse, ObjectID: id.object})
	}
	for _, name := range subscribed {
		if _, ok := dirs[name]; !ok {
			list = append(list, MailboxInfo{Name: name, Subscribed: true})
		}
	}
	nameUses(list)
	slices.SortFunc(list, func(x, y MailboxInfo) int {
		if (x.Name == inbox) != (y.Name == inbox) {
			if x.Name == inbox {
				return -1
			}
			return 1
		}
		return strings.Compare(x.Name, y.Name)
	})
	return list, nil
}

// folders finds the directory of each mailbox.
func (a *Account) folders() (map[string]string, error) {
	names, err := a.fs.Names(a.maildir())
	if err != nil {
		return nil, fmt.Errorf("list mailboxes: %w", err)
	}
	slices.Sort(names) // of two that lead to one name, the first
	dirs := map[string]string{inbox: a.maildir()}
	for _, n := range names {
		if len(n) < 2 || n[0] != '.' {
			continue
		}
		dir := filepath.Join(a.maildir(), n)
		there, err := a.mailboxIn(dir)
		if err != nil {
			return nil, fmt.Errorf("list mailboxes: %w", err)
		}
		if !there {
			continue // notmuch and others keep such directories too
		}
		name, err := folderName(n)
		if err != nil {
			a.log.Warn("directory is not a mailbox that can be named", "dir", dir, "err", err)
			continue
		}
		if _, taken := dirs[name]; !taken || folderDir(name) == n {
			dirs[name] = dir
		}
	}
	return dirs, nil
}

// mailboxIn says whether dir is a mailbox. It follows no symbolic link: mail is not
// to be served from elsewhere. With an error nobody knows, and a mailbox must not be
// taken for missing.
func (a *Account) mailboxIn(dir string) (bool, error) {
	for _, d := range []string{dir, filepath.Join(dir, "cur")} {
		info, err := a.fs.Stat(d)
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("look for mailbox: %w", err)
		case !info.Mode.IsDir():
			return false, nil
		}
	}
	return true, nil
}

// obstacle is what is in the place of one of a mailbox's directories and is none: most
// often a symbolic link, which is not followed. It is empty if there is no such thing.
func (a *Account) obstacle(dir string) (path string, err error) {
	for _, d := range []string{dir, filepath.Join(dir, "cur"), filepath.Join(dir, "new")} {
		info, err := a.fs.Stat(d)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return "", fmt.Errorf("look for mailbox: %w", err)
		case !info.Mode.IsDir():
			return d, nil
		}
	}
	return "", nil
}

// isMailbox is mailboxIn where one that cannot be looked at is as good as none.
func (a *Account) isMailbox(dir string) bool {
	there, err := a.mailboxIn(dir)
	return there && err == nil
}

// mailboxDir is the directory that a mailbox has, or would have.
func (a *Account) mailboxDir(name string) (string, error) {
	name, err := cleanName(name)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(a.maildir(), folderDir(name))
	if name == inbox {
		return dir, nil
	}
	if there, err := a.mailboxIn(dir); there || err != nil {
		return dir, err
	}
	if found, err := a.foreignDir(name); found != "" || err != nil {
		return found, err
	}
	return dir, nil
}

// foreignDir is the directory of a mailbox that another program has written otherwise
// than folderDir does: with UTF-8 where Maildir++ has modified UTF-7, for instance, or
// with "Inbox" for INBOX. It is empty if there is none.
func (a *Account) foreignDir(name string) (string, error) {
	names, err := a.fs.Names(a.maildir())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for mailbox: %w", err)
	}
	slices.Sort(names) // as in folders
	for _, n := range names {
		if len(n) < 2 || n[0] != '.' {
			continue
		}
		if found, err := folderName(n); err != nil || found != name {
			continue
		}
		dir := filepath.Join(a.maildir(), n)
		if there, err := a.mailboxIn(dir); there || err != nil {
			return dir, err
		}
	}
	return "", nil
}

// existing is mailboxDir for a mailbox that has to exist.
func (a *Account) existing(name string) (string, error) {
	dir, err := a.mailboxDir(name)
	if err != nil {
		return "", err
	}
	there, err := a.mailboxIn(dir)
	if err == nil && !there {
		err = fmt.Errorf("%w: %q", ErrNoMailbox, name)
	}
	return dir, err
}

// deliveryDir is the directory of a mailbox for what is delivered: it may lack some of
// its own, which are made when they are needed, but mail does not go where nobody would
// see it. It fails with ErrNoMailbox.
func (a *Account) deliveryDir(name string) (string, error) {
	dir, err := a.mailboxDir(name)
	if err != nil {
		return "", err
	}
	path, err := a.obstacle(dir)
	if err == nil && path != "" {
		err = fmt.Errorf("%w: %q, since %s is no directory", ErrNoMailbox, name, path)
	}
	return dir, err
}

// CreateMailbox makes a mailbox, and the mailboxes above it in the hierarchy. It
// fails with ErrMailboxExists, and with ErrName, also where something that is no
// directory has the place of one.
func (a *Account) CreateMailbox(ctx context.Context, name, specialUse string) error {
	name, err := cleanName(name)
	if err != nil {
		return err
	}
	if strings.ContainsAny(specialUse, " \r\n") {
		return fmt.Errorf("special use %q is none", specialUse)
	}
	return a.relist(ctx, func(tx index.Tx) error {
		switch _, err := a.existing(name); {
		case err == nil:
			return fmt.Errorf("%w: %q", ErrMailboxExists, name)
		case !errors.Is(err, ErrNoMailbox):
			return err
		}
		for i, r := range name {
			if r == '/' {
				if err := a.makeMailbox(tx, name[:i], ""); err != nil {
					return err
				}
			}
		}
		return a.makeMailbox(tx, name, specialUse)
	})
}

// locked runs f while no other process changes the set of mailboxes.
func (a *Account) locked(ctx context.Context, f func(index.Tx) error) error {
	ix, err := a.index(ctx)
	if err != nil {
		return err
	}
	return ix.Update(ctx, f)
}

// relist is locked for an f that changes the list of mailboxes and subscriptions.
func (a *Account) relist(ctx context.Context, f func(index.Tx) error) error {
	err := a.locked(ctx, f)
	if err == nil {
		a.tellListFollowers()
	}
	return err
}

// makeMailbox makes a mailbox unless there is one.
func (a *Account) makeMailbox(tx index.Tx, name, specialUse string) error {
	dir, err := a.mailboxDir(name)
	if err != nil {
		return err
	}
	if there, err := a.mailboxIn(dir); there || err != nil {
		return err
	}
	switch path, err := a.obstacle(dir); {
	case err != nil:
		return err
	case path != "":
		return fmt.Errorf("%w: %q, since %s is no directory", ErrName, name, path)
	}
	if err := a.fs.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create mailbox: %w", err)
	}
	if err := a.fs.WriteFile(filepath.Join(dir, "maildirfolder"), nil); err != nil {
		return fmt.Errorf("create mailbox: %w", err)
	}
	// A mailbox with messages has an identity, and it is a mailbox only once
	// it has a cur/: that comes last.
	if _, _, err := a.newIdentity(tx, dir, specialUse); err != nil {
		return fmt.Errorf("create mailbox: %w", err)
	}
	if err := a.makeMaildir(dir); err != nil {
		return fmt.Errorf("create mailbox: %w", err)
	}
	if err := a.fs.SyncDir(a.maildir()); err != nil {
		return fmt.Errorf("create mailbox: %w", err)
	}
	return nil
}

// DeleteMailbox removes a mailbox with its messages; those below it stay. INBOX
// cannot be deleted: ErrName.
func (a *Account) DeleteMailbox(ctx context.Context, name string) error {
	name, err := cleanName(name)
	if err != nil {
		return err
	}
	if name == inbox {
		return fmt.Errorf("%w: INBOX cannot be deleted", ErrName)
	}
	var trash, object string
	err = a.relist(ctx, func(tx index.Tx) error {
		dir, err := a.existing(name)
		if err != nil {
			return err
		}
		if trash, err = a.discard(dir); err != nil {
			return fmt.Errorf("delete mailbox: %w", err)
		}
		if m, err := tx.MailboxAt(a.relative(dir)); err == nil {
			object = m.Object
			v := &view{a: a, id: identity{object: object}}
			for _, path := range []string{v.cachePath(), v.summaryPath()} {
				if err := a.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
					a.log.Warn("deleted mailbox leaves a file behind", "path", path, "err", err)
				}
			}
			return tx.DeleteMailbox(m.ID)
		} else if !errors.Is(err, index.ErrNoMailbox) {
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := a.fs.RemoveAll(trash); err != nil {
		a.log.Warn("deleted mailbox leaves files behind", "dir", trash, "err", err)
	}
	if object != "" {
		a.removeJournals(object)
	}
	return nil
}

// discard moves a mailbox's directory, at one instant, to where nobody looks.
func (a *Account) discard(dir string) (trash string, err error) {
	parent := filepath.Join(a.private(), "trash")
	if err := a.fs.Mkdir(parent); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	var random [8]byte
	rand.Read(random[:])
	trash = filepath.Join(parent, hex.EncodeToString(random[:]))
	if err := a.fs.Rename(dir, trash); err != nil {
		return "", err
	}
	a.forget(dir)
	return trash, a.fs.SyncDir(a.maildir())
}

// forget cuts the view of a directory off, if there is one.
func (a *Account) forget(dir string) {
	a.mu.Lock()
	v := a.views[dir]
	a.mu.Unlock()
	if v != nil {
		v.cutOff()
	}
}

// RenameMailbox renames a mailbox and those below it. Renaming INBOX moves its
// messages and leaves it empty (RFC 9051 section 6.3.6), with its annotations, of
// which the new mailbox has a copy (RFC 5464 section 4.1). It fails with
// ErrNoMailbox, ErrMailboxExists and ErrName.
func (a *Account) RenameMailbox(ctx context.Context, from, to string) error {
	from, err := cleanName(from)
	if err != nil {
		return err
	}
	if to, err = cleanName(to); err != nil {
		return err
	}
	if strings.HasPrefix(to, from+separator) && from != inbox {
		return fmt.Errorf("%w: %q is below %q", ErrName, to, from)
	}
	if from == inbox {
		return a.renameInbox(ctx, to)
	}
	return a.relist(ctx, func(tx index.Tx) error {
		dirs, err := a.folders()
		if err != nil {
			return err
		}
		if dirs[from] == "" {
			return fmt.Errorf("%w: %q", ErrNoMailbox, from)
		}
		var names []string
		for name := range dirs {
			if name != from && !strings.HasPrefix(name, from+separator) {
				continue
			}
			target := to + name[len(from):]
			if _, err := cleanName(target); err != nil {
				return err
			}
			if dirs[target] != "" {
				return fmt.Errorf("%w: %q", ErrMailboxExists, target)
			}
			names = append(names, name)
		}
		for i, r := range to {
			if r == '/' {
				if err := a.makeMailbox(tx, to[:i], ""); err != nil {
					return err
				}
			}
		}
		// The one that was named goes last: whoever finds the old name after
		// a crash can say the same command again.
		slices.SortFunc(names, func(x, y string) int { return strings.Compare(y, x) })
		for _, name := range names {
			if err := a.renameDir(tx, dirs[name], filepath.Join(a.maildir(), folderDir(to+name[len(from):]))); err != nil {
				return fmt.Errorf("rename mailbox: %w", err)
			}
		}
		return nil
	})
}

func (a *Account) renameDir(tx index.Tx, from, to string) error {
	err := a.fs.Rename(from, to)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: there is something in the place of its directory", ErrName)
	}
	if err != nil {
		return err
	}
	a.forget(from)
	if err := a.fs.SyncDir(a.maildir()); err != nil {
		return err
	}
	m, err := tx.MailboxAt(a.relative(from))
	if errors.Is(err, index.ErrNoMailbox) {
		return nil
	}
	if err != nil {
		return err
	}
	m.Dir = a.relative(to)
	_, err = tx.PutMailbox(m)
	return err
}

func (a *Account) renameInbox(ctx context.Context, to string) error {
	if err := a.CreateMailbox(ctx, to, ""); err != nil {
		return err
	}
	if all, err := a.Metadata(ctx, inbox); err != nil {
		return err
	} else if len(all) > 0 {
		if _, err := a.SetMetadata(ctx, to, all); err != nil {
			return err
		}
	}
	m, err := a.Mailbox(ctx, inbox)
	if err != nil {
		return err
	}
	defer m.Close()
	s := m.Snapshot()
	uids := make([]uint32, s.Len())
	for i := range uids {
		uids[i] = s.At(i).UID
	}
	_, _, err = m.Move(ctx, uids, to)
	return err
}
