package command

import (
	"strings"

	"rtls/internal/imap/wire"
)

// Store is STORE and UID STORE. With Conditional set, messages whose mod-sequence
// is above UnchangedSince are to be left alone (RFC 7162 section 3.1.3).
type Store struct {
	UID            bool
	Set            NumSet
	Op             FlagOp
	Silent         bool
	Flags          []string
	Conditional    bool
	UnchangedSince uint64
}

// FlagOp says what STORE does.
type FlagOp uint8

const (
	Replace FlagOp = iota
	Add
	Remove
)

func (op FlagOp) String() string { return [...]string{"", "+", "-"}[op] }

// Copy is COPY, MOVE and their UID forms.
type Copy struct {
	UID     bool
	Move    bool
	Set     NumSet
	Mailbox string
}

// Expunge is EXPUNGE, or UID EXPUNGE with UIDs set.
type Expunge struct{ UIDs *NumSet }

func parseStore(uid bool) func(*Parser, *wire.Lexer) (Command, error) {
	return func(_ *Parser, l *wire.Lexer) (Command, error) {
		c := Store{UID: uid}
		if err := spaced(l, func() (err error) {
			c.Set, err = numSet(l)
			return err
		}); err != nil {
			return nil, err
		}
		if err := l.SP(); err != nil {
			return nil, err
		}
		if l.Peek() == '(' {
			if err := c.modifiers(l); err != nil {
				return nil, err
			}
			if err := l.SP(); err != nil {
				return nil, err
			}
		}
		if l.Accept('+') {
			c.Op = Add
		} else if l.Accept('-') {
			c.Op = Remove
		}
		word, err := l.Atom()
		if err != nil {
			return nil, err
		}
		switch strings.ToUpper(word) {
		case "FLAGS":
		case "FLAGS.SILENT":
			c.Silent = true
		default:
			return nil, wire.Syntaxf("%s cannot be stored", word)
		}
		return c, spaced(l, func() (err error) {
			c.Flags, err = storeFlags(l)
			return err
		})
	}
}

func (c *Store) modifiers(l *wire.Lexer) error {
	return l.List(func() error {
		word, err := l.Atom()
		if err != nil {
			return err
		}
		if !strings.EqualFold(word, "UNCHANGEDSINCE") {
			return wire.Syntaxf("unknown modifier %s", word)
		}
		c.Conditional = true
		return spaced(l, func() (err error) {
			c.UnchangedSince, err = l.Number64()
			return err
		})
	})
}

// storeFlags reads flags with or without parentheses around them.
func storeFlags(l *wire.Lexer) ([]string, error) {
	if l.Peek() == '(' {
		return flagList(l)
	}
	var flags []string
	for {
		f, err := flag(l)
		if err != nil {
			return nil, err
		}
		flags = append(flags, f)
		if !l.Accept(' ') {
			return flags, nil
		}
	}
}

func flagList(l *wire.Lexer) ([]string, error) {
	flags := []string{}
	err := l.List(func() error {
		f, err := flag(l)
		flags = append(flags, f)
		return err
	})
	return flags, err
}

const maxKeyword = 100

// flag reads a flag that a client may set. System flags get their usual
// spelling; \Recent and \* are the server's (RFC 3501 section 9, "flag").
func flag(l *wire.Lexer) (string, error) {
	f, err := l.Flag()
	if err != nil || f[0] != '\\' {
		if err == nil && len(f) > maxKeyword {
			err = wire.Syntaxf("a keyword has at most %d octets", maxKeyword)
		}
		return f, err
	}
	for _, known := range []string{`\Answered`, `\Deleted`, `\Draft`, `\Flagged`, `\Seen`} {
		if strings.EqualFold(f, known) {
			return known, nil
		}
	}
	return "", wire.Syntaxf("%s cannot be set", f)
}

func parseCopy(uid, move bool) func(*Parser, *wire.Lexer) (Command, error) {
	return func(p *Parser, l *wire.Lexer) (Command, error) {
		c := Copy{UID: uid, Move: move}
		err := spaced(l, func() (err error) {
			c.Set, err = numSet(l)
			return err
		}, p.into(l, &c.Mailbox))
		return c, err
	}
}

func parseExpunge(uid bool) func(*Parser, *wire.Lexer) (Command, error) {
	return func(_ *Parser, l *wire.Lexer) (Command, error) {
		if !uid {
			return Expunge{}, nil
		}
		var set NumSet
		err := spaced(l, func() (err error) {
			set, err = numSet(l)
			return err
		})
		return Expunge{UIDs: &set}, err
	}
}
