package store

import (
	"testing"

	"rtls/store/internal/index"
)

// An index that is damaged can have two messages of one key. When one goes, the file
// is still the other's, and does not get a third UID.
func TestTwoOfOneKey(t *testing.T) {
	e := emptySnapshot().edit()
	e.put(index.Message{UID: 1, Name: "k:2,"})
	e.put(index.Message{UID: 2, Name: "k:2,S"})
	s := e.done(index.Mailbox{UIDNext: 3})
	for gone := range uint32(2) {
		v := &view{a: &Account{}, keys: newKeyTable(s)}
		v.snap.Store(s)
		v.publish(index.Mailbox{UIDNext: 3, ModSeq: 1}, nil, []uint32{gone + 1})
		if at, ok := v.find(v.snap.Load(), "k"); !ok || v.snap.Load().At(at).UID != 2-gone {
			t.Errorf("without UID %d the key is at %d %v", gone+1, at, ok)
		}
	}
	// The same, where the second comes later.
	e = emptySnapshot().edit()
	e.put(index.Message{UID: 1, Name: "k:2,"})
	v := &view{a: &Account{}}
	v.snap.Store(e.done(index.Mailbox{UIDNext: 2}))
	v.keys = newKeyTable(v.snap.Load())
	v.publish(index.Mailbox{UIDNext: 3, ModSeq: 1}, []index.Message{{UID: 2, Name: "k:2,S"}}, nil)
	v.publish(index.Mailbox{UIDNext: 3, ModSeq: 2}, nil, []uint32{1})
	if _, ok := v.find(v.snap.Load(), "k"); !ok {
		t.Error("the later one is not found")
	}
}
