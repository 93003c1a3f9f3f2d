package search

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

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

// without asks the index, when it is first called.
func (q *Query) without(needle string, in Place) func(store.Message) bool {
	var ask func(store.Message) bool
	asked := q.env.Index == nil || needle == ""
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
	m := &message{ctx: ctx, content: c}
	header, err := m.readHeader()
	if err != nil || len(header) >= maxHeader {
		return false, err
	}
	s := sink{to}
	full := lines(header, func(line []byte) bool {
		text := decodeHeader(line)
		if !s.add(Header, text) {
			return true
		}
		_, raw, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return false
		}
		value := decodeHeader(raw)
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

// finder looks for itself.
type finder string

func (f finder) header(raw []byte) bool { return inHeader(raw, string(f)) }

func (f finder) text(r io.Reader) (bool, error) { return contains(r, string(f)) }

// sink is the looker that hands all over.
type sink struct{ Sink }

func (s sink) add(at Place, text string) bool {
	s.Begin(at)
	return s.Add([]byte(strings.ToLower(text)))
}

func (s sink) header(raw []byte) bool {
	return lines(raw, func(line []byte) bool { return !s.add(Body, decodeHeader(line)) })
}

func (s sink) text(r io.Reader) (bool, error) {
	s.Begin(Body)
	return folded(r, func(piece []byte) bool { return !s.Add(piece) })
}

// inHeader looks at every field of a header, its name included.
func inHeader(header []byte, needle string) bool {
	return lines(header, func(line []byte) bool {
		return strings.Contains(strings.ToLower(decodeHeader(line)), needle)
	})
}

// inBody shows the texts of a message without its header.
func (m *message) inBody(to looker) (bool, error) {
	if err := m.open(); err != nil {
		return false, err
	}
	if m.tree == nil {
		var err error
		if m.tree, err = mimetree.Parse(m.section(mimetree.Span{Start: 0, End: m.content.Size()})); err != nil {
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

// contains looks for a lower-case text in what a reader holds, in any case, in
// bounded memory.
func contains(r io.Reader, needle string) (bool, error) {
	var seen []byte
	return folded(r, func(piece []byte) bool {
		if keep := len(needle) - 1; len(seen) > keep {
			seen = seen[:copy(seen, seen[len(seen)-keep:])]
		}
		seen = append(seen, piece...)
		return bytes.Contains(seen, []byte(needle))
	})
}

// folded calls f with all that a reader holds, in lower case and in pieces, until it
// returns true.
func folded(r io.Reader, f func(piece []byte) bool) (bool, error) {
	raw := make([]byte, 0, 32<<10)
	for {
		n, err := r.Read(raw[len(raw):cap(raw)])
		raw = raw[:len(raw)+n]
		whole := len(raw)
		if err == nil {
			whole = wholeRunes(raw)
		}
		if f(bytes.ToLower(raw[:whole])) {
			return true, nil
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return false, err
		}
		raw = raw[:copy(raw, raw[whole:])]
	}
}

// wholeRunes is how much of b there is without a character that is cut off.
func wholeRunes(b []byte) int {
	for i := len(b) - 1; i >= max(0, len(b)-utf8.UTFMax); i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}
