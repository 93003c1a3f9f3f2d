package search

import (
	"cmp"
	"slices"
	"strings"

	"rtls/internal/imap/command"
	"rtls/internal/mimetree"
	"rtls/store"
)

// Threads puts messages together to conversations, as THREAD shows them (RFC 5256
// section 3). It holds identifiers and numbers of messages, but no messages.
type Threads struct {
	algorithm command.ThreadAlgorithm
	nodes     []threadNode
	roots     []int32
	messages  int
	ids       map[string]int32 // nodes by message identifier
	subjects  map[string]int32 // numbers of base subjects; 0 is that of none
}

// threadNode is a message, or a dummy that stands for one that is not there.
type threadNode struct {
	nth      int32 // in which order the message was added, or none
	parent   int32 // or none
	children []int32
	date     int64
	subject  int32
	reply    bool
}

const none = -1

// NewThreads returns Threads without messages.
func NewThreads(a command.ThreadAlgorithm) *Threads {
	return &Threads{algorithm: a, ids: make(map[string]int32), subjects: map[string]int32{"": 0}}
}

// Add adds a message, in the order of sequence numbers. One without a summary is
// taken for one with an empty header.
func (t *Threads) Add(m store.Message, s *mimetree.Summary) {
	if s == nil {
		s = &mimetree.Summary{Envelope: &mimetree.Envelope{}}
	}
	at := int32(none)
	if t.algorithm == command.References {
		at = t.link(s)
	} else {
		at = t.node()
	}
	n := &t.nodes[at]
	n.nth = int32(t.messages)
	t.messages++
	n.date = sentDate(m, s.Envelope).Unix()
	base, reply := subjectOf(s.Envelope)
	n.subject, n.reply = t.subject(fold(base)), reply
}

// node makes a dummy without relations.
func (t *Threads) node() int32 {
	t.nodes = append(t.nodes, threadNode{nth: none, parent: none})
	return int32(len(t.nodes) - 1)
}

func (t *Threads) dummy(at int32) bool { return t.nodes[at].nth == none }

// subject numbers texts, so that each is in memory once.
func (t *Threads) subject(text string) int32 {
	n, ok := t.subjects[text]
	if !ok {
		n = int32(len(t.subjects))
		t.subjects[strings.Clone(text)] = n // a part of a summary would hold many
	}
	return n
}

// earlier orders siblings: by date and then by sequence number. A dummy counts as its
// first child.
func (t *Threads) earlier(a, b int32) int {
	x, y := &t.nodes[t.face(a)], &t.nodes[t.face(b)]
	return cmp.Or(cmp.Compare(x.date, y.date), cmp.Compare(x.nth, y.nth))
}

// face is the message that a node is judged by.
func (t *Threads) face(at int32) int32 {
	if t.dummy(at) {
		return t.nodes[at].children[0]
	}
	return at
}

// group is ORDEREDSUBJECT: all messages of one base subject are children of the
// earliest.
func (t *Threads) group() {
	order := make([]int32, len(t.nodes))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, t.earlier)
	first := make(map[int32]int32)
	for _, at := range order {
		n := &t.nodes[at]
		root, ok := first[n.subject]
		if !ok {
			first[n.subject] = at
			t.roots = append(t.roots, at)
			continue
		}
		t.nodes[root].children = append(t.nodes[root].children, at)
	}
}

// maxNesting is how many parentheses are open at most. What is deeper is shown as if
// each message answered the one before.
const maxNesting = 100

// Walk shows the threads, once: open and end are the parentheses of a list, message is
// called with the number in which one was added, from 0 on.
func (t *Threads) Walk(open func(), message func(nth int), end func()) {
	if t.algorithm == command.References {
		t.arrange()
	} else {
		t.group()
	}
	const ends = none // a list does, here in place of a node
	todo := slices.Clone(t.roots)
	slices.Reverse(todo)
	depth := 0
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if at == ends {
			end()
			depth--
			continue
		}
		open()
		depth++
		todo = append(todo, ends)
		if depth == maxNesting {
			t.flat(at, message)
			continue
		}
		todo = appendReversed(todo, t.chain(at, message))
	}
}

func appendReversed(to, nodes []int32) []int32 {
	for _, at := range slices.Backward(nodes) {
		to = append(to, at)
	}
	return to
}

// chain shows a node and those below it as long as there is one, and returns the
// children of the last.
func (t *Threads) chain(at int32, message func(nth int)) []int32 {
	for {
		n := &t.nodes[at]
		if !t.dummy(at) {
			message(int(n.nth))
		}
		if len(n.children) != 1 {
			return n.children
		}
		at = n.children[0]
	}
}

// flat shows a node and all that is below it.
func (t *Threads) flat(at int32, message func(nth int)) {
	todo := []int32{at}
	for len(todo) > 0 {
		n := &t.nodes[todo[len(todo)-1]]
		message(int(n.nth)) // dummies are at the top only
		todo = appendReversed(todo[:len(todo)-1], n.children)
	}
}
