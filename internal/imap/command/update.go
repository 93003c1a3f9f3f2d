package command

import "rtls/internal/imap/wire"

// Update is UPDATE: the client wants to be told when the result changes (RFC 5267
// section 4.3), and, of messages that come to it, these items (RFC 5465 section 7).
type Update struct{ Items []Item }

// CancelUpdate is CANCELUPDATE; the tags are those of searches.
type CancelUpdate struct{ Tags []string }

func parseCancelUpdate(_ *Parser, l *wire.Lexer) (Command, error) {
	var c CancelUpdate
	for {
		if err := l.SP(); err != nil {
			return nil, err
		}
		tag, err := l.String()
		if err != nil {
			return nil, err
		}
		c.Tags = append(c.Tags, tag)
		if l.AtEnd() {
			return c, nil
		}
	}
}
