package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"rtls/store/internal/index"
	"rtls/store/internal/sqlite"
	"rtls/store/internal/vfs"
)

// view is what all sessions of a process share of an open mailbox.
type view struct {
	a    *Account
	dir  string
	gone atomic.Bool // deleted or renamed
	snap atomic.Pointer[Snapshot]

	refs int // guarded by a.mu

	mu     sync.Mutex // guards what follows; held for whole operations
	opened bool
	id     identity
	record index.Mailbox
	keys   *keyTable // nil until it is needed
	twins  twins
	look   look

	changes int // since the view was packed, see viewcache.go

	sums  summaryFile
	dates dates

	seenMu sync.Mutex      // guards what follows
	seen   map[uint32]seen // by UID, see bond.go

	subsMu sync.Mutex // guards what follows
	subs   map[chan struct{}]struct{}
}

// Mailbox opens a mailbox and brings its index up to date: ErrNoMailbox,
// ErrName. All callers in a process share one view of it.
func (a *Account) Mailbox(ctx context.Context, name string) (*Mailbox, error) {
	clean, err := cleanName(name)
	if err != nil {
		return nil, err
	}
	dir, err := a.existing(clean)
	if err != nil {
		return nil, err
	}
	v, fresh := a.acquire(dir)
	m, err := v.mailbox(ctx, clean)
	if !fresh && errors.Is(err, ErrNoMailbox) {
		// Another process may have put a new mailbox there, which sessions that have
		// the old one open do not know yet.
		v.cutOff()
		v, _ = a.acquire(dir)
		m, err = v.mailbox(ctx, clean)
	}
	return m, err
}

// mailbox opens the mailbox of a view that was acquired.
func (v *view) mailbox(ctx context.Context, name string) (*Mailbox, error) {
	m := &Mailbox{name: name, v: v}
	if err := v.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open mailbox: %w", err), m.Close())
	}
	if _, err := m.Sync(ctx); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// acquire returns the view of a directory, and whether nobody had it before.
func (a *Account) acquire(dir string) (v *view, fresh bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	v = a.views[dir]
	if fresh = v == nil; fresh {
		v = &view{a: a, dir: dir, subs: make(map[chan struct{}]struct{})}
		v.dates.v = v
		a.views[dir] = v
	}
	v.refs++
	if i := slices.Index(a.kept, v); i >= 0 {
		a.kept = slices.Delete(a.kept, i, i+1)
	}
	return v, fresh
}

// cutOff makes the next to open the directory take another view. Sessions that have
// this one open are told that the mailbox is gone.
func (v *view) cutOff() {
	v.a.mu.Lock()
	defer v.a.mu.Unlock()
	if v.a.views[v.dir] == v {
		delete(v.a.views, v.dir)
	}
	v.gone.Store(true)
	v.announce()
}

// release drops a reference; after the last one the view is saved, and kept or
// forgotten.
func (v *view) release() error {
	v.a.mu.Lock()
	v.refs--
	last := v.refs == 0
	if last && v.a.views[v.dir] == v {
		v.a.keepLocked(v)
	}
	v.a.mu.Unlock()
	if !last {
		return nil
	}
	return errors.Join(v.save(), v.sums.close())
}

// keepLocked keeps a view that is not used any more, if there is room, in place of
// the one that has not been used for longest. It must be called with a.mu held.
func (a *Account) keepLocked(v *view) {
	a.kept = append(a.kept, v)
	if len(a.kept) <= a.keep {
		return
	}
	oldest := a.kept[0]
	a.kept = slices.Delete(a.kept, 0, 1)
	if a.views[oldest.dir] == oldest {
		delete(a.views, oldest.dir)
	}
}

func (v *view) sub(name string) string { return filepath.Join(v.dir, name) }

// path is where the file of a row is.
func (v *view) path(inNew bool, name string) string {
	if inNew {
		return v.dir + "/new/" + name
	}
	return v.dir + "/cur/" + name
}

// open loads the mailbox from the index when it is first needed.
func (v *view) open(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.opened {
		return nil
	}
	ix, err := v.a.index(ctx)
	if err != nil {
		return err
	}
	if !v.known(ctx, ix) {
		err := ix.Update(ctx, func(tx index.Tx) (err error) {
			v.id, v.record, err = v.a.identify(tx, v.dir)
			return err
		})
		if err != nil {
			return err
		}
	}
	err = ix.View(ctx, func(tx index.Tx) error {
		m, err := tx.Mailbox(v.id.object)
		if err != nil {
			return err
		}
		s := v.cached(m)
		if s == nil {
			return v.load(tx)
		}
		v.start(m, s)
		return v.refresh(tx)
	})
	v.opened = err == nil
	return err
}

// known spares a mailbox that is as the index has it the writing transaction.
func (v *view) known(ctx context.Context, ix index.Index) bool {
	id, err := v.a.readIdentity(v.dir)
	if err != nil {
		return false
	}
	err = ix.View(ctx, func(tx index.Tx) error {
		m, err := tx.Mailbox(id.object)
		if err == nil && m.Dir != v.a.relative(v.dir) {
			err = index.ErrNoMailbox
		}
		v.id, v.record = id, m
		return err
	})
	return err == nil
}

// load reads all of the mailbox. It must be called with mu held.
func (v *view) load(tx index.Tx) error {
	m, err := tx.Mailbox(v.id.object)
	if err != nil {
		return err
	}
	e := emptySnapshot().edit()
	last := uint32(0)
	err = tx.Messages(m.ID, 0, func(msg index.Message) error {
		if msg.UID <= last {
			return fmt.Errorf("%w: UID %d comes behind %d", sqlite.ErrDamaged, msg.UID, last)
		}
		last = msg.UID
		e.put(msg)
		return nil
	})
	if err != nil {
		return err
	}
	v.start(m, e.done(m))
	v.changes = v.snap.Load().n
	return nil
}

// start makes s, which the index holds durably, the view. It must be called with mu
// held.
func (v *view) start(m index.Mailbox, s *Snapshot) {
	v.record, v.keys = m, nil
	s.dates = &v.dates
	v.look.cur = vfs.Stamp{Modified: m.CurModified, Changed: m.CurChanged}
	v.snap.Store(s)
}

// find returns the index of the message with a key. It must be called with mu held.
func (v *view) find(s *Snapshot, key Key) (int, bool) {
	if v.keys == nil {
		v.keys = newKeyTable(v.snap.Load())
	}
	return v.keys.find(s, key)
}

// refresh takes in what other processes, or copies from other mailboxes, have put
// into the index. It must be called with mu held.
func (v *view) refresh(tx index.Tx) error {
	m, err := tx.Mailbox(v.id.object)
	if errors.Is(err, index.ErrNoMailbox) || (err == nil && m.Dir != v.a.relative(v.dir)) {
		return fmt.Errorf("%w: it was deleted or renamed", ErrNoMailbox)
	}
	if err != nil {
		return err
	}
	s := v.snap.Load()
	switch {
	case m.ModSeq == s.modSeq && m.UIDNext == s.uidNext:
		v.record = m
		return nil
	case s.modSeq < m.LogFloor:
		return v.load(tx)
	}
	var put []index.Message
	var removed []uint32
	err = tx.Expunged(m.ID, s.modSeq, func(uid uint32) error {
		removed = append(removed, uid)
		return nil
	})
	if err != nil {
		return err
	}
	err = tx.Messages(m.ID, s.modSeq, func(msg index.Message) error {
		put = append(put, msg)
		return nil
	})
	if err != nil {
		return err
	}
	v.publish(m, put, removed)
	return nil
}

// publish makes the next snapshot, of what the index holds durably. It must be
// called with mu held.
func (v *view) publish(m index.Mailbox, put []index.Message, removed []uint32) {
	s := v.snap.Load()
	e := s.edit()
	for _, uid := range removed {
		if at, ok := s.Find(uid); ok {
			c, i := s.locate(at)
			if v.keys != nil {
				v.keys.remove(c.key(i), uid)
			}
			e.remove(uid)
		}
	}
	for _, msg := range put {
		e.put(msg)
	}
	next := e.done(m)
	for _, msg := range put {
		if v.keys == nil {
			break
		}
		key := parseName(msg.Name).key
		_, old := s.Find(msg.UID)
		if _, ok := v.keys.find(next, key); !old || !ok {
			v.keys.add(next, key, msg.UID)
		}
	}
	v.changes += len(put) + len(removed)
	v.record = m
	v.snap.Store(next)
	v.announce()
}

// change is a set of changes to one mailbox, made in one transaction of the index.
type change struct {
	m       index.Mailbox // becomes the record
	put     []index.Message
	removed []uint32
}

// change runs f in a transaction in which the view is up to date, writes the
// changes that f makes and publishes them. It must be called with mu held.
func (v *view) change(ctx context.Context, f func(tx index.Tx, c *change) error) error {
	if v.gone.Load() {
		return fmt.Errorf("%w: it was deleted or renamed", ErrNoMailbox)
	}
	ix, err := v.a.index(ctx)
	if err != nil {
		return err
	}
	var c *change
	err = ix.Update(ctx, func(tx index.Tx) error {
		if err := v.refresh(tx); err != nil {
			return err
		}
		c = &change{m: v.record}
		if err := v.ownChange(func() error { return f(tx, c) }); err != nil {
			return err
		}
		return v.write(tx, c)
	})
	if err != nil {
		return err
	}
	if len(c.put) > 0 || len(c.removed) > 0 || c.m.ModSeq != v.record.ModSeq {
		v.publish(c.m, c.put, c.removed)
	}
	v.record = c.m
	return nil
}

// logKeep bounds the log of expunged messages of a mailbox.
const logKeep = 50_000

// write brings a change into the index.
func (v *view) write(tx index.Tx, c *change) (err error) {
	if len(c.put) > 0 || len(c.removed) > 0 {
		s := v.snap.Load()
		count(&c.m, s, c)
	}
	if len(c.put) > 0 {
		if err := v.a.reserve(v.dir, &v.id, c.m.UIDNext); err != nil {
			return err
		}
		if err := tx.Put(c.m.ID, c.put); err != nil {
			return err
		}
	}
	if len(c.removed) > 0 {
		if err := tx.Expunge(c.m.ID, c.removed, c.m.ModSeq); err != nil {
			return err
		}
		c.m.LogLen += int64(len(c.removed))
		if c.m.LogLen > 2*logKeep {
			floor, err := tx.TrimLog(c.m.ID, logKeep)
			if err != nil {
				return err
			}
			c.m.LogFloor, c.m.LogLen = max(floor, c.m.LogFloor), logKeep
		}
	}
	if c.m != v.record {
		c.m, err = tx.PutMailbox(c.m)
	}
	return err
}

// next is the change number for what c is about to do.
func (c *change) next(s *Snapshot) uint64 {
	if c.m.ModSeq == s.modSeq {
		c.m.ModSeq++
	}
	return c.m.ModSeq
}

// count adjusts the counters of a mailbox.
func count(m *index.Mailbox, s *Snapshot, c *change) {
	add := func(flags Flags, size int64, n int64) {
		m.Messages = uint32(int64(m.Messages) + n)
		m.Size += n * size
		if flags&Seen == 0 {
			m.Unseen = uint32(int64(m.Unseen) + n)
		}
		if flags&Deleted != 0 {
			m.Deleted = uint32(int64(m.Deleted) + n)
			m.DeletedSize += n * size
		}
	}
	drop := func(uid uint32) {
		if at, ok := s.Find(uid); ok {
			msg := s.At(at)
			add(msg.Flags, msg.Size, -1)
		}
	}
	for _, uid := range c.removed {
		drop(uid)
	}
	for _, msg := range c.put {
		drop(msg.UID)
		add(parseName(msg.Name).flags, msg.Size, 1)
	}
}

// save tells the next process that it need not read the directory, and leaves it a
// packed view.
func (v *view) save() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.opened || v.gone.Load() {
		return nil
	}
	next := v.record
	if v.look.trusted() && len(v.twins) == 0 { // whoever comes next has to find twins, too
		next.CurModified, next.CurChanged = v.look.cur.Modified, v.look.cur.Changed
	}
	found := v.dates.uids()
	if id, ok := v.saveCache(); ok {
		next.Cache = id
	} else if len(found) > 0 {
		next.Cache = "" // nothing tells a packed view that a date was found out
	}
	if next == v.record && len(found) == 0 {
		return nil
	}
	err := v.change(context.Background(), func(_ index.Tx, c *change) error {
		c.m.CurModified, c.m.CurChanged, c.m.Cache = next.CurModified, next.CurChanged, next.Cache
		s := v.snap.Load()
		for _, uid := range found {
			if at, ok := s.Find(uid); ok {
				c.put = append(c.put, s.message(at))
			}
		}
		return nil
	})
	if err == nil {
		v.dates.forget(found)
	}
	if err != nil && !errors.Is(err, ErrNoMailbox) {
		return fmt.Errorf("close mailbox: %w", err)
	}
	return nil
}

// rowMessage is the index's form of a row.
func rowMessage(s *Snapshot, r *row, name string) index.Message {
	return index.Message{
		UID:      r.uid,
		ModSeq:   r.modSeq,
		Name:     name,
		New:      r.inNew,
		Size:     r.wireSize,
		Date:     s.date(r),
		Keywords: s.sets[r.words].joined(),
	}
}

// at returns the index's form of the message with index i.
func (s *Snapshot) message(i int) index.Message {
	c, at := s.locate(i)
	return rowMessage(s, &c.rows[at], s.name(c, at))
}
