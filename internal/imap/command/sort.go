package command

import "rtls/internal/imap/wire"

// Sort is SORT and UID SORT (RFC 5256): a search, and the order of its result.
type Sort struct {
	Search
	Criteria []Criterion // at least one
}

// Criterion is what messages are sorted by where those before it do not decide.
type Criterion struct {
	By      SortBy
	Reverse bool
}

// SortBy is a key to sort by (RFC 5256 section 3, RFC 5957).
type SortBy uint8

const (
	ByArrival SortBy = iota // the internal date
	ByCc
	ByDate // when it was sent
	ByFrom
	BySize
	BySubject
	ByTo
	ByDisplayFrom
	ByDisplayTo
)

var sortNames = [...]string{"ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO", "DISPLAYFROM", "DISPLAYTO"}

func (k SortBy) String() string { return sortNames[k] }

// maxCriteria is more than there are keys: a client may name one twice.
const maxCriteria = 20

func parseSort(uid bool) func(*Parser, *wire.Lexer) (Command, error) {
	return func(p *Parser, l *wire.Lexer) (Command, error) {
		c := Sort{Search: Search{UID: uid}}
		if err := l.SP(); err != nil {
			return nil, err
		}
		s := searchParser{l: l, uids: p.UIDOnly}
		if l.Peek() != '(' {
			if err := s.sortReturn(&c); err != nil {
				return nil, err
			}
		}
		if err := c.criteria(l); err != nil {
			return nil, err
		}
		err := s.withCharset(&c.Search)
		return c, err
	}
}

// sortReturn reads RETURN and its options (RFC 5267 section 3).
func (s *searchParser) sortReturn(c *Sort) error {
	word, err := s.l.Word("")
	if err == nil && word != "RETURN" {
		err = wire.Syntaxf("expected RETURN or sort criteria, found %s", word)
	}
	if err != nil {
		return err
	}
	c.Return = &Return{}
	if err := spaced(s.l, func() error { return s.results(c.Return) }); err != nil {
		return err
	}
	return s.l.SP()
}

func (c *Sort) criteria(l *wire.Lexer) error {
	reverse := false
	err := l.List(func() error {
		word, err := l.Word("")
		if err != nil {
			return err
		}
		if word == "REVERSE" && !reverse {
			reverse = true
			return nil
		}
		for k, name := range sortNames {
			if word == name && len(c.Criteria) < maxCriteria {
				c.Criteria = append(c.Criteria, Criterion{SortBy(k), reverse})
				reverse = false
				return nil
			}
		}
		return wire.Syntaxf("unknown sort key %s, or too many", word)
	})
	if err == nil && (reverse || len(c.Criteria) == 0) {
		err = wire.Syntaxf("expected a sort key")
	}
	return err
}

// withCharset reads the charset and the keys of a search whose charset is not
// optional.
func (s *searchParser) withCharset(c *Search) error {
	return spaced(s.l, func() (err error) {
		c.Charset, err = s.charset()
		return err
	}, func() (err error) {
		c.Key, err = s.all("")
		return err
	})
}
