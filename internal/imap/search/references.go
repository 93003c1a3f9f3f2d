package search

import (
	"slices"
	"strings"

	"rtls/internal/mimetree"
)

const (
	// maxReferences is how many messages one message refers to: the first, with
	// which the thread starts, and the last ones.
	maxReferences = 50
	// maxAncestors is how far up is looked for a loop. A link that would need more
	// is not made.
	maxAncestors = 500
)

// link puts a message where its references say (RFC 5256 section 3, REFERENCES, step
// 1), and returns its node.
func (t *Threads) link(s *mimetree.Summary) int32 {
	last := int32(none)
	for _, id := range references(s) {
		at, ok := t.ids[id]
		if !ok {
			at = t.node()
			t.ids[strings.Clone(id)] = at
		}
		if last != none && t.nodes[at].parent == none {
			t.adopt(last, at)
		}
		last = at
	}
	own := int32(none)
	id := ""
	if s.Envelope.MessageID != nil {
		id = nextID(s.Envelope.MessageID)
	}
	if at, ok := t.ids[id]; ok && id != "" && t.dummy(at) {
		own = at
	} else {
		own = t.node()
		if id != "" && !ok {
			t.ids[strings.Clone(id)] = own
		}
	}
	// What others said of the message counts less than what it says itself.
	t.nodes[own].parent = none
	if last != none {
		t.adopt(last, own)
	}
	return own
}

// adopt makes a node the child of another, unless that is below it.
func (t *Threads) adopt(parent, child int32) {
	at := parent
	for range maxAncestors {
		if at == child {
			return
		}
		if at = t.nodes[at].parent; at == none {
			t.nodes[child].parent = parent
			return
		}
	}
}

// references are the identifiers of the messages that a message refers to, those it
// answers last.
func references(s *mimetree.Summary) (ids []string) {
	text := ""
	if s.HasFields() {
		summaryFields(s, "References", func(raw string) bool {
			text = decodeHeader(raw)
			return true
		})
	} else {
		text = s.Thread // the first of them, or the message itself, which is as good as none
	}
	for id := nextID(&text); id != ""; id = nextID(&text) {
		if len(ids) == maxReferences {
			ids = slices.Delete(ids, 1, 2)
		}
		ids = append(ids, id)
	}
	if len(ids) > 0 && s.HasFields() || s.Envelope.InReplyTo == nil {
		return ids
	}
	text = *s.Envelope.InReplyTo
	if id := nextID(&text); id != "" {
		ids = append(ids, id)
	}
	return ids
}

var unquote = strings.NewReplacer(`"`, "", `\`, "", " ", "", "\t", "", "\r", "", "\n", "")

// nextID returns the first message identifier in a text, the same however it is
// quoted, and sets the text to what follows. Without one it returns "".
func nextID(text *string) string {
	for {
		_, rest, ok := strings.Cut(*text, "<")
		if !ok {
			*text = ""
			return ""
		}
		end := strings.IndexAny(rest, "<>")
		if end < 0 {
			*text = ""
			return ""
		}
		*text = rest[end:]
		if id := unquote.Replace(rest[:end]); id != "" && rest[end] == '>' {
			return id
		}
	}
}

// arrange makes threads of the links: steps 2 to 6.
func (t *Threads) arrange() {
	t.prune()
	t.sort()
	t.collect()
	t.sort()
}

// prune fills children and roots. Of the dummies it leaves those that hold several
// threads together.
func (t *Threads) prune() {
	for i := range t.nodes {
		at := int32(i)
		if t.dummy(at) {
			continue
		}
		parent := t.above(at)
		t.nodes[at].parent = parent
		if parent == none {
			t.roots = append(t.roots, at)
			continue
		}
		siblings := &t.nodes[parent].children
		*siblings = append(*siblings, at)
	}
	for i := range t.nodes {
		switch n := &t.nodes[i]; {
		case n.nth != none || len(n.children) == 0:
		case len(n.children) == 1:
			t.roots = append(t.roots, n.children[0])
		default:
			t.roots = append(t.roots, int32(i))
		}
	}
}

// above is the next message above a node or, if there is none, the topmost dummy. It
// shortens the way there for the next who looks.
func (t *Threads) above(at int32) int32 {
	passable := func(at int32) bool { return t.dummy(at) && t.nodes[at].parent != none }
	top := t.nodes[at].parent
	for top != none && passable(top) {
		top = t.nodes[top].parent
	}
	for at = t.nodes[at].parent; at != top; {
		at, t.nodes[at].parent = t.nodes[at].parent, top
	}
	return top
}

// sort puts all siblings in order. Below a dummy, which is at the top, that has to be
// done before the dummy itself can be compared.
func (t *Threads) sort() {
	for i := range t.nodes {
		slices.SortFunc(t.nodes[i].children, t.earlier)
	}
	slices.SortFunc(t.roots, t.earlier)
}

// collect puts threads of one base subject together (step 5).
func (t *Threads) collect() {
	table := make(map[int32]int32) // from subjects to nodes
	for _, at := range t.roots {
		subject := t.nodes[t.face(at)].subject
		first, ok := table[subject]
		if !ok || !t.dummy(first) && (t.dummy(at) || t.nodes[first].reply && !t.nodes[at].reply) {
			table[subject] = at
		}
	}
	gone := make(map[int32]bool)
	for _, at := range slices.Clone(t.roots) {
		subject := t.nodes[t.face(at)].subject
		first := table[subject]
		if subject == 0 || first == at {
			continue
		}
		gone[at] = true
		switch {
		case t.dummy(first) && t.dummy(at):
			t.nodes[first].children = append(t.nodes[first].children, t.nodes[at].children...)
		case t.dummy(first), t.nodes[at].reply && !t.nodes[first].reply:
			t.nodes[first].children = append(t.nodes[first].children, at)
		default:
			both := t.node()
			t.nodes[both].children = []int32{first, at}
			gone[first] = true
			table[subject] = both
			t.roots = append(t.roots, both)
		}
	}
	t.roots = slices.DeleteFunc(t.roots, func(at int32) bool { return gone[at] })
}
