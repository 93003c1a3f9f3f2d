package sieve

import (
	"cmp"
	"slices"
	"strings"
)

// budget is how much work is left to a run, in octets looked at. Nothing that a
// script or a message can hold makes a run longer.
type budget int64

// spend takes from the budget, and says whether there was as much.
func (b *budget) spend(n int) bool {
	*b -= budget(n) + 1
	return *b >= 0
}

type comparator uint8

// The comparators of RFC 4790. The first is what counts if none is named.
const (
	asciiCasemap comparator = iota
	octet
	asciiNumeric
)

var comparators = map[string]comparator{
	"i;ascii-casemap": asciiCasemap,
	"i;octet":         octet,
	"i;ascii-numeric": asciiNumeric,
}

// key makes texts comparable octet by octet.
func (c comparator) key(s string) string {
	switch c {
	case asciiCasemap:
		return upper(s)
	case asciiNumeric:
		return leadingNumber(s)
	}
	return s
}

// compare orders two texts that key has made.
func (c comparator) compare(a, b string) int {
	if c != asciiNumeric {
		return strings.Compare(a, b)
	}
	if a == "" || b == "" { // no number stands for infinity
		return cmp.Compare(len(b), len(a))
	}
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

// upper changes only ASCII, and leaves the length as it is.
func upper(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return 'a' <= r && r <= 'z' }) {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - ('a' - 'A')
		}
	}
	return string(b)
}

func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + ('a' - 'A')
		}
	}
	return string(b)
}

// leadingNumber is the number that a text starts with, without leading zeros;
// "" if it starts with none.
func leadingNumber(s string) string {
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	if n == 0 {
		return ""
	}
	digits := strings.TrimLeft(s[:n], "0")
	if digits == "" {
		return "0"
	}
	return digits
}

type matchType uint8

const (
	matchIs matchType = iota
	matchContains
	matchMatches
	matchValue
	matchCount
)

// relation is what :value and :count ask for (RFC 5231 section 4).
type relation func(order int) bool

var relations = map[string]relation{
	"gt": func(order int) bool { return order > 0 },
	"ge": func(order int) bool { return order >= 0 },
	"lt": func(order int) bool { return order < 0 },
	"le": func(order int) bool { return order <= 0 },
	"eq": func(order int) bool { return order == 0 },
	"ne": func(order int) bool { return order != 0 },
}

// matcher compares values with keys.
type matcher struct {
	how        matchType
	comparator comparator
	relation   relation
}

// keys are the keys of a test, made ready once for all values.
type keys struct {
	matcher
	folded []string
	globs  []glob
}

func (m matcher) prepare(list []string, work *budget) keys {
	k := keys{matcher: m}
	for _, s := range list {
		if !work.spend(len(s)) {
			break
		}
		s = m.comparator.key(s)
		k.folded = append(k.folded, s)
		switch m.how {
		case matchMatches:
			k.globs = append(k.globs, compileGlob(s))
		case matchContains:
			k.globs = append(k.globs, contains(s))
		}
	}
	return k
}

// match says whether a value matches a key. For :matches it returns what the
// wildcards stand for as well, behind the whole value.
func (k *keys) match(value string, work *budget) (matched []string, ok bool) {
	if !work.spend(len(value)) {
		return nil, false
	}
	folded := k.comparator.key(value)
	for i, key := range k.folded {
		if !work.spend(16) {
			return nil, false
		}
		switch k.how {
		case matchIs:
			ok = k.comparator.compare(folded, key) == 0
		case matchValue, matchCount:
			ok = k.relation(k.comparator.compare(folded, key))
		case matchContains:
			_, ok = k.globs[i].match(folded, false, work)
		case matchMatches:
			var spans []int
			spans, ok = k.globs[i].match(folded, true, work)
			if ok {
				return captures(value, spans), true
			}
		}
		if ok {
			return nil, true
		}
	}
	return nil, false
}

func captures(value string, spans []int) []string {
	matched := []string{value}
	for pair := range slices.Chunk(spans, 2) {
		if len(matched) <= maxMatch {
			matched = append(matched, value[pair[0]:pair[1]])
		}
	}
	return matched
}
