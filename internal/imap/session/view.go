package session

import (
	"slices"
	"sort"

	"rtls/internal/imap/command"
	"rtls/internal/imap/wire"
	"rtls/store"
)

// view is a mailbox as the client knows it: a snapshot, whose flags and new
// messages the client has been told, and messages that are gone from it, which
// the client still counts because it could not be told yet.
type view struct {
	snap *store.Snapshot
	gone []goneMessage // ascending
}

type goneMessage struct {
	uid uint32
	at  int // index in the snapshot at which it would stand
}

// count is the number of messages that the client counts.
func (v *view) count() int { return v.snap.Len() + len(v.gone) }

// seq is the sequence number of the message at an index of the snapshot.
func (v *view) seq(at int) uint32 {
	before := sort.Search(len(v.gone), func(i int) bool { return v.gone[i].at > at })
	return uint32(at + before + 1)
}

// goneSeq is the sequence number of a message that is gone.
func (v *view) goneSeq(i int) uint32 { return uint32(v.gone[i].at + i + 1) }

// below is how many messages of the snapshot have sequence numbers up to seq.
func (v *view) below(seq uint32) int {
	before := sort.Search(len(v.gone), func(i int) bool { return v.goneSeq(i) > seq })
	return int(seq) - before
}

// move makes next the snapshot. It returns the index in next of the first message
// that is new.
func (v *view) move(next *store.Snapshot) (fresh int) {
	old := v.snap
	fresh, _ = next.Find(old.UIDNext())
	uids := make([]uint32, 0, len(v.gone))
	for _, g := range v.gone {
		uids = append(uids, g.uid)
	}
	if fresh != old.Len() {
		uids = append(uids, old.Gone(next)...)
		slices.Sort(uids)
	}
	v.snap, v.gone = next, v.gone[:0]
	for _, uid := range uids {
		at, _ := next.Find(uid)
		v.gone = append(v.gone, goneMessage{uid, at})
	}
	return fresh
}

// span is a range of indices of the snapshot, without its end.
type span struct{ from, to int }

// targets are the messages that a set names: ascending indices of the snapshot,
// and whether it also names messages that are gone.
type targets struct {
	spans []span
	gone  bool
}

func (t targets) empty() bool { return len(t.spans) == 0 }

// count is the number of messages that are there.
func (t targets) count() (n int) {
	for _, s := range t.spans {
		n += s.to - s.from
	}
	return n
}

// each calls f for every target, until it returns an error.
func (t targets) each(f func(at int) error) error {
	for _, s := range t.spans {
		for at := s.from; at < s.to; at++ {
			if err := f(at); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t targets) uids(snap *store.Snapshot) []uint32 {
	var uids []uint32
	_ = t.each(func(at int) error {
		uids = append(uids, snap.At(at).UID)
		return nil
	})
	return uids
}

func (t *targets) add(from, to int) {
	if from < to {
		t.spans = append(t.spans, span{from, to})
	}
}

// unseen leaves out most of the messages that have been seen.
func (t targets) unseen(snap *store.Snapshot) (left targets) {
	left.gone = t.gone
	for _, s := range t.spans {
		for from, to := range snap.Unseen() {
			left.add(max(from, s.from), min(to, s.to))
		}
	}
	return left
}

// byUID finds messages by ranges of UIDs. UIDs that are not there are passed
// over.
func (v *view) byUID(ranges []wire.Range) (t targets) {
	for _, r := range ranges {
		from, _ := v.snap.Find(r.Lo)
		to, found := v.snap.Find(r.Hi)
		if found {
			to++
		}
		t.add(from, to)
	}
	return t
}

// bySeq finds messages by ranges of sequence numbers, which have to exist.
func (v *view) bySeq(ranges []wire.Range) (t targets, err error) {
	for _, r := range ranges {
		if r.Lo == 0 || int64(r.Hi) > int64(v.count()) {
			return t, wire.Syntaxf("there are %d messages", v.count())
		}
		from, to := v.below(r.Lo-1), v.below(r.Hi)
		if to-from != int(r.Hi-r.Lo)+1 {
			t.gone = true
		}
		t.add(from, to)
	}
	return t, nil
}

// topUID is the UID that "*" stands for, or 0.
func (v *view) topUID() uint32 {
	var top uint32
	if n := v.snap.Len(); n > 0 {
		top = v.snap.At(n - 1).UID
	}
	if n := len(v.gone); n > 0 {
		top = max(top, v.gone[n-1].uid)
	}
	return top
}

// targets finds the messages of a set in a command.
func (s *Session) targets(set command.NumSet, uid bool) (targets, error) {
	v := &s.sel.view
	switch {
	case set.Saved:
		return v.byUID(s.sel.saved), nil
	case uid:
		return v.byUID(set.Set.Resolve(v.topUID())), nil
	case v.count() == 0:
		return targets{}, wire.Syntaxf("there are no messages")
	}
	return v.bySeq(set.Set.Resolve(uint32(v.count())))
}

// errSomeGone is the answer to a command that names messages by sequence numbers
// of which some are gone (RFC 2180 section 4.1, RFC 5530).
var errSomeGone = &refusal{"EXPUNGEISSUED", "some of the messages are gone"}

// changed calls f for the messages of snap before index n that have changed
// since a mod-sequence.
func changed(snap *store.Snapshot, n int, since uint64, f func(at int, m store.Message)) {
	if snap.HighestModSeq() <= since {
		return
	}
	for at, m := range snap.Changed(since) {
		if at >= n {
			return
		}
		f(at, m)
	}
}
