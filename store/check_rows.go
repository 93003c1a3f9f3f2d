package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"rtls/store/internal/index"
)

// checkRows holds what the index has of a mailbox against its counters and against
// the directory.
func (c *checker) checkRows(ctx context.Context, m mailboxDir, object string, sizes map[Key]int64) error {
	findings, err := c.rowFaults(ctx, m, object, sizes)
	if err != nil || len(findings) == 0 {
		return err
	}
	var mended error
	if c.repair {
		mended = c.within(ctx, m, func(v *view) error { return c.mendRows(ctx, v, sizes) })
	}
	for _, f := range findings {
		if err := c.found(ctx, f, func() error { return mended }); err != nil {
			return err
		}
	}
	return nil
}

// rowFaults looks again as long as directory or index change under its eyes.
func (c *checker) rowFaults(ctx context.Context, m mailboxDir, object string, sizes map[Key]int64) ([]Finding, error) {
	v := &view{a: c.a, dir: m.dir}
	const tries = 3
	for try := 1; ; try++ {
		newBefore, curBefore, err := v.stamps()
		if err != nil {
			return nil, err
		}
		now := time.Now()
		listed, err := v.listAll()
		if err != nil {
			return nil, err
		}
		r := newRowCheck(m, v, listed, sizes)
		err = c.ix.View(ctx, func(tx index.Tx) error { return r.read(tx, object) })
		if errors.Is(err, index.ErrNoMailbox) {
			return nil, nil // deleted just now
		}
		if err != nil {
			return nil, err
		}
		newAfter, curAfter, err := v.stamps()
		if err != nil {
			return nil, err
		}
		still := newBefore == newAfter && curBefore == curAfter && settled(newBefore, now) && settled(curBefore, now)
		if !still && try < tries {
			continue
		}
		// The index says which state of cur/ it has seen all of. Only if that is
		// the state of now, it should have what is there.
		if still && r.record.CurModified == curAfter.Modified && r.record.CurChanged == curAfter.Changed {
			r.compare()
		}
		return r.findings, nil
	}
}

// rowCheck is one look at the rows of a mailbox.
type rowCheck struct {
	m        mailboxDir
	v        *view
	sizes    map[Key]int64
	listed   []file
	byKey    map[Key]int32
	state    []rowState // of the listed files
	record   index.Mailbox
	sum      index.Mailbox // counters as they should be
	findings []Finding
	absent   []index.Message // rows whose file is not listed, or has another name
}

// rowState is which row a listed file has; 0 is none.
type rowState uint32

func newRowCheck(m mailboxDir, v *view, listed []file, sizes map[Key]int64) *rowCheck {
	r := &rowCheck{m: m, v: v, sizes: sizes, listed: listed, byKey: make(map[Key]int32, len(listed)), state: make([]rowState, len(listed))}
	for i, f := range listed {
		r.byKey[parseName(f.name).key] = int32(i)
	}
	return r
}

func (r *rowCheck) fault(uid uint32, key Key, format string, args ...any) {
	repair := "correct the index; UIDs stay"
	r.findings = append(r.findings, Finding{Kind: KindIndex, Path: r.m.dir, Mailbox: r.m.name, UID: uid, Key: key, Text: fmt.Sprintf(format, args...), Repair: repair})
}

// read takes in all rows, and checks them against each other and the record.
func (r *rowCheck) read(tx index.Tx, object string) (err error) {
	if r.record, err = tx.Mailbox(object); err != nil {
		return err
	}
	if err := tx.Messages(r.record.ID, 0, func(msg index.Message) error { r.row(msg); return nil }); err != nil {
		return err
	}
	had, sum := r.record, r.sum
	if had.Messages != sum.Messages || had.Unseen != sum.Unseen || had.Deleted != sum.Deleted || had.Size != sum.Size || had.DeletedSize != sum.DeletedSize {
		r.fault(0, "", "index counts %d messages, %d unseen, %d deleted, %d octets, %d of them deleted, but there are %d, %d, %d, %d, %d",
			had.Messages, had.Unseen, had.Deleted, had.Size, had.DeletedSize, sum.Messages, sum.Unseen, sum.Deleted, sum.Size, sum.DeletedSize)
	}
	if had.RecentFrom > had.UIDNext {
		r.fault(0, "", "index has messages from UID %d on for recent, but UIDNEXT is %d", had.RecentFrom, had.UIDNext)
	}
	above := 0
	err = tx.Expunged(r.record.ID, r.record.ModSeq, func(uint32) error { above++; return nil })
	if above > 0 {
		r.fault(0, "", "log of expunged messages has %d entries above the last change", above)
	}
	return err
}

func (r *rowCheck) row(msg index.Message) {
	addTo(&r.sum, msg)
	p := parseName(msg.Name)
	if msg.UID == 0 || msg.UID >= r.record.UIDNext {
		r.fault(msg.UID, p.key, "UID %d is not below UIDNEXT, %d", msg.UID, r.record.UIDNext)
	}
	if msg.ModSeq > r.record.ModSeq {
		r.fault(msg.UID, p.key, "UID %d was changed after the last change", msg.UID)
	}
	at, listed := r.byKey[p.key]
	if !listed {
		r.absent = append(r.absent, msg)
		return
	}
	if r.state[at] != 0 {
		r.fault(msg.UID, p.key, "UIDs %d and %d are one message", r.state[at], msg.UID)
		return
	}
	r.state[at] = rowState(max(1, msg.UID))
	f := r.listed[at]
	if f != (file{msg.Name, msg.New}) {
		r.absent = append(r.absent, msg)
		return
	}
	if want, ok := wireSizeOf(&p, r.sizes); ok && want != msg.Size {
		r.fault(msg.UID, p.key, "index has %d octets for UID %d, which has %d", msg.Size, msg.UID, want)
	}
}

// wireSizeOf is what is known of a message's size from its name, or from reading it.
func wireSizeOf(p *parsedName, sizes map[Key]int64) (int64, bool) {
	if p.wireSize >= 0 && p.fileSize >= 0 {
		return p.wireSize, true
	}
	size, ok := sizes[p.key]
	return size, ok
}

// addTo counts a message.
func addTo(m *index.Mailbox, msg index.Message) {
	flags := parseName(msg.Name).flags
	m.Messages++
	m.Size += msg.Size
	if flags&Seen == 0 {
		m.Unseen++
	}
	if flags&Deleted != 0 {
		m.Deleted++
		m.DeletedSize += msg.Size
	}
}

// compare reports where names and rows differ.
func (r *rowCheck) compare() {
	for _, msg := range r.absent {
		key := parseName(msg.Name).key
		if at, ok := r.byKey[key]; ok {
			r.fault(msg.UID, key, "index has the name %s for UID %d, the file %s", msg.Name, msg.UID, r.listed[at].name)
		} else {
			r.fault(msg.UID, key, "UID %d has no file, %s", msg.UID, msg.Name)
		}
	}
	for i, f := range r.listed {
		if r.state[i] == 0 && !f.inNew { // in new/ it waits for the next session
			r.fault(0, parseName(f.name).key, "index does not have the file %s", f.name)
		}
	}
}

// settle looks at all of the directory until nothing is in motion, for a while. It
// must be called with mu held.
func (v *view) settle(ctx context.Context) error {
	const tries = 20
	for range tries {
		ix, err := v.a.index(ctx)
		if err != nil {
			return err
		}
		if err := ix.View(ctx, func(tx index.Tx) error { return v.refresh(tx) }); err != nil {
			return err
		}
		v.look = look{}
		if err := v.scan(ctx); err != nil || v.look.trusted() {
			return err
		}
		select {
		case <-time.After(settle):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil // others are at work; what they do is seen by the next session
}

// mendRows makes the index of a mailbox agree with itself and with the directory.
func (c *checker) mendRows(ctx context.Context, v *view, sizes map[Key]int64) error {
	err := v.change(ctx, func(tx index.Tx, ch *change) error { return v.dropRows(tx, ch, sizes) })
	if err != nil {
		return err
	}
	v.keys = nil // of two UIDs of one key it may have forgotten the one that stays
	if err := v.settle(ctx); err != nil {
		return err
	}
	return v.change(ctx, v.recount)
}

// dropRows takes out what cannot be: UIDs that were never given, second UIDs of one
// message. The messages are found again, and get new UIDs, if they have no other.
// It corrects sizes, and numbers that are too low.
func (v *view) dropRows(tx index.Tx, ch *change, sizes map[Key]int64) error {
	id, err := v.a.readIdentity(v.dir)
	if err != nil {
		return err
	}
	floor, err := v.trimAbove(tx, ch)
	if err != nil {
		return err
	}
	ch.m.ModSeq = max(ch.m.ModSeq, floor)
	first := make(map[Key]bool)
	err = tx.Messages(ch.m.ID, 0, func(msg index.Message) error {
		ch.m.ModSeq = max(ch.m.ModSeq, msg.ModSeq)
		p := parseName(msg.Name)
		if msg.UID == 0 || msg.UID >= max(id.uidNext, v.record.UIDNext) || first[p.key] {
			ch.removed = append(ch.removed, msg.UID)
			return nil
		}
		first[p.key] = true
		ch.m.UIDNext = max(ch.m.UIDNext, msg.UID+1)
		if want, ok := wireSizeOf(&p, sizes); ok && want != msg.Size {
			msg.Size = want
			ch.put = append(ch.put, msg)
		}
		return nil
	})
	if err != nil {
		return err
	}
	ch.m.RecentFrom = min(ch.m.RecentFrom, ch.m.UIDNext)
	ch.m.ModSeq++
	for i := range ch.put {
		ch.put[i].ModSeq = ch.m.ModSeq
	}
	return v.a.reserve(v.dir, &v.id, ch.m.UIDNext)
}

// trimAbove empties a log that has entries above the last change: nobody can tell
// what they mean. It returns the highest of them.
func (v *view) trimAbove(tx index.Tx, ch *change) (floor uint64, err error) {
	above := false
	err = tx.Expunged(ch.m.ID, ch.m.ModSeq, func(uint32) error { above = true; return nil })
	if err != nil || !above {
		return 0, err
	}
	if floor, err = tx.TrimLog(ch.m.ID, 0); err == nil {
		ch.m.LogFloor, ch.m.LogLen = max(ch.m.LogFloor, floor), 0
	}
	return floor, err
}

// recount counts the messages of the mailbox.
func (v *view) recount(tx index.Tx, ch *change) error {
	var sum index.Mailbox
	err := tx.Messages(ch.m.ID, 0, func(msg index.Message) error { addTo(&sum, msg); return nil })
	ch.m.Messages, ch.m.Unseen, ch.m.Deleted = sum.Messages, sum.Unseen, sum.Deleted
	ch.m.Size, ch.m.DeletedSize = sum.Size, sum.DeletedSize
	return err
}

// checkView looks at the packed view of a mailbox.
func (c *checker) checkView(ctx context.Context, m mailboxDir, object string) error {
	var record index.Mailbox
	err := c.ix.View(ctx, func(tx index.Tx) (err error) {
		record, err = tx.Mailbox(object)
		return err
	})
	if errors.Is(err, index.ErrNoMailbox) || err == nil && record.Cache == "" {
		return nil
	}
	if err != nil {
		return err
	}
	v := &view{a: c.a, dir: m.dir, id: identity{object: object}}
	damage, err := v.viewDamage(record)
	if err != nil || damage == nil {
		return err
	}
	f := Finding{Kind: KindView, Path: v.cachePath(), Mailbox: m.name, Text: damage.Error(), Repair: "remove it"}
	return c.found(ctx, f, func() error { return c.a.fs.Remove(v.cachePath()) })
}

// viewDamage says what is wrong with a packed view. One with another name than the
// index has is just being replaced, or was left so, and is not used.
func (v *view) viewDamage(record index.Mailbox) (damage, err error) {
	f, err := v.a.fs.Open(v.cachePath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	start := []byte(viewHeader)
	start = binary.LittleEndian.AppendUint64(start, uint64(len(record.Cache)))
	start = append(start, record.Cache...)
	found := make([]byte, len(start))
	if n, err := f.ReadAt(found, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	} else if n == len(start) && strings.HasPrefix(string(found), viewHeader) && !bytes.Equal(found, start) {
		return nil, nil
	}
	_, damage = readView(io.NewSectionReader(f, 0, info.Size), record)
	return damage, nil
}

// fill brings all mailboxes into a new index.
func (c *checker) fill(ctx context.Context) error {
	dirs, err := c.a.folders()
	if err != nil {
		return err
	}
	done := 0
	for name, dir := range dirs {
		err := c.within(ctx, mailboxDir{name, dir}, func(v *view) error { return v.settle(ctx) })
		if err != nil && !errors.Is(err, ErrNoMailbox) {
			return fmt.Errorf("mailbox %q: %w", filepath.Base(dir), err)
		}
		done++
		c.opt.Progress(done, len(dirs))
	}
	return nil
}
