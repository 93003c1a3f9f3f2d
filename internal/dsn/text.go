package dsn

import "strings"

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// maxText bounds what is repeated of somebody's words. It leaves room for a field's
// name within the limit of a line, should there be no blank to fold at.
const maxText = 800

// ascii makes one line of printable ASCII of anything.
func ascii(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "..."
	}
	out := []byte(s)
	for i, c := range out {
		if c < ' ' || c > '~' {
			out[i] = '?'
		}
	}
	return strings.TrimSpace(string(out))
}

// oneLine is for addresses that can hold UTF-8.
func oneLine(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 {
			return '?'
		}
		return c
	}, s)
}

// foldAt is where lines are folded if there is a blank.
const foldAt = 76

// fold breaks a line at its blanks. A continuation begins with a blank, and none
// consists of blanks only.
func fold(s string) string {
	var b strings.Builder
	for len(s) > foldAt {
		indent := len(s) - len(strings.TrimLeft(s, " "))
		if colon := strings.Index(s, ": "); indent == 0 && colon > 0 && b.Len() == 0 {
			indent = colon + 2 // something of the value is on the field's first line
		}
		at := strings.LastIndexByte(s[:foldAt], ' ')
		if at <= indent {
			at = strings.IndexByte(s[foldAt:], ' ')
			if at < 0 {
				break
			}
			at += foldAt
		}
		rest := strings.TrimLeft(s[at:], " ")
		if rest == "" {
			break
		}
		b.WriteString(s[:at])
		b.WriteString("\r\n ")
		s = rest
	}
	b.WriteString(s)
	return b.String()
}
