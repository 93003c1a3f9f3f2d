package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"rtls/store/internal/index"
)

// A snapshot is compared with a plain map through many edits, and the snapshots
// before it with what they were.
func TestSnapshotEdits(t *testing.T) {
	r := rand.New(rand.NewPCG(7162, 9051))
	model := make(map[uint32]index.Message)
	s := emptySnapshot().edit().done(index.Mailbox{})
	next := uint32(1)
	type past struct {
		s     *Snapshot
		model map[uint32]index.Message
	}
	var history []past
	for round := range 400 {
		e := s.edit()
		for range r.IntN(60) {
			uids := slices.Collect(maps.Keys(model))
			switch pick := r.IntN(10); {
			case pick < 5 || len(uids) == 0:
				m := index.Message{UID: next, ModSeq: uint64(round), Size: int64(next) * 2, Date: int64(next) - 100, Keywords: []string{"", "a", "a b"}[r.IntN(3)]}
				key := Key(fmt.Sprintf("%d.host", next))
				m.Name = []string{baseName(key, contentSum{fileSize: int64(next), wireSize: int64(next) * 2}, TagRequire, OriginESMTP) + []string{":2,S", ":2,Sac", ":2,ca"}[r.IntN(3)], string(key), string(key) + ",U=1:2,"}[r.IntN(3)]
				model[next] = m
				e.put(m)
				next++
			case pick < 8:
				m := model[uids[r.IntN(len(uids))]]
				m.ModSeq, m.Keywords = uint64(round), fmt.Sprintf("changed%d", round)
				p := parseName(m.Name)
				m.Name = string(appendInfo([]byte(p.base), p.flags^Flagged, p.extra))
				model[m.UID] = m
				e.put(m)
			default:
				uid := uids[r.IntN(len(uids))]
				delete(model, uid)
				e.remove(uid)
				e.remove(uid)
			}
		}
		s = e.done(index.Mailbox{UIDNext: next, ModSeq: uint64(round)})
		compareSnapshot(t, s, model)
		if round%50 == 0 {
			history = append(history, past{s, maps.Clone(model)})
		}
	}
	for _, p := range history {
		compareSnapshot(t, p.s, p.model)
		var gone []uint32
		for _, uid := range slices.Sorted(maps.Keys(p.model)) {
			if _, ok := model[uid]; !ok {
				gone = append(gone, uid)
			}
		}
		if got := p.s.Gone(s); !slices.Equal(got, gone) {
			t.Fatalf("gone are %v, should be %v", got, gone)
		}
	}
}

func compareSnapshot(t *testing.T, s *Snapshot, model map[uint32]index.Message) {
	t.Helper()
	uids := slices.Sorted(maps.Keys(model))
	if s.Len() != len(uids) {
		t.Fatalf("%d messages, should be %d", s.Len(), len(uids))
	}
	for i, uid := range uids {
		want := model[uid]
		want.New = false
		if got := s.message(i); got != want {
			t.Fatalf("message %d is %+v, should be %+v", i, got, want)
		}
		if at, ok := s.Find(uid); !ok || at != i {
			t.Fatalf("UID %d is at %d %v, should be at %d", uid, at, ok, i)
		}
		if got := s.At(i); got.Key != parseName(want.Name).key {
			t.Fatalf("key is %s", got.Key)
		}
	}
	if first := slices.IndexFunc(uids, func(uid uint32) bool { return parseName(model[uid].Name).flags&Seen == 0 }); first != s.FirstUnseen() && (first >= 0 || s.FirstUnseen() != s.Len()) {
		t.Fatalf("first unseen message is %d, should be %d", s.FirstUnseen(), first)
	}
	since := s.HighestModSeq() / 2
	var changed []uint32
	for _, uid := range uids {
		if model[uid].ModSeq > since {
			changed = append(changed, uid)
		}
	}
	var got []uint32
	for at, m := range s.Changed(since) {
		if s.At(at).UID != m.UID {
			t.Fatalf("message %d is UID %d", at, m.UID)
		}
		got = append(got, m.UID)
	}
	if !slices.Equal(got, changed) {
		t.Fatalf("changed since %d: %v, should be %v", since, got, changed)
	}
	if at, ok := s.Find(1 << 31); ok || at != len(uids) {
		t.Fatalf("a UID above all is at %d %v", at, ok)
	}
}

// A chunk does not grow for ever while messages come and go.
func TestKeysAreGivenBack(t *testing.T) {
	s := emptySnapshot().edit().done(index.Mailbox{})
	for uid := uint32(1); uid < 5000; uid++ {
		e := s.edit()
		e.put(index.Message{UID: uid, Name: fmt.Sprintf("%040d.host:2,", uid)})
		e.remove(uid - 1)
		s = e.done(index.Mailbox{})
	}
	if n := len(s.chunks[0].keys); s.Len() != 1 || n > 4096 {
		t.Errorf("%d messages, %d octets of keys", s.Len(), n)
	}
}

// The key says when a message came into its mailbox; what is no time does not count.
func TestSaved(t *testing.T) {
	date := time.Unix(1_000_000_000, 0)
	for key, want := range map[Key]int64{
		"1790000000.M123456P4711Q1Rd1c2f3a4b5968778.mx": 1_790_000_000,
		"1234567890.P1.host":                            1_234_567_890,
		"1.a":                                           1_000_000_000, "17900000000000000000.a": 1_000_000_000, "1234567890": 1_000_000_000,
		"a.1234567890": 1_000_000_000, "": 1_000_000_000, "4294967296.a": 1_000_000_000,
	} {
		if got := (Message{Key: key, Date: date}).Saved().Unix(); got != want {
			t.Errorf("%s: %d", key, got)
		}
	}
}

// Keywords that no message has any more take no memory for ever.
func TestSnapshotForgetsWords(t *testing.T) {
	const messages, edits = 3 * chunkLen, 2_000
	e := emptySnapshot().edit()
	name := func(uid uint32) string {
		return baseName(Key(fmt.Sprintf("%d.host", uid)), contentSum{fileSize: 1, wireSize: 1}, TagRequire, OriginESMTP) + ":2,S"
	}
	for uid := uint32(1); uid <= messages; uid++ {
		e.put(index.Message{UID: uid, ModSeq: 1, Size: 1, Name: name(uid)})
	}
	s := e.done(index.Mailbox{UIDNext: messages + 1, ModSeq: 1})
	const live = 100 // messages that have a keyword
	most := 0
	for i := range edits {
		uid := uint32(i%live*15 + 1)
		e := s.edit()
		e.put(index.Message{UID: uid, ModSeq: 2, Size: 1, Name: name(uid), Keywords: fmt.Sprintf("word%d", i)})
		s = e.done(index.Mailbox{UIDNext: messages + 1, ModSeq: 2})
		most = max(most, len(s.sets))
	}
	if most > 4*live {
		t.Errorf("there are %d sets of words for %d messages with keywords", most, live)
	}
	if got := s.Keywords(); len(got) != live {
		t.Errorf("%d keywords, should be %d", len(got), live)
	}
	for i := edits - live; i < edits; i++ {
		at, _ := s.Find(uint32(i%live*15 + 1))
		if got := s.At(at).Keywords; !slices.Equal(got, []string{fmt.Sprintf("word%d", i)}) {
			t.Fatalf("message %d has %v", at, got)
		}
	}
}
