package store

import (
	"hash/maphash"
	"math"
	"strings"
)

// keyOf is the key in a file's name.
func keyOf(name string) Key {
	if i := strings.IndexAny(name, ",:"); i >= 0 {
		return Key(name[:i])
	}
	return Key(name)
}

// keyTable finds messages by their key, in eight octets a message: it holds UIDs
// only, and looks at the snapshot for the rest.
type keyTable struct {
	seed  maphash.Seed
	slots []uint32 // UIDs; 0 is free, freed was taken
	used  int      // slots that are not free
}

const freed = math.MaxUint32 // no UID comes that high: UIDNEXT must be above it

func newKeyTable(s *Snapshot) *keyTable {
	t := &keyTable{seed: maphash.MakeSeed()}
	t.rebuild(s)
	return t
}

func (t *keyTable) rebuild(s *Snapshot) {
	size := 64
	for size < 2*s.n {
		size *= 2
	}
	t.slots, t.used = make([]uint32, size), 0
	for _, c := range s.chunks {
		for i := range c.rows {
			t.insert(c.key(i), c.rows[i].uid)
		}
	}
}

func (t *keyTable) start(key Key) int {
	return int(maphash.String(t.seed, string(key)) & uint64(len(t.slots)-1))
}

func (t *keyTable) insert(key Key, uid uint32) {
	for i := t.start(key); ; i = (i + 1) & (len(t.slots) - 1) {
		if t.slots[i] == 0 {
			t.slots[i] = uid
			t.used++
			return
		}
	}
}

// find returns the index of the message with a key in s, the snapshot that the
// table is kept for.
func (t *keyTable) find(s *Snapshot, key Key) (at int, ok bool) {
	for i := t.start(key); t.slots[i] != 0; i = (i + 1) & (len(t.slots) - 1) {
		if t.slots[i] == freed {
			continue
		}
		if at, found := s.Find(t.slots[i]); found {
			if c, j := s.locate(at); c.key(j) == key {
				return at, true
			}
		}
	}
	return 0, false
}

// add enters a message that is new in s; all earlier ones are entered.
func (t *keyTable) add(s *Snapshot, key Key, uid uint32) {
	if 4*(t.used+1) > 3*len(t.slots) {
		t.rebuild(s)
		if _, ok := t.find(s, key); ok {
			return
		}
	}
	t.insert(key, uid)
}

// remove takes out a message. Another with its key, in an index that is damaged,
// stays.
func (t *keyTable) remove(key Key, uid uint32) {
	for i := t.start(key); t.slots[i] != 0; i = (i + 1) & (len(t.slots) - 1) {
		if t.slots[i] == uid {
			t.slots[i] = freed
			return
		}
	}
}
