package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"time"
)

// A sender that was cut off before it heard our answer sends the message again.
// To know it again, a delivery that has a Meta.Once leaves a trace:
//
//	.rtls/once/HASH        pending: the message's file; it may have its name or not
//	.rtls/once/HASH.done   delivered: holds the message's key
//
// HASH is of mailbox and Once, and so is the message's key: tries that race give
// one file the same key, and whatever names it gets are one message (see sync.go).
// The content is not held after the delivery, or what is expunged would live on.
//
// The order is: pending; name in new/, durable; done; pending removed. Whoever has seen
// or made the pending entry looks for done after it: it can only have been made before,
// or is to be made after, what we do. Traces are not made durable by themselves, which
// would double the price of a delivery: a process that is killed leaves them, and a file
// system with a journal keeps the order. Where the system itself crashes and the file
// system forgets a trace but not the name, a second try makes a second copy.

// onceKeep is how long a delivery is known again, at the least.
const onceKeep = 7 * 24 * time.Hour

// trace is what a delivery leaves.
type trace struct {
	dir, hash string
}

func (t trace) pending() string { return filepath.Join(t.dir, t.hash) }
func (t trace) done() string    { return t.pending() + doneSuffix }

const doneSuffix = ".done"

func (a *Account) onceDir() string { return filepath.Join(a.private(), "once") }

func (d *Delivery) trace(once string) trace {
	sum := sha256.Sum256([]byte(d.a.relative(d.dir) + "\x00" + once))
	return trace{d.a.onceDir(), hex.EncodeToString(sum[:])}
}

// key is the same whoever asks: the pending file has the same time for all.
func (t trace) key(modified time.Time) Key {
	return Key(fmt.Sprintf("%d.M%dO%s.rtls", modified.Unix(), modified.Nanosecond()/1000, t.hash[:32]))
}

// made says whether a key was made by the delivery, whenever that was.
func (t trace) made(key Key) bool { return strings.HasSuffix(string(key), "O"+t.hash[:32]+".rtls") }

// commitOnce is Commit of a finished delivery with a Once: S2 to S3.
func (d *Delivery) commitOnce(meta Meta) (Key, error) {
	t := d.trace(meta.Once)
	const tries = 10 // others can complete the delivery between two steps of ours
	for range tries {
		key, err := d.tryOnce(meta, t)
		if err == nil {
			if t.hash < "1" { // one time in sixteen
				d.a.cleanOnce()
			}
			return key, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if _, serr := d.a.fs.Stat(filepath.Join(d.dir, "new")); errors.Is(serr, fs.ErrNotExist) {
			return "", fmt.Errorf("%w: it is gone", ErrNoMailbox)
		}
	}
	return "", errors.New("message is being delivered by several at once")
}

func (d *Delivery) tryOnce(meta Meta, t trace) (Key, error) {
	mine, err := d.leavePending(meta, t)
	if err != nil {
		return "", fmt.Errorf("note delivery: %w", err)
	}
	if key, err := d.a.doneBefore(t); key != "" || err != nil {
		if err == nil && mine {
			err = d.a.fs.Remove(t.pending())
			if errors.Is(err, fs.ErrNotExist) {
				err = nil // somebody else, who found the same
			}
		}
		return key, err
	}
	info, err := d.a.fs.Stat(t.pending())
	if err != nil {
		return "", fmt.Errorf("look at delivery: %w", err)
	}
	key := t.key(info.ModTime)
	if err := d.nameOnce(meta, t, key, mine); err != nil {
		return "", err
	}
	d.a.markDone(t, key)
	return key, nil
}

// doneBefore is the key of the message, if its delivery is known to be done.
func (a *Account) doneBefore(t trace) (Key, error) {
	raw, err := a.fs.ReadFile(t.done())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("look for earlier delivery: %w", err)
	case t.made(Key(raw)):
		return Key(raw), nil
	}
	// A crash of the system has left it without its content.
	if err := a.fs.Remove(t.done()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("look for earlier delivery: %w", err)
	}
	return "", nil
}

// leavePending makes the pending entry; mine is false if there was one.
func (d *Delivery) leavePending(meta Meta, t trace) (mine bool, err error) {
	err = d.place(meta, t.pending())
	if errors.Is(err, fs.ErrNotExist) {
		for _, dir := range []string{d.a.private(), t.dir} {
			if err := d.a.fs.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
				return false, err
			}
			if err := d.a.fs.SyncDir(filepath.Dir(dir)); err != nil {
				return false, err
			}
		}
		err = d.place(meta, t.pending())
	}
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}

// nameOnce gives the pending file its name in the mailbox, unless it has one. The
// name is not taken back when it cannot be made durable: another try may have
// found it and reported it delivered.
func (d *Delivery) nameOnce(meta Meta, t trace, key Key, mine bool) error {
	content := d.draft.content
	if !mine {
		found, err := d.findOnce(t)
		if err != nil || found {
			return err
		}
		// An earlier try's content need not be ours to the octet.
		if content, err = d.a.sumOfFile(t.pending()); err != nil {
			return fmt.Errorf("read earlier try: %w", err)
		}
	}
	sub, name := "new", baseName(key, content, meta.Tag, meta.Origin)
	if d.inCur(meta) {
		sub = "cur"
	}
	if meta.Flags != 0 {
		name = string(appendInfo([]byte(name), meta.Flags, ""))
	}
	err := d.a.admit(content.wireSize, func() error { return d.linkPending(t, filepath.Join(d.dir, sub), name) })
	if errors.Is(err, ErrQuota) && mine {
		// A try that has left no trace may have taken the room.
		if found, ferr := d.findOnce(t); found && ferr == nil {
			return nil
		}
	}
	if errors.Is(err, ErrQuota) {
		// What was refused is not to take up room.
		if rerr := d.a.fs.Remove(t.pending()); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return err
}

func (d *Delivery) linkPending(t trace, dir, name string) error {
	err := d.a.fs.Link(t.pending(), filepath.Join(dir, name))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("name message: %w", err)
	}
	if err := d.a.fs.SyncDir(dir); err != nil {
		return fmt.Errorf("make name of message durable: %w", err)
	}
	return nil
}

// findOnce looks for a message that an earlier try has named, and makes its name
// durable.
func (d *Delivery) findOnce(t trace) (bool, error) {
	v := &view{a: d.a, dir: d.dir}
	listed, err := v.list(true, nil)
	if err == nil {
		listed, err = v.list(false, listed)
	}
	if err != nil {
		return false, err
	}
	for _, f := range listed {
		if !t.made(keyOf(f.name)) {
			continue
		}
		// It may be moving from new/ to cur/.
		for _, sub := range []string{"cur", "new"} {
			if err := d.a.fs.SyncDir(v.sub(sub)); err != nil {
				return false, fmt.Errorf("make name of message durable: %w", err)
			}
		}
		return true, nil
	}
	return false, nil
}

// markDone replaces the pending entry. If that fails the message has been
// delivered all the same, and the pending entry stays until it is too old.
func (a *Account) markDone(t trace, key Key) {
	err := a.writeDone(t, key)
	if err == nil {
		err = a.fs.Remove(t.pending())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Warn("trace of delivery stays behind", "path", t.pending(), "err", err)
	}
}

func (a *Account) writeDone(t trace, key Key) (err error) {
	temp, err := a.fs.Temp(t.dir, string(a.names.key()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, temp.Close()) }()
	if _, err := io.WriteString(temp, string(key)); err != nil {
		return err
	}
	err = temp.Link(t.done())
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// cleanOnce removes traces that are older than onceKeep, a bounded number of them.
func (a *Account) cleanOnce() {
	const most = 256
	names, err := a.fs.Names(a.onceDir())
	if err != nil {
		a.log.Warn("traces of deliveries cannot be listed", "err", err)
		return
	}
	if len(names) > most {
		start := rand.IntN(len(names) - most + 1)
		names = names[start : start+most]
	}
	for _, name := range names {
		path := filepath.Join(a.onceDir(), name)
		info, err := a.fs.Stat(path)
		if err != nil || a.clock().Sub(time.Unix(0, info.Stamp.Changed)) < onceKeep {
			continue
		}
		if err := a.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.log.Warn("trace of delivery stays behind", "path", path, "err", err)
		}
	}
}
