package command

import (
	"errors"
	"strings"

	"rtls/internal/imap/wire"
)

// GetMetadata is GETMETADATA (RFC 5464 section 4.2). Without a mailbox it asks for
// annotations of the server.
type GetMetadata struct {
	Mailbox string
	EntryQuery
}

// EntryQuery asks for annotations.
type EntryQuery struct {
	Names   []string // as written
	Depth   Depth
	Limited bool   // MAXSIZE was given
	MaxSize uint32 // octets of a value
}

// Depth says how far below the names a query goes.
type Depth uint8

const (
	ThisEntry Depth = iota
	Children
	Descendants
)

var depthNames = [...]string{"0", "1", "infinity"}

func (d Depth) String() string { return depthNames[d] }

// SetMetadata is SETMETADATA (RFC 5464 section 4.3).
type SetMetadata struct {
	Mailbox string
	Entries []EntryValue
	TooBig  bool // a value is too large, and neither it nor what follows was read
}

// EntryValue is a new value of an entry.
type EntryValue struct {
	Name   string
	Value  string
	Remove bool // NIL was written
}

// MaxEntryValue is the size of the largest value that is read, in octets.
const MaxEntryValue = 64 << 10

const (
	maxEntries   = 200 // in a command
	maxEntryName = 1024
)

func parseGetMetadata(p *Parser, l *wire.Lexer) (Command, error) {
	var c GetMetadata
	if err := l.SP(); err != nil {
		return nil, err
	}
	// The options' place is before the mailbox; the examples of the RFC have them
	// behind it.
	if l.Peek() == '(' {
		if err := c.options(l); err != nil {
			return nil, err
		}
		if err := l.SP(); err != nil {
			return nil, err
		}
	}
	var err error
	if c.Mailbox, err = p.mailbox(l); err != nil {
		return nil, err
	}
	if err := l.SP(); err != nil {
		return nil, err
	}
	if err := c.entries(l); err != nil {
		return nil, err
	}
	for l.Accept(' ') { // in examples again
		if err := c.name(l); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// entries reads a name or several in parentheses, with options before them if there
// are any.
func (q *EntryQuery) entries(l *wire.Lexer) error {
	if l.Peek() != '(' {
		return q.name(l)
	}
	if !l.AheadIs("/\"{") {
		if err := q.options(l); err != nil {
			return err
		}
		if err := l.SP(); err != nil {
			return err
		}
		if l.Peek() != '(' {
			return q.name(l)
		}
	}
	err := l.List(func() error { return q.name(l) })
	if err == nil && len(q.Names) == 0 {
		err = wire.Syntaxf("no entries")
	}
	return err
}

func (q *EntryQuery) name(l *wire.Lexer) error {
	name, err := entryName(l)
	if err != nil {
		return err
	}
	if len(q.Names) == maxEntries {
		return wire.Syntaxf("more than %d entries", maxEntries)
	}
	q.Names = append(q.Names, name)
	return nil
}

func (q *EntryQuery) options(l *wire.Lexer) error {
	return l.List(func() error {
		word, err := l.Atom()
		if err != nil {
			return err
		}
		switch strings.ToUpper(word) {
		case "MAXSIZE":
			q.Limited = true
			return spaced(l, func() (err error) {
				q.MaxSize, err = l.Number()
				return err
			})
		case "DEPTH":
			return spaced(l, func() (err error) {
				q.Depth, err = depth(l)
				return err
			})
		}
		return wire.Syntaxf("unknown option %s", word)
	})
}

func depth(l *wire.Lexer) (Depth, error) {
	word, err := l.Atom()
	if err != nil {
		return 0, err
	}
	for d, name := range depthNames {
		if strings.EqualFold(word, name) {
			return Depth(d), nil
		}
	}
	return 0, wire.Syntaxf("DEPTH is 0, 1 or infinity")
}

// entryName reads the name of an entry (RFC 5464 section 3.2).
func entryName(l *wire.Lexer) (string, error) {
	name, err := l.AString()
	if err != nil {
		return "", err
	}
	switch parts := strings.Split(strings.ToLower(name), "/"); {
	case len(name) > maxEntryName:
		return "", wire.Syntaxf("name of an entry is too long")
	case len(parts) < 2 || parts[0] != "" || parts[1] != "private" && parts[1] != "shared":
		return "", wire.Syntaxf("name of an entry starts with /private or /shared")
	case strings.HasSuffix(name, "/") || strings.Contains(name, "//"):
		return "", wire.Syntaxf("name of an entry has an empty part")
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r >= 0x7f || r == '*' || r == '%' }) {
		return "", wire.Syntaxf("name of an entry holds *, %% or what is not printable ASCII")
	}
	return name, nil
}

// isEntry fails for names that others can be below, and that have no value.
func isEntry(name string) error {
	parts := strings.Split(strings.ToLower(name), "/")[1:]
	least := 2
	if len(parts) > 1 && parts[1] == "vendor" {
		least = 4
	}
	if len(parts) < least {
		return wire.Syntaxf("%s cannot have a value: there are too few parts", name)
	}
	return nil
}

// errTooBig ends the reading of a SETMETADATA with a value that is too large.
var errTooBig = errors.New("value is too large")

func parseSetMetadata(p *Parser, l *wire.Lexer) (Command, error) {
	var c SetMetadata
	if err := spaced(l, p.into(l, &c.Mailbox)); err != nil {
		return nil, err
	}
	err := spaced(l, func() error { return l.List(func() error { return c.entry(l) }) })
	switch {
	case errors.Is(err, errTooBig):
		c.TooBig = true
		return c, nil
	case err == nil && len(c.Entries) == 0:
		err = wire.Syntaxf("no entries")
	}
	return c, err
}

func (c *SetMetadata) entry(l *wire.Lexer) (err error) {
	var e EntryValue
	if e.Name, err = entryName(l); err != nil {
		return err
	}
	if err := isEntry(e.Name); err != nil {
		return err
	}
	if err := l.SP(); err != nil {
		return err
	}
	if l.SkipLiteral(MaxEntryValue) {
		return errTooBig
	}
	if e.Value, e.Remove, err = l.NString(); err != nil {
		return err
	}
	if len(c.Entries) == maxEntries {
		return wire.Syntaxf("more than %d entries", maxEntries)
	}
	c.Entries = append(c.Entries, e)
	return nil
}
