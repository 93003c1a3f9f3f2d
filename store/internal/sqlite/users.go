//go:build !plain

package sqlite

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Whoever has an index open shares a lock on a file beside it, PATH-users. Who wants
// to put the index aside needs that lock alone: a process that went on with the old
// file would give UIDs that the new index gives, too.
const usersSuffix = "-users"

// ErrInUse says that somebody has an index open.
var ErrInUse = errors.New("index is in use")

func openUsers(path string) (*os.File, error) {
	return os.OpenFile(path+usersSuffix, os.O_CREATE|os.O_RDWR, 0o600)
}

// joinUsers waits until nobody has the index alone.
func joinUsers(ctx context.Context, path string) (*os.File, error) {
	f, err := openUsers(path)
	if err != nil {
		return nil, err
	}
	for {
		err := flock(f, unix.LOCK_SH|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = nil
			select {
			case <-time.After(10 * time.Millisecond): // nobody has it alone for long
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
}

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Alone keeps everybody else, in this process too, from opening an index.
type Alone struct {
	path  string
	users *os.File // nil once it is shared or closed
}

// Lock takes the index at path for its caller alone, if nobody has it open: ErrInUse.
func Lock(path string) (*Alone, error) {
	f, err := openUsers(path)
	if err != nil {
		return nil, err
	}
	if err := flock(f, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, errors.Join(err, f.Close())
	}
	return &Alone{path: path, users: f}, nil
}

// Open is the package's Open for who is alone. The handle has to be closed before
// the lock is, or shared.
func (l *Alone) Open(ctx context.Context) (*DB, error) { return open(ctx, l.path) }

// Share makes d, which l has opened, a handle like any other, and lets others in.
func (l *Alone) Share(d *DB) error {
	if err := flock(l.users, unix.LOCK_SH); err != nil {
		return err
	}
	d.users, l.users = l.users, nil
	return nil
}

// Close gives the lock back. It does nothing after Share.
func (l *Alone) Close() error { return closeUsers(l.users) }

func closeUsers(f *os.File) error {
	if f == nil {
		return nil
	}
	if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
		return err
	}
	return nil
}
