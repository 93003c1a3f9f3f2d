package command

import (
	"slices"
	"strings"
	"unicode/utf8"

	"rtls/internal/imap/wire"
)

// Select is SELECT, or EXAMINE with ReadOnly set.
type Select struct {
	Mailbox   string
	ReadOnly  bool
	CondStore bool
	QResync   *QResync
}

// QResync is what a client knows of a mailbox (RFC 7162 section 3.2.5). Known is
// nil if the client did not say; SeqMatch and UIDMatch go together.
type QResync struct {
	UIDValidity        uint32
	ModSeq             uint64
	Known              wire.Set
	SeqMatch, UIDMatch wire.Set
}

// Create is CREATE. Uses are special-use attributes (RFC 6154), without the
// backslash and as the client wrote them.
type Create struct {
	Mailbox string
	Uses    []string
}

// Delete is DELETE.
type Delete struct{ Mailbox string }

// Rename is RENAME.
type Rename struct{ From, To string }

// Subscribe is SUBSCRIBE, or UNSUBSCRIBE with On not set.
type Subscribe struct {
	Mailbox string
	On      bool
}

// Status is STATUS; the items are in upper case and known.
type Status struct {
	Mailbox string
	Items   []string
}

// List is LIST (RFC 5258, RFC 9051), or LSUB. Patterns is empty for the question
// which delimiter there is.
type List struct {
	LSub      bool
	Extended  bool // has selection options, return options or several patterns
	Reference string
	Patterns  []string

	Subscribed, RecursiveMatch, SpecialUse             bool // selection
	ReturnSubscribed, ReturnChildren, ReturnSpecialUse bool
	ReturnStatus                                       []string
	ReturnMetadata                                     *EntryQuery // nil if it is not asked for
}

const maxMailboxName = 1024

// mailbox reads a mailbox name. INBOX is the same in any case, and so is what
// lies below it.
func (p *Parser) mailbox(l *wire.Lexer) (string, error) {
	s, err := l.AString()
	if err != nil {
		return "", err
	}
	return p.name(s)
}

func (p *Parser) name(s string) (string, error) {
	if len(s) > maxMailboxName {
		return "", wire.Syntaxf("mailbox name is too long")
	}
	if !p.UTF8 {
		var err error
		if s, err = wire.DecodeUTF7(s); err != nil {
			return "", err
		}
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }) {
		return "", wire.Syntaxf("mailbox name holds a control character or is not UTF-8")
	}
	const inbox = "INBOX"
	if len(s) >= len(inbox) && strings.EqualFold(s[:len(inbox)], inbox) && (len(s) == len(inbox) || s[len(inbox)] == '/') {
		s = inbox + s[len(inbox):]
	}
	return s, nil
}

func (p *Parser) into(l *wire.Lexer, name *string) func() error {
	return func() (err error) {
		*name, err = p.mailbox(l)
		return err
	}
}

func parseSelect(readOnly bool) func(*Parser, *wire.Lexer) (Command, error) {
	return func(p *Parser, l *wire.Lexer) (Command, error) {
		c := Select{ReadOnly: readOnly}
		if err := spaced(l, p.into(l, &c.Mailbox)); err != nil {
			return nil, err
		}
		if !l.Accept(' ') {
			return c, nil
		}
		err := l.List(func() error {
			word, err := l.Atom()
			if err != nil {
				return err
			}
			switch strings.ToUpper(word) {
			case "CONDSTORE":
				c.CondStore = true
				return nil
			case "QRESYNC":
				c.CondStore = true
				return spaced(l, func() (err error) {
					c.QResync, err = parseQResync(l)
					if err == nil && p.UIDOnly && c.QResync.SeqMatch != nil {
						err = errUIDRequired
					}
					return err
				})
			}
			return wire.Syntaxf("unknown parameter %s", word)
		})
		return c, err
	}
}

func parseQResync(l *wire.Lexer) (q *QResync, err error) {
	if err := l.Expect('('); err != nil {
		return nil, err
	}
	q = &QResync{}
	if q.UIDValidity, err = l.Number(); err != nil {
		return nil, err
	}
	if err := spaced(l, func() (err error) {
		q.ModSeq, err = l.Number64()
		return err
	}); err != nil {
		return nil, err
	}
	if q.UIDValidity == 0 || q.ModSeq == 0 {
		return nil, wire.Syntaxf("QRESYNC takes numbers above 0")
	}
	if l.Accept(' ') {
		if err := q.known(l); err != nil {
			return nil, err
		}
	}
	return q, l.Expect(')')
}

// known reads the optional sets: those the client knows, and pairs of sequence
// numbers and UIDs.
func (q *QResync) known(l *wire.Lexer) (err error) {
	if l.Peek() != '(' {
		if q.Known, err = plainSet(l); err != nil {
			return err
		}
		if !l.Accept(' ') {
			return nil
		}
	}
	if err := l.Expect('('); err != nil {
		return err
	}
	if q.SeqMatch, err = plainSet(l); err != nil {
		return err
	}
	if err := spaced(l, func() (err error) {
		q.UIDMatch, err = plainSet(l)
		return err
	}); err != nil {
		return err
	}
	return l.Expect(')')
}

// plainSet reads a set in which "*" is not allowed.
func plainSet(l *wire.Lexer) (wire.Set, error) {
	set, err := l.Set()
	if err == nil && set.HasStar() {
		err = wire.Syntaxf("* is not allowed here")
	}
	return set, err
}

func parseCreate(p *Parser, l *wire.Lexer) (Command, error) {
	var c Create
	if err := spaced(l, p.into(l, &c.Mailbox)); err != nil {
		return nil, err
	}
	if !l.Accept(' ') {
		return c, nil
	}
	err := l.List(func() error {
		word, err := l.Atom()
		if err != nil {
			return err
		}
		if !strings.EqualFold(word, "USE") {
			return wire.Syntaxf("unknown parameter %s", word)
		}
		return spaced(l, func() error {
			return l.List(func() error {
				flag, err := l.Flag()
				if err == nil && flag[0] != '\\' {
					err = wire.Syntaxf("%s is not a special use", flag)
				}
				if err == nil {
					c.Uses = append(c.Uses, flag[1:])
				}
				return err
			})
		})
	})
	return c, err
}

func parseDelete(p *Parser, l *wire.Lexer) (Command, error) {
	var c Delete
	err := spaced(l, p.into(l, &c.Mailbox))
	return c, err
}

func parseRename(p *Parser, l *wire.Lexer) (Command, error) {
	var c Rename
	err := spaced(l, p.into(l, &c.From), p.into(l, &c.To))
	return c, err
}

func parseSubscribe(on bool) func(*Parser, *wire.Lexer) (Command, error) {
	return func(p *Parser, l *wire.Lexer) (Command, error) {
		c := Subscribe{On: on}
		err := spaced(l, p.into(l, &c.Mailbox))
		return c, err
	}
}

func parseStatus(p *Parser, l *wire.Lexer) (Command, error) {
	var c Status
	err := spaced(l, p.into(l, &c.Mailbox), func() (err error) {
		c.Items, err = statusItems(l)
		return err
	})
	return c, err
}

func statusItems(l *wire.Lexer) ([]string, error) {
	var items []string
	err := l.List(func() error {
		item, err := l.Atom()
		if err != nil {
			return err
		}
		item = strings.ToUpper(item)
		switch item {
		case "MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "DELETED", "DELETED-STORAGE", "SIZE", "HIGHESTMODSEQ", "APPENDLIMIT", "MAILBOXID":
		default:
			return wire.Syntaxf("unknown status item %s", item)
		}
		if !slices.Contains(items, item) { // a second one asks for nothing more
			items = append(items, item)
		}
		return nil
	})
	if err == nil && len(items) == 0 {
		err = wire.Syntaxf("STATUS without items")
	}
	return items, err
}
