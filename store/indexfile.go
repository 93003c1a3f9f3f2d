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

// An index that is damaged is put aside, and a new one made: it is a cache, apart from
// UIDs, change numbers and some keywords, and a damaged one could give UIDs twice.
// Only who is alone with it may do that (see package sqlite). A handle in which
// damage shows is closed, with all views that were made from it, and a mark is left
// beside the index; the next to need it, in whatever process, looks at the whole of it.

// damagedSuffix and a time are behind the name of an index that was put aside.
const damagedSuffix = ".damaged-"

// suspectSuffix is behind the name of the mark.
const suspectSuffix = "-suspect"

func (a *Account) indexPath() string { return filepath.Join(a.private(), "index.db") }

// index opens the index when it is first needed. It fails with ErrIndexInUse where
// the index is damaged, and others have it open.
func (a *Account) index(ctx context.Context) (index.Index, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return nil, fs.ErrClosed
	case a.ix != nil:
		return a.ix, nil
	}
	if err := a.fs.Mkdir(a.private()); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("open index: %w", err)
	}
	ix, err := a.openIndex(ctx)
	if errors.Is(err, sqlite.ErrDamaged) {
		ix, err = a.renewIndex(ctx, false)
	}
	if err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	return a.useLocked(ix), nil
}

// useLocked makes an index that was opened the account's. It must be called with a.mu
// held.
func (a *Account) useLocked(ix *sqlite.DB) *guardedIndex {
	g := &guardedIndex{Index: ix, a: a}
	a.ix, a.ixInode, a.suspect = g, a.indexInode(), false
	return g
}

// indexInode is that of the index's file, 0 if there is none.
func (a *Account) indexInode() uint64 { return a.inode(a.indexPath()) }

func (a *Account) inode(path string) uint64 {
	info, err := a.fs.Stat(path)
	if err != nil {
		return 0
	}
	return info.Inode
}

// Current says whether the account is still in its directory, with the index that is
// open, if one is. Who keeps an account open without using it has to ask before using
// it again: meanwhile somebody may have removed the account or its index, or put a
// backup in its place.
func (a *Account) Current() bool {
	a.mu.Lock()
	open, inode := a.ix != nil, a.ixInode
	a.mu.Unlock()
	if a.dirInode == 0 || a.dirInode != a.inode(a.dir) {
		return false
	}
	return !open || inode != 0 && inode == a.indexInode()
}

func (a *Account) openIndex(ctx context.Context) (*sqlite.DB, error) {
	if a.suspect {
		return nil, sqlite.ErrDamaged
	}
	switch _, err := a.fs.Stat(a.indexPath() + suspectSuffix); {
	case err == nil:
		return nil, sqlite.ErrDamaged
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return sqlite.Open(ctx, a.indexPath())
}

// guardedIndex gives up a handle in which damage shows.
type guardedIndex struct {
	index.Index
	a *Account
}

func (g *guardedIndex) View(ctx context.Context, f func(index.Tx) error) error {
	return g.judge(g.Index.View(ctx, f))
}

func (g *guardedIndex) Update(ctx context.Context, f func(index.Tx) error) error {
	return g.judge(g.Index.Update(ctx, f))
}

func (g *guardedIndex) judge(err error) error {
	if !errors.Is(err, sqlite.ErrDamaged) {
		return err
	}
	if cerr := g.a.dropIndex(g, true); cerr != nil {
		g.a.log.Warn("damaged index is not closed", "dir", g.a.dir, "err", cerr)
	}
	return err
}

// dropIndex closes a handle; the next use opens another. Sessions are told that their
// mailboxes are gone: what they were shown came from that index.
func (a *Account) dropIndex(ix index.Index, suspect bool) error {
	a.mu.Lock()
	if a.ix != ix || ix == nil {
		a.mu.Unlock()
		return nil
	}
	a.ix, a.suspect = nil, suspect
	if suspect {
		if err := a.fs.WriteFile(a.indexPath()+suspectSuffix, nil); err != nil {
			a.log.Warn("damaged index is not marked", "dir", a.dir, "err", err) // we know it
		}
	}
	for dir, v := range a.views {
		delete(a.views, dir)
		v.gone.Store(true)
		v.announce()
	}
	a.mu.Unlock()
	return ix.Close() // waits for those that are in a transaction
}

// renewIndex puts the index aside, if it is damaged or always is set, and opens a new
// one; otherwise it opens the one that is there. It must be called with a.mu held and
// without a handle.
func (a *Account) renewIndex(ctx context.Context, always bool) (*sqlite.DB, error) {
	alone, err := sqlite.Lock(a.indexPath())
	if errors.Is(err, sqlite.ErrInUse) {
		return nil, fmt.Errorf("%w; stop rtls-imapd and rtls-lda, or wait until they close it", ErrIndexInUse)
	}
	if err != nil {
		return nil, err
	}
	defer alone.Close()
	ix, err := alone.Open(ctx)
	reason := err
	if err == nil {
		if reason = damageOf(ctx, ix); reason == nil && !always {
			return a.share(alone, ix) // somebody else was faster
		}
		if err = a.keepIdentities(ctx, ix); err != nil {
			a.log.Warn("damaged index has no more to say", "dir", a.dir, "err", err)
		}
		if err = ix.Close(); err != nil {
			reason = errors.Join(reason, err)
		}
	}
	if reason != nil && !errors.Is(reason, sqlite.ErrDamaged) {
		return nil, reason
	}
	if err := a.putAside(reason); err != nil {
		return nil, fmt.Errorf("put index aside: %w", err)
	}
	if ix, err = alone.Open(ctx); err != nil {
		return nil, err
	}
	return a.share(alone, ix)
}

// share lets others in to an index that is as it should be.
func (a *Account) share(alone *sqlite.Alone, ix *sqlite.DB) (*sqlite.DB, error) {
	err := a.fs.Remove(a.indexPath() + suspectSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = alone.Share(ix)
	}
	if err != nil {
		return nil, errors.Join(err, ix.Close())
	}
	return ix, nil
}

// damageOf returns sqlite.ErrDamaged, with the first that is wrong, or what kept it
// from looking.
func damageOf(ctx context.Context, ix index.Checker) error {
	var found error
	err := ix.Damage(ctx, func(problem string) error {
		if found == nil {
			found = fmt.Errorf("%w: %s", sqlite.ErrDamaged, problem)
		}
		return nil
	})
	return errors.Join(err, found)
}

// putAside renames the index, for somebody to look at it, and makes that durable: an
// old index that came back would give UIDs that the new one has given.
func (a *Account) putAside(reason error) error {
	path := a.indexPath()
	aside := fmt.Sprintf("%s%s%d", path, damagedSuffix, a.clock().UnixNano())
	if reason != nil {
		a.log.Error("index is damaged, making a new one", "path", path, "aside", aside, "err", reason)
	}
	if err := a.fs.Rename(path, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// If it ends here, SQLite does not take the log for that of a new database: it
	// removes one that is beside an empty file.
	if err := a.fs.Rename(path+"-wal", aside+"-wal"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := a.fs.Remove(path + "-shm"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return a.fs.SyncDir(a.private())
}

// keepIdentities writes into the mailboxes what only a damaged index knows: who they
// are, and UIDs that their files do not cover. What makes no sense is passed over.
func (a *Account) keepIdentities(ctx context.Context, ix index.Index) error {
	dirs, err := a.folders()
	if err != nil {
		return err
	}
	var failed error
	for _, dir := range dirs {
		err := ix.View(ctx, func(tx index.Tx) error {
			m, err := a.recordOf(tx, dir)
			if err != nil {
				return err
			}
			if !isObject(m.Object) || m.UIDValidity == 0 || m.UIDNext == 0 || m.UIDNext > freed-uidReserve {
				return nil
			}
			id, err := a.readIdentity(dir)
			switch {
			case err == nil:
				return a.reserve(dir, &id, m.UIDNext)
			case errors.Is(err, fs.ErrNotExist) || errors.Is(err, errIdentity):
				return a.writeIdentity(dir, identity{object: m.Object, uidValidity: m.UIDValidity, uidNext: m.UIDNext})
			}
			return err
		})
		if err != nil && !errors.Is(err, index.ErrNoMailbox) {
			failed = err
		}
	}
	return failed
}

// Rebuild makes a new index from the Maildir and puts the old one aside. Mailboxes
// keep their identity, messages get new UIDs above all that were given, and keywords
// that are letters in file names stay. It fails with ErrIndexInUse while others have
// the index open. Mailboxes that are open through a are gone after it.
func (a *Account) Rebuild(ctx context.Context, opt CheckOptions) error {
	a.mu.Lock()
	old := a.ix
	a.mu.Unlock()
	if err := a.dropIndex(old, false); err != nil {
		return fmt.Errorf("rebuild index: %w", err)
	}
	if err := a.renew(ctx); err != nil {
		return fmt.Errorf("rebuild index: %w", err)
	}
	c := newChecker(a, opt, true)
	if err := c.fill(ctx); err != nil {
		return fmt.Errorf("rebuild index: %w", err)
	}
	return nil
}

// renew is renewIndex for Rebuild.
func (a *Account) renew(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return fs.ErrClosed
	}
	if a.ix != nil {
		return fmt.Errorf("%w: in this process", ErrIndexInUse)
	}
	if err := a.fs.Mkdir(a.private()); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	ix, err := a.renewIndex(ctx, true)
	if err != nil {
		return err
	}
	a.useLocked(ix)
	return nil
}
