package command

import (
	"fmt"
	"slices"
	"strings"

	"rtls/internal/imap/wire"
)

// Fetch is FETCH and UID FETCH.
type Fetch struct {
	UID   bool
	Set   NumSet
	Items []Item

	Changed      bool // CHANGEDSINCE was given (RFC 7162 section 3.1.4)
	ChangedSince uint64
	Vanished     bool // and VANISHED with it (RFC 7162 section 3.2.6)
	Partial      Partial
}

// Item is one thing to fetch. Section is set for the last three kinds only.
type Item struct {
	Kind    ItemKind
	Section *Section
	Lazy    bool // of Preview: only if it is known already
}

// ItemKind is a kind of item.
type ItemKind uint8

const (
	Flags ItemKind = iota
	UID
	InternalDate
	Size
	Envelope
	Body // BODYSTRUCTURE without extension data
	BodyStructure
	ModSeq
	EmailID // RFC 8474 section 5
	ThreadID
	Preview  // RFC 8970
	SaveDate // RFC 8514
	RFC822
	RFC822Header
	RFC822Text
	BodySection
	Binary
	BinarySize
)

var itemNames = [...]string{
	"FLAGS", "UID", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY", "BODYSTRUCTURE", "MODSEQ", "EMAILID", "THREADID", "PREVIEW", "SAVEDATE",
	"RFC822", "RFC822.HEADER", "RFC822.TEXT", "BODY", "BINARY", "BINARY.SIZE",
}

// lazy is PREVIEW's one modifier.
const lazy = " (LAZY)"

func (k ItemKind) String() string { return itemNames[k] }

// SetsSeen reports whether fetching the item marks a message as read.
func (i Item) SetsSeen() bool {
	switch i.Kind {
	case RFC822, RFC822Text:
		return true
	case BodySection, Binary:
		return !i.Section.Peek
	}
	return false
}

// Name is how a response names the item.
func (i Item) Name() string {
	if i.Section == nil {
		return i.Kind.String()
	}
	name := i.Kind.String() + i.Section.brackets()
	if i.Section.Partial {
		name += fmt.Sprintf("<%d>", i.Section.Offset)
	}
	return name
}

// String is how a client writes the item.
func (i Item) String() string {
	if i.Lazy {
		return i.Kind.String() + lazy
	}
	if i.Section == nil {
		return i.Kind.String()
	}
	name := i.Kind.String()
	if i.Section.Peek {
		name += ".PEEK"
	}
	name += i.Section.brackets()
	if i.Section.Partial {
		name += fmt.Sprintf("<%d.%d>", i.Section.Offset, i.Section.Length)
	}
	return name
}

// Section is a part of a message, or a part of that.
type Section struct {
	Part    []uint32 // the path; empty is the message
	Text    Text
	Fields  []string // of HeaderFields and HeaderFieldsNot, as the client wrote them
	Peek    bool
	Partial bool
	Offset  uint64
	Length  uint64
}

// Text selects what of a part is meant.
type Text uint8

const (
	Whole Text = iota
	Header
	HeaderFields
	HeaderFieldsNot
	BodyText
	MIME
)

var textNames = [...]string{"", "HEADER", "HEADER.FIELDS", "HEADER.FIELDS.NOT", "TEXT", "MIME"}

func (s *Section) brackets() string {
	var b strings.Builder
	b.WriteByte('[')
	for i, n := range s.Part {
		if i > 0 {
			b.WriteByte('.')
		}
		fmt.Fprint(&b, n)
	}
	if s.Text != Whole {
		if len(s.Part) > 0 {
			b.WriteByte('.')
		}
		b.WriteString(textNames[s.Text])
	}
	if s.Text == HeaderFields || s.Text == HeaderFieldsNot {
		b.WriteString(" (")
		for i, field := range s.Fields {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(fieldName(field))
		}
		b.WriteByte(')')
	}
	b.WriteByte(']')
	return b.String()
}

// fieldName writes a header field name as an astring. The parser admits only
// names that need no literal.
func fieldName(s string) string {
	plain := s != "" && !strings.ContainsAny(s, `(){ %*"\`) && !strings.EqualFold(s, "NIL")
	if plain {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func parseFetch(uid bool) func(*Parser, *wire.Lexer) (Command, error) {
	return func(_ *Parser, l *wire.Lexer) (Command, error) {
		c := Fetch{UID: uid}
		if err := spaced(l, func() (err error) {
			c.Set, err = numSet(l)
			return err
		}, func() error { return c.items(l) }); err != nil {
			return nil, err
		}
		if l.Accept(' ') {
			if err := c.modifiers(l); err != nil {
				return nil, err
			}
		}
		if c.Vanished && (!c.Changed || !uid) {
			return nil, wire.Syntaxf("VANISHED needs UID FETCH and CHANGEDSINCE")
		}
		return c, nil
	}
}

func (c *Fetch) modifiers(l *wire.Lexer) error {
	return l.List(func() error {
		word, err := l.Atom()
		if err != nil {
			return err
		}
		switch strings.ToUpper(word) {
		case "CHANGEDSINCE":
			c.Changed = true
			return spaced(l, func() (err error) {
				c.ChangedSince, err = l.Number64()
				return err
			})
		case "VANISHED":
			c.Vanished = true
			return nil
		case "PARTIAL":
			return c.Partial.read(l)
		}
		return wire.Syntaxf("unknown modifier %s", word)
	})
}

const maxItems = 200

func (c *Fetch) items(l *wire.Lexer) error {
	if l.Peek() == '(' {
		err := l.List(func() error {
			item, err := fetchItem(l)
			if err == nil && len(c.Items) >= maxItems {
				err = wire.Syntaxf("more than %d items", maxItems)
			}
			// A second FLAGS or UID asks for nothing more; sections may differ.
			if item.Section != nil || !slices.Contains(c.Items, item) {
				c.Items = append(c.Items, item)
			}
			return err
		})
		if err == nil && len(c.Items) == 0 {
			err = wire.Syntaxf("FETCH without items")
		}
		return err
	}
	word, err := l.Word(".")
	if err != nil {
		return err
	}
	fast := []Item{{Kind: Flags}, {Kind: InternalDate}, {Kind: Size}}
	switch word {
	case "FAST":
		c.Items = fast
	case "ALL":
		c.Items = append(fast, Item{Kind: Envelope})
	case "FULL":
		c.Items = append(fast, Item{Kind: Envelope}, Item{Kind: Body})
	default:
		item, err := itemNamed(word, l)
		if err != nil {
			return err
		}
		c.Items = []Item{item}
	}
	return nil
}

func fetchItem(l *wire.Lexer) (Item, error) {
	word, err := l.Word(".")
	if err != nil {
		return Item{}, err
	}
	return itemNamed(word, l)
}

func itemNamed(word string, l *wire.Lexer) (Item, error) {
	if l.Peek() == '[' {
		name, peek := strings.CutSuffix(word, ".PEEK")
		kind := BodySection
		switch {
		case name == "BODY":
		case name == "BINARY":
			kind = Binary
		case name == "BINARY.SIZE" && !peek:
			kind = BinarySize
		default:
			return Item{}, wire.Syntaxf("unknown item %s[", word)
		}
		section, err := section(l, kind)
		if err != nil {
			return Item{}, err
		}
		section.Peek = peek
		return Item{Kind: kind, Section: section}, nil
	}
	for kind := Flags; kind < BodySection; kind++ {
		if word == itemNames[kind] {
			// A modifier of FETCH could follow in parentheses, too.
			return Item{Kind: kind, Lazy: kind == Preview && l.AcceptWord(lazy)}, nil
		}
	}
	if word == "RFC822.PEEK" { // never standard; Outlook sends it
		return Item{Kind: BodySection, Section: &Section{Peek: true}}, nil
	}
	return Item{}, wire.Syntaxf("unknown item %s", word)
}

const (
	maxPath   = 100
	maxFields = 500
)

// section reads a section in brackets and the part of it that may follow.
func section(l *wire.Lexer, kind ItemKind) (*Section, error) {
	s := &Section{}
	if err := l.Expect('['); err != nil {
		return nil, err
	}
	if err := s.spec(l, kind); err != nil {
		return nil, err
	}
	if err := l.Expect(']'); err != nil {
		return nil, err
	}
	if kind == BinarySize || !l.Accept('<') {
		return s, nil
	}
	var err error
	s.Partial = true
	if s.Offset, err = l.Number64(); err != nil {
		return nil, err
	}
	if err := l.Expect('.'); err != nil {
		return nil, err
	}
	if s.Length, err = l.Number64(); err != nil {
		return nil, err
	}
	if s.Length == 0 {
		return nil, wire.Syntaxf("a partial fetch of 0 octets")
	}
	return s, l.Expect('>')
}

func (s *Section) spec(l *wire.Lexer, kind ItemKind) error {
	for c := l.Peek(); c >= '0' && c <= '9'; c = l.Peek() {
		n, err := l.Number()
		if err != nil {
			return err
		}
		if n == 0 || len(s.Part) == maxPath {
			return wire.Syntaxf("no such part")
		}
		s.Part = append(s.Part, n)
		if !l.Accept('.') {
			return nil
		}
	}
	if kind != BodySection || l.Peek() == ']' && len(s.Part) == 0 {
		if len(s.Part) > 0 {
			return wire.Syntaxf("expected a part number")
		}
		return nil
	}
	word, err := l.Word(".")
	if err != nil {
		return err
	}
	for text := Header; text <= MIME; text++ {
		if word == textNames[text] {
			s.Text = text
		}
	}
	switch {
	case s.Text == Whole || s.Text == MIME && len(s.Part) == 0:
		return wire.Syntaxf("unknown section %s", word)
	case s.Text == HeaderFields || s.Text == HeaderFieldsNot:
		err := spaced(l, func() error { return l.List(func() error { return s.field(l) }) })
		if err == nil && len(s.Fields) == 0 {
			err = wire.Syntaxf("%s without a field", word)
		}
		return err
	}
	return nil
}

func (s *Section) field(l *wire.Lexer) error {
	name, err := l.AString()
	switch {
	case err != nil:
		return err
	case len(s.Fields) == maxFields:
		return wire.Syntaxf("more than %d fields", maxFields)
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }):
		return wire.Syntaxf("a header field name is printable ASCII")
	}
	s.Fields = append(s.Fields, name)
	return nil
}
