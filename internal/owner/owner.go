// Package owner makes a process that root has started work as the user whose files it
// touches. What root writes below a directory of somebody else, that user cannot use, and
// can lead elsewhere by a link.
package owner

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Of returns whose a file is. It follows links.
func Of(path string) (uid, gid int, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	st := info.Sys().(*syscall.Stat_t)
	return int(st.Uid), int(st.Gid), nil
}

// Become gives up root's rights for good, in all threads. Who is not root, or would
// become root, stays what they are.
func Become(uid, gid int) error {
	if os.Geteuid() != 0 || uid == 0 {
		return nil
	}
	if err := syscall.Setgroups([]int{gid}); err != nil {
		return fmt.Errorf("give up groups: %w", err)
	}
	if err := syscall.Setresgid(gid, gid, gid); err != nil {
		return fmt.Errorf("become group %d: %w", gid, err)
	}
	if err := syscall.Setresuid(uid, uid, uid); err != nil {
		return fmt.Errorf("become user %d: %w", uid, err)
	}
	if os.Geteuid() != uid || os.Getegid() != gid || syscall.Setuid(0) == nil {
		return errors.New("root's rights could not be given up")
	}
	return nil
}

// As calls f as another user, where root calls, and is root again behind it. It is for
// commands that do one thing at a time: the whole process changes.
func As(uid, gid int, f func() error) error {
	if os.Geteuid() != 0 || uid == 0 {
		return f()
	}
	groups, err := syscall.Getgroups()
	if err == nil {
		err = syscall.Setgroups([]int{gid})
	}
	if err == nil {
		err = syscall.Setresgid(-1, gid, -1)
	}
	if err == nil {
		err = syscall.Setresuid(-1, uid, -1)
	}
	if err == nil {
		err = f()
	}
	return errors.Join(err, syscall.Setresuid(-1, 0, -1), syscall.Setresgid(-1, 0, -1), syscall.Setgroups(groups))
}
