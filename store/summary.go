package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"rtls/store/internal/index"
)

// Summary is what a reader has worked out of a message's octets and does not want to
// work out again: the store knows nothing of its form. The first octet should say
// which it is, so that a later reader can tell it from its own.
type Summary struct {
	UID    uint32
	Octets []byte
}

// Summaries calls f for the summaries that are kept of messages, whose UIDs must
// ascend, in their order. Those of which none is kept are passed over. f must not
// keep the octets, and must not take long: the index is held in one state for it.
//
// Summaries are a cache. They go with their messages, a copy has those of its
// original, and all of them can be gone at any time.
func (m *Mailbox) Summaries(ctx context.Context, uids []uint32, f func(uid uint32, octets []byte) error) error {
	err := m.withRecord(ctx, index.Index.View, func(tx index.Tx, id int64) error {
		for rest := uids; len(rest) > 0; {
			n := near(rest)
			wanted := rest[:n]
			rest = rest[n:]
			err := tx.Summaries(id, wanted[0], wanted[n-1], func(uid uint32, octets []byte) error {
				if _, ok := slices.BinarySearch(wanted, uid); !ok {
					return nil
				}
				return f(uid, octets)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read summaries: %w", err)
	}
	return nil
}

// near is how many UIDs are so close to each other that reading all between them is
// cheaper than looking for each.
func near(uids []uint32) int {
	const gap = 16
	for i := 1; i < len(uids); i++ {
		if uids[i]-uids[i-1] > gap {
			return i
		}
	}
	return len(uids)
}

// PutSummaries keeps summaries of messages, in place of earlier ones; for messages
// that are gone, none. They are not durable when it returns.
func (m *Mailbox) PutSummaries(ctx context.Context, list []Summary) error {
	kept := make([]index.Summary, len(list))
	for i, s := range list {
		kept[i] = index.Summary(s)
	}
	err := m.withRecord(ctx, index.Index.UpdateSoon, func(tx index.Tx, id int64) error {
		return tx.PutSummaries(id, kept)
	})
	if err != nil {
		return fmt.Errorf("keep summaries: %w", err)
	}
	return nil
}

// withRecord runs f in a transaction with the number that the index has for the
// mailbox. It holds no lock: a summary is as good before a change as after it.
func (m *Mailbox) withRecord(ctx context.Context, transact func(index.Index, context.Context, func(index.Tx) error) error, f func(tx index.Tx, id int64) error) error {
	v := m.v
	ix, err := v.a.index(ctx)
	if err != nil {
		return err
	}
	v.mu.Lock()
	object := v.id.object
	v.mu.Unlock()
	return transact(ix, ctx, func(tx index.Tx) error {
		record, err := tx.Mailbox(object)
		if errors.Is(err, index.ErrNoMailbox) {
			return fmt.Errorf("%w: it was deleted", ErrNoMailbox)
		}
		if err != nil {
			return err
		}
		return f(tx, record.ID)
	})
}

// copySummaries gives copies the summaries of their originals: they have the same
// octets.
func copySummaries(tx index.Tx, from, to int64, pairs []UIDPair) error {
	copies := make([]index.CopiedUID, len(pairs))
	for i, p := range pairs {
		copies[i] = index.CopiedUID{From: p.Source, To: p.Dest}
	}
	return tx.CopySummaries(from, to, copies)
}
