package wire

import (
	"cmp"
	"slices"
	"strconv"
)

// Range is a range of message numbers, both ends in it.
type Range struct{ Lo, Hi uint32 }

// Set is a set of message numbers as a client wrote it: in any order, with
// overlaps, and with 0 for "*".
type Set []Range

// Resolve returns the set as ascending ranges that neither overlap nor touch,
// with top in place of "*". With top 0 there is no message that "*" could mean,
// and it is left out.
func (s Set) Resolve(top uint32) []Range {
	out := make([]Range, 0, len(s))
	for _, r := range s {
		if top == 0 && (r.Lo == 0 || r.Hi == 0) {
			continue
		}
		if r.Lo == 0 {
			r.Lo = top
		}
		if r.Hi == 0 {
			r.Hi = top
		}
		if r.Lo > r.Hi {
			r.Lo, r.Hi = r.Hi, r.Lo
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Range) int { return cmp.Compare(a.Lo, b.Lo) })
	return merge(out)
}

// merge joins sorted ranges that overlap or touch, in place.
func merge(sorted []Range) []Range {
	n := 0
	for _, r := range sorted {
		if n > 0 && (sorted[n-1].Hi >= r.Lo || sorted[n-1].Hi+1 == r.Lo) {
			sorted[n-1].Hi = max(sorted[n-1].Hi, r.Hi)
			continue
		}
		sorted[n] = r
		n++
	}
	return sorted[:n]
}

// HasStar reports whether the set mentions "*".
func (s Set) HasStar() bool {
	return slices.ContainsFunc(s, func(r Range) bool { return r.Lo == 0 || r.Hi == 0 })
}

// Contains reports whether ascending ranges, as Resolve makes them, hold n.
func Contains(ranges []Range, n uint32) bool {
	_, ok := slices.BinarySearchFunc(ranges, n, func(r Range, n uint32) int {
		switch {
		case r.Hi < n:
			return -1
		case r.Lo > n:
			return 1
		}
		return 0
	})
	return ok
}

// Ranges turns ascending numbers into ranges.
func Ranges(ascending []uint32) []Range {
	var out []Range
	for _, n := range ascending {
		out = AddNumber(out, n)
	}
	return out
}

// AddNumber appends n, which must not be below the last range's end.
func AddNumber(ranges []Range, n uint32) []Range {
	if last := len(ranges) - 1; last >= 0 && ranges[last].Hi+1 >= n && ranges[last].Hi != ^uint32(0) {
		ranges[last].Hi = n
		return ranges
	}
	return append(ranges, Range{n, n})
}

// AppendSet appends ranges in the form of the protocol.
func AppendSet(b []byte, ranges []Range) []byte {
	for i, r := range ranges {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendSetNumber(b, r.Lo)
		if r.Hi != r.Lo {
			b = append(b, ':')
			b = appendSetNumber(b, r.Hi)
		}
	}
	return b
}

func appendSetNumber(b []byte, n uint32) []byte {
	if n == 0 {
		return append(b, '*')
	}
	return strconv.AppendUint(b, uint64(n), 10)
}

func (s Set) String() string { return string(AppendSet(nil, s)) }

// Intersect returns what two lists of ascending ranges have in common.
func Intersect(a, b []Range) []Range {
	var out []Range
	for len(a) > 0 && len(b) > 0 {
		if lo, hi := max(a[0].Lo, b[0].Lo), min(a[0].Hi, b[0].Hi); lo <= hi {
			out = append(out, Range{lo, hi})
		}
		if a[0].Hi < b[0].Hi {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}

// Subtract returns what of ascending ranges a is not in ascending ranges b.
func Subtract(a, b []Range) []Range {
	if len(a) == 0 {
		return nil
	}
	return Intersect(a, Complement(b))
}

// Complement returns what is not in ascending ranges, from 1 on.
func Complement(ranges []Range) []Range {
	var out []Range
	next := uint32(1)
	for _, r := range ranges {
		if r.Lo > next {
			out = append(out, Range{next, r.Lo - 1})
		}
		if next = r.Hi + 1; next == 0 {
			return out
		}
	}
	return append(out, Range{next, ^uint32(0)})
}
