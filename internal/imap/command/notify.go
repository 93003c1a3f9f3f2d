package command

import (
	"strings"

	"rtls/internal/imap/wire"
)

// Notify is NOTIFY (RFC 5465). Groups is nil for NOTIFY NONE.
type Notify struct {
	Status bool // the client wants to know where the mailboxes stand now
	Groups []EventGroup

	// Unknown says that there is an event that is none of Events, and nothing else of
	// the command.
	Unknown bool
}

// EventGroup says what the client wants to know of which mailboxes.
type EventGroup struct {
	Filter
	Events Events // 0: nothing
	Fetch  []Item // what is told of new messages, in the selected mailbox
}

// Events is a set of events (RFC 5465 section 5).
type Events uint8

const (
	MessageNew Events = 1 << iota
	MessageExpunge
	FlagChange
	MailboxName
	SubscriptionChange
	MailboxMetadataChange
	ServerMetadataChange

	MessageEvents = MessageNew | MessageExpunge | FlagChange
)

// EventNames are the events, in the order of their bits.
var EventNames = [...]string{"MessageNew", "MessageExpunge", "FlagChange", "MailboxName", "SubscriptionChange", "MailboxMetadataChange", "ServerMetadataChange"}

const maxGroups = 100

func parseNotify(p *Parser, l *wire.Lexer) (Command, error) {
	var c Notify
	if err := l.SP(); err != nil {
		return nil, err
	}
	word, err := l.Atom()
	switch {
	case err != nil:
		return nil, err
	case strings.EqualFold(word, "NONE"):
		return c, nil
	case !strings.EqualFold(word, "SET"):
		return nil, wire.Syntaxf("expected SET or NONE, found %s", word)
	}
	if c.Status = l.AcceptWord(" STATUS"); !c.Status && l.AtEnd() {
		return nil, wire.Syntaxf("NOTIFY SET without events")
	}
	names := 0
	for ok := true; ok; ok = l.Peek() == ' ' {
		if err := l.SP(); err != nil {
			return nil, err
		}
		g, unknown, err := p.eventGroup(l, &names)
		switch {
		case unknown:
			return Notify{Unknown: true}, nil
		case err == nil && len(c.Groups) >= maxGroups:
			err = wire.Syntaxf("more than %d groups", maxGroups)
		}
		if err != nil {
			return nil, err
		}
		c.Groups = append(c.Groups, g)
	}
	return c, c.check()
}

// eventGroup reads a group. Unknown says that it has read no further than to an event
// that is not known.
func (p *Parser) eventGroup(l *wire.Lexer, names *int) (g EventGroup, unknown bool, err error) {
	if err = l.Expect('('); err != nil {
		return g, false, err
	}
	if g.Filter, err = p.filter(l, SubtreeOne, names); err != nil {
		return g, false, err
	}
	if err = l.SP(); err != nil {
		return g, false, err
	}
	if l.Peek() != '(' {
		word, err := l.Word("")
		if err == nil && word != "NONE" {
			err = wire.Syntaxf("expected events or NONE, found %s", word)
		}
		if err != nil {
			return g, false, err
		}
		return g, false, l.Expect(')')
	}
	events := 0
	err = l.List(func() error {
		events++
		unknown, err = g.event(l)
		if unknown {
			err = wire.Syntaxf("unknown event") // ends the list
		}
		return err
	})
	switch {
	case unknown || err != nil:
		return g, unknown, err
	case events == 0:
		return g, false, wire.Syntaxf("expected an event")
	}
	return g, false, l.Expect(')')
}

func (g *EventGroup) event(l *wire.Lexer) (unknown bool, err error) {
	word, err := l.Atom()
	if err != nil {
		return false, err
	}
	for i, name := range EventNames {
		if !strings.EqualFold(word, name) {
			continue
		}
		g.Events |= 1 << i
		if g.Events&MessageNew == 0 || 1<<i != MessageNew || !l.AcceptBefore(' ', '(') {
			return false, nil
		}
		var f Fetch
		err := f.items(l)
		g.Fetch = append(g.Fetch, f.Items...)
		return false, err
	}
	return true, nil
}

// check looks for what must not be in one command (RFC 5465 sections 5 and 6.1).
func (c *Notify) check() error {
	selected := 0
	for _, g := range c.Groups {
		isSelected := g.Kind == SelectedNow || g.Kind == SelectedDelayed
		if isSelected {
			selected++
		}
		switch both := MessageNew | MessageExpunge; {
		case selected > 1:
			return wire.Syntaxf("SELECTED and SELECTED-DELAYED can be there once")
		case isSelected && g.Events&^MessageEvents != 0:
			return wire.Syntaxf("the selected mailbox has events of messages alone")
		case g.Events&MessageEvents != 0 && g.Events&both != both:
			return wire.Syntaxf("MessageNew and MessageExpunge go together, and FlagChange with them")
		case len(g.Fetch) > maxItems:
			return wire.Syntaxf("more than %d items", maxItems)
		}
	}
	return nil
}
