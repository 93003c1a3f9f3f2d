package command

import (
	"math"
	"net/url"
	"strconv"
	"strings"

	"rtls/internal/imap/wire"
)

// MessageURL is an IMAP URL of a message or of a part of one (RFC 5092), absolute or
// relative.
type MessageURL struct {
	User, Host, Port string // Host is empty in a relative URL
	Rooted           bool   // the path starts with "/"
	Mailbox          string // empty: that of the base
	UIDValidity      uint32 // 0 if it is not there
	UID              uint32
	Section          Section // Whole if it is not there; Peek is not set
}

// ParseMessageURL reads a URL. The error is a *wire.SyntaxError.
func ParseMessageURL(raw string) (u MessageURL, err error) {
	if strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r >= 0x7f }) || strings.ContainsAny(raw, `?#"<>`) {
		return u, wire.Syntaxf("URL has characters that have to be encoded")
	}
	path := raw
	if rest, ok := cutScheme(raw); ok {
		at := strings.IndexByte(rest, '/')
		if at < 0 {
			return u, wire.Syntaxf("URL is of no message")
		}
		if err := u.authority(rest[:at]); err != nil {
			return u, err
		}
		path = rest[at:]
	} else if first, _, _ := strings.Cut(raw, "/"); strings.Contains(first, ":") {
		return u, wire.Syntaxf("scheme of URL is not imap")
	}
	path, u.Rooted = strings.CutPrefix(path, "/")
	return u, u.path(path)
}

func cutScheme(raw string) (rest string, ok bool) {
	const scheme = "imap:"
	if len(raw) > len(scheme) && strings.EqualFold(raw[:len(scheme)], scheme) {
		raw = raw[len(scheme):]
	}
	return strings.CutPrefix(raw, "//")
}

func (u *MessageURL) authority(s string) (err error) {
	if user, host, found := strings.Cut(s, "@"); found {
		user, _, _ = strings.Cut(user, ";") // AUTH=: who is logged in is
		if u.User, err = unescape(user); err != nil {
			return err
		}
		s = host
	}
	u.Host = s
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		u.Host, u.Port = s[:i], s[i+1:]
	}
	const host = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._[]:"
	if u.Host == "" || strings.Trim(u.Host, host) != "" || strings.Trim(u.Port, "0123456789") != "" {
		return wire.Syntaxf("URL has no host, or one that is none")
	}
	return nil
}

// path reads mailbox;UIDVALIDITY=1/;UID=2/;SECTION=3/;PARTIAL=4.5, of which only UID
// has to be there. A semicolon that is part of a value is encoded.
func (u *MessageURL) path(path string) (err error) {
	parts := strings.Split(path, ";")
	for i := range parts[:len(parts)-1] {
		parts[i] = strings.TrimSuffix(parts[i], "/")
	}
	mailbox, err := unescape(parts[0])
	if err == nil {
		u.Mailbox, err = (&Parser{UTF8: true}).name(mailbox)
	}
	rest := parts[1:]
	for _, param := range []struct {
		name string
		read func(string) error
	}{
		{"UIDVALIDITY", number(&u.UIDValidity)}, {"UID", number(&u.UID)}, {"SECTION", u.Section.parse}, {"PARTIAL", u.Section.parseRange},
	} {
		if err != nil || len(rest) == 0 {
			break
		}
		name, value, _ := strings.Cut(rest[0], "=")
		if strings.EqualFold(name, param.name) {
			rest = rest[1:]
			err = param.read(value)
		}
	}
	switch {
	case err != nil:
		return err
	case len(rest) > 0:
		return wire.Syntaxf("URL has a parameter that is not known, or in a wrong place")
	case u.UID == 0:
		return wire.Syntaxf("URL is of no message")
	}
	return nil
}

func unescape(s string) (string, error) {
	s, err := url.PathUnescape(s)
	if err != nil {
		return "", wire.Syntaxf("URL is badly encoded")
	}
	return s, nil
}

// number reads a number above 0.
func number(into *uint32) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil || n == 0 {
			return wire.Syntaxf("URL has a number that is none")
		}
		*into = uint32(n)
		return nil
	}
}

// parse reads a section as it is between the brackets of BODY[].
func (s *Section) parse(encoded string) error {
	text, err := unescape(encoded)
	if err != nil {
		return err
	}
	if strings.ContainsAny(text, "\r\n{") {
		return wire.Syntaxf("URL has a section that is none")
	}
	l := wire.NewLexer(strings.NewReader(text+"\r\n"), wire.Limits{Line: maxSectionText, Held: maxSectionText}, func() error { return nil })
	if err := l.Next(); err != nil || l.Empty() {
		return wire.Syntaxf("URL has a section that is none")
	}
	if err := s.spec(l, BodySection); err != nil {
		return err
	}
	return l.End()
}

const maxSectionText = 16 << 10

// parseRange reads a range of octets: where it starts, and how many if they do not go
// up to the end.
func (s *Section) parseRange(text string) (err error) {
	s.Partial, s.Length = true, math.MaxInt64
	offset, length, bounded := strings.Cut(text, ".")
	if s.Offset, err = strconv.ParseUint(offset, 10, 63); err == nil && bounded {
		s.Length, err = strconv.ParseUint(length, 10, 63)
	}
	if err != nil || s.Length == 0 {
		return wire.Syntaxf("URL has a range that is none")
	}
	return nil
}
