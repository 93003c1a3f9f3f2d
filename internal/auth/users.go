// Package auth knows the users and whether a password is theirs.
package auth

import (
	"bytes"
	"context"
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
// which is how Dovecot writes it, too. What follows the hash behind another colon
// is passed over, and so are empty lines and those that start with "#". Where a
// name stands twice the first line counts. A hash that starts with "!" or "*", or
// an empty one, fits no password. The file is read again when it has changed.
//
// Users is safe for concurrent use, by any number of processes at once.
type Users struct {
	path  string
	cost  cost          // of passwords that are set
	turns chan struct{} // a token for each computation that goes on
	clock func() time.Time

	mu    sync.Mutex // guards what follows
	text  []byte     // the file; never modified, only replaced
	stamp stamp      // of the file that text came from
	decoy hash       // costs what a user's hash in text costs

	settled proofs
}

// Open returns the users in the file at path. It reads nothing yet.
func Open(path string) *Users {
	return &Users{
		path:  path,
		cost:  defaultCost,
		turns: make(chan struct{}, runtime.GOMAXPROCS(0)),
		clock: time.Now,
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
	info, err := os.Stat(u.path)
	if err != nil {
		return nil, hash{}, u.explain(err)
	}
	if u.text != nil && stampOf(info) == u.stamp {
		return u.text, u.decoy, nil
	}
	text, info, err := read(u.path)
	if err != nil {
		return nil, hash{}, u.explain(err)
	}
	u.text, u.stamp = text, stampOf(info)
	u.decoy = decoyFor(text, u.cost)
	return u.text, u.decoy, nil
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

// Verify says whether password is the user's. For a user that does not exist, or
// has no password, it takes the time that a wrong password takes. The number of
// computations at one time is bounded, since each takes tens of MiB; ctx ends the
// wait for a turn. The error is for a file that Known fails on, and for a line that
// holds no hash of ours.
func (u *Users) Verify(ctx context.Context, name, password string) (bool, error) {
	c, err := u.credential(name)
	if err != nil || ValidPassword(password) != nil { // which is nobody's
		return false, err
	}
	if c.known && u.settled.has(u.clock(), c.name, c.field, password) {
		return true, nil
	}
	match, err := u.compute(ctx, c.hash, password)
	if err != nil || !c.known || !match {
		return false, err
	}
	u.settled.add(u.clock(), c.name, c.field, password)
	return true, nil
}

// recall says whether the password was right a short while ago, and still is.
func (u *Users) recall(name, password string) (bool, error) {
	c, err := u.credential(name)
	return err == nil && c.known && u.settled.has(u.clock(), c.name, c.field, password), err
}

// credential is what a password is held against.
type credential struct {
	hash
	name  string
	field string // the hash as it stands in the file
	known bool   // else hash is the decoy
}

func (u *Users) credential(name string) (credential, error) {
	text, decoy, err := u.current()
	if err != nil {
		return credential{}, err
	}
	rest, line, ok := find(text, name)
	field, _, _ := bytes.Cut(rest, []byte(":"))
	if !ok || len(field) == 0 || field[0] == '!' || field[0] == '*' {
		return credential{hash: decoy, name: name}, nil
	}
	h, err := parseHash(string(field))
	if err != nil {
		return credential{}, fmt.Errorf("user database: %s:%d: %w", u.path, line, err)
	}
	return credential{h, name, string(field), true}, nil
}

// compute waits for a turn and compares.
func (u *Users) compute(ctx context.Context, h hash, password string) (bool, error) {
	select {
	case u.turns <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-u.turns }()
	return h.fits(password), nil
}
