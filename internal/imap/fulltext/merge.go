package fulltext

import (
	"fmt"
	"math/bits"
	"os"
)

// fanIn is how many segments of about one size are merged.
const fanIn = 8

// level is a segment's size, in powers of fanIn.
func (s *segment) level() int { return bits.Len(uint(len(s.docs))) / 3 }

// due returns segments that are to be merged, nil if there are none.
func due(segments []*segment) []*segment {
	levels := make(map[int][]*segment)
	for _, s := range segments {
		level := append(levels[s.level()], s)
		levels[s.level()] = level
		if len(level) < fanIn {
			continue
		}
		docs := 0
		for _, s := range level {
			docs += len(s.docs)
		}
		if docs <= maxDocs {
			return level
		}
	}
	return nil
}

// source is a segment that is being merged.
type source struct {
	*segment
	f       *os.File
	entries entries
	next    int      // block
	docs    []uint32 // the new number of each message, or dropped
	ended   bool
}

const dropped = ^uint32(0)

// advance goes on to the next term.
func (s *source) advance() error {
	for !s.entries.next() {
		if len(s.entries.rest) > 0 {
			return fmt.Errorf("%w: block of %s", errDamaged, s.path)
		}
		if s.next == len(s.blocks) {
			s.ended = true
			return nil
		}
		octets, err := s.read(s.f, s.blocks[s.next])
		if err != nil {
			return err
		}
		s.entries = entries{rest: octets, term: s.blocks[s.next].first}
		s.next++
	}
	return nil
}

// merge writes a segment with the messages of others that keep returns true for. It
// returns nil if that are none, and with an error the segment that it is about, or
// nil.
func merge(dir string, from []*segment, keep func(doc) bool, pace Pace) (merged, bad *segment, err error) {
	var docs []doc
	var opaque []int
	sources := make([]*source, 0, len(from))
	defer func() {
		for _, s := range sources {
			s.f.Close()
		}
	}()
	for _, s := range from {
		f, err := os.Open(s.path)
		if err != nil {
			return nil, s, err
		}
		src := &source{segment: s, f: f, docs: make([]uint32, len(s.docs))}
		sources = append(sources, src)
		for i, d := range s.docs {
			if !keep(d) {
				src.docs[i] = dropped
				continue
			}
			if s.opaque.has(i) {
				opaque = append(opaque, len(docs))
			}
			src.docs[i] = uint32(len(docs))
			docs = append(docs, d)
		}
		if err := src.advance(); err != nil {
			return nil, s, err
		}
	}
	if len(docs) == 0 {
		return nil, nil, nil
	}
	set := newBitset(len(docs))
	for _, i := range opaque {
		set.set(i)
	}
	w, err := newWriter(dir, docs, set)
	if err != nil {
		return nil, nil, err
	}
	if bad, err := w.merge(sources, pace); err != nil {
		w.abandon()
		return nil, bad, err
	}
	merged, err = w.finish()
	return merged, nil, err
}

// merge writes the lists of all sources.
func (w *writer) merge(sources []*source, pace Pace) (bad *segment, err error) {
	var docs []uint32
	for {
		t := term(allTerms)
		for _, s := range sources {
			if !s.ended {
				t = min(t, s.entries.term)
			}
		}
		if t == allTerms {
			return nil, nil
		}
		docs = docs[:0]
		for _, s := range sources {
			if s.ended || s.entries.term != t {
				continue
			}
			ok := s.entries.list.each(len(s.docs), func(i int) {
				if s.docs[i] != dropped {
					docs = append(docs, s.docs[i])
				}
			})
			if !ok {
				return s.segment, fmt.Errorf("%w: list in %s", errDamaged, s.path)
			}
			if err := s.advance(); err != nil {
				return s.segment, err
			}
		}
		if len(docs) == 0 {
			continue
		}
		if err := w.add(t, docs); err != nil {
			return nil, err
		}
		if len(w.block) == 0 {
			if err := pace(false); err != nil {
				return nil, err
			}
		}
	}
}
