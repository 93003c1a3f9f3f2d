//go:build !plain

package sqlite

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// writeLock lets writers in one after the other. SQLite has a lock of its own, but
// waits for it by trying again and again, so that among busy writers one can wait
// for ever. The kernel's lock has a queue, and dies with the process that holds it.
type writeLock struct {
	f    *os.File
	turn chan struct{} // among the users of this handle: has one element when free, is closed with the lock
}

func newWriteLock(path string) (*writeLock, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	l := &writeLock{f: f, turn: make(chan struct{}, 1)}
	l.turn <- struct{}{}
	return l, nil
}

// acquire waits for the lock until ctx ends.
func (l *writeLock) acquire(ctx context.Context) error {
	select {
	case _, ok := <-l.turn:
		if !ok {
			return fs.ErrClosed
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	locked := make(chan error, 1)
	// A lock that nobody waits for any more is given back at once.
	go func() { locked <- l.flock(unix.LOCK_EX) }()
	select {
	case err := <-locked:
		if err != nil {
			l.turn <- struct{}{}
		}
		return err
	case <-ctx.Done():
		go func() {
			if <-locked == nil {
				l.release()
			} else {
				l.turn <- struct{}{}
			}
		}()
		return ctx.Err()
	}
}

func (l *writeLock) flock(how int) error {
	for {
		err := unix.Flock(int(l.f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (l *writeLock) release() {
	_ = l.flock(unix.LOCK_UN) // closing the file would do it as well
	l.turn <- struct{}{}
}

// close waits for whoever has the lock. Who comes later gets fs.ErrClosed.
func (l *writeLock) close() error {
	if _, ok := <-l.turn; !ok {
		return nil
	}
	close(l.turn) // nobody else can be sending: we have the turn
	return l.f.Close()
}
