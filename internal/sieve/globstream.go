package sieve

import "strings"

// globStream matches a glob with a text that comes in pieces, in memory that
// depends on the pattern and the pieces and not on the text.
type globStream struct {
	glob    glob
	work    *budget
	segment int    // the next that is to be found
	held    string // the end of what was fed, as far as it may belong to it
	failed  bool
}

// feed takes the next piece.
func (g *globStream) feed(piece string) {
	if g.failed {
		return
	}
	g.work.spend(len(piece) / 8)
	rest := g.advance(g.held + piece)
	g.held = strings.Clone(rest) // it is short, and the piece need not stay
}

// advance finds segments in text. It returns what later pieces have to be seen
// together with.
func (g *globStream) advance(text string) string {
	last := len(g.glob) - 1
	for g.segment <= last {
		s := &g.glob[g.segment]
		switch {
		case g.segment == 0:
			if len(text) < len(s.text) {
				return text
			}
			if !s.at(text, g.work) {
				g.failed = true
				return ""
			}
			text = text[len(s.text):]
		case g.segment == last:
			return text[max(0, len(text)-len(s.text)):]
		default:
			n := s.find(text, g.work)
			if n < 0 {
				return text[max(0, min(len(text), len(text)-len(s.text)+1)):]
			}
			text = text[n+len(s.text):]
		}
		g.segment++
	}
	g.failed = text != "" // there is no star, and the text goes on
	return ""
}

// settled says whether nothing that may follow changes the result.
func (g *globStream) settled() bool {
	last := len(g.glob) - 1
	return g.failed || g.segment == last && last > 0 && g.glob[last].text == ""
}

// end says, when all has been fed, whether it is a match.
func (g *globStream) end() bool {
	switch last := len(g.glob) - 1; {
	case g.failed, *g.work < 0:
		return false
	case last == 0 && g.segment == 0:
		return len(g.glob[0].text) == 0
	case last == 0:
		return true
	case g.segment < last:
		return g.ends(last)
	default:
		return g.glob[last].at(g.held, g.work)
	}
}

// ends matches what is left when less than the next segment was fed last.
func (g *globStream) ends(last int) bool {
	for ; g.segment < last; g.segment++ {
		if s := &g.glob[g.segment]; s.text != "" {
			return false
		}
	}
	return g.glob[last].at(g.held, g.work)
}
