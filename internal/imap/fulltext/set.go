package fulltext

import (
	"errors"
	"hash/maphash"
	"io/fs"
	"os"
	"slices"
	"sort"

	"rtls/internal/imap/search"
)

// set is the segments that there are at a time. It is never changed.
type set struct {
	segments []*segment
	starts   []int // number of the first message of each segment
	docs     int
	table    []uint32 // numbers of messages plus 1, where their hash says or behind that
	seed     maphash.Seed
}

func newSet(segments []*segment) *set {
	s := &set{segments: segments, seed: maphash.MakeSeed()}
	for _, g := range segments {
		s.starts = append(s.starts, s.docs)
		s.docs += len(g.docs)
	}
	size := 16
	for size < 2*s.docs {
		size *= 2
	}
	s.table = make([]uint32, size)
	n := 0
	for _, g := range segments {
		for _, d := range g.docs {
			at := s.slot(d)
			if s.table[at] == 0 { // else another segment has it, too
				s.table[at] = uint32(n + 1)
			}
			n++
		}
	}
	return s
}

// slot is where the table has a message, or would have it.
func (s *set) slot(d doc) int {
	mask := len(s.table) - 1
	at := int(maphash.Comparable(s.seed, d)) & mask
	for s.table[at] != 0 && s.doc(int(s.table[at]-1)) != d {
		at = (at + 1) & mask
	}
	return at
}

func (s *set) doc(n int) doc {
	i := sort.Search(len(s.starts), func(i int) bool { return s.starts[i] > n }) - 1
	return s.segments[i].docs[n-s.starts[i]]
}

// find returns the number of a message.
func (s *set) find(d doc) (n int, ok bool) {
	n = int(s.table[s.slot(d)])
	return n - 1, n > 0
}

// candidates are the messages, by segment, that can have a text at one of the places.
// What cannot be looked into can have any; trouble is told of that.
func (s *set) candidates(text string, in search.Place, trouble func(*segment, error)) []bitset {
	var asked [][]term
	for _, p := range placed {
		if in&p.place != 0 {
			terms := termsOf(text, p.bits)
			slices.Sort(terms)
			asked = append(asked, terms)
		}
	}
	found := make([]bitset, len(s.segments))
	for i, g := range s.segments {
		found[i] = slices.Clone(g.opaque)
		if err := g.withAny(asked, found[i]); err != nil {
			found[i] = nil
			if !errors.Is(err, fs.ErrNotExist) { // merged or removed by others
				trouble(g, err)
			}
		}
	}
	return found
}

// withAny adds the messages that have all terms of one of several lists.
func (s *segment) withAny(asked [][]term, to bitset) error {
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, terms := range asked {
		if err := s.withAll(f, terms, to); err != nil {
			return err
		}
	}
	return nil
}
