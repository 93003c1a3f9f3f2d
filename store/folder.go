package store

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	inbox     = "INBOX"
	separator = "/"
)

// cleanName brings a mailbox name into the one form we use and refuses what no
// mailbox may be called: ErrName.
func cleanName(name string) (string, error) {
	first, rest, nested := strings.Cut(name, separator)
	if strings.EqualFold(first, inbox) {
		name = inbox
		if nested {
			name += separator + rest
		}
	}
	switch {
	case !utf8.ValidString(name):
		return "", fmt.Errorf("%w: %q is not UTF-8", ErrName, name)
	case strings.ContainsFunc(name, func(r rune) bool {
		return r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == 0x2028 || r == 0x2029
	}):
		return "", fmt.Errorf("%w: %q holds a control character", ErrName, name)
	case len(folderDir(name)) > 255:
		return "", fmt.Errorf("%w: %.20q... is too long", ErrName, name)
	}
	for component := range strings.SplitSeq(name, separator) {
		if component == "" {
			return "", fmt.Errorf("%w: %q has an empty level", ErrName, name)
		}
	}
	return name, nil
}

// folderDir is the directory of a mailbox below Maildir/, as Maildir++ has it:
// levels are separated by dots and written in modified UTF-7 (RFC 9051 appendix
// A.1), dots within a level too. INBOX is Maildir/ itself.
func folderDir(name string) string {
	if name == inbox {
		return ""
	}
	var b strings.Builder
	for level := range strings.SplitSeq(name, separator) {
		b.WriteByte('.')
		encodeLevel(&b, level)
	}
	return b.String()
}

var base64UTF7 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

func encodeLevel(b *strings.Builder, level string) {
	var shifted []uint16
	flush := func() {
		if len(shifted) == 0 {
			return
		}
		raw := make([]byte, 0, 2*len(shifted))
		for _, u := range shifted {
			raw = append(raw, byte(u>>8), byte(u))
		}
		b.WriteByte('&')
		b.WriteString(base64UTF7.EncodeToString(raw))
		b.WriteByte('-')
		shifted = shifted[:0]
	}
	for _, r := range level {
		switch {
		case r == '&':
			flush()
			b.WriteString("&-")
		case r >= ' ' && r <= '~' && r != '.':
			flush()
			b.WriteRune(r)
		default:
			shifted = utf16.AppendRune(shifted, r)
		}
	}
	flush()
}

var errNotUTF7 = errors.New("not modified UTF-7")

// folderName is the name of the mailbox in a directory, which starts with a dot.
func folderName(dir string) (string, error) {
	var levels []string
	for level := range strings.SplitSeq(dir[1:], ".") {
		decoded, err := decodeLevel(level)
		if err != nil {
			return "", err
		}
		levels = append(levels, decoded)
	}
	return cleanName(strings.Join(levels, separator))
}

func decodeLevel(level string) (string, error) {
	var b strings.Builder
	for level != "" {
		i := strings.IndexByte(level, '&')
		if i < 0 {
			b.WriteString(level)
			break
		}
		b.WriteString(level[:i])
		shifted, rest, ok := strings.Cut(level[i+1:], "-")
		if !ok {
			return "", errNotUTF7
		}
		level = rest
		if shifted == "" {
			b.WriteByte('&')
			continue
		}
		raw, err := base64UTF7.DecodeString(shifted)
		if err != nil || len(raw)%2 != 0 {
			return "", errNotUTF7
		}
		units := make([]uint16, len(raw)/2)
		for i := range units {
			units[i] = uint16(raw[2*i])<<8 | uint16(raw[2*i+1])
		}
		for _, r := range utf16.Decode(units) {
			if r == '/' || r == utf8.RuneError {
				return "", errNotUTF7
			}
			b.WriteRune(r)
		}
	}
	if strings.Contains(b.String(), separator) {
		return "", errNotUTF7
	}
	return b.String(), nil
}
