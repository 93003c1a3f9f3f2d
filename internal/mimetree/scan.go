package mimetree

import "strings"

// scanner reads the lexical elements that structured fields share (RFC 5322 section
// 3.2, RFC 2045 section 5.1), and takes what it gets for what it most likely is.
type scanner struct {
	text string
	at   int
}

func (s *scanner) more() bool { return s.at < len(s.text) }

// peek returns the next octet, 0 at the end: there is no NUL in the text.
func (s *scanner) peek() byte {
	if !s.more() {
		return 0
	}
	return s.text[s.at]
}

// accept passes over the octet c if it is the next.
func (s *scanner) accept(c byte) bool {
	if s.peek() != c || !s.more() {
		return false
	}
	s.at++
	return true
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// skip passes over white space and comments. It returns the text of the last
// comment and whether there was anything.
func (s *scanner) skip() (comment string, skipped bool) {
	start := s.at
	for s.more() {
		switch c := s.peek(); {
		case blank(c):
			s.at++
		case c == '(':
			comment = s.comment()
		default:
			return comment, s.at > start
		}
	}
	return comment, s.at > start
}

// comment reads a comment and those in it. Its parentheses are taken off, those in
// it are kept.
func (s *scanner) comment() string {
	var b strings.Builder
	depth := 0
	for s.more() {
		c := s.text[s.at]
		s.at++
		switch c {
		case '(':
			depth++
			if depth == 1 {
				continue
			}
		case ')':
			depth--
			if depth == 0 {
				return strings.Trim(b.String(), " \t")
			}
		case '\\':
			if s.more() {
				c = s.text[s.at]
				s.at++
			}
		}
		b.WriteByte(c)
	}
	return strings.Trim(b.String(), " \t")
}

// quoted reads a quoted string whose opening quote is next, and takes the quoting
// off. Without a closing quote it ends with the text.
func (s *scanner) quoted() string {
	s.at++
	rest := s.text[s.at:]
	if end := strings.IndexAny(rest, `"\`); end >= 0 && rest[end] == '"' {
		s.at += end + 1
		return rest[:end]
	}
	var b strings.Builder
	for s.more() {
		c := s.text[s.at]
		s.at++
		if c == '"' {
			break
		}
		if c == '\\' && s.more() {
			c = s.text[s.at]
			s.at++
		}
		b.WriteByte(c)
	}
	return b.String()
}

// until reads up to white space or one of the octets in stops.
func (s *scanner) until(stops string) string {
	start := s.at
	for s.more() && !blank(s.peek()) && strings.IndexByte(stops, s.peek()) < 0 {
		s.at++
	}
	return s.text[start:s.at]
}

// word reads a quoted string, or up to white space or one of stops.
func (s *scanner) word(stops string) string {
	if s.peek() == '"' {
		return s.quoted()
	}
	return s.until(stops)
}
