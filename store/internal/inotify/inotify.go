// Package inotify has Linux report changes of names in directories.
package inotify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Instance is an inotify instance, see inotify(7). Linux has only so many for all
// programs of a user, 128 unless told otherwise, and so many directories in all of
// them together. Add, Remove and Close must not be called at the same time; Run is
// called once and runs beside them.
type Instance struct {
	f  *os.File
	fd int
}

// Event says that something happened in a directory that is watched.
type Event struct {
	Watch    int    // the directory, as Add named it
	Name     string // in it; empty where it is about the directory itself
	IsDir    bool   // the name is that of a directory
	Ended    bool   // it is not watched any more: it is gone, or Remove was called
	Overflow bool   // events were lost, of any directory; the fields above mean nothing
}

// New makes an instance: EMFILE where the system has no more to give.
func New() (*Instance, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	return &Instance{f: os.NewFile(uintptr(fd), "inotify"), fd: fd}, nil
}

// Add watches for names that come, go and change in a directory. A directory that
// is watched has one number, whatever paths lead to it; numbers are not used again.
func (i *Instance) Add(dir string) (watch int, err error) {
	const mask = unix.IN_ONLYDIR | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE_SELF
	for {
		watch, err = unix.InotifyAddWatch(i.fd, dir, mask)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return 0, &os.PathError{Op: "inotify_add_watch", Path: dir, Err: err}
	}
	return watch, nil
}

// Remove ends a watch. It does not matter if it has ended by itself.
func (i *Instance) Remove(watch int) {
	_, _ = unix.InotifyRmWatch(i.fd, uint32(watch))
}

// Close ends Run.
func (i *Instance) Close() error { return i.f.Close() }

// Run calls f for each event until Close, when it returns nil, or an error.
func (i *Instance) Run(f func(Event)) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := i.f.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		for rest := buf[:n]; len(rest) >= unix.SizeofInotifyEvent; {
			// struct inotify_event: wd, mask, cookie, len, name
			mask := binary.NativeEndian.Uint32(rest[4:])
			size := min(unix.SizeofInotifyEvent+int(binary.NativeEndian.Uint32(rest[12:])), len(rest))
			f(Event{
				Watch:    int(int32(binary.NativeEndian.Uint32(rest))),
				Name:     string(bytes.TrimRight(rest[unix.SizeofInotifyEvent:size], "\x00")),
				IsDir:    mask&unix.IN_ISDIR != 0,
				Ended:    mask&unix.IN_IGNORED != 0,
				Overflow: mask&unix.IN_Q_OVERFLOW != 0,
			})
			rest = rest[size:]
		}
	}
}
