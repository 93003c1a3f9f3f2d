package command

import (
	"fmt"

	"rtls/internal/imap/wire"
)

// Partial asks for a page of a result: those from First to Last, which are counted
// from 1 on, or with FromEnd from the last one backwards (RFC 9394). The two can be in
// either order. Zero asks for no page.
type Partial struct {
	First, Last uint32
	FromEnd     bool
}

func (p Partial) String() string {
	if p.FromEnd {
		return fmt.Sprintf("-%d:-%d", p.First, p.Last)
	}
	return fmt.Sprintf("%d:%d", p.First, p.Last)
}

// Of returns the page of n results as the first of them, counted from 0 on, and the
// first behind it.
func (p Partial) Of(n int) (from, to int) {
	low, high := int64(min(p.First, p.Last)), int64(max(p.First, p.Last))
	all := int64(n)
	if p.FromEnd {
		low, high = all-high+1, all-low+1
	}
	from, to = int(min(max(low-1, 0), all)), int(min(max(high, 0), all))
	return from, max(from, to)
}

// read reads a space and a page. There can be one in a command.
func (p *Partial) read(l *wire.Lexer) error {
	if *p != (Partial{}) {
		return wire.Syntaxf("PARTIAL can be there once")
	}
	if err := l.SP(); err != nil {
		return err
	}
	p.FromEnd = l.Accept('-')
	var err error
	if p.First, err = l.Number(); err != nil {
		return err
	}
	if err := l.Expect(':'); err != nil {
		return err
	}
	if p.FromEnd {
		if err := l.Expect('-'); err != nil {
			return err
		}
	}
	if p.Last, err = l.Number(); err != nil {
		return err
	}
	if p.First == 0 || p.Last == 0 {
		return wire.Syntaxf("PARTIAL takes numbers above 0")
	}
	return nil
}
