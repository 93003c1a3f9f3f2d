package sieve

// globStream matches a glob with a text that comes in pieces, in memory that
// depends on the pattern and the pieces and not on the text.
type globStream struct {
	glob    glob
	work    *budget
	segment int    // the next that is to be found
	held    []byte // what may still belong to it
	failed  bool
}

// feed takes the next piece.
func (g *globStream) feed(piece string) {
	if g.failed {
		return
	}
	g.held = append(g.held, piece...)
	g.work.spend(len(piece) / 8)
	last := len(g.glob) - 1
	for g.segment <= last {
		s := &g.glob[g.segment]
		switch {
		case g.segment == 0:
			if len(g.held) < len(s.text) {
				return
			}
			if !s.at(string(g.held[:len(s.text)]), g.work) {
				g.failed = true
				return
			}
			g.drop(len(s.text))
		case g.segment == last:
			if extra := len(g.held) - len(s.text); extra > 0 {
				g.drop(extra)
			}
			return
		default:
			n := s.find(string(g.held), g.work)
			if n < 0 {
				if extra := len(g.held) - len(s.text) + 1; extra > 0 {
					g.drop(extra)
				}
				return
			}
			g.drop(n + len(s.text))
		}
		g.segment++
	}
	g.failed = len(g.held) > 0 // there is no star, and the text goes on
}

func (g *globStream) drop(n int) { g.held = g.held[:copy(g.held, g.held[n:])] }

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
		return g.glob[last].at(string(g.held), g.work)
	}
}

// ends matches what is left when less than the next segment was fed last.
func (g *globStream) ends(last int) bool {
	for ; g.segment < last; g.segment++ {
		if s := &g.glob[g.segment]; s.text != "" {
			return false
		}
	}
	return g.glob[last].at(string(g.held), g.work)
}
