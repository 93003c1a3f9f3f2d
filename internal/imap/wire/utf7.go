package wire

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// The variant of base64 in mailbox names: "," for "/", no padding, and no bits
// left over (RFC 3501 section 5.1.3).
var mailbox64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").
	WithPadding(base64.NoPadding).Strict()

// EncodeUTF7 writes a mailbox name in modified UTF-7.
func EncodeUTF7(name string) string {
	var b strings.Builder
	for name != "" {
		plain := strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r > '~' || r == '&' })
		if plain < 0 {
			plain = len(name)
		}
		b.WriteString(name[:plain])
		if name = name[plain:]; name == "" {
			break
		}
		if name[0] == '&' {
			b.WriteString("&-")
			name = name[1:]
			continue
		}
		other := strings.IndexFunc(name, func(r rune) bool { return r >= ' ' && r <= '~' })
		if other < 0 {
			other = len(name)
		}
		var octets []byte
		for _, u := range utf16.Encode([]rune(name[:other])) {
			octets = append(octets, byte(u>>8), byte(u))
		}
		b.WriteString("&" + mailbox64.EncodeToString(octets) + "-")
		name = name[other:]
	}
	return b.String()
}

// DecodeUTF7 reads a mailbox name in modified UTF-7. Only the one canonical
// spelling of a name is accepted, so that no mailbox has two names.
func DecodeUTF7(s string) (string, error) {
	var b strings.Builder
	for s != "" {
		c := s[0]
		if c < ' ' || c > '~' {
			return "", Syntaxf("mailbox name is not modified UTF-7")
		}
		if c != '&' {
			b.WriteByte(c)
			s = s[1:]
			continue
		}
		end := strings.IndexByte(s, '-')
		if end < 0 {
			return "", Syntaxf("mailbox name is not modified UTF-7: a shift does not end")
		}
		shifted := s[1:end]
		s = s[end+1:]
		if shifted == "" {
			b.WriteByte('&')
			continue
		}
		if strings.HasPrefix(s, "&") && !strings.HasPrefix(s, "&-") {
			return "", Syntaxf("mailbox name is not modified UTF-7: a shift follows a shift")
		}
		text, err := unshift(shifted)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

func unshift(s string) (string, error) {
	octets, err := mailbox64.DecodeString(s)
	if err != nil || len(octets)%2 != 0 || strings.ContainsAny(s, "\r\n") {
		return "", Syntaxf("mailbox name is not modified UTF-7: bad base64")
	}
	var b strings.Builder
	for i := 0; i < len(octets); i += 2 {
		r := rune(octets[i])<<8 | rune(octets[i+1])
		switch {
		case r >= ' ' && r <= '~':
			return "", Syntaxf("mailbox name is not modified UTF-7: a shift holds plain text")
		case utf16.IsSurrogate(r):
			if i+4 > len(octets) {
				return "", Syntaxf("mailbox name is not modified UTF-7: half a surrogate pair")
			}
			low := rune(octets[i+2])<<8 | rune(octets[i+3])
			if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
				return "", Syntaxf("mailbox name is not modified UTF-7: half a surrogate pair")
			}
			i += 2
		}
		b.WriteRune(r)
	}
	return b.String(), nil
}
