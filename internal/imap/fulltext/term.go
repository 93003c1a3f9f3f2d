package fulltext

import "rtls/internal/imap/search"

// term is three octets of a text, behind the place where it is.
type term uint32

const (
	headerTerm term = 1 << 24
	allTerms        = 1 << 25

	gram = 3 // octets
)

// placed are the places that terms tell apart.
var placed = [...]struct {
	place search.Place
	bits  term
}{{search.Body, 0}, {search.Header, headerTerm}}

// maxAsked is how many terms of a text are looked up.
const maxAsked = 64

// termsOf returns distinct terms of a text, those of a long one not all.
func termsOf(text string, bits term) (terms []term) {
	step := max(1, (len(text)-gram+1)/maxAsked)
	seen := make(map[term]bool)
	for i := 0; i+gram <= len(text); i += step {
		t := bits | term(text[i])<<16 | term(text[i+1])<<8 | term(text[i+2])
		if !seen[t] {
			seen[t] = true
			terms = append(terms, t)
		}
	}
	return terms
}

const (
	// A message that has more than one of these is opaque.
	maxOctets = 16 << 20 // of text
	maxTerms  = 1 << 18
)

// terms gathers the distinct terms of one message after the other.
type terms struct {
	seen   []uint64 // a bit for each term
	list   []term
	octets int

	bits term
	last term // the octets before, in this text
	had  int  // how many of them there are
}

var _ search.Sink = (*terms)(nil)

func newTerms() *terms { return &terms{seen: make([]uint64, allTerms/64)} }

// clear begins another message.
func (t *terms) clear() {
	for _, x := range t.list {
		t.seen[x/64] = 0
	}
	t.list, t.octets = t.list[:0], 0
}

// Begin starts another text.
func (t *terms) Begin(at search.Place) {
	t.bits, t.last, t.had = 0, 0, 0
	if at == search.Header {
		t.bits = headerTerm
	}
}

// Add appends to the text.
func (t *terms) Add(piece []byte) bool {
	t.octets += len(piece)
	for _, c := range piece {
		t.last = (t.last<<8 | term(c)) & (headerTerm - 1)
		if t.had < gram-1 {
			t.had++
			continue
		}
		x := t.bits | t.last
		if bit := uint64(1) << (x % 64); t.seen[x/64]&bit == 0 {
			t.seen[x/64] |= bit
			t.list = append(t.list, x)
		}
	}
	return t.octets <= maxOctets && len(t.list) <= maxTerms
}
