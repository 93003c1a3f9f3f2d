package indextest

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"rtls/store/internal/index"
)

func testMailboxes(t *testing.T, o Opener) {
	ix := open(t, o)
	all := func() (list []index.Mailbox) {
		view(t, ix, func(tx index.Tx) (err error) {
			list, err = tx.Mailboxes()
			return err
		})
		slices.SortFunc(list, func(x, y index.Mailbox) int { return cmp.Compare(x.Object, y.Object) })
		return list
	}
	equal(t, "no mailboxes", all(), nil)
	one, two, three := put(t, ix, full()), put(t, ix, mailbox(2)), put(t, ix, mailbox(3))
	update(t, ix, func(tx index.Tx) error { return tx.DeleteMailbox(two.ID) })
	want := []index.Mailbox{one, three}
	slices.SortFunc(want, func(x, y index.Mailbox) int { return cmp.Compare(x.Object, y.Object) })
	equal(t, "mailboxes", all(), want)
}

// summaries are what is kept of the messages low to high, as "UID octets".
func summaries(t *testing.T, ix index.Index, id int64, low, high uint32) (list []string) {
	t.Helper()
	view(t, ix, func(tx index.Tx) error {
		return tx.Summaries(id, low, high, func(uid uint32, octets []byte) error {
			list = append(list, fmt.Sprintf("%d %s", uid, octets))
			return nil
		})
	})
	return list
}

func summary(uid uint32, octets string) index.Summary {
	return index.Summary{UID: uid, Octets: []byte(octets)}
}

// withSummaries makes two mailboxes of three messages with summaries.
func withSummaries(t *testing.T, ix index.Index) (m, other index.Mailbox) {
	m, other = put(t, ix, mailbox(1)), put(t, ix, mailbox(2))
	update(t, ix, func(tx index.Tx) error {
		for _, m := range []index.Mailbox{m, other} {
			if err := tx.Put(m.ID, []index.Message{{UID: 1, ModSeq: 1}, {UID: 2, ModSeq: 1}, {UID: math.MaxUint32, ModSeq: 1}}); err != nil {
				return err
			}
			list := []index.Summary{summary(math.MaxUint32, "last"), summary(1, "a\x00\xff"), summary(2, "b"), summary(3, "of no message")}
			if err := tx.PutSummaries(m.ID, list); err != nil {
				return err
			}
		}
		return nil
	})
	return m, other
}

func testSummaries(t *testing.T, o Opener) {
	ix := open(t, o)
	m, other := withSummaries(t, ix)
	equal(t, "all", summaries(t, ix, m.ID, 0, math.MaxUint32), []string{"1 a\x00\xff", "2 b", "4294967295 last"})
	equal(t, "one", summaries(t, ix, m.ID, 1, 1), []string{"1 a\x00\xff"})
	equal(t, "none", summaries(t, ix, m.ID, 3, 100), nil)
	update(t, ix, func(tx index.Tx) error {
		return tx.PutSummaries(m.ID, []index.Summary{summary(1, "first"), summary(1, "second")})
	})
	update(t, ix, func(tx index.Tx) error {
		return tx.PutSummaries(m.ID, []index.Summary{summary(2, ""), summary(3, "")})
	})
	equal(t, "taken away", summaries(t, ix, m.ID, 2, 3), nil)
	equal(t, "replaced", summaries(t, ix, m.ID, 0, 1), []string{"1 second"})
	equal(t, "the other mailbox's", summaries(t, ix, other.ID, 0, 1), []string{"1 a\x00\xff"})
	// A change of flags is none of the octets.
	update(t, ix, func(tx index.Tx) error {
		return tx.Put(m.ID, []index.Message{{UID: 1, ModSeq: 9, Name: "x:2,S"}})
	})
	equal(t, "after a change", summaries(t, ix, m.ID, 0, 1), []string{"1 second"})
	stop := errors.New("enough")
	n := 0
	err := ix.View(t.Context(), func(tx index.Tx) error {
		return tx.Summaries(m.ID, 0, math.MaxUint32, func(uint32, []byte) error { n++; return stop })
	})
	if !errors.Is(err, stop) || n != 1 {
		t.Errorf("after %d summaries: %v, want the error of the first", n, err)
	}
}

// Summaries go with their messages, and nobody inherits them.
func testSummariesGo(t *testing.T, o Opener) {
	ix := open(t, o)
	m, other := withSummaries(t, ix)
	update(t, ix, func(tx index.Tx) error {
		if err := tx.Expunge(m.ID, []uint32{1}, 2); err != nil {
			return err
		}
		return tx.PutSummaries(m.ID, []index.Summary{summary(1, "too late")})
	})
	equal(t, "after expunge", summaries(t, ix, m.ID, 0, math.MaxUint32), []string{"2 b", "4294967295 last"})
	update(t, ix, func(tx index.Tx) error { return tx.DeleteMailbox(m.ID) })
	equal(t, "of a deleted mailbox", summaries(t, ix, m.ID, 0, math.MaxUint32), nil)
	next := put(t, ix, mailbox(3))
	equal(t, "of the next mailbox", summaries(t, ix, next.ID, 0, math.MaxUint32), nil)
	equal(t, "of the other mailbox", summaries(t, ix, other.ID, 0, 1), []string{"1 a\x00\xff"})
}

// Copies have the summaries of their originals, which keep them.
func testCopySummaries(t *testing.T, o Opener) {
	ix := open(t, o)
	m, other := withSummaries(t, ix)
	update(t, ix, func(tx index.Tx) error {
		if err := tx.Put(other.ID, []index.Message{{UID: 10, ModSeq: 2}, {UID: 11, ModSeq: 2}, {UID: 12, ModSeq: 2}}); err != nil {
			return err
		}
		if err := tx.CopySummaries(m.ID, other.ID, []index.CopiedUID{{From: 1, To: 10}, {From: 3, To: 11}, {From: 2, To: 2}}); err != nil {
			return err
		}
		// In one mailbox, and before the copy is put.
		if err := tx.CopySummaries(m.ID, m.ID, []index.CopiedUID{{From: math.MaxUint32, To: 4}}); err != nil {
			return err
		}
		if err := tx.Put(m.ID, []index.Message{{UID: 4, ModSeq: 2}}); err != nil {
			return err
		}
		return tx.Expunge(m.ID, []uint32{1}, 3) // as a move does
	})
	equal(t, "copies", summaries(t, ix, other.ID, 0, math.MaxUint32), []string{"1 a\x00\xff", "2 b", "10 a\x00\xff", "4294967295 last"})
	equal(t, "originals", summaries(t, ix, m.ID, 0, math.MaxUint32), []string{"2 b", "4 last", "4294967295 last"})
}

// UpdateSoon differs from Update only in what a crash may do.
func testUpdateSoon(t *testing.T, o Opener) {
	ix, other := open(t, o), open(t, o)
	m, _ := withSummaries(t, ix)
	soon := func(text string, err error) error {
		return ix.UpdateSoon(t.Context(), func(tx index.Tx) error {
			return errors.Join(tx.PutSummaries(m.ID, []index.Summary{summary(1, text)}), err)
		})
	}
	if err := soon("new", nil); err != nil {
		t.Fatal(err)
	}
	equal(t, "here", summaries(t, ix, m.ID, 1, 1), []string{"1 new"})
	equal(t, "in another handle", summaries(t, other, m.ID, 1, 1), []string{"1 new"})
	failed := errors.New("no")
	if err := soon("undone", failed); !errors.Is(err, failed) {
		t.Errorf("an update that fails returns %v", err)
	}
	equal(t, "after one that failed", summaries(t, ix, m.ID, 1, 1), []string{"1 new"})
	update(t, other, func(tx index.Tx) error { return tx.Expunge(m.ID, []uint32{2}, 5) })
	if err := errors.Join(ix.Close(), other.Close()); err != nil {
		t.Fatal(err)
	}
	equal(t, "after closing", summaries(t, open(t, o), m.ID, 0, 2), []string{"1 new"})
}
