// Package auth knows the users and whether a password is theirs.
package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"rtls/internal/config"
)

// Users is the user database: a file with one line per user,
//
//	name:{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>
//
// which is how Dovecot writes it, too. What follows the hash is described at Lookup
// and at entry. Empty lines and those that start with "#" are passed over. Where a
// name stands twice the first line counts. A hash that starts with "*", or an empty
// one, fits no password; with "!" in front of the hash the user cannot log in by any
// means. The file is read again when it has changed.
//
// Users is safe for concurrent use, by any number of processes at once.
type Users struct {
	// NoScram leaves what SCRAM takes out of passwords that are set.
	NoScram bool
	// UID and GID are whose a file is that has to be made; UID 0: its maker's.
	UID, GID int

	path       string
	cost       cost          // of passwords that are set
	iterations int           // of SCRAM, of the same
	turns      chan struct{} // a token for each computation that goes on
	clock      func() time.Time

	mu    sync.Mutex // guards what follows
	text  []byte     // the file; never modified, only replaced
	stamp stamp      // of the file that text came from
	decoy hash       // costs what a user's hash in text costs
	ready *bool      // see scramReady; nil: not looked at yet

	settled proofs
}

// Open returns the users in the file at path. It reads nothing yet.
func Open(path string) *Users {
	return &Users{
		path:       path,
		cost:       defaultCost,
		iterations: scramIterations,
		turns:      make(chan struct{}, runtime.GOMAXPROCS(0)),
		clock:      time.Now,
	}
}

// stamp tells versions of the file apart. The change time is in it for those who
// write into the file within one tick of the modification time.
type stamp struct {
	dev, ino         uint64
	size             int64
	modified, change time.Time
}

func stampOf(info fs.FileInfo) stamp {
	s := stamp{size: info.Size(), modified: info.ModTime()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.dev, s.ino = sys.Dev, sys.Ino
		s.change = time.Unix(sys.Ctim.Unix())
	}
	return s
}

// current returns the file's text and its decoy, read anew if the file has changed.
func (u *Users) current() ([]byte, hash, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.refreshLocked(); err != nil {
		return nil, hash{}, err
	}
	return u.text, u.decoy, nil
}

// refreshLocked must be called with mu held.
func (u *Users) refreshLocked() error {
	info, err := os.Stat(u.path)
	if err != nil {
		return u.explain(err)
	}
	if u.text != nil && stampOf(info) == u.stamp {
		return nil
	}
	text, info, err := read(u.path)
	if err != nil {
		return u.explain(err)
	}
	u.text, u.stamp, u.ready = text, stampOf(info), nil
	u.decoy = decoyFor(text, u.cost)
	return nil
}

func (u *Users) explain(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there are no users yet; add one with rtls-imapd user add NAME: %w", err)
	}
	return fmt.Errorf("user database: %w", err)
}

// ErrPermissions says that group or others may read the user database.
var ErrPermissions = errors.New("open to group or others")

// maxFile is where a user database stops being one; a million users fit.
const maxFile = 256 << 20

// read returns a user database and what it was when it was read.
func read(path string) ([]byte, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // not to wait for a FIFO's writer
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("%s is not a file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, nil, fmt.Errorf("%s is %w; run chmod 600 %[1]s", path, ErrPermissions)
	case info.Size() > maxFile:
		return nil, nil, fmt.Errorf("%s is too large: %d octets", path, info.Size())
	}
	text := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	_, err = text.ReadFrom(io.LimitReader(f, maxFile))
	return text.Bytes(), info, err
}

// find returns what stands behind the name in the name's line, and the number of
// the line. It searches the text as it is: for a delivery, which asks once, that is
// a fraction of the time that a table takes to make.
func find(text []byte, name string) (rest []byte, line int, ok bool) {
	if config.ValidUser(name) != nil || name[0] == '#' {
		return nil, 0, false
	}
	key := []byte(name + ":")
	at := 0
	if !bytes.HasPrefix(text, key) {
		at = bytes.Index(text, append([]byte("\n"), key...)) + 1
		if at == 0 {
			return nil, 0, false
		}
	}
	rest, _, _ = bytes.Cut(text[at+len(key):], []byte("\n"))
	return bytes.TrimSuffix(rest, []byte("\r")), bytes.Count(text[:at], []byte("\n")) + 1, true
}

// Known says whether there is such a user. The error is for a file that cannot be
// read or is open to group or others (ErrPermissions); its text says what to do.
// It wraps fs.ErrNotExist where there is no file.
func (u *Users) Known(name string) (bool, error) {
	text, _, err := u.current()
	if err != nil {
		return false, err
	}
	_, _, ok := find(text, name)
	return ok, nil
}
