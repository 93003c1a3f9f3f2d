package search

import (
	"bytes"
	"context"
	"io"
	"strings"

	"rtls/internal/imap/transfer"
	"rtls/internal/mimetree"
	"rtls/store"
)

// Place is where in a message a text can be.
type Place uint8

const (
	Header Place = 1 << iota // the message's own
	Body                     // all that BODY looks at
)

// TextIndex knows of texts that messages have not.
type TextIndex interface {
	// Without returns a function that says whether a message is sure to have a text,
	// in lower case, at none of the places. It returns nil where it cannot tell.
	Without(text string, in Place) func(store.Message) bool
}

// without asks the index, when it is first called. It is nil if there is nobody to ask.
func (q *Query) without(needle string, in Place) func(store.Message) bool {
	if q.env.Index == nil || needle == "" {
		return nil
	}
	var ask func(store.Message) bool
	asked := false
	return func(m store.Message) bool {
		if !asked {
			ask, asked = q.env.Index.Without(needle, in), true
		}
		return ask != nil && ask(m)
	}
}

// Sink takes in the texts of a message.
type Sink interface {
	// Begin starts another text.
	Begin(at Place)
	// Add appends to it, until it returns false: then no more is wanted. It must not
	// keep the octets.
	Add(piece []byte) bool
}

// Texts gives a sink, in lower case, everything in a message that a text is ever
// compared with: a text that is in none of these is not found in the message. whole
// is false if there is more than that.
func Texts(ctx context.Context, c *store.Content, to Sink) (whole bool, err error) {
	m := &message{ctx: ctx, content: c, parser: new(mimetree.Summarizer)}
	header, err := m.readHeader()
	if err != nil || len(header) >= maxHeader {
		return false, err
	}
	s := &sink{Sink: to}
	full := lines(header, func(line []byte) bool {
		text := decodeHeader(string(line))
		if !s.add(Header, text) {
			return true
		}
		_, raw, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return false
		}
		value := decodeHeader(string(raw))
		return !strings.HasSuffix(text, value) && !s.add(Header, value)
	})
	if full {
		return false, nil
	}
	full, err = m.inBody(s)
	return !full, err
}

// looker looks at the texts of a message's body, until it returns true.
type looker interface {
	header(raw []byte) bool // of a message in the message
	text(r io.Reader) (bool, error)
}

// finder is the looker that looks for a text in lower case, which is not empty.
type finder struct {
	needle string
	folder
	seen []byte // of the text, and the end of what was before
}

func (f *finder) header(raw []byte) bool { return inHeader(raw, f.needle) }

func (f *finder) text(r io.Reader) (bool, error) {
	needle := []byte(f.needle)
	f.seen = f.seen[:0]
	return f.each(r, func(piece []byte) bool {
		if keep := len(needle) - 1; len(f.seen) > keep {
			f.seen = f.seen[:copy(f.seen, f.seen[len(f.seen)-keep:])]
		}
		f.seen = append(f.seen, piece...)
		return bytes.Contains(f.seen, needle)
	})
}

// sink is the looker that hands all over.
type sink struct {
	Sink
	folder
}

func (s *sink) add(at Place, text string) bool {
	s.Begin(at)
	return s.Add([]byte(strings.ToLower(text)))
}

func (s *sink) header(raw []byte) bool {
	return lines(raw, func(line []byte) bool { return !s.add(Body, decodeHeader(string(line))) })
}

func (s *sink) text(r io.Reader) (bool, error) {
	s.Begin(Body)
	return s.each(r, func(piece []byte) bool { return !s.Add(piece) })
}

// inHeader looks at every field of a header, its name included.
func inHeader(header []byte, needle string) bool {
	return lines(header, func(line []byte) bool {
		return strings.Contains(strings.ToLower(decodeHeader(string(line))), needle)
	})
}

// inBody shows the texts of a message without its header.
func (m *message) inBody(to looker) (bool, error) {
	if err := m.open(); err != nil {
		return false, err
	}
	if m.tree == nil {
		var err error
		if m.tree, err = m.parser.Tree(m.section(mimetree.Span{Start: 0, End: m.content.Size()})); err != nil {
			return false, err
		}
	}
	return m.inPart(m.tree, to)
}

func (m *message) inPart(p *mimetree.Part, to looker) (bool, error) {
	if err := m.ctx.Err(); err != nil {
		return false, err
	}
	if p.IsMessage() && len(p.Children) > 0 {
		header, err := headerOf(m.section(p.Children[0].Header))
		if err != nil || to.header(header) {
			return err == nil, err
		}
	}
	for _, child := range p.Children {
		if found, err := m.inPart(child, to); found || err != nil {
			return found, err
		}
	}
	isText := p.Is("text", "") || p.IsMultipart() && len(p.Children) == 0
	if !isText {
		return false, nil
	}
	decoded, _ := transfer.NewReader(p.Encoding, m.section(p.Body))
	decoded, _ = decodeCharset(p.Param("charset"), decoded)
	return to.text(decoded)
}
