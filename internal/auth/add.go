package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"rtls/internal/config"
	"rtls/internal/scram"
	"rtls/internal/users"
)

// ValidName says whether a user can have that name: what config.ValidUser says, and
// no "#" in front, which would make a comment of the user's line.
func ValidName(name string) error {
	if err := config.ValidUser(name); err != nil {
		return err
	}
	if name[0] == '#' {
		return fmt.Errorf("user name %q starts with %q", name, "#")
	}
	return nil
}

// Add makes a user, durably, while other processes may do the same. The file is
// made if there is none; its directory has to exist. It fails with fs.ErrExist for
// a name that is there. On error the file is as it was, but for one of the
// directory's fsync, after which the user may be there or not.
func (u *Users) Add(name, password string) error {
	e := entry{name: name}
	if err := ValidPassword(password); err != nil {
		return err
	}
	if err := u.setPassword(&e, password); err != nil {
		return err
	}
	return u.add(e)
}

// AddWithout is Add for a user who logs in by other means than a password of the
// file.
func (u *Users) AddWithout(name string) error {
	return u.add(entry{name: name, fields: []string{"*"}})
}

func (u *Users) add(e entry) error {
	if err := ValidName(e.name); err != nil {
		return err
	}
	return u.edit(func(text []byte) ([]byte, error) {
		if _, _, ok := users.Find(text, e.name); ok {
			return nil, fmt.Errorf("user %s: %w", e.name, fs.ErrExist)
		}
		if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
			text = append(text, '\n')
		}
		return append(text, e.String()+"\n"...), nil
	})
}

// setPassword puts the hash and what SCRAM takes into a line. It takes its time.
func (u *Users) setPassword(e *entry, password string) error {
	field := newHash(u.cost, password).String()
	e.set(fieldHash, field)
	e.setExtra(keyScram, none)
	if u.NoScram {
		return nil
	}
	s, err := u.saltOf(*e)
	if err != nil {
		return err
	}
	v, err := newVerifier(s, password)
	if err != nil {
		return err
	}
	e.setExtra(keyScram, none, keyScram+v.String()+","+sealOf(field))
	return nil
}

// saltOf returns the salt that a user's passwords have, or a new one: SCRAM takes the
// same for all.
func (u *Users) saltOf(e entry) (scram.Salting, error) {
	v, err := e.scram()
	if err != nil {
		return scram.Salting{}, err
	}
	if v != nil {
		return v.Salting, nil
	}
	apps, err := e.apps()
	if err != nil || len(apps) == 0 {
		return newSalting(u.iterations), err
	}
	return apps[0].check.Salting, nil
}

// resolve follows a symbolic link, which must not be replaced by a file.
func resolve(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	return real, err
}

// edit replaces the file by what change makes of it, which may modify the text that
// it gets, nil for no file. The lock is the directory's, so that nothing is left lying
// around.
func (u *Users) edit(change func(text []byte) ([]byte, error)) error {
	path, err := resolve(u.Path())
	if err != nil {
		return fmt.Errorf("user database: %w", err)
	}
	if err := u.editFile(path, change); err != nil {
		return fmt.Errorf("user database: %w", err)
	}
	return nil
}

func (u *Users) editFile(path string, change func(text []byte) ([]byte, error)) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close() // which gives the lock back
	if err := lock(dir); err != nil {
		return fmt.Errorf("lock %s: %w", dir.Name(), err)
	}
	text, info, err := users.Read(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if text, err = change(text); err != nil {
		return err
	}
	uid, gid := ownerOf(info)
	if info == nil && u.UID != 0 {
		uid, gid = u.UID, u.GID
	}
	if err := replace(path, text, uid, gid); err != nil {
		return err
	}
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir.Name(), err)
	}
	return nil
}

func lock(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// replace writes a file beside path, durably, and puts it in its place, as a file of
// uid and gid; -1 is for ours.
func replace(path string, text []byte, uid, gid int) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	defer f.Close()
	if uid >= 0 && (uid != os.Geteuid() || gid != os.Getegid()) {
		if err := f.Chown(uid, gid); err != nil {
			return err
		}
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// ownerOf is whose a file is, -1 for one that is not there.
func ownerOf(info fs.FileInfo) (uid, gid int) {
	if info == nil {
		return -1, -1
	}
	st := info.Sys().(*syscall.Stat_t)
	return int(st.Uid), int(st.Gid)
}
