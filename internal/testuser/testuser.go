// Package testuser has tests that root runs work as another user, since no mail is
// delivered as root.
package testuser

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// ID is the user and the group that tests work as: nobody.
const ID = 65534

// Become makes the process, and what it starts, that user's until the test has ended;
// where it is not root's it does nothing. The user gets the directories, which
// t.TempDir has made, with all that is in them. No other test may run meanwhile.
func Become(t testing.TB, dirs ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	for _, dir := range dirs {
		if err := give(dir); err != nil {
			t.Fatal(err)
		}
	}
	groups, err := syscall.Getgroups()
	if err == nil {
		err = change([]int{ID}, ID)
	}
	t.Cleanup(func() {
		if err := errors.Join(syscall.Setresuid(0, 0, 0), change(groups, 0)); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// change leaves root as the saved user: what is started does not inherit that.
func change(groups []int, id int) error {
	err := syscall.Setgroups(groups)
	if err == nil {
		err = syscall.Setresgid(id, id, 0)
	}
	if err == nil {
		err = syscall.Setresuid(id, id, 0)
	}
	return err
}

// give hands over a directory, and the one that it is in: t.TempDir lets nobody else
// into it, and makes more there.
func give(dir string) error {
	if parent := filepath.Dir(dir); parent != filepath.Clean(os.TempDir()) {
		if err := os.Chown(parent, ID, ID); err != nil {
			return err
		}
	}
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, ID, ID)
	})
}
