package store

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"rtls/store/internal/index"
	"rtls/store/internal/vfs"
)

// Errors that callers branch on. They may come wrapped.
var (
	ErrNoAccount     = errors.New("no such account")
	ErrNoMailbox     = errors.New("no such mailbox")
	ErrNoMessage     = errors.New("no such message")
	ErrMailboxExists = errors.New("mailbox exists already")
	ErrName          = errors.New("mailbox name is not allowed")
	ErrPermissions   = errors.New("account is open to group or others")
	ErrIndexInUse    = errors.New("index is in use by others")
)

// Options configure an open account. The zero value works.
type Options struct {
	Clock    func() time.Time // default time.Now; never trusted for order or uniqueness
	Hostname string           // in file names; default os.Hostname
	Logger   *slog.Logger     // default: discard
	Quota    Quota            // default: no limit; see Account.SetQuota
	Watcher  *Watcher         // stays the caller's; default: one of the account's own
	Keep     int              // how many mailboxes stay in memory when nobody has them open; default: none

	fs vfs.FS // default vfs.OS
}

// Account is an open account. It is safe for concurrent use, by any number of
// processes at once.
type Account struct {
	dir      string
	dirInode uint64 // what dir was when it was opened
	fs       vfs.FS
	clock    func() time.Time
	names    *namer
	log      *slog.Logger
	quota    atomic.Pointer[Quota]
	keep     int // views that stay when they are not used

	annotated metadataLog

	followMu  sync.Mutex // guards what follows
	followers map[*Following]struct{}

	mu         sync.Mutex       // guards what follows
	ix         index.Index      // nil until it is needed
	ixInode    uint64           // of the file of ix
	suspect    bool             // the index was found to be damaged, see indexfile.go
	views      map[string]*view // open mailboxes, by directory, and those that are kept
	kept       []*view          // not open, the last one that was comes last; some may be gone
	watcher    *Watcher         // nil until it is needed
	ownWatcher bool
	closed     bool
}

func newAccount(dir string, opt *Options) *Account {
	var o Options
	if opt != nil {
		o = *opt
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Hostname == "" {
		o.Hostname, _ = os.Hostname()
	}
	if o.Hostname == "" {
		o.Hostname = "localhost"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.fs == nil {
		o.fs = vfs.OS{}
	}
	a := &Account{
		dir:   filepath.Clean(dir),
		fs:    o.fs,
		clock: o.Clock,
		names: newNamer(o.Clock, o.Hostname),
		log:   o.Logger,
		views: make(map[string]*view),
		keep:  o.Keep,

		followers: make(map[*Following]struct{}),

		watcher: o.Watcher,
	}
	a.SetQuota(o.Quota)
	return a
}

// Create makes the account in dir, with an INBOX, durable when it returns. The
// directory above has to exist. It fails with fs.ErrExist where there is an
// account; one that was left half made is completed.
func Create(dir string, opt *Options) error {
	a := newAccount(dir, opt)
	if _, err := a.fs.Stat(filepath.Join(a.maildir(), "cur")); err == nil {
		return fmt.Errorf("create account %s: %w", a.dir, fs.ErrExist)
	}
	for _, d := range []string{a.dir, a.private(), a.maildir()} {
		if err := a.fs.Mkdir(d); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("create account: %w", err)
		}
	}
	// cur/, which makes it an account, comes last.
	if err := a.makeMaildir(a.maildir()); err != nil {
		return fmt.Errorf("create account: %w", err)
	}
	for _, d := range []string{a.dir, filepath.Dir(a.dir)} {
		if err := a.fs.SyncDir(d); err != nil {
			return fmt.Errorf("create account: %w", err)
		}
	}
	return nil
}

// makeMaildir makes what is missing of a Maildir's directories, durably.
func (a *Account) makeMaildir(dir string) error {
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := a.fs.Mkdir(filepath.Join(dir, sub)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return a.fs.SyncDir(dir)
}

// Open opens the account in dir. It touches no index until a method needs it: a
// delivery does not. It fails with ErrNoAccount where there is none and with
// ErrPermissions where group or others may enter.
func Open(dir string, opt *Options) (*Account, error) {
	a := newAccount(dir, opt)
	info, err := a.fs.Stat(a.dir)
	if err == nil && !info.Mode.IsDir() {
		err = fs.ErrNotExist
	}
	if err == nil {
		_, err = a.fs.Stat(filepath.Join(a.maildir(), "cur"))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNoAccount, a.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open account: %w", err)
	}
	if path, err := a.obstacle(a.maildir()); err != nil || path != "" {
		return nil, fmt.Errorf("open account: %w", cmp.Or(err, fmt.Errorf("%s is no directory, and links are not followed", path)))
	}
	if info.Mode.Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s; chmod 700 it", ErrPermissions, a.dir)
	}
	a.dirInode = info.Inode
	return a, nil
}

// Close releases the account. Mailboxes and deliveries have to be closed before.
func (a *Account) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	a.closed = true
	var err error
	if a.ownWatcher {
		err = a.watcher.Close()
	}
	if a.ix == nil {
		return err
	}
	return errors.Join(err, a.ix.Close())
}

func (a *Account) maildir() string { return filepath.Join(a.dir, "Maildir") }

// private is the directory of what is not a message.
func (a *Account) private() string { return filepath.Join(a.dir, ".rtls") }

// CacheDir is the path of a directory, below .rtls/, for what somebody else keeps of
// the account's messages and can work out again. Nothing makes it, and nothing but
// Check looks at it: its permissions have to be those of the rest.
func (a *Account) CacheDir(name string) string { return filepath.Join(a.private(), name) }
