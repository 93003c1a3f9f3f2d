package lmtp

import (
	"strings"
	"unicode/utf8"

	"rtls/internal/lda"
)

// path is a reverse-path or forward-path (RFC 5321 section 4.1.2) in its angle
// brackets.
type path string

func (p path) null() bool { return p == "<>" }

// cutPath splits "FROM:<path> parameters". A blank before the bracket is against
// the grammar, but common.
func cutPath(args, verb string) (p path, rest string, ok bool) {
	args = strings.TrimLeft(args, " ")
	if len(args) < len(verb) || !strings.EqualFold(args[:len(verb)], verb) {
		return "", "", false
	}
	args = strings.TrimLeft(args[len(verb):], " ")
	if !strings.HasPrefix(args, "<") {
		return "", "", false
	}
	quoted := false
	for i := 1; i < len(args); i++ {
		switch {
		case quoted && args[i] == '\\':
			i++
		case args[i] == '"':
			quoted = !quoted
		case args[i] == '>' && !quoted:
			rest = args[i+1:]
			return path(args[:i+1]), rest, rest == "" || rest[0] == ' '
		}
	}
	return "", "", false
}

// address is the mailbox that a path leads to, as it was written; it is empty for
// the null path. A source route is dropped (RFC 5321 section 4.1.1.3). The domain
// may be missing: RFC 5321 wants that for postmaster, and local delivery has its
// users without one. Beyond that, dots may stand anywhere in a local part, as
// they do in addresses that exist.
func (p path) address(smtputf8 bool, status string) (string, error) {
	if p.null() {
		return "", nil
	}
	mailbox := string(p[1 : len(p)-1])
	if !smtputf8 && strings.IndexFunc(mailbox, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0 {
		return "", &lda.Error{Code: 553, Status: "5.6.7", Text: "an address that is not ASCII takes SMTPUTF8"}
	}
	if strings.HasPrefix(mailbox, "@") {
		route, rest, ok := strings.Cut(mailbox, ":")
		for hop := range strings.SplitSeq(route, ",") {
			ok = ok && strings.HasPrefix(hop, "@") && isDomain(hop[1:])
		}
		if !ok {
			return "", badAddress(status)
		}
		mailbox = rest
	}
	n := localPart(mailbox)
	domain, hasDomain := strings.CutPrefix(mailbox[n:], "@")
	switch {
	case n == 0, lda.CheckAddress(mailbox) != nil,
		hasDomain && !isDomain(domain),
		!hasDomain && n < len(mailbox):
		return "", badAddress(status)
	}
	return mailbox, nil
}

func badAddress(status string) error {
	return &lda.Error{Code: 501, Status: status, Text: "not an address"}
}

// localPart returns the length of the local part that s starts with, 0 if it
// starts with none.
func localPart(s string) int {
	if !strings.HasPrefix(s, `"`) {
		if i := strings.IndexFunc(s, func(r rune) bool {
			return r <= ' ' || r == 0x7f || strings.ContainsRune(`()<>[]:;@\,"`, r)
		}); i >= 0 {
			return i
		}
		return len(s)
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// isDomain takes a domain name, with the underscore that some have, or an address
// literal.
func isDomain(s string) bool {
	if literal, ok := strings.CutPrefix(s, "["); ok {
		literal, ok = strings.CutSuffix(literal, "]")
		return ok && literal != "" && strings.IndexFunc(literal, func(r rune) bool {
			return r <= ' ' || r >= 0x7f || strings.ContainsRune(`[]\`, r)
		}) < 0
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || label[0] == '-' || strings.IndexFunc(label, notInLabel) >= 0 {
			return false
		}
	}
	return len(s) <= 255
}

func notInLabel(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_':
		return false
	}
	return r < utf8.RuneSelf || r == utf8.RuneError
}
