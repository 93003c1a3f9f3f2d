package indextest

import (
	"math"
	"strings"
	"testing"

	"rtls/store/internal/index"
)

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
