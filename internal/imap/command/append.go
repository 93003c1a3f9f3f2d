package command

import (
	"strings"
	"time"

	"rtls/internal/imap/wire"
)

// Append is APPEND (RFC 9051, RFC 3502). Its messages are read one after the
// other: First is announced, NextMessage finds the others.
type Append struct {
	Mailbox string
	First   Message
}

// Message is a message that is about to follow as a literal.
type Message struct {
	Flags   []string
	Date    time.Time // zero if there is none
	Literal wire.Literal
	UTF8    bool // inside "UTF8 (...)" (RFC 6855 section 4)
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

// NextMessage goes on after the literal of a message has been read and closed. It
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
	if c := l.Peek(); c == 'U' || c == 'u' {
		word, err := l.Atom()
		if err == nil && !strings.EqualFold(word, "UTF8") {
			err = wire.Syntaxf("unknown kind of data %s", word)
		}
		if err != nil {
			return m, err
		}
		m.UTF8 = true
		if err := spaced(l, func() error { return l.Expect('(') }); err != nil {
			return m, err
		}
		if l.Peek() != '~' {
			return m, wire.Syntaxf("UTF8 takes a literal8")
		}
	}
	m.Literal, err = l.Announced()
	return m, err
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
