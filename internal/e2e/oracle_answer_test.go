package e2e

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The form in which answers of two servers are compared. What RFC 9051 leaves to a
// server is taken out: texts, the order of untagged responses, of items in them and
// of flags, how a string is written, UIDVALIDITY, mod-sequences and object ids.

// imapNode is an atom, a string or a list.
type imapNode struct {
	text string
	list []imapNode
	kind byte // a, s, l
}

// imapParser reads the values of a response. What it cannot read becomes an atom.
type imapParser struct {
	s      string
	i      int
	broken bool
}

func (p *imapParser) values() []imapNode {
	var all []imapNode
	for p.i < len(p.s) && p.s[p.i] != ')' {
		if p.s[p.i] == ' ' {
			p.i++
			continue
		}
		all = append(all, p.value())
	}
	return all
}

func (p *imapParser) value() imapNode {
	switch c := p.s[p.i]; {
	case c == '(':
		p.i++
		n := imapNode{kind: 'l', list: p.values()}
		if p.i == len(p.s) {
			p.broken = true
		} else {
			p.i++
		}
		return n
	case c == '"':
		return imapNode{kind: 's', text: p.quoted()}
	case c == '{' || c == '~' && strings.HasPrefix(p.s[p.i:], "~{"):
		if text, ok := p.literal(); ok {
			return imapNode{kind: 's', text: text}
		}
	}
	return imapNode{kind: 'a', text: p.atom()}
}

func (p *imapParser) quoted() string {
	var b strings.Builder
	for p.i++; p.i < len(p.s); p.i++ {
		switch p.s[p.i] {
		case '"':
			p.i++
			return b.String()
		case '\\':
			p.i++
		}
		if p.i < len(p.s) {
			b.WriteByte(p.s[p.i])
		}
	}
	p.broken = true
	return b.String()
}

var literalHead = regexp.MustCompile(`^~?\{(\d+)\}\r\n`)

func (p *imapParser) literal() (string, bool) {
	m := literalHead.FindStringSubmatch(p.s[p.i:])
	if m == nil {
		return "", false
	}
	size, err := strconv.Atoi(m[1])
	from := p.i + len(m[0])
	if err != nil || from+size > len(p.s) {
		p.broken = true
		return "", false
	}
	p.i = from + size
	return p.s[from:p.i], true
}

// atom reads up to a space or parenthesis that is not in brackets.
func (p *imapParser) atom() string {
	from, depth := p.i, 0
	for ; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; {
		case c == '[':
			depth++
		case c == ']':
			depth--
		case depth <= 0 && strings.IndexByte(` ()"`, c) >= 0:
			if p.i == from {
				p.i++ // a stray parenthesis
			}
			return p.s[from:p.i]
		}
	}
	return p.s[from:p.i]
}

// String writes long strings as their beginning and a hash.
func (n imapNode) String() string {
	switch n.kind {
	case 'l':
		return "(" + joinNodes(n.list) + ")"
	case 's':
		if len(n.text) > 300 {
			return fmt.Sprintf("%q...(%d octets, %x)", n.text[:60], len(n.text), sha256.Sum256([]byte(n.text)))[:120]
		}
		return strconv.Quote(n.text)
	}
	return n.text
}

func joinNodes(list []imapNode) string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = n.String()
	}
	return strings.Join(words, " ")
}

// ourKeywords are announced by rtls-imapd alone.
var ourKeywords = []string{"$Forwarded", "$RequireTLS", "$RequireTLSUnknown", "$TLSOptional"}

func (n *imapNode) sortFlags() {
	n.list = slices.DeleteFunc(n.list, func(f imapNode) bool { return slices.Contains(ourKeywords, f.text) })
	slices.SortFunc(n.list, func(a, b imapNode) int { return strings.Compare(a.text, b.text) })
}

var section = regexp.MustCompile(`^(BODY|BINARY)\[`)

// pairs sorts "name value name value" by name, and masks values that are the
// server's own.
func (n *imapNode) pairs() {
	if len(n.list)%2 != 0 {
		return
	}
	var all [][2]imapNode
	for pair := range slices.Chunk(n.list, 2) {
		name, value := pair[0], pair[1]
		name.text = strings.ToUpper(strings.ReplaceAll(name.text, `"`, ""))
		switch name.text {
		case "FLAGS":
			value.sortFlags()
		case "MODSEQ", "HIGHESTMODSEQ", "UIDVALIDITY", "MAILBOXID", "EMAILID", "THREADID":
			value = imapNode{kind: 'a', text: "*"}
		}
		if section.MatchString(name.text) && value.String() == "NIL" {
			value = imapNode{kind: 's'} // a part that is not there is either
		}
		all = append(all, [2]imapNode{name, value})
	}
	slices.SortFunc(all, func(a, b [2]imapNode) int { return strings.Compare(a[0].text, b[0].text) })
	n.list = n.list[:0]
	for _, pair := range all {
		n.list = append(n.list, pair[0], pair[1])
	}
}

var (
	statusForm = regexp.MustCompile(`(?s)^(OK|NO|BAD|BYE|PREAUTH)\b(?: \[([^\]]*(?:\([^)]*\))?[^\]]*)\])?.*$`)
	duration   = regexp.MustCompile(` \(\d+\.\d+ \+ \d+\.\d+ secs\)`) // that Dovecot took
	codeNumber = regexp.MustCompile(`^(UIDVALIDITY|HIGHESTMODSEQ|APPENDUID|COPYUID) \d+`)
)

// normalStatus takes the text out of a status response.
func normalStatus(s string) string {
	m := statusForm.FindStringSubmatch(s)
	if m == nil {
		return s
	}
	code := codeNumber.ReplaceAllString(m[2], "$1 *")
	switch name, rest, _ := strings.Cut(code, " "); {
	case code == "", name == "CAPABILITY", name == "MAILBOXID":
		return m[1]
	case name == "PERMANENTFLAGS":
		p := imapParser{s: rest}
		list := imapNode{kind: 'l', list: p.values()}
		if len(list.list) == 1 {
			list.list[0].sortFlags()
			return m[1] + " [" + name + " " + list.list[0].String() + "]"
		}
	}
	return m[1] + " [" + code + "]"
}

// normalLine is an untagged response, without its "* ". It is empty if it is of no
// interest.
func normalLine(s string) string {
	s = duration.ReplaceAllString(s, "")
	if statusForm.MatchString(s) {
		s = normalStatus(s)
		if s == "OK" {
			return "" // an object id, a sign of life
		}
		return s
	}
	p := imapParser{s: s}
	all := p.values()
	if len(all) == 0 || p.broken || p.i < len(s) {
		return "unreadable: " + strconv.Quote(s)
	}
	switch strings.ToUpper(all[0].text) {
	case "CAPABILITY", "ID":
		return all[0].text + " ..."
	case "FLAGS", "ENABLED":
		line := imapNode{kind: 'l', list: all}
		if len(all) == 2 && all[1].kind == 'l' {
			all[1].sortFlags()
		} else {
			slices.SortFunc(line.list[1:], func(a, b imapNode) int { return strings.Compare(a.text, b.text) })
		}
	case "LIST", "LSUB":
		all[1].sortFlags()
		if name := &all[3]; name.kind == 'a' {
			name.kind = 's' // a name may be written as an atom, too
		}
	case "STATUS":
		all[1].kind = 's'
		all[2].pairs()
	case "SEARCH", "SORT":
		if last := &all[len(all)-1]; last.kind == 'l' {
			last.pairs()
		}
	case "ESEARCH":
		if len(all) > 1 && all[1].kind == 'l' {
			all[1] = imapNode{kind: 'a', text: "tag"}
		}
		for i := range all {
			if all[i].text == "MODSEQ" && i+1 < len(all) {
				all[i+1].text = "*"
			}
		}
	}
	if len(all) == 3 && strings.EqualFold(all[1].text, "FETCH") {
		all[2].pairs()
	}
	return joinNodes(all)
}

// expunged turns EXPUNGE responses, each of which renumbers what is behind it, into
// the numbers that the messages had before.
func expunged(lines []string) []string {
	var gone []int
	out := lines[:0:0]
	for _, line := range lines {
		number, ok := strings.CutSuffix(line, " EXPUNGE")
		n, err := strconv.Atoi(number)
		if !ok || err != nil {
			out = append(out, line)
			continue
		}
		for _, g := range gone {
			if n >= g {
				n++
			}
		}
		gone = append(gone, n)
		slices.Sort(gone)
	}
	if len(gone) > 0 {
		out = append(out, fmt.Sprintf("EXPUNGE of %d", gone))
	}
	return out
}

// normalAnswer is what is compared of a command's answer.
func normalAnswer(untagged []string, tagged string) []string {
	var lines []string
	for _, line := range untagged {
		if line = normalLine(strings.TrimPrefix(line, "* ")); line != "" {
			lines = append(lines, line)
		}
	}
	lines = expunged(lines)
	slices.SortStableFunc(lines, func(a, b string) int {
		return cmp.Or(cmp.Compare(leading(a), leading(b)), strings.Compare(a, b))
	})
	return append(lines, normalStatus(tagged))
}

// leading is the number that a line begins with, or 0.
func leading(s string) int {
	word, _, _ := strings.Cut(s, " ")
	n, _ := strconv.Atoi(word)
	return n
}
