package search

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf8"
)

// folder brings texts to lower case, in memory that it uses again.
type folder struct{ raw, low []byte }

// pieceLen is how much of a text is looked at at once.
const pieceLen = 32 << 10

// each calls f with all that a reader holds, in lower case and in pieces, until it
// returns true. f must not keep them.
func (d *folder) each(r io.Reader, f func(piece []byte) bool) (bool, error) {
	if d.raw == nil {
		d.raw = make([]byte, pieceLen)
	}
	raw := d.raw[:0]
	for {
		var err error
		for err == nil && len(raw) < cap(raw) {
			var n int
			n, err = r.Read(raw[len(raw):cap(raw)])
			raw = raw[:len(raw)+n]
		}
		whole := len(raw)
		if err == nil {
			whole = wholeRunes(raw)
		}
		d.low = appendLower(d.low[:0], raw[:whole])
		if f(d.low) {
			return true, nil
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return false, err
		}
		raw = raw[:copy(raw, raw[whole:])]
	}
}

// appendLower appends a text in lower case.
func appendLower(b, text []byte) []byte {
	start := len(b)
	b = append(b, text...)
	if !lowerASCII(b[start:]) {
		b = append(b[:start], bytes.ToLower(text)...)
	}
	return b
}

// lowerASCII brings a text to lower case, eight octets at a time. It returns false,
// somewhere in the middle, if there is more than ASCII in it.
func lowerASCII(b []byte) bool {
	const ones = 0x0101010101010101
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		if x&(0x80*ones) != 0 {
			return false
		}
		// The highest bit of an octet is set by adding where it is at least A, and
		// where it is above Z.
		upper := (x + (0x80-'A')*ones) &^ (x + (0x7f-'Z')*ones) & (0x80 * ones)
		binary.LittleEndian.PutUint64(b, x|upper>>2)
		b = b[8:]
	}
	for i, c := range b {
		switch {
		case c >= utf8.RuneSelf:
			return false
		case 'A' <= c && c <= 'Z':
			b[i] = c + 'a' - 'A'
		}
	}
	return true
}

// wholeRunes is how much of b there is without a character that is cut off.
func wholeRunes(b []byte) int {
	for i := len(b) - 1; i >= max(0, len(b)-utf8.UTFMax); i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}
