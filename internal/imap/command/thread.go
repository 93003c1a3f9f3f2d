package command

import (
	"strings"

	"rtls/internal/imap/wire"
)

// Thread is THREAD and UID THREAD (RFC 5256): a search whose result is put together
// to conversations. It has no Return.
type Thread struct {
	Search
	Algorithm ThreadAlgorithm
}

// ThreadAlgorithm says what makes a conversation.
type ThreadAlgorithm uint8

const (
	OrderedSubject ThreadAlgorithm = iota
	References
)

var threadNames = [...]string{"ORDEREDSUBJECT", "REFERENCES"}

func (a ThreadAlgorithm) String() string { return threadNames[a] }

func parseThread(uid bool) func(*Parser, *wire.Lexer) (Command, error) {
	return func(p *Parser, l *wire.Lexer) (Command, error) {
		c := Thread{Search: Search{UID: uid}}
		if err := spaced(l, func() error { return c.algorithm(l) }); err != nil {
			return nil, err
		}
		s := searchParser{l: l, uids: p.UIDOnly}
		err := s.withCharset(&c.Search)
		return c, err
	}
}

func (c *Thread) algorithm(l *wire.Lexer) error {
	word, err := l.Atom()
	if err != nil {
		return err
	}
	for a, name := range threadNames {
		if strings.EqualFold(word, name) {
			c.Algorithm = ThreadAlgorithm(a)
			return nil
		}
	}
	return wire.Syntaxf("unknown algorithm %s", word)
}
