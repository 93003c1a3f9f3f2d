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
	if err := ValidName(name); err != nil {
		return err
	}
	if err := ValidPassword(password); err != nil {
		return err
	}
	line := name + ":" + newHash(u.cost, password).String() + "\n" // outside the lock: it takes its time
	path, err := resolve(u.path)
	if err != nil {
		return fmt.Errorf("user database: %w", err)
	}
	if err := appendLine(path, name, line); err != nil {
		return fmt.Errorf("user database: %w", err)
	}
	return nil
}

// resolve follows a symbolic link, which must not be replaced by a file.
func resolve(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	return real, err
}

// appendLine appends a line to the file at path, which is replaced as a whole. The lock is
// the directory's, so that nothing is left lying around.
func appendLine(path, name, line string) (err error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close() // which gives the lock back
	if err := lock(dir); err != nil {
		return fmt.Errorf("lock %s: %w", dir.Name(), err)
	}
	text, info, err := read(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, _, ok := find(text, name); ok {
		return fmt.Errorf("user %s: %w", name, fs.ErrExist)
	}
	if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
		text = append(text, '\n')
	}
	if err := replace(path, append(text, line...), info); err != nil {
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

// replace writes a file beside path, durably, and puts it in its place. old is the
// file that it replaces, nil for none; its owner is kept.
func replace(path string, text []byte, old fs.FileInfo) (err error) {
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
	if err := keepOwner(f, old); err != nil {
		return err
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

func keepOwner(f *os.File, old fs.FileInfo) error {
	if old == nil {
		return nil
	}
	was, ok := old.Sys().(*syscall.Stat_t)
	if !ok || int(was.Uid) == os.Geteuid() && int(was.Gid) == os.Getegid() {
		return nil
	}
	return f.Chown(int(was.Uid), int(was.Gid))
}
