package sieve

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxMatch is the highest match variable (RFC 5229 section 6 asks for ${9}).
const maxMatch = 99

// text is a string of a script that is ready to be expanded.
type text struct {
	at    place
	raw   string // encoded characters decoded, variables as they were written
	parts []part // nil for a constant
}

// part is a piece of text or, with ref, the name of a variable in small letters.
type part struct {
	text  string
	ref   bool
	match int // index of a match variable, -1 for others
}

func (t text) constant() bool { return t.parts == nil }

// text prepares a string: encoded characters first, then variables (RFC 5229
// section 3.1).
func (c *compiler) text(l literal) (text, error) {
	t := text{at: l.at, raw: l.text}
	if c.required["encoded-character"] {
		raw, err := decodeCharacters(l)
		if err != nil {
			return t, err
		}
		t.raw = raw
	}
	if !c.required["variables"] {
		return t, nil
	}
	var err error
	t.parts, err = splitVariables(t.at, t.raw)
	return t, err
}

// splitVariables finds the variables in a string. It returns nil if there are none.
func splitVariables(at place, s string) ([]part, error) {
	var parts []part
	done := 0
	for i := 0; ; {
		start := strings.Index(s[i:], "${")
		if start < 0 {
			break
		}
		start += i
		i = start + 2
		for i < len(s) && (isWord(s[i]) || s[i] == '.') {
			i++
		}
		if i == len(s) || s[i] != '}' {
			continue
		}
		ref, ok, err := readReference(at, s[start+2:i])
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if start > done {
			parts = append(parts, part{text: s[done:start]})
		}
		parts = append(parts, ref)
		i++
		done = i
	}
	if parts != nil && done < len(s) {
		parts = append(parts, part{text: s[done:]})
	}
	return parts, nil
}

// readReference reads what stands in ${}. It is not ok if that is to be left as
// it is.
func readReference(at place, name string) (ref part, ok bool, err error) {
	names := strings.Split(name, ".")
	for i, n := range names {
		number := n != "" && strings.Trim(n, "0123456789") == ""
		if !isIdentifier(n) && (!number || len(names) > 1 && i == 0) {
			return ref, false, nil
		}
	}
	if len(names) > 1 {
		return ref, false, at.errorf("${%s}: there are no variables in %q: only names without a dot", name, names[0])
	}
	if isIdentifier(name) {
		return part{text: strings.ToLower(name), ref: true, match: -1}, true, nil
	}
	index, convErr := strconv.Atoi(name)
	if convErr != nil || index > maxMatch {
		return ref, false, at.errorf("${%s} is beyond the last match variable, ${%d}", name, maxMatch)
	}
	return part{ref: true, match: index}, true, nil
}

// isIdentifier says whether s is an identifier (RFC 5228 section 8.1).
func isIdentifier(s string) bool {
	for i := range len(s) {
		if !isWord(s[i]) || i == 0 && '0' <= s[i] && s[i] <= '9' {
			return false
		}
	}
	return s != ""
}

// decodeCharacters replaces ${hex:...} and ${unicode:...} (RFC 5228 section
// 2.4.2.4).
func decodeCharacters(l literal) (string, error) {
	s := l.text
	var b strings.Builder
	for {
		start := strings.Index(s, "${")
		if start < 0 {
			b.WriteString(s)
			return b.String(), nil
		}
		b.WriteString(s[:start])
		s = s[start:]
		decoded, n, err := decodeSequence(l.at, s)
		if err != nil {
			return "", err
		}
		if n == 0 { // not well-formed, so left alone
			decoded, n = s[:2], 2
		}
		b.WriteString(decoded)
		s = s[n:]
	}
}

const (
	hexDigits = "0123456789abcdefABCDEF"
	blanks    = " \t\r\n"
)

// decodeSequence decodes the sequence that s starts with. It returns its length,
// 0 if there is none.
func decodeSequence(at place, s string) (decoded string, n int, err error) {
	kind := ""
	for _, k := range []string{"hex", "unicode"} {
		if n = len("${") + len(k) + len(":"); len(s) > n && strings.EqualFold(s[2:n], k+":") {
			kind = k
			break
		}
	}
	if kind == "" {
		return "", 0, nil
	}
	digits := s[n:]
	end := len(digits) - len(strings.TrimLeft(digits, hexDigits+blanks))
	words := strings.FieldsFunc(digits[:end], func(r rune) bool { return strings.ContainsRune(blanks, r) })
	if len(words) == 0 || end == len(digits) || digits[end] != '}' {
		return "", 0, nil
	}
	var b strings.Builder
	outside := ""
	for _, word := range words {
		v, err := strconv.ParseUint(word, 16, 32)
		switch {
		case kind == "hex" && len(word) > 2:
			return "", 0, nil
		case kind == "hex":
			b.WriteByte(byte(v))
		case err != nil, v > utf8.MaxRune, 0xd800 <= v && v <= 0xdfff:
			outside = word
		default:
			b.WriteRune(rune(v))
		}
	}
	if outside != "" {
		return "", 0, at.errorf("${unicode:%s} is no character: they go from 0 to D7FF and from E000 to 10FFFF", oneLine(outside, 40))
	}
	return b.String(), n + end + 1, nil
}

// expand is the text with the values that variables have now, cut off behind
// maxExpanded octets.
func (r *run) expand(t text) string {
	if t.constant() {
		return t.raw
	}
	var b strings.Builder
	for _, p := range t.parts {
		switch {
		case !p.ref:
			b.WriteString(p.text)
		case p.match < 0:
			b.WriteString(r.variables[p.text])
		case p.match < len(r.matched):
			b.WriteString(r.matched[p.match])
		}
		if b.Len() > max(maxExpanded, len(t.raw)) {
			break
		}
	}
	s := truncate(b.String(), max(maxExpanded, len(t.raw)))
	r.work.spend(len(s) / 8)
	return s
}

// expandAll expands a list. One that comes to more than maxList octets uses up all
// the work that is left.
func (r *run) expandAll(list []text) []string {
	all := make([]string, len(list))
	total := 0
	for i, t := range list {
		all[i] = r.expand(t)
		if total += len(all[i]); total > maxList {
			r.work = -1
			return all[:i]
		}
	}
	return all
}

// truncate cuts s to at most limit octets, and not within a character.
func truncate(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for n := limit; n > limit-utf8.UTFMax && n > 0; n-- {
		if utf8.RuneStart(s[n]) {
			return s[:n]
		}
	}
	return s[:limit]
}
