package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"rtls/store/internal/index"
)

// Mailbox is an open mailbox. It is safe for concurrent use. Close it when done.
// When the mailbox is deleted or renamed, its methods fail with ErrNoMailbox.
type Mailbox struct {
	name   string
	v      *view
	closed atomic.Bool
}

// Close releases the mailbox. Its error says that the next one to open it has to
// read the directory; nothing else is lost.
func (m *Mailbox) Close() error {
	if m.closed.Swap(true) {
		return nil
	}
	return m.v.release()
}

// Name is the mailbox's name when it was opened.
func (m *Mailbox) Name() string { return m.name }

// Sync looks at the directories, gives new messages their UIDs, durably, and
// returns the view after it. It is cheap when nothing changed.
func (m *Mailbox) Sync(ctx context.Context) (*Snapshot, error) {
	s, err := m.v.sync(ctx)
	if err != nil {
		return nil, fmt.Errorf("sync mailbox: %w", err)
	}
	return s, nil
}

// Snapshot returns the view of the last change known to this process, at no cost.
func (m *Mailbox) Snapshot() *Snapshot { return m.v.snap.Load() }

// ObjectID is the mailbox's identifier, which stays when it is renamed (RFC 8474
// section 4).
func (m *Mailbox) ObjectID() string {
	m.v.mu.Lock()
	defer m.v.mu.Unlock()
	return m.v.id.object
}

// Vanished returns the UIDs, in order, of messages expunged with a ModSeq above
// since. The log of expunged messages is bounded: complete is false when it does
// not reach back that far, and then every UID below UIDNext that is not in the
// snapshot has to be taken for vanished (RFC 7162 section 3.2.5.1).
func (m *Mailbox) Vanished(ctx context.Context, since uint64) (uids []uint32, complete bool, err error) {
	v := m.v
	v.mu.Lock()
	defer v.mu.Unlock()
	ix, err := v.a.index(ctx)
	if err != nil {
		return nil, false, err
	}
	err = ix.View(ctx, func(tx index.Tx) error {
		record, err := tx.Mailbox(v.id.object)
		if err != nil {
			return err
		}
		if complete = since >= record.LogFloor; !complete {
			return nil
		}
		return tx.Expunged(record.ID, since, func(uid uint32) error {
			uids = append(uids, uid)
			return nil
		})
	})
	if err != nil {
		return nil, false, fmt.Errorf("read log of expunged messages: %w", err)
	}
	return uids, complete, nil
}

// ClaimRecent returns the lowest UID that no session has been shown as recent
// yet, and takes all messages from there on for the caller (RFC 3501 section
// 2.3.2).
func (m *Mailbox) ClaimRecent(ctx context.Context) (from uint32, err error) {
	v := m.v
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.record.RecentFrom == v.record.UIDNext {
		return v.record.RecentFrom, nil
	}
	err = v.change(ctx, func(_ index.Tx, c *change) error {
		from, c.m.RecentFrom = c.m.RecentFrom, c.m.UIDNext
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("claim recent messages: %w", err)
	}
	return from, nil
}

// Open opens a message's content: ErrNoMessage.
func (m *Mailbox) Open(ctx context.Context, uid uint32) (*Content, error) {
	f, err := m.OpenFile(ctx, uid)
	if err != nil {
		return nil, err
	}
	c, err := newContent(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open message: %w", err), f.Close())
	}
	return c, nil
}

// OpenFile opens a message's file: ErrNoMessage. It spares who can do with lines that
// end in LF what Open does to them.
func (m *Mailbox) OpenFile(ctx context.Context, uid uint32) (*File, error) {
	// Others may rename the file between our look at its name and at the file.
	const tries = 3
	for range tries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s := m.v.snap.Load()
		at, ok := s.Find(uid)
		if !ok {
			return nil, fmt.Errorf("%w: UID %d", ErrNoMessage, uid)
		}
		msg := s.At(at)
		f, err := m.v.trusted(ctx, m.v.at(s, at), &msg)
		if f != nil || err != nil && !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	s := m.v.snap.Load()
	at, ok := s.Find(uid)
	if !ok {
		return nil, fmt.Errorf("%w: UID %d", ErrNoMessage, uid)
	}
	msg := s.At(at)
	for range tries {
		found, err := m.v.findFile(msg.Key)
		if err != nil {
			return nil, err
		}
		f, err := m.v.openFile(found, &msg) // its bond is checked under its next name
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return nil, fmt.Errorf("%w: UID %d", ErrNoMessage, uid)
}

// trusted opens a message's file as the index has it. It returns nil for one that the
// index has had to learn about, see bond.go.
func (v *view) trusted(ctx context.Context, named file, msg *Message) (*File, error) {
	f, err := v.openFile(named, msg)
	if err != nil {
		return nil, err
	}
	ok, err := v.trust(ctx, named, f, msg)
	if ok && err == nil {
		return f, nil
	}
	if err != nil {
		err = fmt.Errorf("open message: %w", err)
	}
	return nil, errors.Join(err, f.Close())
}

func (v *view) openFile(named file, msg *Message) (*File, error) {
	opened, err := v.a.fs.Open(v.path(named.inNew, named.name))
	if err != nil {
		return nil, fmt.Errorf("open message: %w", err)
	}
	f := &File{f: opened, wire: msg.Size, bond: parseName(named.name).bond}
	if f.info, err = opened.Stat(); err != nil {
		return nil, errors.Join(fmt.Errorf("open message: %w", err), opened.Close())
	}
	return f, nil
}

// findFile looks for the file of a key under whatever name it has now:
// ErrNoMessage.
func (v *view) findFile(key Key) (file, error) {
	const tries = 5 // a listing can miss a name, see sync.go
	for range tries {
		listed, err := v.list(true, nil)
		if err == nil {
			listed, err = v.list(false, listed)
		}
		if err != nil {
			return file{}, err
		}
		for _, f := range listed {
			if parseName(f.name).key == key {
				return f, nil
			}
		}
	}
	return file{}, fmt.Errorf("%w: %s", ErrNoMessage, key)
}

// Status is what is shown of a mailbox that is not open.
type Status struct {
	Messages, Unseen, Deleted, Recent uint32
	UIDValidity, UIDNext              uint32
	HighestModSeq                     uint64
	Size, DeletedSize                 int64 // octets on the wire
	ObjectID                          string
}

// Status brings a mailbox's index up to date and returns its counters:
// ErrNoMailbox. When nothing has changed since the mailbox was last open, its
// messages are not looked at.
func (a *Account) Status(ctx context.Context, name string) (Status, error) {
	dir, err := a.existing(name)
	if err != nil {
		return Status{}, err
	}
	if record, recent, ok := a.unchanged(ctx, dir); ok {
		return status(record, recent), nil
	}
	m, err := a.Mailbox(ctx, name)
	if err != nil {
		return Status{}, err
	}
	record, recent, err := m.v.counters(ctx)
	if err = errors.Join(err, m.Close()); err != nil {
		return Status{}, fmt.Errorf("status of mailbox: %w", err)
	}
	return status(record, recent), nil
}

func status(m index.Mailbox, recent uint32) Status {
	return Status{
		Messages: m.Messages, Unseen: m.Unseen, Deleted: m.Deleted, Recent: recent,
		UIDValidity: m.UIDValidity, UIDNext: m.UIDNext, HighestModSeq: m.ModSeq,
		Size: m.Size, DeletedSize: m.DeletedSize, ObjectID: m.Object,
	}
}

// counters reads a record with its count of recent messages.
func (v *view) counters(ctx context.Context) (m index.Mailbox, recent uint32, err error) {
	ix, err := v.a.index(ctx)
	if err != nil {
		return m, 0, err
	}
	err = ix.View(ctx, func(tx index.Tx) (err error) {
		if m, err = tx.Mailbox(v.id.object); err != nil {
			return err
		}
		recent, err = tx.Count(m.ID, m.RecentFrom)
		return err
	})
	return m, recent, err
}

// unchanged finds the record of a mailbox, unless something may have happened to
// the mailbox that the record does not know of.
func (a *Account) unchanged(ctx context.Context, dir string) (index.Mailbox, uint32, bool) {
	v := &view{a: a, dir: dir}
	var err error
	if v.id, err = a.readIdentity(dir); err != nil {
		return index.Mailbox{}, 0, false
	}
	m, recent, err := v.counters(ctx)
	if err != nil || m.Dir != a.relative(dir) || m.CurModified == 0 {
		return m, 0, false
	}
	_, cur, err := v.stamps()
	if err != nil || cur.Modified != m.CurModified || cur.Changed != m.CurChanged {
		return m, 0, false
	}
	waiting, err := v.list(true, nil)
	return m, recent, err == nil && len(waiting) == 0
}
