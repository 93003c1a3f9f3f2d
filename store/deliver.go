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

	// Once, unless it is empty, names the delivery: the first Commit with it into
	// a mailbox delivers, and those of the week after it return the same key and
	// make no second copy, also when the first was cut off at whatever point or
	// returned an error. Such an error does not say that the message is not
	// there (G11). Append does not heed it. A mailbox that is renamed meanwhile
	// does not know the delivery again.
	Once string
}

// Delivery is a message being written for one mailbox. It belongs to one goroutine,
// together with those that share its content (Share) until all is written; then
// each can be committed in a goroutine of its own.
type Delivery struct {
	a       *Account
	dir     string // of the mailbox
	draft   *draft
	letters string // of keywords, see keywords.go
	key     Key    // that its message is to have; empty: one of its own
	settled bool
}

var _ io.Writer = (*Delivery)(nil)

// Deliver starts the delivery of a message into a mailbox (state S1). The
// mailbox has to exist: ErrNoMailbox.
func (a *Account) Deliver(ctx context.Context, mailbox string) (*Delivery, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dir, err := a.deliveryDir(mailbox)
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
	return &Delivery{a: a, dir: dir, draft: &draft{temp: temp, users: 1, sums: newSummer()}}, nil
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
	if d.settled {
		return 0, fs.ErrClosed
	}
	return d.draft.Write(p)
}

// Size is the number of octets that were written.
func (d *Delivery) Size() int64 { return d.draft.sums.size }

// Commit makes the message durable and then visible (S1 to S3). When it returns
// nil the message has been delivered; on error nothing was, and the delivery is
// aborted. It fails with ErrQuota where there is no room.
func (d *Delivery) Commit(meta Meta) (Key, error) {
	defer d.Abort()
	if err := d.finish(meta); err != nil {
		return "", err
	}
	if meta.Once != "" {
		return d.commitOnce(meta)
	}
	var key Key
	err := d.a.admit(d.draft.wireSize(), func() (err error) {
		key, err = d.link(meta, d.inCur(meta))
		return err
	})
	return key, err
}

// finish makes the content durable: S1 to S2.
func (d *Delivery) finish(meta Meta) error {
	if d.settled {
		return fs.ErrClosed
	}
	return d.draft.finish(meta.Date)
}

// inCur says whether a message is to go to cur/ without the index: one with flags,
// unless there is a quota, which counts what is in the index and in new/.
func (d *Delivery) inCur(meta Meta) bool { return meta.Flags != 0 && !d.a.limited() }

// link gives the message its final name, in cur/ or new/, and makes the name
// durable: S2 to S3.
func (d *Delivery) link(meta Meta, cur bool) (key Key, err error) {
	key, path, err := d.name(meta, cur)
	if err != nil {
		return "", err
	}
	if err := d.a.fs.SyncDir(filepath.Dir(path)); err != nil {
		// The name may or may not survive a crash, and the caller is told that
		// nothing was delivered: take it back, so that a second try makes one
		// copy and not two.
		rerr := d.a.fs.Remove(path)
		return "", fmt.Errorf("make name of message durable: %w", errors.Join(err, rerr))
	}
	return key, nil
}

// name gives the message its final name, which is not durable yet.
func (d *Delivery) name(meta Meta, cur bool) (key Key, path string, err error) {
	sub := "new"
	if cur {
		sub = "cur"
	}
	for {
		if key = d.key; key == "" {
			key = d.a.names.key()
		}
		name := baseName(key, d.draft.content, meta.Tag, meta.Origin)
		if cur || meta.Flags != 0 {
			name = string(appendInfo([]byte(name), meta.Flags, d.letters))
		}
		path = filepath.Join(d.dir, sub, name)
		err = d.place(meta, path)
		if !errors.Is(err, fs.ErrExist) || d.key != "" {
			break
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", fmt.Errorf("%w: it is gone", ErrNoMailbox)
	}
	if err != nil {
		return "", "", fmt.Errorf("name message: %w", err)
	}
	return key, path, nil
}

// Abort forgets the delivery and leaves nothing behind; those that share its
// content go on. It is always safe to call, also after Commit, when it does nothing.
func (d *Delivery) Abort() error {
	if d.settled {
		return nil
	}
	d.settled = true
	if err := d.draft.release(); err != nil {
		return fmt.Errorf("abort delivery: %w", err)
	}
	return nil
}
