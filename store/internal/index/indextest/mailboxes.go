package indextest

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"testing"

	"rtls/store/internal/index"
)

func testNoMailbox(t *testing.T, o Opener) {
	ix := open(t, o)
	put(t, ix, mailbox(1))
	view(t, ix, func(tx index.Tx) error {
		if _, err := tx.Mailbox(object(2)); !errors.Is(err, index.ErrNoMailbox) {
			t.Errorf("Mailbox of none: %v", err)
		}
		if _, err := tx.MailboxAt(".2"); !errors.Is(err, index.ErrNoMailbox) {
			t.Errorf("MailboxAt where there is none: %v", err)
		}
		// INBOX is at the directory without a name.
		if _, err := tx.MailboxAt(""); !errors.Is(err, index.ErrNoMailbox) {
			t.Errorf("MailboxAt of no INBOX: %v", err)
		}
		return nil
	})
}

// full has a value in each field, as large as the store's types allow.
func full() index.Mailbox {
	return index.Mailbox{
		Object: object(9), Dir: ".Entw&APw-rfe 'x'\"%_", UIDValidity: math.MaxUint32, UIDNext: math.MaxUint32,
		ModSeq: math.MaxInt64, LogFloor: math.MaxInt64 - 1, LogLen: math.MaxInt64 - 2, RecentFrom: math.MaxUint32 - 1,
		Messages: math.MaxUint32 - 2, Unseen: math.MaxUint32 - 3, Deleted: math.MaxUint32 - 4,
		Size: math.MaxInt64 - 3, DeletedSize: math.MaxInt64 - 4,
		CurModified: math.MaxInt64 - 5, CurChanged: -1, Cache: "packed",
	}
}

func testMailboxRoundTrip(t *testing.T, o Opener) {
	ix := open(t, o)
	want := put(t, ix, full())
	if want.ID == 0 {
		t.Fatal("a new mailbox has no ID")
	}
	other := put(t, ix, mailbox(1))
	if other.ID == want.ID {
		t.Fatal("two mailboxes have one ID")
	}
	find := func(want index.Mailbox) {
		t.Helper()
		view(t, ix, func(tx index.Tx) error {
			if got, err := tx.Mailbox(want.Object); err != nil || got != want {
				t.Errorf("Mailbox: %+v, %v, want %+v", got, err, want)
			}
			if got, err := tx.MailboxAt(want.Dir); err != nil || got != want {
				t.Errorf("MailboxAt: %+v, %v, want %+v", got, err, want)
			}
			return nil
		})
	}
	find(want)
	find(other)
	old := want.Dir
	want.Dir, want.ModSeq, want.Cache = "", 7, "" // renamed, of all things to INBOX
	if got := put(t, ix, want); got != want {
		t.Errorf("PutMailbox: %+v, want %+v", got, want)
	}
	find(want)
	find(other)
	view(t, ix, func(tx index.Tx) error {
		if _, err := tx.MailboxAt(old); !errors.Is(err, index.ErrNoMailbox) {
			t.Errorf("MailboxAt of the directory before: %v", err)
		}
		return nil
	})
}

// Of two mailboxes that were seen in one directory, the later one is there.
func testMailboxAtLatest(t *testing.T, o Opener) {
	ix := open(t, o)
	first, second := mailbox(1), mailbox(2)
	second.Dir = first.Dir
	put(t, ix, first)
	second = put(t, ix, second)
	view(t, ix, func(tx index.Tx) error {
		if got, err := tx.MailboxAt(first.Dir); err != nil || got != second {
			t.Errorf("MailboxAt: %+v, %v, want %+v", got, err, second)
		}
		return nil
	})
}

func testUIDValidity(t *testing.T, o Opener) {
	ix := open(t, o)
	var last uint32
	next := func(low uint32) (n uint32) {
		t.Helper()
		update(t, ix, func(tx index.Tx) (err error) {
			n, err = tx.NextUIDValidity(low)
			return err
		})
		if n <= last || n < low {
			t.Errorf("UIDVALIDITY %d after %d, at least %d", n, last, low)
		}
		last = n
		return n
	}
	next(1)
	next(1)
	if n := next(1_790_000_000); n != 1_790_000_000 {
		t.Errorf("UIDVALIDITY %d, want the clock's", n)
	}
	next(5) // the clock went back
	next(math.MaxUint32 - 1)
	if err := ix.Close(); err != nil {
		t.Fatal(err)
	}
	ix = open(t, o)
	next(5)
	// There is none above the largest.
	err := ix.Update(t.Context(), func(tx index.Tx) error {
		n, err := tx.NextUIDValidity(5)
		if err == nil && n > last {
			t.Errorf("%d is above the largest number", n)
		}
		return err
	})
	if err == nil {
		t.Error("a UIDVALIDITY was given that had been given before")
	}
}

func testDeleteMailbox(t *testing.T, o Opener) {
	ix := open(t, o)
	m, other := put(t, ix, mailbox(1)), put(t, ix, mailbox(2))
	update(t, ix, func(tx index.Tx) error {
		for _, id := range []int64{m.ID, other.ID} {
			if err := tx.Put(id, []index.Message{{UID: 1, ModSeq: 1}, {UID: 2, ModSeq: 1}}); err != nil {
				return err
			}
			if err := tx.Expunge(id, []uint32{2}, 3); err != nil {
				return err
			}
		}
		return tx.DeleteMailbox(m.ID)
	})
	view(t, ix, func(tx index.Tx) error {
		if _, err := tx.Mailbox(m.Object); !errors.Is(err, index.ErrNoMailbox) {
			t.Errorf("the deleted mailbox: %v", err)
		}
		if _, err := tx.MailboxAt(m.Dir); !errors.Is(err, index.ErrNoMailbox) {
			t.Errorf("the directory of the deleted mailbox: %v", err)
		}
		return nil
	})
	// Whatever ID the next one gets, it inherits nothing.
	next := put(t, ix, mailbox(3))
	equal(t, "messages of the next mailbox", messages(t, ix, next.ID, 0), nil)
	equal(t, "log of the next mailbox", expunged(t, ix, next.ID, 0), nil)
	equal(t, "messages of the other mailbox", uids(messages(t, ix, other.ID, 0)), []uint32{1})
	equal(t, "log of the other mailbox", expunged(t, ix, other.ID, 0), []uint32{2})
}

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
