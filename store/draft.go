package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"rtls/store/internal/vfs"
)

const writeLen = 64 << 10

// draft is the content of a message that is being delivered, once or several
// times.
type draft struct {
	temp   vfs.Temp
	buf    []byte
	sums   summer // of what was written
	failed error  // of a write: nothing can be committed any more

	mu       sync.Mutex // guards what follows, and finishing
	users    int        // deliveries that are not settled
	shared   bool       // there was more than one
	finished bool
	content  contentSum // once it is finished
	date     time.Time  // of the file; zero: when it was written
}

// wireSize is the size of the message on the wire.
func (f *draft) wireSize() int64 { return f.sums.size + f.sums.lines.bare }

func (f *draft) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.failed != nil:
		return 0, f.failed
	case f.finished:
		return 0, fs.ErrClosed
	}
	_, _ = f.sums.Write(p) // it does not fail
	for rest := p; len(rest) > 0; {
		if len(f.buf) == 0 && len(rest) >= writeLen {
			if err := f.write(rest); err != nil {
				return len(p) - len(rest), err
			}
			break
		}
		n := min(len(rest), writeLen-len(f.buf))
		f.buf = append(f.buf, rest[:n]...)
		rest = rest[n:]
		if len(f.buf) == writeLen {
			if err := f.flush(); err != nil {
				return len(p) - len(rest), err
			}
		}
	}
	return len(p), nil
}

func (f *draft) flush() error {
	err := f.write(f.buf)
	f.buf = f.buf[:0]
	return err
}

func (f *draft) write(p []byte) error {
	n, err := f.temp.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		f.failed = fmt.Errorf("write message: %w", err)
	}
	return f.failed
}

// finish makes the content durable, the first time that it is called: S1 to S2. An
// error is that of everybody who shares it.
func (f *draft) finish(date time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil || f.finished {
		return f.failed
	}
	if len(f.buf) > 0 {
		if err := f.flush(); err != nil {
			return err
		}
	}
	f.buf = nil
	if !date.IsZero() {
		if err := f.temp.SetTime(date); err != nil {
			f.failed = fmt.Errorf("set date of message: %w", err)
			return f.failed
		}
	}
	if err := f.temp.Finish(); err != nil {
		f.failed = fmt.Errorf("make message durable: %w", err)
		return f.failed
	}
	f.finished, f.date, f.content = true, date, f.sums.sum()
	return nil
}

// release gives up one delivery of the content; the last one forgets it.
func (f *draft) release() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.users--; f.users > 0 {
		return nil
	}
	f.buf = nil
	return f.temp.Close()
}

// Share starts a delivery of the same content to another mailbox, also one of
// another account: ErrNoMailbox. The content is written through any of the
// deliveries that share it, is made durable by the first Commit, and then nothing
// can be written any more. Each has a Commit and an Abort of its own, which do not
// concern the others. They are one file with several names where the file system
// lets them be; otherwise, and where dates differ, the content is copied.
func (d *Delivery) Share(ctx context.Context, a *Account, mailbox string) (*Delivery, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if d.settled {
		return nil, fs.ErrClosed
	}
	dir, err := a.deliveryDir(mailbox)
	if err != nil {
		return nil, err
	}
	if _, err = a.fs.Stat(filepath.Join(dir, "new")); errors.Is(err, fs.ErrNotExist) {
		if _, err = a.fs.Stat(dir); err == nil {
			err = a.makeMaildir(dir) // as in tempInMended
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %q", ErrNoMailbox, mailbox)
	}
	if err != nil {
		return nil, fmt.Errorf("start delivery: %w", err)
	}
	d.draft.mu.Lock()
	defer d.draft.mu.Unlock()
	d.draft.users++
	d.draft.shared = true
	return &Delivery{a: a, dir: dir, draft: d.draft}, nil
}

// place gives the finished content a name.
func (d *Delivery) place(meta Meta, path string) error {
	if meta.Date.Equal(d.draft.date) {
		err := d.draft.temp.Link(path)
		if !errors.Is(err, unix.EXDEV) && !errors.Is(err, unix.EMLINK) && !d.nameless(err, path) {
			return err
		}
	}
	own, err := d.copyDraft(meta.Date)
	if err != nil {
		return fmt.Errorf("copy message: %w", err)
	}
	err = own.Link(path)
	if cerr := own.Close(); err != nil {
		return errors.Join(err, cerr)
	}
	return nil // as with Commit's own Abort, what is left in tmp/ is no failure
}

// nameless says that a link failed because somebody who shares the file has taken
// its last name back: Linux gives such a file no other.
func (d *Delivery) nameless(err error, path string) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	d.draft.mu.Lock()
	defer d.draft.mu.Unlock()
	if !d.draft.shared {
		return false
	}
	_, err = d.a.fs.Stat(filepath.Dir(path))
	return err == nil
}

// copyDraft makes a durable file of the same content for this delivery alone.
func (d *Delivery) copyDraft(date time.Time) (own vfs.Temp, err error) {
	source, err := d.draft.temp.Open()
	if err != nil {
		return nil, err
	}
	defer source.Close()
	own, err = d.a.fs.Temp(filepath.Join(d.dir, "tmp"), string(d.a.names.key()))
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(own, io.NewSectionReader(source, 0, d.draft.content.fileSize))
	if err == nil && n != d.draft.content.fileSize {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && !date.IsZero() {
		err = own.SetTime(date)
	}
	if err == nil {
		err = own.Finish()
	}
	if err != nil {
		return nil, errors.Join(err, own.Close())
	}
	return own, nil
}
