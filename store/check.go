package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rtls/store/internal/index"
	"rtls/store/internal/sqlite"
	"rtls/store/internal/vfs"
)

// Kinds of findings.
const (
	KindAccess     = "access"     // permissions or owner are not the account's
	KindLeftover   = "leftover"   // of something that was cut off
	KindDirectory  = "directory"  // a mailbox's directory lacks something, or cannot be a mailbox
	KindIdentity   = "identity"   // a mailbox does not know who it is
	KindStranger   = "stranger"   // what is in cur/ or new/ and is no file
	KindUnreadable = "unreadable" // a message cannot be read
	KindName       = "name"       // a message's name says what is not true
	KindAltered    = "altered"    // a message's octets are not those that its tag is bound to
	KindDuplicate  = "duplicate"  // two files have one key
	KindIndex      = "index"      // the index says what is not true, or is damaged
	KindView       = "view"       // a packed view is damaged
	KindMetadata   = "metadata"   // a file of annotations is damaged
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Kind    string `json:"kind"`
	Path    string `json:"path"` // below the account's directory
	Mailbox string `json:"mailbox,omitempty"`
	UID     uint32 `json:"uid,omitempty"`
	Key     Key    `json:"key,omitempty"`
	Text    string `json:"text"`             // what is wrong
	Repair  string `json:"repair,omitempty"` // what Repair does about it; empty: nothing
	Fixed   bool   `json:"fixed"`            // Repair has done that
}

// CheckOptions configure Check, Repair and Rebuild. All may be left out.
type CheckOptions struct {
	// Found is told each finding. An error ends the check, which returns it. It must
	// not use the account.
	Found func(Finding) error
	// Progress is told, now and then, how many of the messages have been read; of
	// Rebuild, how many mailboxes are in the new index.
	Progress func(done, total int)
}

// staleAfter is how old has to be what is left in tmp/ before it can be removed, as
// Maildir has it. Nothing of it was ever acknowledged.
const staleAfter = 36 * time.Hour

// Check reads all of the account and reports what is wrong with it. It changes
// nothing, and sessions and deliveries can go on: what is in motion is looked at
// again, and what the next session puts right by itself is none of its findings. Its
// memory is that of the names of the largest mailbox.
func (a *Account) Check(ctx context.Context, opt CheckOptions) error {
	if err := newChecker(a, opt, false).run(ctx); err != nil {
		return fmt.Errorf("check account: %w", err)
	}
	return nil
}

// Repair is Check, and puts right what it can. It removes no message: at most it gives
// one another name, or moves what is no message to .rtls/aside/. UIDs stay, unless the
// index itself is damaged; then it is made anew, see Rebuild. Findings that it could
// not fix are reported as such; the error is the first that kept it from that.
func (a *Account) Repair(ctx context.Context, opt CheckOptions) error {
	c := newChecker(a, opt, true)
	if err := errors.Join(c.run(ctx), c.failed); err != nil {
		return fmt.Errorf("repair account: %w", err)
	}
	return nil
}

// checker is one Check, Repair or Rebuild.
type checker struct {
	a      *Account
	opt    CheckOptions
	repair bool
	owner  uint32
	ix     index.Index // nil: there is none that can be asked
	dirs   []mailboxDir
	known  map[string]string // directory of each mailbox identity
	done   int
	total  int
	failed error // of the first repair that failed
}

// mailboxDir is a mailbox and its directory.
type mailboxDir struct{ name, dir string }

func newChecker(a *Account, opt CheckOptions, repair bool) *checker {
	if opt.Found == nil {
		opt.Found = func(Finding) error { return nil }
	}
	if opt.Progress == nil {
		opt.Progress = func(int, int) {}
	}
	return &checker{a: a, opt: opt, repair: repair, known: make(map[string]string)}
}

func (c *checker) run(ctx context.Context) error {
	info, err := c.a.fs.Stat(c.a.dir)
	if err != nil {
		return err
	}
	c.owner = info.Owner
	for _, step := range []func(context.Context) error{
		c.checkPrivate, c.checkIndexFile, c.checkFolders, c.checkMailboxes, c.checkAccountMetadata, c.checkRecords, c.checkPrivateLeftovers,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// errChanged says that a finding is none any more.
var errChanged = errors.New("changed meanwhile")

// found reports a finding. fix does what its Repair says, unless that is empty.
func (c *checker) found(ctx context.Context, f Finding, fix func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.repair && fix != nil && f.Repair != "" {
		err := fix()
		switch {
		case errors.Is(err, errChanged) || errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil && (ctx.Err() != nil || errors.Is(err, sqlite.ErrDamaged)):
			return err
		case err != nil:
			f.Text += fmt.Sprintf(" (cannot be repaired: %v)", err)
			if c.failed == nil {
				c.failed = err
			}
		default:
			f.Fixed = true
		}
	}
	if rel, err := filepath.Rel(c.a.dir, f.Path); err == nil {
		f.Path = rel
	}
	return c.opt.Found(f)
}

func (c *checker) step() {
	c.done++
	if c.done%64 == 0 || c.done >= c.total {
		c.opt.Progress(c.done, max(c.done, c.total))
	}
}

// locked runs f while no program of ours changes the set of mailboxes or moves
// messages to cur/.
func (c *checker) locked(ctx context.Context, f func() error) error {
	if c.ix == nil {
		return f() // and so nobody can use it
	}
	return c.ix.Update(ctx, func(index.Tx) error { return f() })
}

// access looks at permissions and owner of what is the account's.
func (c *checker) access(ctx context.Context, path, mailbox string, info vfs.Info) error {
	want := info.Mode.Perm()&^0o077 | 0o600
	if info.Mode.IsDir() {
		want = 0o700
	}
	if info.Mode.Perm() != want {
		f := Finding{Kind: KindAccess, Path: path, Mailbox: mailbox,
			Text: fmt.Sprintf("has permissions %04o", info.Mode.Perm()), Repair: fmt.Sprintf("set them to %04o", want)}
		if err := c.found(ctx, f, func() error { return c.a.fs.Chmod(path, want) }); err != nil {
			return err
		}
	}
	if info.Owner == c.owner {
		return nil
	}
	return c.found(ctx, Finding{Kind: KindAccess, Path: path, Mailbox: mailbox,
		Text: fmt.Sprintf("belongs to user %d and not to %d, whose account it is; chown it", info.Owner, c.owner)}, nil)
}

// lookAt is access of a path, which need not be there.
func (c *checker) lookAt(ctx context.Context, path, mailbox string) error {
	info, err := c.a.fs.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return c.access(ctx, path, mailbox, info)
}

// checkPrivate looks at .rtls/ and Maildir/ themselves.
func (c *checker) checkPrivate(ctx context.Context) error {
	a := c.a
	for _, path := range []string{
		a.private(), a.onceDir(), filepath.Join(a.private(), "views"), filepath.Join(a.private(), "summaries"), filepath.Join(a.private(), "trash"),
		a.indexPath(), a.indexPath() + "-wal", a.indexPath() + "-shm", a.indexPath() + "-lock", a.indexPath() + "-users",
	} {
		if err := c.lookAt(ctx, path, ""); err != nil {
			return err
		}
	}
	return nil
}

// checkFolders finds the mailboxes, and directories that should be some.
func (c *checker) checkFolders(ctx context.Context) error {
	names, err := c.a.fs.Names(c.a.maildir())
	if err != nil {
		return fmt.Errorf("list mailboxes: %w", err)
	}
	slices.Sort(names)
	for _, n := range names {
		if len(n) > 1 && n[0] == '.' {
			if err := c.checkFolder(ctx, filepath.Join(c.a.maildir(), n)); err != nil {
				return err
			}
		}
	}
	dirs, err := c.a.folders()
	if err != nil {
		return err
	}
	for _, n := range names {
		dir := filepath.Join(c.a.maildir(), n)
		if len(n) < 2 || n[0] != '.' || !c.a.isMailbox(dir) {
			continue
		}
		text := ""
		if name, err := folderName(n); err != nil {
			text = fmt.Sprintf("cannot be the name of a mailbox: %v; rename it", err)
		} else if other := dirs[name]; other != "" && other != dir {
			text = fmt.Sprintf("has the mailbox name of %s, and nobody sees it; rename it", filepath.Base(other))
		}
		if text != "" {
			if err := c.found(ctx, Finding{Kind: KindDirectory, Path: dir, Text: text}, nil); err != nil {
				return err
			}
		}
	}
	for name, dir := range dirs {
		c.dirs = append(c.dirs, mailboxDir{name, dir})
		listed, err := (&view{a: c.a, dir: dir}).list(false, nil)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		c.total += len(listed)
	}
	slices.SortFunc(c.dirs, func(x, y mailboxDir) int { return strings.Compare(x.dir, y.dir) })
	return nil
}

// checkFolder looks whether a directory below Maildir/ is, or was, a mailbox.
func (c *checker) checkFolder(ctx context.Context, dir string) error {
	info, err := c.a.fs.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode.IsRegular() {
		return nil
	}
	switch path, err := c.a.obstacle(dir); {
	case err != nil:
		return err
	case path != "":
		f := Finding{Kind: KindDirectory, Path: path, Text: "is no directory, and links are not followed: nobody sees what is behind it"}
		return c.found(ctx, f, nil)
	case c.a.isMailbox(dir):
		return nil
	}
	half := func() error {
		if c.a.isMailbox(dir) {
			return errChanged
		}
		for _, mark := range []string{identityFile, "maildirfolder", "new"} {
			if _, err := c.a.fs.Stat(filepath.Join(dir, mark)); err == nil {
				return nil
			}
		}
		return errChanged // notmuch and others keep such directories too
	}
	if half() != nil || c.locked(ctx, half) != nil {
		return nil
	}
	f := Finding{Kind: KindDirectory, Path: dir, Text: "is a mailbox without cur/", Repair: "make it"}
	return c.found(ctx, f, func() error {
		return c.locked(ctx, func() error { return c.a.makeMaildir(dir) })
	})
}
