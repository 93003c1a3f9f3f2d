package mimetree

import "strings"

// ParseAddresses reads the unfolded value of one address field. There must be no
// NUL, CR or LF in it; nothing else is wrong.
func ParseAddresses(value string) []Address { return parseAddresses(value) }

// parseAddresses reads an address list (RFC 5322 section 3.4, and 4.4 for the
// obsolete forms). What holds any word between two commas becomes an address,
// however little it looks like one.
func parseAddresses(value string) []Address {
	l := addressList{scanner: scanner{text: value}}
	for l.more() {
		l.element()
	}
	l.endGroup()
	return l.found
}

// specials end a word. A dot does not: it is part of words, and so are the octets
// that RFC 5322 has no place for.
const specials = `()<>@,;:"`

type addressList struct {
	scanner
	found   []Address
	inGroup bool
}

func (l *addressList) endGroup() {
	if l.inGroup {
		l.found = append(l.found, Address{Kind: GroupEnd})
	}
	l.inGroup = false
}

// element reads an address, the start of a group or the end of one, with the
// separator behind it.
func (l *addressList) element() {
	comment, _ := l.skip()
	start := l.at
	note := func(behind string) {
		if behind != "" {
			comment = behind
		}
	}
	words, behind := l.words()
	note(behind)
	var a Address
	shown := true
	switch c := l.peek(); {
	case c == ':' && words.phrase != "":
		l.at++
		l.endGroup()
		l.found = append(l.found, Address{Kind: GroupStart, Mailbox: words.phrase})
		l.inGroup = true
		return
	case c == '<':
		a.Name = words.phrase
		l.angle(&a)
	case c == '@':
		l.at++
		a.Mailbox = words.local
		a.Host, behind = l.domain()
		note(behind)
		if l.peek() == '<' { // an address as display name, without quotes
			a = Address{Name: strings.Trim(l.text[start:l.at], " \t")}
			l.angle(&a)
		}
	default:
		a.Mailbox = words.local
		shown = words.local != ""
	}
	behind, separator := l.toSeparator()
	note(behind)
	if a.Name == "" {
		a.Name = comment
	}
	if shown {
		l.found = append(l.found, a)
	}
	if separator == ';' {
		l.endGroup()
	}
}

// words are words as a phrase, with one blank for the white space between them, and
// as a local part, where white space around a dot is obsolete and does not count.
type words struct{ phrase, local string }

// words reads words up to one of the specials. It returns the last comment behind
// them, too.
func (l *addressList) words() (w words, comment string) {
	var phrase, local strings.Builder // of more than one word
	first := true
	dot := true // in front, or a dot was the last
	for l.more() {
		var gap bool
		comment, gap = l.skip()
		c := l.peek()
		if !l.more() || c != '"' && strings.IndexByte(specials, c) >= 0 {
			break
		}
		dotted := dot || c == '.'
		word := l.word(specials)
		dot = c != '"' && strings.HasSuffix(word, ".")
		if first {
			w, first = words{word, word}, false
			continue
		}
		if phrase.Len() == 0 {
			phrase.WriteString(w.phrase)
		}
		if local.Len() == 0 {
			local.WriteString(w.local)
		}
		if gap && phrase.Len() > 0 {
			phrase.WriteByte(' ')
		}
		if gap && !dotted {
			local.WriteByte(' ')
		}
		phrase.WriteString(word)
		local.WriteString(word)
		w = words{phrase.String(), local.String()}
	}
	return w, comment
}

// angle reads an address in angle brackets, the opening one next.
func (l *addressList) angle(a *Address) {
	l.at++
	l.skip()
	if l.peek() == '@' { // obs-route
		a.Route = l.route()
	}
	local, _ := l.words()
	a.Mailbox = local.local
	if l.accept('@') {
		a.Host, _ = l.domain()
	}
	for l.more() && l.peek() != ',' && l.peek() != ';' {
		if l.accept('>') {
			return
		}
		l.at++
	}
}

// route reads a source route and the colon behind it. Without that colon there is
// no route, and what looked like one is passed over.
func (l *addressList) route() string {
	var b strings.Builder
	for l.more() {
		l.skip()
		switch c := l.peek(); c {
		case ':':
			l.at++
			return strings.TrimRight(b.String(), ",")
		case '@', ',':
			l.at++
			b.WriteByte(c)
		case '<', '>', ')', ';', 0:
			return ""
		default:
			b.WriteString(l.word(specials))
		}
	}
	return ""
}

// domain reads a domain or a domain literal. White space around its dots, which is
// obsolete, is taken out. It returns the last comment behind it, too.
func (l *addressList) domain() (domain, comment string) {
	var b strings.Builder
	for {
		comment, _ = l.skip()
		dotted := b.Len() == 0 || l.peek() == '.' || strings.HasSuffix(b.String(), ".")
		if !l.more() || !dotted || strings.IndexByte(specials, l.peek()) >= 0 {
			return b.String(), comment
		}
		if l.peek() != '[' {
			b.WriteString(l.until(specials))
			continue
		}
		end := strings.IndexByte(l.text[l.at:], ']') + 1
		if end == 0 {
			end = len(l.text) - l.at
		}
		b.WriteString(l.text[l.at : l.at+end])
		l.at += end
	}
}

// toSeparator passes over what cannot be read, and over the comma or semicolon
// behind it, which it returns. It returns the last comment on the way, too.
func (l *addressList) toSeparator() (comment string, separator byte) {
	for l.more() {
		switch c := l.peek(); c {
		case ',', ';':
			l.at++
			return comment, c
		case '"':
			l.quoted()
		case '(':
			comment = l.comment()
		default:
			l.at++
		}
	}
	return comment, 0
}
