// Package indextest holds an engine of the index to what package index promises.
package indextest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"rtls/store/internal/index"
)

// Opener opens a handle of an index, the one that its earlier calls opened too.
// The first call makes it, empty. The suite closes what it opens.
type Opener func(ctx context.Context) (index.Index, error)

// Run runs the suite. fresh is called once a test and returns the opener of an
// index that nobody has used.
func Run(t *testing.T, fresh func(t *testing.T) Opener) {
	for name, f := range map[string]func(*testing.T, Opener){
		"NoMailbox":         testNoMailbox,
		"MailboxRoundTrip":  testMailboxRoundTrip,
		"MailboxAtLatest":   testMailboxAtLatest,
		"Mailboxes":         testMailboxes,
		"MessageRoundTrip":  testMessageRoundTrip,
		"Order":             testOrder,
		"PutReplaces":       testPutReplaces,
		"Count":             testCount,
		"NamesInNew":        testNamesInNew,
		"Expunge":           testExpunge,
		"TrimLog":           testTrimLog,
		"UIDValidity":       testUIDValidity,
		"DeleteMailbox":     testDeleteMailbox,
		"FailedUpdate":      testFailedUpdate,
		"PanickingUpdate":   testPanickingUpdate,
		"StopEarly":         testStopEarly,
		"Durable":           testDurable,
		"ViewIsOneState":    testViewIsOneState,
		"ConcurrentUpdates": testConcurrentUpdates,
		"EndedContext":      testEndedContext,
		"Closed":            testClosed,
		"Checker":           testChecker,
	} {
		t.Run(name, func(t *testing.T) { f(t, fresh(t)) })
	}
}

func open(t *testing.T, o Opener) index.Index {
	t.Helper()
	ix, err := o(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ix.Close() }) // again, in most tests
	return ix
}

func update(t *testing.T, ix index.Index, f func(index.Tx) error) {
	t.Helper()
	if err := ix.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func view(t *testing.T, ix index.Index, f func(index.Tx) error) {
	t.Helper()
	if err := ix.View(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

// object makes an identifier of the form that the store uses.
func object(n int) string { return fmt.Sprintf("%032x", n) }

func put(t *testing.T, ix index.Index, m index.Mailbox) index.Mailbox {
	t.Helper()
	update(t, ix, func(tx index.Tx) (err error) {
		m, err = tx.PutMailbox(m)
		return err
	})
	return m
}

func mailbox(n int) index.Mailbox {
	return index.Mailbox{Object: object(n), Dir: fmt.Sprintf(".%d", n), UIDValidity: 1, UIDNext: 1, ModSeq: 1, LogFloor: 1, RecentFrom: 1}
}

func messages(t *testing.T, ix index.Index, id int64, since uint64) (all []index.Message) {
	t.Helper()
	view(t, ix, func(tx index.Tx) error {
		return tx.Messages(id, since, func(m index.Message) error {
			all = append(all, m)
			return nil
		})
	})
	return all
}

func uids(all []index.Message) (list []uint32) {
	for _, m := range all {
		list = append(list, m.UID)
	}
	return list
}

func expunged(t *testing.T, ix index.Index, id int64, since uint64) (list []uint32) {
	t.Helper()
	view(t, ix, func(tx index.Tx) error {
		return tx.Expunged(id, since, func(uid uint32) error {
			list = append(list, uid)
			return nil
		})
	})
	return list
}

func equal[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

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

func testMessageRoundTrip(t *testing.T, o Opener) {
	ix := open(t, o)
	m := put(t, ix, mailbox(1))
	want := []index.Message{
		{UID: 1, ModSeq: 1, Name: "a"},
		{UID: 2, ModSeq: math.MaxInt64, Name: "1.M2P3.h,S=1,W=2,T=re:2,FS", New: true, Size: math.MaxInt64, Date: -1, Keywords: "$Forwarded a'b \"c"},
		{UID: math.MaxUint32, ModSeq: 3, Name: strings.Repeat("ü%_'", 50), Date: math.MaxInt64, Keywords: strings.Repeat("k", 10_000)},
	}
	update(t, ix, func(tx index.Tx) error { return tx.Put(m.ID, want) })
	equal(t, "messages", messages(t, ix, m.ID, 0), want)
	equal(t, "messages above the middle of the numbers", messages(t, ix, m.ID, 3), want[1:2])
	equal(t, "messages above the highest number", messages(t, ix, m.ID, math.MaxInt64), nil)
}

func testOrder(t *testing.T, o Opener) {
	ix := open(t, o)
	m, other := put(t, ix, mailbox(1)), put(t, ix, mailbox(2))
	var all []index.Message
	for _, uid := range []uint32{10, 9, 1 << 31, 100, 1, 4} {
		all = append(all, index.Message{UID: uid, ModSeq: uint64(5_000_000_000 - int64(uid)), Name: "n"})
	}
	update(t, ix, func(tx index.Tx) error {
		if err := tx.Put(other.ID, []index.Message{{UID: 5, ModSeq: 5, Name: "other"}}); err != nil {
			return err
		}
		return tx.Put(m.ID, all)
	})
	equal(t, "order of all", uids(messages(t, ix, m.ID, 0)), []uint32{1, 4, 9, 10, 100, 1 << 31})
	equal(t, "order of the changed", uids(messages(t, ix, m.ID, 5_000_000_000-50)), []uint32{1, 4, 9, 10})
	equal(t, "other mailbox", uids(messages(t, ix, other.ID, 0)), []uint32{5})
	update(t, ix, func(tx index.Tx) error {
		if err := tx.Expunge(m.ID, []uint32{100, 4}, 8_000_000_000); err != nil {
			return err
		}
		return tx.Expunge(m.ID, []uint32{9}, 8_000_000_001)
	})
	equal(t, "log", expunged(t, ix, m.ID, 0), []uint32{4, 9, 100})
	equal(t, "end of the log", expunged(t, ix, m.ID, 8_000_000_000), []uint32{9})
	equal(t, "behind the log", expunged(t, ix, m.ID, 8_000_000_001), nil)
	equal(t, "log of the other mailbox", expunged(t, ix, other.ID, 0), nil)
}

func testPutReplaces(t *testing.T, o Opener) {
	ix := open(t, o)
	m := put(t, ix, mailbox(1))
	first := index.Message{UID: 1, ModSeq: 2, Name: "one", New: true, Size: 3, Date: 4, Keywords: "k"}
	second := index.Message{UID: 1, ModSeq: 3, Name: "other"}
	update(t, ix, func(tx index.Tx) error { return tx.Put(m.ID, []index.Message{first}) })
	update(t, ix, func(tx index.Tx) error {
		if err := tx.Put(m.ID, nil); err != nil {
			return err
		}
		return tx.Put(m.ID, []index.Message{second})
	})
	equal(t, "messages", messages(t, ix, m.ID, 0), []index.Message{second})
}

func testCount(t *testing.T, o Opener) {
	ix := open(t, o)
	m, other := put(t, ix, mailbox(1)), put(t, ix, mailbox(2))
	update(t, ix, func(tx index.Tx) error {
		if err := tx.Put(other.ID, []index.Message{{UID: 7, ModSeq: 1}}); err != nil {
			return err
		}
		return tx.Put(m.ID, []index.Message{{UID: 2, ModSeq: 1}, {UID: 5, ModSeq: 1}, {UID: math.MaxUint32, ModSeq: 1}})
	})
	view(t, ix, func(tx index.Tx) error {
		for from, want := range map[uint32]uint32{0: 3, 2: 3, 3: 2, 5: 2, 6: 1, math.MaxUint32: 1} {
			if n, err := tx.Count(m.ID, from); err != nil || n != want {
				t.Errorf("Count from %d: %d, %v, want %d", from, n, err, want)
			}
		}
		return nil
	})
}

func testNamesInNew(t *testing.T, o Opener) {
	ix := open(t, o)
	m, other := put(t, ix, mailbox(1)), put(t, ix, mailbox(2))
	update(t, ix, func(tx index.Tx) error {
		if err := tx.Put(other.ID, []index.Message{{UID: 1, ModSeq: 1, Name: "other", New: true}}); err != nil {
			return err
		}
		return tx.Put(m.ID, []index.Message{{UID: 1, ModSeq: 1, Name: "a", New: true}, {UID: 2, ModSeq: 1, Name: "b"},
			{UID: 3, ModSeq: 1, Name: "c", New: true}, {UID: 4, ModSeq: 1, Name: "d", New: true}})
	})
	update(t, ix, func(tx index.Tx) error {
		if err := tx.Expunge(m.ID, []uint32{4}, 2); err != nil {
			return err
		}
		return tx.Put(m.ID, []index.Message{{UID: 3, ModSeq: 2, Name: "c:2,"}}) // moved to cur/
	})
	view(t, ix, func(tx index.Tx) error {
		names, err := tx.NamesInNew(m.ID)
		equal(t, "names in new/", names, []string{"a"})
		return err
	})
}

func testExpunge(t *testing.T, o Opener) {
	ix := open(t, o)
	m, other := put(t, ix, mailbox(1)), put(t, ix, mailbox(2))
	update(t, ix, func(tx index.Tx) error {
		for _, id := range []int64{m.ID, other.ID} {
			if err := tx.Put(id, []index.Message{{UID: 1, ModSeq: 1}, {UID: 2, ModSeq: 1}}); err != nil {
				return err
			}
		}
		if err := tx.Expunge(m.ID, nil, 5); err != nil {
			return err
		}
		return tx.Expunge(m.ID, []uint32{2}, math.MaxInt64)
	})
	equal(t, "messages", uids(messages(t, ix, m.ID, 0)), []uint32{1})
	equal(t, "other mailbox", uids(messages(t, ix, other.ID, 0)), []uint32{1, 2})
	equal(t, "log", expunged(t, ix, m.ID, math.MaxInt64-1), []uint32{2})
}

// What stays of the log is all that is above the floor, and no less than was asked
// for; entries of one change stay or go together.
func testTrimLog(t *testing.T, o Opener) {
	type entry struct {
		modSeq uint64
		uids   []uint32
	}
	for _, test := range []struct {
		name    string
		log     []entry
		keep    int64
		floor   uint64
		stay    []uint32
		inexact bool // the change on the border may go or stay
	}{
		{"empty", nil, 3, 0, nil, false},
		{"short", []entry{{5, []uint32{1}}, {6, []uint32{2}}}, 3, 0, []uint32{1, 2}, false},
		{"just as long", []entry{{5, []uint32{1}}, {6, []uint32{2}}}, 2, 0, []uint32{1, 2}, false},
		{"one too many", []entry{{5, []uint32{1}}, {6, []uint32{2}}, {9, []uint32{3}}}, 2, 5, []uint32{2, 3}, false},
		{"all", []entry{{5, []uint32{1}}, {1 << 40, []uint32{2}}}, 0, 1 << 40, nil, false},
		{"by number, not UID", []entry{{5, []uint32{9}}, {6, []uint32{2}}}, 1, 5, []uint32{2}, false},
		{"changes of many", []entry{{5, []uint32{1, 2, 3}}, {6, []uint32{4, 5, 6}}}, 3, 5, []uint32{4, 5, 6}, false},
		{"a change on the border", []entry{{5, []uint32{1, 2, 3}}, {6, []uint32{4, 5, 6}}}, 4, 0, nil, true},
	} {
		ix := open(t, o)
		m := put(t, ix, index.Mailbox{Object: object(len(test.name) + 1000*int(test.keep)), Dir: test.name, UIDValidity: 1, UIDNext: 1})
		var floor uint64
		update(t, ix, func(tx index.Tx) (err error) {
			for _, e := range test.log {
				if err := tx.Expunge(m.ID, e.uids, e.modSeq); err != nil {
					return err
				}
			}
			floor, err = tx.TrimLog(m.ID, test.keep)
			return err
		})
		left := expunged(t, ix, m.ID, 0)
		if test.inexact {
			if len(left)%3 != 0 {
				t.Errorf("%s: part of a change stays: %v", test.name, left)
			}
		} else {
			if floor != test.floor {
				t.Errorf("%s: floor %d, want %d", test.name, floor, test.floor)
			}
			equal(t, test.name, left, test.stay)
		}
		equal(t, test.name+", above the floor", expunged(t, ix, m.ID, floor), left)
	}
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

// disturb does some of everything.
func disturb(tx index.Tx, m index.Mailbox) error {
	m.ModSeq, m.Dir = 99, ".elsewhere"
	_, err := tx.PutMailbox(m)
	err = errors.Join(err, tx.Put(m.ID, []index.Message{{UID: 1, ModSeq: 99, Name: "changed"}, {UID: 3, ModSeq: 99}}))
	err = errors.Join(err, tx.Expunge(m.ID, []uint32{2}, 99))
	_, perr := tx.PutMailbox(mailbox(50))
	_, verr := tx.NextUIDValidity(4_000_000_000)
	return errors.Join(err, perr, verr)
}

// undisturbed checks that none of it has happened.
func undisturbed(t *testing.T, ix index.Index, m index.Mailbox, all []index.Message) {
	t.Helper()
	equal(t, "messages", messages(t, ix, m.ID, 0), all)
	equal(t, "log", expunged(t, ix, m.ID, 0), nil)
	update(t, ix, func(tx index.Tx) error {
		if got, err := tx.Mailbox(m.Object); err != nil || got != m {
			t.Errorf("mailbox: %+v, %v, want %+v", got, err, m)
		}
		if _, err := tx.Mailbox(object(50)); !errors.Is(err, index.ErrNoMailbox) {
			t.Errorf("a mailbox of a failed update: %v", err)
		}
		if n, err := tx.NextUIDValidity(1); err != nil || n >= 4_000_000_000 {
			t.Errorf("UIDVALIDITY %d, %v", n, err)
		}
		return nil
	})
}

func prepare(t *testing.T, ix index.Index) (index.Mailbox, []index.Message) {
	t.Helper()
	m := put(t, ix, mailbox(1))
	all := []index.Message{{UID: 1, ModSeq: 1, Name: "one"}, {UID: 2, ModSeq: 1, Name: "two"}}
	update(t, ix, func(tx index.Tx) error { return tx.Put(m.ID, all) })
	return m, all
}

func testFailedUpdate(t *testing.T, o Opener) {
	ix := open(t, o)
	m, all := prepare(t, ix)
	broken := errors.New("broken")
	err := ix.Update(t.Context(), func(tx index.Tx) error {
		if err := disturb(tx, m); err != nil {
			t.Error(err)
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("Update returned %v", err)
	}
	undisturbed(t, ix, m, all)
	if err := ix.Close(); err != nil {
		t.Fatal(err)
	}
	undisturbed(t, open(t, o), m, all)
}

// A panic, which a server may survive, leaves neither changes nor a lock.
func testPanickingUpdate(t *testing.T, o Opener) {
	ix := open(t, o)
	m, all := prepare(t, ix)
	func() {
		defer func() { _ = recover() }()
		_ = ix.Update(t.Context(), func(tx index.Tx) error {
			if err := disturb(tx, m); err != nil {
				t.Error(err)
			}
			panic("broken")
		})
	}()
	undisturbed(t, ix, m, all)
}

// An error of the caller's function ends a listing and comes back.
func testStopEarly(t *testing.T, o Opener) {
	ix := open(t, o)
	m, _ := prepare(t, ix)
	update(t, ix, func(tx index.Tx) error { return tx.Expunge(m.ID, []uint32{7, 8}, 9) })
	enough := errors.New("enough")
	view(t, ix, func(tx index.Tx) error {
		calls := 0
		err := tx.Messages(m.ID, 0, func(index.Message) error { calls++; return enough })
		if !errors.Is(err, enough) || calls != 1 {
			t.Errorf("Messages: %v after %d calls", err, calls)
		}
		calls = 0
		err = tx.Expunged(m.ID, 0, func(uint32) error { calls++; return enough })
		if !errors.Is(err, enough) || calls != 1 {
			t.Errorf("Expunged: %v after %d calls", err, calls)
		}
		return nil
	})
}

func testDurable(t *testing.T, o Opener) {
	ix := open(t, o)
	m, all := prepare(t, ix)
	update(t, ix, func(tx index.Tx) error { return tx.Expunge(m.ID, []uint32{2}, 5) })
	look := func(ix index.Index) {
		t.Helper()
		equal(t, "messages", messages(t, ix, m.ID, 0), all[:1])
		equal(t, "log", expunged(t, ix, m.ID, 0), []uint32{2})
		view(t, ix, func(tx index.Tx) error {
			if got, err := tx.Mailbox(m.Object); err != nil || got != m {
				t.Errorf("mailbox: %+v, %v, want %+v", got, err, m)
			}
			return nil
		})
	}
	other := open(t, o) // another handle, while this one is open
	look(other)
	if err := errors.Join(ix.Close(), other.Close()); err != nil {
		t.Fatal(err)
	}
	look(open(t, o))
}

func testViewIsOneState(t *testing.T, o Opener) {
	ix, other := open(t, o), open(t, o)
	m, _ := prepare(t, ix)
	view(t, ix, func(tx index.Tx) error {
		if _, err := tx.Mailbox(m.Object); err != nil { // the state is that of now
			return err
		}
		update(t, other, func(tx index.Tx) error { return disturb(tx, m) })
		if got, err := tx.Mailbox(m.Object); err != nil || got != m {
			t.Errorf("the mailbox has become %+v, %v", got, err)
		}
		n, err := tx.Count(m.ID, 0)
		if n != 2 {
			t.Errorf("the mailbox has %d messages by now", n)
		}
		return err
	})
	equal(t, "the next state", uids(messages(t, ix, m.ID, 0)), []uint32{1, 3})
}

// Nobody's change is lost, and nobody sees half of another's.
func testConcurrentUpdates(t *testing.T, o Opener) {
	const handles, workers, rounds = 3, 3, 15
	first := open(t, o)
	m := put(t, first, mailbox(1))
	var wg sync.WaitGroup
	for range handles {
		ix := open(t, o)
		for range workers {
			wg.Go(func() {
				for range rounds {
					if err := ix.Update(t.Context(), func(tx index.Tx) error { return addOne(tx, m.Object) }); err != nil {
						t.Error(err)
						return
					}
					if err := ix.View(t.Context(), func(tx index.Tx) error { return consistent(tx, m.Object) }); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	if n := len(messages(t, first, m.ID, 0)); n != handles*workers*rounds {
		t.Errorf("%d messages, want %d", n, handles*workers*rounds)
	}
}

func addOne(tx index.Tx, object string) error {
	m, err := tx.Mailbox(object)
	if err != nil {
		return err
	}
	m.ModSeq++
	if err := tx.Put(m.ID, []index.Message{{UID: m.UIDNext, ModSeq: m.ModSeq, Name: "n"}}); err != nil {
		return err
	}
	m.UIDNext++
	m.Messages++
	_, err = tx.PutMailbox(m)
	return err
}

func consistent(tx index.Tx, object string) error {
	m, err := tx.Mailbox(object)
	if err != nil {
		return err
	}
	n, err := tx.Count(m.ID, 1)
	if err == nil && (n != m.Messages || m.UIDNext != n+1) {
		err = fmt.Errorf("half of an update: %d messages, counter %d, next UID %d", n, m.Messages, m.UIDNext)
	}
	return err
}

func testEndedContext(t *testing.T, o Opener) {
	ix := open(t, o)
	m, all := prepare(t, ix)
	ctx, cancel := context.WithCancel(t.Context())
	err := ix.Update(ctx, func(tx index.Tx) error {
		if err := disturb(tx, m); err != nil {
			t.Error(err)
		}
		cancel()
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Update: %v", err)
	}
	nothing := func(index.Tx) error { t.Error("f was called"); return nil }
	if err := ix.Update(ctx, nothing); !errors.Is(err, context.Canceled) {
		t.Errorf("Update: %v", err)
	}
	if err := ix.View(ctx, nothing); !errors.Is(err, context.Canceled) {
		t.Errorf("View: %v", err)
	}
	undisturbed(t, ix, m, all)
}

func testClosed(t *testing.T, o Opener) {
	ix := open(t, o)
	if err := ix.Close(); err != nil {
		t.Fatal(err)
	}
	nothing := func(index.Tx) error { t.Error("f was called"); return nil }
	if err := ix.Update(t.Context(), nothing); err == nil {
		t.Error("Update of a closed index returns no error")
	}
	if err := ix.View(t.Context(), nothing); err == nil {
		t.Error("View of a closed index returns no error")
	}
}
