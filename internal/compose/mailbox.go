package compose

import (
	"errors"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of RFC 5321 section 4.5.3.1. That of 64 octets for a local part is not
// among them: the section asks for no limit where one can be avoided, and the
// local parts of mailing lists are longer.
const (
	maxDomain  = 255
	maxLabel   = 63
	maxAddress = 512 - len("MAIL FROM:<>\r\n") - len(" BODY=8BITMIME SMTPUTF8 REQUIRETLS")
)

// localPart makes a local part of words, quoted only if it has to be.
func localPart(words []word) (string, error) {
	var b strings.Builder
	previous := dot
	for _, w := range words {
		if w.kind == stray || (w.kind == dot) == (previous == dot) {
			return "", errLocal
		}
		b.WriteString(w.text)
		previous = w.kind
	}
	if previous == dot {
		return "", errLocal
	}
	return quoteLocal(b.String())
}

// quoteLocal writes a local part as a Dot-string or a Quoted-string of RFC 5321
// section 4.1.2, which has no control characters, not even a tab.
func quoteLocal(s string) (string, error) {
	if s == "" || !utf8.ValidString(s) || strings.ContainsFunc(s, notPrintable) {
		return "", errLocal
	}
	if isDotString(s) {
		return s, nil
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`, nil
}

func notPrintable(r rune) bool { return !unicode.IsPrint(r) }

func isDotString(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if part == "" {
			return false
		}
		for i := range len(part) {
			if !isAtext(part[i]) {
				return false
			}
		}
	}
	return true
}

// checkDomain holds a name against RFC 5321 section 4.1.2: labels of letters,
// digits and inner hyphens, or of UTF-8 letters (RFC 6531 section 3.3).
func checkDomain(s string) error {
	if len(s) > maxDomain {
		return errors.New("the domain of an address is too long")
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' ||
			!utf8.ValidString(label) || strings.ContainsFunc(label, notInLabel) {
			return errDomain
		}
	}
	return nil
}

func notInLabel(r rune) bool {
	if r < utf8.RuneSelf {
		return r != '-' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
	}
	return !unicode.In(r, unicode.Letter, unicode.Mark, unicode.Digit)
}

// domainLiteral checks what stands between brackets (RFC 5321 section 4.1.3).
func domainLiteral(s string) (string, error) {
	s = strings.Trim(s, " \t")
	v6, isV6 := cutPrefixFold(s, "IPv6:")
	addr, err := netip.ParseAddr(v6)
	if err != nil || addr.Is6() != isV6 || addr.Zone() != "" {
		return "", errors.New("the address literal in an address is not valid")
	}
	return "[" + s + "]", nil
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}

// Domain is what stands behind the last "@" of an address that ParseList returned,
// or nothing. A quoted local part may hold an "@" too.
func Domain(addr string) string {
	at := strings.LastIndexByte(addr, '@')
	if at < 0 {
		return ""
	}
	return addr[at+1:]
}

// mailboxKey is equal for addresses that a sender may take for the same: the local part to the
// letter, the domain without regard to case (RFC 5321 section 2.4).
func mailboxKey(addr string) string {
	domain := Domain(addr)
	return addr[:len(addr)-len(domain)] + strings.ToLower(domain)
}
