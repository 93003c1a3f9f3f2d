package command

import (
	"strings"
	"time"

	"rtls/internal/imap/wire"
)

// Append is APPEND (RFC 9051, RFC 3502, RFC 4469). Its messages are read one after the
// other: First is announced, NextMessage finds the others.
type Append struct {
	Mailbox string
	First   Message
}

// Message is a message that is about to follow, as a literal or in parts.
type Message struct {
	Flags    []string
	Date     time.Time // zero if there is none
	Literal  wire.Literal
	UTF8     bool // inside "UTF8 (...)" (RFC 6855 section 4)
	Catenate bool // there is no Literal, but parts that NextPart finds (RFC 4469)
}

// Part is a part of a message: a literal that is about to follow, or what a URL
// stands for.
type Part struct {
	URL     string // as written; empty for a literal
	Literal wire.Literal
	UTF8    bool // as in Message
}

// ReplaceMessage is REPLACE and UID REPLACE (RFC 8508): an APPEND of one message that
// takes the place of another.
type ReplaceMessage struct {
	UID bool
	Set NumSet // of one number
	Append
}

func parseReplace(uid bool) func(*Parser, *wire.Lexer) (Command, error) {
	return func(p *Parser, l *wire.Lexer) (Command, error) {
		c := &ReplaceMessage{UID: uid}
		if err := spaced(l, func() (err error) {
			c.Set.Set, err = l.Set()
			return err
		}); err != nil {
			return nil, err
		}
		if set := c.Set.Set; len(set) != 1 || set[0].Lo != set[0].Hi {
			return nil, wire.Syntaxf("REPLACE takes one message number")
		}
		added, err := parseAppend(p, l)
		if err != nil {
			return nil, err
		}
		c.Append = *added.(*Append)
		return c, nil
	}
}

func parseAppend(p *Parser, l *wire.Lexer) (Command, error) {
	c := &Append{}
	if err := spaced(l, p.into(l, &c.Mailbox)); err != nil {
		return nil, err
	}
	if err := l.SP(); err != nil {
		return nil, err
	}
	var err error
	c.First, err = message(l)
	return c, err
}

// NextMessage goes on after the literal of a message has been read and closed, or after
// NextPart has found its end. It
// returns nil at the end of the command.
func (p *Parser) NextMessage(l *wire.Lexer, last Message) (*Message, error) {
	if last.UTF8 {
		if err := l.Expect(')'); err != nil {
			return nil, err
		}
	}
	if l.AtEnd() {
		return nil, nil
	}
	if err := l.SP(); err != nil {
		return nil, err
	}
	m, err := message(l)
	return &m, err
}

func message(l *wire.Lexer) (m Message, err error) {
	if l.Peek() == '(' {
		if m.Flags, err = flagList(l); err != nil {
			return m, err
		}
		if err = l.SP(); err != nil {
			return m, err
		}
	}
	if l.Peek() == '"' {
		if m.Date, err = dateTime(l); err != nil {
			return m, err
		}
		if err = l.SP(); err != nil {
			return m, err
		}
	}
	if c := l.Peek() | 0x20; c < 'a' || c > 'z' {
		m.Literal, err = l.Announced()
		return m, err
	}
	word, err := l.Atom()
	if err != nil {
		return m, err
	}
	switch strings.ToUpper(word) {
	case "UTF8":
		m.UTF8 = true
		m.Literal, err = utf8Literal(l)
	case "CATENATE":
		m.Catenate = true
		err = spaced(l, func() error { return l.Expect('(') })
	default:
		err = wire.Syntaxf("unknown kind of data %s", word)
	}
	return m, err
}

// utf8Literal reads a space and the announcement of a literal in parentheses (RFC
// 6855 section 4).
func utf8Literal(l *wire.Lexer) (lit wire.Literal, err error) {
	if err := spaced(l, func() error { return l.Expect('(') }); err != nil {
		return lit, err
	}
	if l.Peek() != '~' {
		return lit, wire.Syntaxf("UTF8 takes a literal8")
	}
	return l.Announced()
}

// NextPart finds the first part of a message, with last nil, or the one behind last,
// whose literal has been read and closed. It returns nil at the end of the message.
func (p *Parser) NextPart(l *wire.Lexer, last *Part) (*Part, error) {
	if last != nil {
		if last.UTF8 {
			if err := l.Expect(')'); err != nil {
				return nil, err
			}
		}
		if l.Accept(')') {
			return nil, nil
		}
		if err := l.SP(); err != nil {
			return nil, err
		}
	}
	word, err := l.Atom()
	if err != nil {
		return nil, err
	}
	part := &Part{}
	switch strings.ToUpper(word) {
	case "TEXT":
		err = spaced(l, func() (err error) {
			part.Literal, err = l.Announced()
			return err
		})
	case "UTF8":
		part.UTF8 = true
		part.Literal, err = utf8Literal(l)
	case "URL":
		err = spaced(l, func() (err error) {
			part.URL, err = l.AString()
			return err
		})
		if err == nil && part.URL == "" {
			err = wire.Syntaxf("a URL is empty")
		}
	default:
		err = wire.Syntaxf("a part is TEXT or URL, not %s", word)
	}
	return part, err
}

// DateTimeLayout is INTERNALDATE's form.
const DateTimeLayout = "_2-Jan-2006 15:04:05 -0700"

func dateTime(l *wire.Lexer) (time.Time, error) {
	s, err := l.String()
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(DateTimeLayout, s)
	if err != nil || len(s) != len(DateTimeLayout) && len(s) != len(DateTimeLayout)-1 {
		return time.Time{}, wire.Syntaxf("date and time are written \"%s\"", DateTimeLayout)
	}
	return t, nil
}
