package command

import (
	"strings"

	"rtls/internal/imap/wire"
)

// Filter says which mailboxes are meant (RFC 5465 section 6, RFC 7377 section 2.2).
type Filter struct {
	Kind  FilterKind
	Names []string // of Subtree, SubtreeOne and Mailboxes
}

// FilterKind is a kind of filter.
type FilterKind uint8

const (
	SelectedNow     FilterKind = iota
	SelectedDelayed            // likewise, but a message is not gone while no command runs; of NOTIFY
	Inboxes
	Personal
	Subscribed
	Subtree    // mailboxes and all below them
	SubtreeOne // mailboxes and those right below them; of ESEARCH
	Mailboxes
)

var filterNames = [...]string{"SELECTED", "SELECTED-DELAYED", "INBOXES", "PERSONAL", "SUBSCRIBED", "SUBTREE", "SUBTREE-ONE", "MAILBOXES"}

func (k FilterKind) String() string { return filterNames[k] }

// maxFilterNames bounds the mailboxes that one command names.
const maxFilterNames = 1000

// filter reads a filter, unless it is of a kind that the command does not have.
// Names counts the mailboxes that the command has named.
func (p *Parser) filter(l *wire.Lexer, without FilterKind, names *int) (f Filter, err error) {
	word, err := l.Word("-")
	if err != nil {
		return f, err
	}
	for f.Kind = SelectedNow; f.Kind <= Mailboxes; f.Kind++ {
		if word == filterNames[f.Kind] && f.Kind != without {
			if f.Kind < Subtree {
				return f, nil
			}
			return f, spaced(l, func() error { return p.filterMailboxes(l, &f, names) })
		}
	}
	return Filter{}, wire.Syntaxf("unknown mailbox filter %s", word)
}

// filterMailboxes reads a mailbox, or several in parentheses.
func (p *Parser) filterMailboxes(l *wire.Lexer, f *Filter, names *int) error {
	one := func() error {
		name, err := p.mailbox(l)
		if *names++; err == nil && *names > maxFilterNames {
			err = wire.Syntaxf("more than %d mailboxes", maxFilterNames)
		}
		f.Names = append(f.Names, name)
		return err
	}
	if l.Peek() != '(' {
		return one()
	}
	err := l.List(one)
	if err == nil && len(f.Names) == 0 {
		err = wire.Syntaxf("expected a mailbox")
	}
	return err
}

// Means reports whether the filter means a mailbox, by its name. Selected, Inboxes
// and Subscribed are another matter.
func (f Filter) Means(name string) bool {
	if f.Kind == Personal {
		return true
	}
	for _, n := range f.Names {
		n = strings.TrimSuffix(n, "/")
		rest, below := strings.CutPrefix(name, n+"/")
		switch {
		case name == n, f.Kind == Subtree && below, f.Kind == SubtreeOne && below && !strings.Contains(rest, "/"):
			return true
		}
	}
	return false
}

// MultiSearch is ESEARCH (RFC 7377). Sources is nil for the selected mailbox. The
// search is one by UID.
type MultiSearch struct {
	Sources []Filter
	Search
}

func parseMultiSearch(p *Parser, l *wire.Lexer) (Command, error) {
	c := MultiSearch{Search: Search{UID: true}}
	if err := l.SP(); err != nil {
		return nil, err
	}
	if l.AcceptWord("IN ") {
		if err := c.sources(p, l); err != nil {
			return nil, err
		}
		if err := l.SP(); err != nil {
			return nil, err
		}
	}
	s := searchParser{l: l, uids: p.UIDOnly}
	word, err := s.prefix(p, &c.Search)
	if err != nil {
		return nil, err
	}
	c.Key, err = s.all(word)
	return c, err
}

func (c *MultiSearch) sources(p *Parser, l *wire.Lexer) error {
	names := 0
	err := l.List(func() error {
		if l.Peek() == '(' {
			return wire.Syntaxf("unknown scope option")
		}
		f, err := p.filter(l, SelectedDelayed, &names)
		if err == nil && len(c.Sources) >= maxFilterNames {
			err = wire.Syntaxf("more than %d filters", maxFilterNames)
		}
		c.Sources = append(c.Sources, f)
		return err
	})
	if err == nil && len(c.Sources) == 0 {
		err = wire.Syntaxf("expected a mailbox filter")
	}
	return err
}
