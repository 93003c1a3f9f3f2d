package store

import "strings"

// readOnlyKeywords is how readers are shown the tag. No file that anybody could have
// written may make a message bear one (D10).
var readOnlyKeywords = []string{"$RequireTLS", "$RequireTLSUnknown", "$TLSOptional"}

// validKeyword says whether a word that somebody's file has for a keyword can be
// one: an atom (RFC 9051 section 9), and not the tag.
func validKeyword(word string) bool {
	if word == "" || strings.ContainsFunc(word, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`(){%*"\]`, r)
	}) {
		return false
	}
	for _, k := range readOnlyKeywords {
		if strings.EqualFold(word, k) {
			return false
		}
	}
	return true
}
