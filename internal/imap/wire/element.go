package wire

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Tag reads a command's tag. Without one there is nothing to put before a
// tagged reply.
func (l *Lexer) Tag() (string, error) {
	tag := l.while(isTagChar)
	if tag == "" || !l.AtEnd() && l.Peek() != ' ' {
		l.pos = 0 // whatever it is, it may still announce a literal
		return "", Syntaxf("no tag")
	}
	if l.tooLong {
		return tag, Syntaxf("command line is longer than %d octets", l.limits.Line)
	}
	return tag, nil
}

func (l *Lexer) while(accept func(byte) bool) string {
	start := l.pos
	for l.pos < len(l.line) && accept(l.line[l.pos]) {
		l.pos++
	}
	return string(l.line[start:l.pos])
}

// Peek returns the next octet, or 0 at the end of the line. An octet 0 in a line
// is no part of anything and is rejected by whatever reads it.
func (l *Lexer) Peek() byte {
	if l.pos < len(l.line) {
		return l.line[l.pos]
	}
	return 0
}

// AheadIs reports whether what follows the next octet is one of some octets.
func (l *Lexer) AheadIs(any string) bool {
	return l.pos+1 < len(l.line) && strings.IndexByte(any, l.line[l.pos+1]) >= 0
}

// Accept steps over c if it comes next.
func (l *Lexer) Accept(c byte) bool {
	if l.pos < len(l.line) && l.line[l.pos] == c {
		l.pos++
		return true
	}
	return false
}

// AcceptBefore steps over c if it comes next and has next behind it.
func (l *Lexer) AcceptBefore(c, next byte) bool {
	if l.pos+1 < len(l.line) && l.line[l.pos] == c && l.line[l.pos+1] == next {
		l.pos++
		return true
	}
	return false
}

// AcceptWord steps over a text if it comes next, in any case.
func (l *Lexer) AcceptWord(s string) bool {
	rest := l.line[l.pos:]
	if len(rest) < len(s) || !strings.EqualFold(string(rest[:len(s)]), s) {
		return false
	}
	l.pos += len(s)
	return true
}

// Expect steps over c, which has to come next.
func (l *Lexer) Expect(c byte) error {
	if l.Accept(c) {
		return nil
	}
	return l.unexpected("%q", c)
}

// SP steps over the one space that has to come next.
func (l *Lexer) SP() error { return l.Expect(' ') }

// End fails unless the command ends here.
func (l *Lexer) End() error {
	if l.pos == len(l.line) {
		return nil
	}
	return l.unexpected("the end of the command")
}

// AtEnd reports whether the line ends here.
func (l *Lexer) AtEnd() bool { return l.pos == len(l.line) }

func (l *Lexer) unexpected(format string, args ...any) error {
	found := "the end of the command"
	if l.pos < len(l.line) {
		found = strconv.QuoteToASCII(string(l.line[l.pos:min(len(l.line), l.pos+16)]))
	}
	return Syntaxf("expected "+format+", found %s", append(args, found)...)
}

// Atom reads an atom.
func (l *Lexer) Atom() (string, error) {
	if s := l.while(isAtomChar); s != "" {
		return s, nil
	}
	return "", l.unexpected("an atom")
}

// Word reads letters, digits and the characters in extra: a keyword of the
// grammar that something other than a space may follow.
func (l *Lexer) Word(extra string) (string, error) {
	s := l.while(func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(extra, c) >= 0
	})
	if s == "" {
		return "", l.unexpected("a keyword")
	}
	return strings.ToUpper(s), nil
}

// Flag reads a flag or keyword, "\" included. Case is kept.
func (l *Lexer) Flag() (string, error) {
	prefix := ""
	if l.Accept('\\') {
		prefix = `\`
	}
	s, err := l.Atom()
	if err != nil {
		return "", l.unexpected("a flag")
	}
	return prefix + s, nil
}

// List reads a parenthesised list, calling item for each element. It may be
// empty.
func (l *Lexer) List(item func() error) error {
	if err := l.Expect('('); err != nil {
		return err
	}
	if l.Accept(')') {
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if l.Accept(')') {
			return nil
		}
		if err := l.SP(); err != nil {
			return err
		}
	}
}

// AString reads an atom-like word or a string.
func (l *Lexer) AString() (string, error) {
	if s := l.while(isAStringChar); s != "" {
		return s, nil
	}
	return l.String()
}

// Pattern reads a mailbox pattern of LIST.
func (l *Lexer) Pattern() (string, error) {
	if s := l.while(isListChar); s != "" {
		return s, nil
	}
	return l.String()
}

// NString reads a string or NIL.
func (l *Lexer) NString() (s string, isNil bool, err error) {
	if c := l.Peek(); c == 'n' || c == 'N' {
		word, err := l.Atom()
		if err == nil && !strings.EqualFold(word, "NIL") {
			err = Syntaxf("expected a string or NIL, found %q", word)
		}
		return "", true, err
	}
	s, err = l.String()
	return s, false, err
}

// String reads a quoted string or a literal, which is held in memory.
func (l *Lexer) String() (string, error) {
	switch l.Peek() {
	case '"':
		return l.quoted()
	case '{', '~':
		return l.heldLiteral()
	}
	return "", l.unexpected("a string")
}

func (l *Lexer) quoted() (string, error) {
	start := l.pos
	l.pos++
	var b strings.Builder
	for ; l.pos < len(l.line); l.pos++ {
		c := l.line[l.pos]
		switch {
		case c == '"':
			l.pos++
			s := b.String()
			if !utf8.ValidString(s) {
				return "", Syntaxf("a quoted string is not UTF-8")
			}
			return s, nil
		case c == '\\':
			l.pos++
			if e := l.Peek(); e != '"' && e != '\\' {
				return "", Syntaxf("a quoted string escapes something other than a quote or a backslash")
			}
			c = l.line[l.pos]
		case c == 0 || c == '\r':
			return "", Syntaxf("a quoted string holds NUL or CR")
		}
		b.WriteByte(c)
	}
	l.pos = start
	return "", Syntaxf("a quoted string does not end")
}

// Number reads an unsigned 32-bit number.
func (l *Lexer) Number() (uint32, error) {
	n, err := l.digits(32)
	return uint32(n), err
}

// Number64 reads an unsigned 63-bit number (RFC 9051 section 9, number64).
func (l *Lexer) Number64() (uint64, error) { return l.digits(63) }

func (l *Lexer) digits(bits int) (uint64, error) {
	s := l.while(func(c byte) bool { return c >= '0' && c <= '9' })
	if s == "" {
		return 0, l.unexpected("a number")
	}
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		return 0, Syntaxf("number %.24s is too large", s)
	}
	return n, nil
}

// Set reads a set of sequence numbers or UIDs.
func (l *Lexer) Set() (Set, error) {
	var set Set
	for {
		r, err := l.setRange()
		if err != nil {
			return nil, err
		}
		set = append(set, r)
		if !l.Accept(',') {
			return set, nil
		}
	}
}

func (l *Lexer) setRange() (Range, error) {
	lo, err := l.setNumber()
	if err != nil || !l.Accept(':') {
		return Range{lo, lo}, err
	}
	hi, err := l.setNumber()
	return Range{lo, hi}, err
}

func (l *Lexer) setNumber() (uint32, error) {
	if l.Accept('*') {
		return 0, nil
	}
	n, err := l.Number()
	if err == nil && n == 0 {
		err = Syntaxf("0 is not a message number")
	}
	return n, err
}

// Base64 reads a base64 text, or "=" for the empty one (RFC 4959), undecoded.
func (l *Lexer) Base64() (string, error) {
	s := l.while(func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '='
	})
	if s == "" {
		return "", l.unexpected("base64")
	}
	return s, nil
}
