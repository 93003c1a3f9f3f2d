package search

import (
	"strings"
	"unicode/utf8"
)

// maxText bounds the texts that messages are compared by, in octets.
const maxText = 1 << 10

// baseSubject is what a subject has in common with the subjects of its replies (RFC
// 5256 section 2.1), and whether it was itself that of a reply or of a forwarded
// message. The subject is decoded already.
func baseSubject(subject string) (base string, reply bool) {
	base = strings.Join(strings.FieldsFunc(cutText(subject), func(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }), " ")
	for {
		var trailed, led bool
		base, trailed = cutTrailers(base)
		base, led = cutLeaders(base)
		reply = reply || trailed || led
		inner, ok := cutForward(base)
		if !ok {
			return base, reply
		}
		base, reply = inner, true
	}
}

func cutText(s string) string {
	if len(s) <= maxText {
		return s
	}
	end := maxText
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// cutTrailers removes every "(fwd)" at the end.
func cutTrailers(s string) (rest string, found bool) {
	for {
		s = strings.TrimRight(s, " ")
		cut, ok := cutSuffixFold(s, "(fwd)")
		if !ok {
			return s, found
		}
		s, found = cut, true
	}
}

// cutLeaders removes what "Re:" and "Fwd:" have put at the beginning, and blobs, which
// are texts in brackets, unless nothing would be left.
func cutLeaders(s string) (rest string, found bool) {
	for {
		s = strings.TrimLeft(s, " ")
		if cut, ok := cutReply(s); ok {
			s, found = cut, true
			continue
		}
		cut, ok := cutBlob(s)
		if !ok || cut == "" {
			return s, found
		}
		s = cut
	}
}

// cutReply removes one "re", "fw" or "fwd" with a colon, and the blobs before it and
// before the colon.
func cutReply(s string) (string, bool) {
	for {
		cut, ok := cutBlob(s)
		if !ok {
			break
		}
		s = cut
	}
	for _, word := range []string{"re", "fwd", "fw"} {
		rest, ok := cutPrefixFold(s, word)
		if !ok {
			continue
		}
		rest = strings.TrimLeft(rest, " ")
		if cut, ok := cutBlob(rest); ok {
			rest = cut
		}
		if rest, ok = strings.CutPrefix(rest, ":"); ok {
			return rest, true
		}
	}
	return s, false
}

// cutBlob removes a text in brackets without brackets in it, and the space behind it.
func cutBlob(s string) (string, bool) {
	if !strings.HasPrefix(s, "[") {
		return s, false
	}
	end := strings.IndexAny(s[1:], "[]") + 1
	if end == 0 || s[end] != ']' {
		return s, false
	}
	return strings.TrimLeft(s[end+1:], " "), true
}

// cutForward removes "[fwd:" and "]" around the rest.
func cutForward(s string) (string, bool) {
	inner, ok := cutPrefixFold(s, "[fwd:")
	if !ok {
		return s, false
	}
	return strings.CutSuffix(inner, "]")
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

func cutSuffixFold(s, suffix string) (string, bool) {
	if len(s) < len(suffix) || !strings.EqualFold(s[len(s)-len(suffix):], suffix) {
		return s, false
	}
	return s[:len(s)-len(suffix)], true
}
