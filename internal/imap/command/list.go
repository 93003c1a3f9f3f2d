package command

import (
	"strings"

	"rtls/internal/imap/wire"
)

func parseLSub(p *Parser, l *wire.Lexer) (Command, error) {
	c := List{LSub: true, Subscribed: true}
	err := spaced(l, p.into(l, &c.Reference), func() error { return p.patterns(l, &c, false) })
	return c, err
}

func parseList(p *Parser, l *wire.Lexer) (Command, error) {
	var c List
	if err := l.SP(); err != nil {
		return nil, err
	}
	if l.Peek() == '(' {
		c.Extended = true
		if err := l.List(func() error { return selectOption(l, &c) }); err != nil {
			return nil, err
		}
		if c.RecursiveMatch && !c.Subscribed && !c.SpecialUse {
			return nil, wire.Syntaxf("RECURSIVEMATCH needs another selection option")
		}
		if err := l.SP(); err != nil {
			return nil, err
		}
	}
	var err error
	if c.Reference, err = p.mailbox(l); err != nil {
		return nil, err
	}
	if err := spaced(l, func() error { return p.patterns(l, &c, true) }); err != nil {
		return nil, err
	}
	if !l.Accept(' ') {
		return c, nil
	}
	c.Extended = true
	word, err := l.Atom()
	if err == nil && !strings.EqualFold(word, "RETURN") {
		err = wire.Syntaxf("expected RETURN, found %s", word)
	}
	if err != nil {
		return nil, err
	}
	return c, spaced(l, func() error {
		return l.List(func() error { return returnOption(l, &c) })
	})
}

const maxPatterns = 100

// patterns reads one pattern, or several in parentheses. The empty pattern is a
// question of its own, but only where it stands alone.
func (p *Parser) patterns(l *wire.Lexer, c *List, several bool) error {
	one := func() error {
		s, err := l.Pattern()
		if err != nil {
			return err
		}
		if s, err = p.name(s); err != nil {
			return err
		}
		if len(c.Patterns) == maxPatterns {
			return wire.Syntaxf("more than %d patterns", maxPatterns)
		}
		if s != "" || c.Extended {
			c.Patterns = append(c.Patterns, s)
		}
		return nil
	}
	if !several || l.Peek() != '(' {
		return one()
	}
	c.Extended = true
	if err := l.List(one); err != nil {
		return err
	}
	if len(c.Patterns) == 0 {
		return wire.Syntaxf("LIST without a pattern")
	}
	return nil
}

func selectOption(l *wire.Lexer, c *List) error {
	word, err := l.Atom()
	if err != nil {
		return err
	}
	switch strings.ToUpper(word) {
	case "SUBSCRIBED":
		c.Subscribed = true
	case "REMOTE": // there are none
	case "RECURSIVEMATCH":
		c.RecursiveMatch = true
	case "SPECIAL-USE":
		c.SpecialUse = true
	default:
		return wire.Syntaxf("unknown selection option %s", word)
	}
	return nil
}

func returnOption(l *wire.Lexer, c *List) error {
	word, err := l.Atom()
	if err != nil {
		return err
	}
	switch strings.ToUpper(word) {
	case "SUBSCRIBED":
		c.ReturnSubscribed = true
	case "CHILDREN":
		c.ReturnChildren = true
	case "SPECIAL-USE":
		c.ReturnSpecialUse = true
	case "STATUS":
		return spaced(l, func() (err error) {
			c.ReturnStatus, err = statusItems(l)
			return err
		})
	case "METADATA": // RFC 9590
		c.ReturnMetadata = &EntryQuery{}
		return spaced(l, func() error { return c.ReturnMetadata.entries(l) })
	default:
		return wire.Syntaxf("unknown return option %s", word)
	}
	return nil
}
