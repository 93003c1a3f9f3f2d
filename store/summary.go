package store

import (
	"context"
	"errors"
	"fmt"
)

// Summary is what a reader has worked out of a message's octets and does not want to
// work out again: the store knows nothing of its form. The first octet should say
// which it is, and there should be a checksum: the file can be damaged.
type Summary struct {
	UID    uint32
	Stamp  Stamp // of the file that it was worked out of
	Octets []byte
}

// Stamp tells the octets of a message from others that it can have had, by what the
// index knows of it and by the time of its file.
type Stamp struct {
	wire     int64
	bond     uint64 // see bond.go; 0 if the name has none
	modified int64
}

// of says whether a stamp is of the octets that a message has, as far as its row tells.
func (p Stamp) of(r *row) bool { return p.wire == r.wireSize && p.bond == r.bond }

// Summaries calls f for the summaries that are kept of messages, whose UIDs must
// ascend, in their order. Those of which none is kept are passed over. The octets are
// in buf, which is made larger if need be, until that is used again.
//
// Summaries are a cache. They go with their messages, a copy has those of its
// original, and all of them can be gone at any time. One that was worked out of other
// octets than the message has by now is not among them, as far as anybody has noticed.
func (m *Mailbox) Summaries(ctx context.Context, uids []uint32, buf *[]byte, f func(Summary) error) error {
	v := m.v
	rows := cursor{s: v.snap.Load()}
	err := v.sums.read(v, uids, buf, func(found Summary) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r := rows.find(found.UID); r == nil || !found.Stamp.of(r) {
			return nil
		}
		return f(found)
	})
	if err != nil {
		return fmt.Errorf("read summaries: %w", err)
	}
	return nil
}

// cursor finds rows of messages that are asked for in their order, where the next one
// is likely to stand behind the last.
type cursor struct {
	s    *Snapshot
	next []row // behind the last one, in its chunk
}

// find returns the row of the message with a UID, or nil.
func (c *cursor) find(uid uint32) *row {
	if len(c.next) == 0 || c.next[0].uid != uid {
		at, ok := c.s.Find(uid)
		if !ok {
			return nil
		}
		chunk, i := c.s.locate(at)
		c.next = chunk.rows[i:]
	}
	r := &c.next[0]
	c.next = c.next[1:]
	return r
}

// PutSummaries keeps summaries of messages, in place of earlier ones; for messages
// that are gone, none. They are not durable when it returns.
func (m *Mailbox) PutSummaries(ctx context.Context, list []Summary) error {
	v := m.v
	if err := ctx.Err(); err != nil {
		return err
	}
	if v.gone.Load() {
		return fmt.Errorf("keep summaries: %w: it was deleted or renamed", ErrNoMailbox)
	}
	s := v.snap.Load()
	rows := cursor{s: s}
	kept := make([]Summary, 0, len(list))
	for _, sum := range list {
		if r := rows.find(sum.UID); r != nil && sum.Stamp.of(r) {
			kept = append(kept, sum)
		}
	}
	if err := v.sums.put(v, s, kept); err != nil {
		return fmt.Errorf("keep summaries: %w", err)
	}
	return nil
}

// copySummaries gives copies the summaries of their originals: they have the same
// octets. What cannot be copied is worked out again.
func (v *view) copySummaries(ctx context.Context, dest copied, pairs []UIDPair) {
	// Its own view may be this one, whose file is being read.
	to := &view{a: v.a, dir: dest.dir, id: identity{object: dest.object}}
	to.snap.Store(&Snapshot{uidValidity: dest.uidValidity})
	copies := make(map[uint32]uint32, len(pairs))
	uids := make([]uint32, len(pairs))
	for i, p := range pairs {
		copies[p.Source], uids[i] = p.Dest, p.Source
	}
	var b block
	flush := func() error {
		defer b.reset()
		return to.sums.add(to, &b)
	}
	err := v.sums.read(v, uids, nil, func(s Summary) error {
		s.UID = copies[s.UID]
		b.add(s)
		if len(b.octets) < blockOctets {
			return nil
		}
		return errors.Join(ctx.Err(), flush())
	})
	if err == nil {
		err = flush()
	}
	if err != nil && ctx.Err() == nil {
		v.a.log.Warn("summaries are not copied", "dir", to.dir, "err", err)
	}
}
