package compose

import (
	"errors"
	"fmt"
	"strings"
)

// ParseList reads a list of addresses as it stands in a To field, without its line
// ends: names, comments, groups, quoted strings and the obsolete forms of RFC 5322
// section 4.4 (routes, blanks around dots, empty list members). It returns the bare
// addresses in the form that goes between the angle brackets of MAIL and RCPT
// (RFC 5321 section 4.1.2, with the UTF-8 of RFC 6531), and nothing else: no
// control characters, no blank or ">" outside a quoted local part, no "<".
//
// An address without a domain is returned as it is; whether it means anything is
// the caller's decision. The library parsers know neither routes nor empty
// members, hence this one.
func ParseList(s string) ([]string, error) {
	p := &addrParser{s: s}
	if err := p.list(false); err != nil {
		return nil, fmt.Errorf("%w at %q", err, excerpt(s[min(p.i, len(s)):]))
	}
	return p.found, nil
}

// ParseAddress reads exactly one address, in any of the forms that ParseList
// takes. The null reverse-path, "<>" or nothing, is the empty string.
func ParseAddress(s string) (string, error) {
	if t := strings.Trim(s, " \t"); t == "" || t == "<>" {
		return "", nil
	}
	found, err := ParseList(s)
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%q is not one address", excerpt(s))
	}
	return found[0], nil
}

func excerpt(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "..."
	}
	return s
}

// word is a part of a phrase or of a local part.
type word struct {
	text string
	kind wordKind
}

type wordKind uint8

const (
	atom wordKind = iota
	quoted
	dot
	stray // allowed in a display name only, and only by custom
)

// addrParser walks over a string. Its methods leave i behind what they took.
type addrParser struct {
	s     string
	i     int
	found []string
}

func (p *addrParser) peek() byte {
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

var (
	errComment  = errors.New("a comment does not end")
	errQuote    = errors.New("a quoted string does not end")
	errLocal    = errors.New("the local part of an address is not valid")
	errDomain   = errors.New("the domain of an address is not valid")
	errExpected = errors.New("an address is not valid")
)

// list reads members up to the end, or up to the ";" of a group.
func (p *addrParser) list(group bool) error {
	for {
		if err := p.skip(); err != nil {
			return err
		}
		switch c := p.peek(); {
		case p.i == len(p.s):
			if group {
				return errors.New(`a group has no ";"`)
			}
			return nil
		case c == ',':
			p.i++
			continue
		case c == ';' && group:
			p.i++
			return nil
		}
		if err := p.address(group); err != nil {
			return err
		}
		if err := p.skip(); err != nil {
			return err
		}
		if c := p.peek(); p.i < len(p.s) && c != ',' && (c != ';' || !group) {
			return errExpected
		}
	}
}

// address reads one member: a mailbox or a group.
func (p *addrParser) address(inGroup bool) error {
	words, err := p.phrase()
	if err != nil {
		return err
	}
	switch c := p.peek(); {
	case c == '<':
		return p.angle()
	case c == ':' && !inGroup:
		p.i++
		return p.list(true)
	case c == '@':
		p.i++
		addr, err := p.join(words)
		if err != nil {
			return err
		}
		if err := p.skip(); err != nil {
			return err
		}
		if p.peek() == '<' { // an address where a name should be, unquoted: "a@b <a@b>"
			return p.angle()
		}
		p.found = append(p.found, addr)
		return nil
	}
	addr, err := localPart(words)
	if err != nil {
		return err
	}
	p.found = append(p.found, addr)
	return nil
}

// angle reads "<" [route ":"] local-part ["@" domain] ">".
func (p *addrParser) angle() error {
	p.i++
	if err := p.skip(); err != nil {
		return err
	}
	if c := p.peek(); c == '@' || c == ',' {
		if err := p.route(); err != nil {
			return err
		}
	}
	words, err := p.phrase()
	if err != nil {
		return err
	}
	var addr string
	if p.peek() == '@' {
		p.i++
		addr, err = p.join(words)
	} else {
		addr, err = localPart(words)
	}
	if err != nil {
		return err
	}
	if err := p.skip(); err != nil {
		return err
	}
	if p.peek() != '>' {
		return errExpected
	}
	p.i++
	p.found = append(p.found, addr)
	return nil
}

// route reads and drops a source route, which RFC 5321 section 4.1.1.3 wants
// ignored.
func (p *addrParser) route() error {
	for {
		if err := p.skip(); err != nil {
			return err
		}
		switch p.peek() {
		case ',':
			p.i++
		case '@':
			p.i++
			if _, err := p.domain(); err != nil {
				return err
			}
		case ':':
			p.i++
			return nil
		default:
			return errExpected
		}
	}
}

// join reads the domain behind the "@" and makes an address of it and the words
// before.
func (p *addrParser) join(words []word) (string, error) {
	local, err := localPart(words)
	if err != nil {
		return "", err
	}
	domain, err := p.domain()
	if err != nil {
		return "", err
	}
	addr := local + "@" + domain
	if len(addr) > maxAddress {
		return "", errors.New("an address is too long")
	}
	return addr, nil
}

// domain reads a dotted name or a literal and checks it.
func (p *addrParser) domain() (string, error) {
	if err := p.skip(); err != nil {
		return "", err
	}
	if p.peek() == '[' {
		end := strings.IndexByte(p.s[p.i:], ']')
		if end < 0 {
			return "", errors.New(`a domain literal has no "]"`)
		}
		literal := p.s[p.i+1 : p.i+end]
		p.i += end + 1
		return domainLiteral(literal)
	}
	words, err := p.phrase()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	previous := dot
	for _, w := range words {
		if w.kind == quoted || w.kind == stray || (w.kind == dot) == (previous == dot) {
			return "", errDomain
		}
		b.WriteString(w.text)
		previous = w.kind
	}
	return b.String(), checkDomain(b.String())
}

// phrase reads words and dots, as many as there are.
func (p *addrParser) phrase() ([]word, error) {
	var words []word
	for {
		if err := p.skip(); err != nil {
			return nil, err
		}
		start := p.i
		switch c := p.peek(); {
		case c == '"':
			text, err := p.quotedString()
			if err != nil {
				return nil, err
			}
			words = append(words, word{text, quoted})
		case c == '.':
			p.i++
			words = append(words, word{".", dot})
		case c == '[' || c == ']' || c == '\\':
			p.i++
			words = append(words, word{p.s[start:p.i], stray})
		case isAtext(c):
			for isAtext(p.peek()) {
				p.i++
			}
			words = append(words, word{p.s[start:p.i], atom})
		default:
			return words, nil
		}
	}
}

func (p *addrParser) quotedString() (string, error) {
	var b strings.Builder
	for p.i++; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; c {
		case '"':
			p.i++
			return b.String(), nil
		case '\\':
			p.i++
			if p.i == len(p.s) {
				return "", errQuote
			}
			b.WriteByte(p.s[p.i])
		default:
			b.WriteByte(c)
		}
	}
	return "", errQuote
}

// skip moves over blanks and comments, which nest.
func (p *addrParser) skip() error {
	depth := 0
	for ; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; {
		case c == '(':
			depth++
		case depth == 0 && c != ' ' && c != '\t':
			return nil
		case depth == 0:
		case c == ')':
			depth--
		case c == '\\':
			p.i++
		}
	}
	p.i = min(p.i, len(p.s))
	if depth > 0 {
		return errComment
	}
	return nil
}

// isAtext says whether c belongs to an atom. Octets above 127 do; whether they are
// UTF-8 matters only in an address, and is checked there.
func isAtext(c byte) bool {
	switch {
	case c >= 0x80, 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	case c == 0:
		return false
	}
	return strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}
