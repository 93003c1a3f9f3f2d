package store

import (
	"math"
	"slices"
	"strings"
)

// words are the keywords of a message, and the letters for some of them in its name.
type words struct {
	keywords []string
	letters  string
}

func newWords(joined, letters string) words {
	w := words{letters: letters}
	if joined != "" {
		w.keywords = strings.Split(joined, " ")
	}
	return w
}

func (w *words) joined() string { return strings.Join(w.keywords, " ") }

func (e *edit) wordSet(joined, letters string) uint32 {
	if joined == "" && letters == "" {
		return 0
	}
	if e.words == nil {
		e.words = make(map[[2]string]uint32, len(e.s.sets))
		for i := range e.s.sets {
			e.words[[2]string{e.s.sets[i].joined(), e.s.sets[i].letters}] = uint32(i)
		}
	}
	key := [2]string{joined, letters}
	i, ok := e.words[key]
	if !ok && len(e.s.sets) < math.MaxUint32 {
		i = uint32(len(e.s.sets))
		// Others may append to the same array; only who has the lock of the
		// mailbox edits, and a full slice makes append copy.
		e.s.sets = append(slices.Clip(e.s.sets), newWords(joined, letters))
		e.words[key] = i
	}
	return i
}

// compactSets drops the sets that no row has, once they are most of all: a program may
// give every message another keyword and take it away again. It looks when there are
// twice as many as were left the last time, so that an edit rarely pays for it.
func (s *Snapshot) compactSets() {
	const few = 64
	if len(s.sets) < 2*max(s.setsKept, few) {
		return
	}
	used := make([]bool, len(s.sets))
	used[0] = true
	for _, c := range s.chunks {
		for _, at := range c.words {
			used[at] = true
		}
	}
	var kept []words
	to := make([]uint32, len(s.sets))
	for i, set := range s.sets {
		if used[i] {
			to[i] = uint32(len(kept))
			kept = append(kept, set)
		}
	}
	s.setsKept = len(kept)
	if 2*len(kept) > len(s.sets) {
		return
	}
	s.sets = kept
	for i, c := range s.chunks { // which other snapshots may have, too
		next := *c
		next.rows, next.words = slices.Clone(c.rows), slices.Clone(c.words)
		for j := range next.rows {
			next.rows[j].words = to[next.rows[j].words]
		}
		for j, at := range next.words {
			next.words[j] = to[at]
		}
		s.chunks[i] = &next
	}
}
