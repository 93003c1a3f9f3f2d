package sieve

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// place is where something stands in a script: line and column from 1, columns
// in characters.
type place struct{ line, col int }

// Error is a fault of a script: found by Parse, or by Run in what the script does.
// What to do about it is said in the text.
type Error struct {
	Line, Col int
	Text      string
}

func (e *Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Col, e.Text) }

func (p place) errorf(format string, args ...any) *Error {
	return &Error{p.line, p.col, fmt.Sprintf(format, args...)}
}

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenIdentifier
	tokenTag
	tokenNumber
	tokenString
	tokenMark // one of [ ] ( ) { } , ;
)

// token is a lexical token (RFC 5228 section 8.1).
type token struct {
	kind   tokenKind
	at     place
	text   string // identifiers and tags in small letters, a tag without its colon
	number int64
}

// describe names a token in an error.
func (t token) describe() string {
	switch t.kind {
	case tokenEnd:
		return "the end of the script"
	case tokenTag:
		return ":" + t.text
	case tokenString:
		return "a string"
	case tokenNumber:
		return "a number"
	}
	return fmt.Sprintf("%q", t.text)
}

type lexer struct {
	src []byte
	off int
	at  place
}

func newLexer(src []byte) *lexer {
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	return &lexer{src: src, at: place{1, 1}}
}

func (l *lexer) more() bool { return l.off < len(l.src) }

// peek returns the next octet, 0 at the end: no NUL is let through.
func (l *lexer) peek() byte {
	if !l.more() {
		return 0
	}
	return l.src[l.off]
}

func (l *lexer) startsWith(s string) bool { return bytes.HasPrefix(l.src[l.off:], []byte(s)) }

func (l *lexer) advance(n int) {
	for _, c := range l.src[l.off : l.off+n] {
		switch {
		case c == '\n':
			l.at = place{l.at.line + 1, 1}
		case utf8.RuneStart(c):
			l.at.col++
		}
	}
	l.off += n
}

// advanceTo passes over everything up to the octet at offset end.
func (l *lexer) advanceTo(end int) { l.advance(end - l.off) }

func (l *lexer) next() (token, error) {
	if err := l.space(); err != nil {
		return token{}, err
	}
	t := token{at: l.at}
	if !l.more() {
		return t, nil
	}
	switch c := l.peek(); {
	case c == '"':
		return l.quoted()
	case c == ':':
		l.advance(1)
		t.kind, t.text = tokenTag, l.word()
		if t.text == "" {
			return t, t.at.errorf("a colon starts a tag such as :contains, but no name follows it")
		}
		return t, nil
	case '0' <= c && c <= '9':
		return l.numeral()
	case isWord(c):
		t.kind, t.text = tokenIdentifier, l.word()
		if t.text == "text" && l.peek() == ':' {
			return l.multiLine(t.at)
		}
		return t, nil
	case strings.IndexByte("[](){},;", c) >= 0:
		l.advance(1)
		t.kind, t.text = tokenMark, string(c)
		return t, nil
	}
	r, _ := utf8.DecodeRune(l.src[l.off:])
	return t, t.at.errorf("%q has no meaning here: texts go in double quotes, comments start with #", r)
}

// space passes over white space and comments.
func (l *lexer) space() error {
	for l.more() {
		switch c := l.peek(); {
		case c == ' ', c == '\t', c == '\r', c == '\n':
			l.advance(1)
		case c == '#':
			l.advanceTo(l.lineEnd())
		case l.startsWith("/*"):
			start := l.at
			end := bytes.Index(l.src[l.off+2:], []byte("*/"))
			if end < 0 {
				return start.errorf("the comment does not end: close it with */")
			}
			l.advance(end + 4)
		case c == 0:
			return l.at.errorf(`NUL is not allowed: in a string write ${hex:00}, with require "encoded-character"`)
		default:
			return nil
		}
	}
	return nil
}

// lineEnd is the offset of the next line feed, or the end.
func (l *lexer) lineEnd() int {
	if i := bytes.IndexByte(l.src[l.off:], '\n'); i >= 0 {
		return l.off + i
	}
	return len(l.src)
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

// word reads an identifier, which may be empty.
func (l *lexer) word() string {
	start := l.off
	end := start
	for end < len(l.src) && isWord(l.src[end]) {
		end++
	}
	if end > start && '0' <= l.src[start] && l.src[start] <= '9' {
		return ""
	}
	l.advanceTo(end)
	return strings.ToLower(string(l.src[start:end]))
}

// numeral reads a number with its quantifier.
func (l *lexer) numeral() (token, error) {
	t := token{kind: tokenNumber, at: l.at}
	end := l.off
	for end < len(l.src) && '0' <= l.src[end] && l.src[end] <= '9' {
		digit := int64(l.src[end] - '0')
		if t.number > (math.MaxInt64-digit)/10 {
			return t, t.at.errorf("the number is too large: the largest is %d", int64(math.MaxInt64))
		}
		t.number = t.number*10 + digit
		end++
	}
	l.advanceTo(end)
	unit := l.word()
	shift := map[string]uint{"": 0, "k": 10, "m": 20, "g": 30}
	bits, ok := shift[unit]
	if !ok {
		return t, t.at.errorf("%q is no unit: a number is followed by K, M, G or nothing", unit)
	}
	if t.number > math.MaxInt64>>bits {
		return t, t.at.errorf("the number is too large: the largest is %d", int64(math.MaxInt64))
	}
	t.number <<= bits
	return t, nil
}

// quoted reads a quoted string.
func (l *lexer) quoted() (token, error) {
	t := token{kind: tokenString, at: l.at}
	var b []byte
	for i := l.off + 1; i < len(l.src); i++ {
		switch c := l.src[i]; c {
		case '"':
			l.advanceTo(i + 1)
			t.text = crlf(b)
			return t, nil
		case 0:
			return t, t.at.errorf(`the string holds a NUL: write ${hex:00}, with require "encoded-character"`)
		case '\\':
			if i+1 < len(l.src) && l.src[i+1] != 0 {
				i++ // of \a only the a counts
			}
		}
		b = append(b, l.src[i])
	}
	return t, t.at.errorf("the string does not end: close it with a double quote")
}

// multiLine reads what stands behind "text", a colon first.
func (l *lexer) multiLine(at place) (token, error) {
	t := token{kind: tokenString, at: at}
	l.advance(1)
	for l.peek() == ' ' || l.peek() == '\t' {
		l.advance(1)
	}
	if l.peek() != '#' && l.peek() != '\n' && !l.startsWith("\r\n") {
		return t, at.errorf("text: has to be the last on its line, but for a # comment: the text starts on the next")
	}
	l.advanceTo(l.lineEnd())
	var b []byte
	for l.more() {
		l.advance(1) // the line feed
		line := l.src[l.off:l.lineEnd()]
		l.advance(len(line))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if string(line) == "." {
			t.text = crlf(b)
			return t, nil
		}
		if bytes.IndexByte(line, 0) >= 0 {
			return t, at.errorf(`the text holds a NUL: write ${hex:00}, with require "encoded-character"`)
		}
		if bytes.HasPrefix(line, []byte("..")) { // dot-stuffing
			line = line[1:]
		}
		b = append(append(b, line...), "\r\n"...)
	}
	return t, at.errorf("the text does not end: close it with a line that holds only a dot")
}

// crlf makes all line ends of a string CRLF, as the messages that it is compared
// with have them: scripts are written with either.
func crlf(b []byte) string {
	if bytes.IndexByte(b, '\n') < 0 {
		return string(b)
	}
	out := make([]byte, 0, len(b)+16)
	for i, c := range b {
		if c == '\n' && (i == 0 || b[i-1] != '\r') {
			out = append(out, '\r')
		}
		out = append(out, c)
	}
	return string(out)
}
