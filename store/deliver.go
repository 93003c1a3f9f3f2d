package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"rtls/store/internal/vfs"
)

// Meta is what is known of a message apart from its bytes.
type Meta struct {
	Tag      Tag
	Origin   Origin
	Flags    Flags
	Keywords []string  // kept only with Mailbox.Append
	Date     time.Time // internal date; zero means now
}

// Delivery is a message being written. It belongs to one goroutine.
type Delivery struct {
	a       *Account
	dir     string // of the mailbox
	temp    vfs.Temp
	buf     []byte
	size    int64
	lines   lineCounter
	failed  error // of a Write: nothing can be committed any more
	settled bool
}

var _ io.Writer = (*Delivery)(nil)

const writeLen = 64 << 10

// Deliver starts the delivery of a message into a mailbox (state S1). The
// mailbox has to exist: ErrNoMailbox.
func (a *Account) Deliver(ctx context.Context, mailbox string) (*Delivery, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dir, err := a.mailboxDir(mailbox)
	if err != nil {
		return nil, err
	}
	temp, err := a.fs.Temp(filepath.Join(dir, "tmp"), string(a.names.key()))
	if errors.Is(err, fs.ErrNotExist) {
		// tmp/ alone can be missing: backups and version control drop empty
		// directories.
		if temp, err = a.tempInMended(dir); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %q", ErrNoMailbox, mailbox)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("start delivery: %w", err)
	}
	return &Delivery{a: a, dir: dir, temp: temp}, nil
}

// tempInMended is Temp in a mailbox that lacks directories, but exists.
func (a *Account) tempInMended(dir string) (vfs.Temp, error) {
	if _, err := a.fs.Stat(dir); err != nil {
		return nil, err
	}
	if err := a.makeMaildir(dir); err != nil {
		return nil, err
	}
	return a.fs.Temp(filepath.Join(dir, "tmp"), string(a.names.key()))
}

// Write appends to the message, whose bytes are kept as they are.
func (d *Delivery) Write(p []byte) (int, error) {
	switch {
	case d.failed != nil:
		return 0, d.failed
	case d.settled:
		return 0, fs.ErrClosed
	}
	_, _ = d.lines.Write(p) // it only counts
	d.size += int64(len(p))
	for rest := p; len(rest) > 0; {
		if len(d.buf) == 0 && len(rest) >= writeLen {
			if err := d.write(rest); err != nil {
				return len(p) - len(rest), err
			}
			break
		}
		if d.buf == nil {
			d.buf = make([]byte, 0, writeLen)
		}
		n := min(len(rest), writeLen-len(d.buf))
		d.buf = append(d.buf, rest[:n]...)
		rest = rest[n:]
		if len(d.buf) == writeLen {
			if err := d.flush(); err != nil {
				return len(p) - len(rest), err
			}
		}
	}
	return len(p), nil
}

func (d *Delivery) flush() error {
	err := d.write(d.buf)
	d.buf = d.buf[:0]
	return err
}

func (d *Delivery) write(p []byte) error {
	n, err := d.temp.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		d.failed = fmt.Errorf("write message: %w", err)
	}
	return d.failed
}

// Commit makes the message durable and then visible (S1 to S3). When it returns
// nil the message has been delivered; on error nothing was, and the delivery is
// aborted.
func (d *Delivery) Commit(meta Meta) (Key, error) {
	defer d.Abort()
	if err := d.finish(meta); err != nil {
		return "", err
	}
	key, _, err := d.link(meta, meta.Flags != 0)
	return key, err
}

// finish makes the content durable: S1 to S2.
func (d *Delivery) finish(meta Meta) error {
	switch {
	case d.failed != nil:
		return d.failed
	case d.settled:
		return fs.ErrClosed
	}
	if len(d.buf) > 0 {
		if err := d.flush(); err != nil {
			return err
		}
	}
	if !meta.Date.IsZero() {
		if err := d.temp.SetTime(meta.Date); err != nil {
			return fmt.Errorf("set date of message: %w", err)
		}
	}
	if err := d.temp.Finish(); err != nil {
		return fmt.Errorf("make message durable: %w", err)
	}
	return nil
}

// link gives the message its final name, in cur/ or new/, and makes the name
// durable: S2 to S3.
func (d *Delivery) link(meta Meta, cur bool) (key Key, name string, err error) {
	sub := "new"
	if cur {
		sub = "cur"
	}
	dir := filepath.Join(d.dir, sub)
	for {
		key = d.a.names.key()
		name = baseName(key, d.size, d.size+d.lines.bare, meta.Tag, meta.Origin)
		if cur {
			name = string(appendInfo([]byte(name), meta.Flags, ""))
		}
		err = d.temp.Link(filepath.Join(dir, name))
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", fmt.Errorf("%w: it is gone", ErrNoMailbox)
	}
	if err != nil {
		return "", "", fmt.Errorf("name message: %w", err)
	}
	if err := d.a.fs.SyncDir(dir); err != nil {
		// The name may or may not survive a crash, and the caller is told that
		// nothing was delivered: take it back, so that a second try makes one
		// copy and not two.
		rerr := d.a.fs.Remove(filepath.Join(dir, name))
		return "", "", fmt.Errorf("make name of message durable: %w", errors.Join(err, rerr))
	}
	return key, name, nil
}

// Abort forgets the delivery and leaves nothing behind. It is always safe to
// call, also after Commit, when it does nothing.
func (d *Delivery) Abort() error {
	if d.settled {
		return nil
	}
	d.settled = true
	d.buf = nil
	if err := d.temp.Close(); err != nil {
		return fmt.Errorf("abort delivery: %w", err)
	}
	return nil
}
