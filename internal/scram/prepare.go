package scram

import (
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
)

// prepare is SASLprep (RFC 4013) for what is compared, not kept: code points that
// Unicode 3.2 did not know are allowed. Printable ASCII stays as it is.
func prepare(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", errors.New("is not UTF-8")
	}
	s = norm.NFKC.String(strings.Map(mapped, s))
	var rightToLeft, leftToRight bool
	for _, r := range s {
		if prohibited(r) {
			return "", errors.New("holds a character that RFC 4013 does not allow")
		}
		p, _ := bidi.LookupRune(r)
		switch p.Class() {
		case bidi.R, bidi.AL:
			rightToLeft = true
		case bidi.L:
			leftToRight = true
		}
	}
	if rightToLeft && (leftToRight || !isRightToLeft(firstRune(s)) || !isRightToLeft(lastRune(s))) {
		return "", errors.New("mixes directions of writing as RFC 3454 section 6 does not allow")
	}
	return s, nil
}

func firstRune(s string) rune { r, _ := utf8.DecodeRuneInString(s); return r }
func lastRune(s string) rune  { r, _ := utf8.DecodeLastRuneInString(s); return r }

func isRightToLeft(r rune) bool {
	p, _ := bidi.LookupRune(r)
	return p.Class() == bidi.R || p.Class() == bidi.AL
}

// mapped is the mapping of RFC 4013 section 2.1: no space but the common one, and
// nothing for what is not seen.
func mapped(r rune) rune {
	switch {
	case r == 0xA0, r == 0x1680, 0x2000 <= r && r <= 0x200B, r == 0x202F, r == 0x205F, r == 0x3000:
		return ' '
	case r == 0xAD, r == 0x34F, r == 0x1806, 0x180B <= r && r <= 0x180D, r == 0x200C, r == 0x200D, r == 0x2060, 0xFE00 <= r && r <= 0xFE0F, r == 0xFEFF:
		return -1
	}
	return r
}

// prohibited is RFC 4013 section 2.3, by the tables of RFC 3454.
func prohibited(r rune) bool {
	switch {
	case mapped(r) != r, // C.1.2
		r < 0x20, 0x7F <= r && r < 0xA0, // C.2.1, C.2.2
		r == 0x6DD, r == 0x70F, r == 0x180E, // C.2.2
		0x2028 <= r && r <= 0x2029, 0x2061 <= r && r <= 0x2063, // C.2.2
		0x206A <= r && r <= 0x206F,                               // C.2.2, C.8
		0xFFF9 <= r && r <= 0xFFFD, 0x1D173 <= r && r <= 0x1D17A, // C.2.2, C.6
		0xE000 <= r && r <= 0xF8FF, r >= 0xF0000, // C.3
		0xFDD0 <= r && r <= 0xFDEF, r&0xFFFE == 0xFFFE, // C.4
		0x2FF0 <= r && r <= 0x2FFB,                 // C.7
		0x340 <= r && r <= 0x341,                   // C.8
		0x200E <= r && r <= 0x200F,                 // C.8
		0x202A <= r && r <= 0x202E,                 // C.8
		r == 0xE0001, 0xE0020 <= r && r <= 0xE007F: // C.9
		return true
	}
	return false
}
