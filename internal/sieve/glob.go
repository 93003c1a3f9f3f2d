package sieve

import (
	"strings"
)

// glob is a pattern of :matches, cut at its stars. The first segment is at the
// start of the value, the last at its end, and each between them is found at the
// first place behind the one before it. That makes stars match as little as
// possible (RFC 5229 section 3.2) and takes, whatever the pattern, no more steps
// than the pattern's length times the value's.
type glob []segment

// segment is what stands between two stars.
type segment struct {
	text string
	any  []bool // the octets that stand for any one, nil if there are none
	star bool   // it has a star before it, as all but the first have
}

// compileGlob reads a pattern, with \ before an octet that stands for itself.
func compileGlob(pattern string) glob {
	var g glob
	var s segment
	var b []byte
	end := func() {
		s.text = string(b)
		if s.any != nil {
			s.any = append(s.any, make([]bool, len(b)-len(s.any))...)
		}
		g = append(g, s)
	}
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '*':
			end()
			s, b = segment{star: true}, nil
		case c == '?':
			s.any = append(append(s.any, make([]bool, len(b)-len(s.any))...), true)
			b = append(b, '?')
		case c == '\\' && i+1 < len(pattern):
			i++
			b = append(b, pattern[i])
		default:
			b = append(b, c)
		}
	}
	end()
	return g
}

// contains is the pattern that :contains amounts to.
func contains(key string) glob {
	return glob{{}, {text: key, star: true}, {star: true}}
}

// at says whether a segment is at the start of s.
func (s *segment) at(value string, work *budget) bool {
	if len(value) < len(s.text) || !work.spend(len(s.text)/8) {
		return false
	}
	if s.any == nil {
		return strings.HasPrefix(value, s.text)
	}
	for i := range len(s.text) {
		if !s.any[i] && value[i] != s.text[i] {
			work.spend(i)
			return false
		}
	}
	return work.spend(len(s.text))
}

// find returns the first place of a segment in s, -1 if there is none.
func (s *segment) find(value string, work *budget) int {
	if s.any == nil {
		if !work.spend((len(value) + len(s.text)) / 8) {
			return -1
		}
		return strings.Index(value, s.text)
	}
	for i := 0; i+len(s.text) <= len(value) && *work >= 0; i++ {
		if s.at(value[i:], work) {
			return i
		}
	}
	return -1
}

// match says whether the whole value is matched. With spans it returns, for every
// wildcard, where what it stands for starts and ends.
func (g glob) match(value string, spans bool, work *budget) (found []int, ok bool) {
	pos := 0
	for i := range g {
		s := &g[i]
		start := pos
		switch {
		case !s.star:
			ok = s.at(value, work)
		case i == len(g)-1:
			start = len(value) - len(s.text)
			ok = start >= pos && s.at(value[start:], work)
		default:
			n := s.find(value[pos:], work)
			start, ok = pos+n, n >= 0
		}
		if !ok {
			return nil, false
		}
		if spans {
			found = s.spans(found, pos, start)
		}
		pos = start + len(s.text)
	}
	return found, pos == len(value) && *work >= 0
}

// spans adds where the wildcards of a segment are that was found at start, its star
// standing for what is between pos and start.
func (s *segment) spans(found []int, pos, start int) []int {
	if s.star {
		found = append(found, pos, start)
	}
	for i, any := range s.any {
		if any {
			found = append(found, start+i, start+i+1)
		}
	}
	return found
}
