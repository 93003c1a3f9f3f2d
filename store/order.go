package store

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"rtls/store/internal/index"
)

// nameOrder returns the indexes of messages in the order of their names.
func nameOrder(messages []index.Message) []uint32 {
	// Most names differ in the number that they begin with.
	type place struct {
		first uint64
		name  string
		at    uint32
	}
	const other = math.MaxUint64 // has none, or one that is too large
	places := make([]place, len(messages))
	for i := range messages {
		name := messages[i].Name
		first, err := strconv.ParseUint(name[:digits(name)], 10, 64)
		if err != nil {
			first = other
		}
		places[i] = place{first, name, uint32(i)}
	}
	slices.SortFunc(places, func(x, y place) int {
		if x.first != y.first && x.first != other && y.first != other {
			return cmp.Compare(x.first, y.first)
		}
		return compareNames(x.name, y.name)
	})
	order := make([]uint32, len(places))
	for i, p := range places {
		order[i] = p.at
	}
	return order
}

// compareNames orders names as people would: numbers in them by value.
func compareNames(x, y string) int {
	for x != "" && y != "" {
		nx, ny := digits(x), digits(y)
		if nx > 0 && ny > 0 {
			a, b := strings.TrimLeft(x[:nx], "0"), strings.TrimLeft(y[:ny], "0")
			if len(a) != len(b) {
				return len(a) - len(b)
			}
			if a != b {
				return strings.Compare(a, b)
			}
			x, y = x[nx:], y[ny:]
			continue
		}
		if x[0] != y[0] {
			return int(x[0]) - int(y[0])
		}
		x, y = x[1:], y[1:]
	}
	return len(x) - len(y)
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
