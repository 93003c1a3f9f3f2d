package sieve

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"rtls/internal/imap/transfer"
	"rtls/internal/mimetree"
)

// sink takes the texts that a body test looks at, in pieces.
type sink interface {
	// add takes the next piece of a text. It returns false if no more is needed.
	add(piece string) bool
	// end says that a text is whole. It returns true if no other is needed.
	end() bool
}

// body hands the body to a sink in the form that a test asks for (RFC 5173 section
// 5): as it is, or those parts that are wanted.
func (c *content) body(ctx context.Context, form bodyTransform, want func(*mimetree.Part) bool, to sink) error {
	tree, err := c.structure(ctx)
	if err != nil || !c.hasBody {
		return err
	}
	if form == bodyRaw {
		_, err := feed(lineEnds(c.section(ctx, mimetree.Span{Start: tree.Header.End, End: c.Size})), to)
		return err
	}
	_, err = c.parts(ctx, tree, want, to)
	return err
}

// wanted says whether one of the content types of a test is that of a part.
func wanted(p *mimetree.Part, types []string) bool {
	for _, t := range types {
		typ, subtype, pair := strings.Cut(t, "/")
		switch {
		case t == "":
			return true
		case pair && (subtype == "" || strings.Contains(subtype, "/")):
		case p.Is(typ, subtype):
			return true
		}
	}
	return false
}

// parts hands over those parts that are wanted, until the sink has enough.
func (c *content) parts(ctx context.Context, p *mimetree.Part, want func(*mimetree.Part) bool, to sink) (enough bool, err error) {
	if want(p) {
		if enough, err = c.part(ctx, p, to); enough || err != nil {
			return enough, err
		}
	}
	for _, child := range p.Children {
		if enough, err = c.parts(ctx, child, want, to); enough || err != nil {
			return enough, err
		}
	}
	return false, nil
}

// part hands over what belongs to a part itself: of a multipart what is around
// the parts in it, of a message part the header of the message.
func (c *content) part(ctx context.Context, p *mimetree.Part, to sink) (enough bool, err error) {
	switch {
	case p.IsMultipart() && len(p.Children) > 0:
		first, last := p.Children[0], p.Children[len(p.Children)-1]
		before, err := c.prologue(ctx, mimetree.Span{Start: p.Body.Start, End: first.Header.Start})
		if err != nil {
			return false, err
		}
		if enough, err = feed(lineEnds(c.section(ctx, before)), to); enough || err != nil {
			return enough, err
		}
		return feed(lineEnds(c.epilogue(ctx, mimetree.Span{Start: last.Body.End, End: p.Body.End})), to)
	case p.IsMessage() && len(p.Children) > 0:
		return feed(lineEnds(c.section(ctx, p.Children[0].Header)), to)
	}
	decoded, _ := transfer.NewReader(p.Encoding, c.section(ctx, p.Body))
	if p.Is("text", "") {
		decoded, _ = decodeCharset(p.Param("charset"), decoded)
		decoded = lineEnds(decoded)
	}
	return feed(decoded, to)
}

// prologue takes off the delimiter line at the end of span, and the line end that
// belongs to it.
func (c *content) prologue(ctx context.Context, span mimetree.Span) (mimetree.Span, error) {
	const longest = 4 << 10 // more than a delimiter line can have
	start := max(span.Start, span.End-longest)
	tail, err := io.ReadAll(c.section(ctx, mimetree.Span{Start: start, End: span.End}))
	if err != nil {
		return span, err
	}
	tail = bytes.TrimSuffix(tail, []byte("\n"))
	tail = tail[:bytes.LastIndexByte(tail, '\n')+1]
	tail = bytes.TrimSuffix(bytes.TrimSuffix(tail, []byte("\n")), []byte("\r"))
	return mimetree.Span{Start: span.Start, End: start + int64(len(tail))}, nil
}

// epilogue skips the delimiter line that the span starts with.
func (c *content) epilogue(ctx context.Context, span mimetree.Span) io.Reader {
	r := bufio.NewReader(c.section(ctx, span))
	for {
		line, err := r.ReadSlice('\n')
		switch {
		case err != nil:
			return r
		case !bytes.HasPrefix(line, []byte("--")): // the line end before it
			continue
		}
		return r
	}
}

// feed hands a text to a sink.
func feed(r io.Reader, to sink) (enough bool, err error) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 && !to.add(string(buf[:n])) {
			break
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false, err
		}
	}
	return to.end(), nil
}

// lineEnds makes every line end CRLF, as they are in the strings of scripts.
func lineEnds(r io.Reader) io.Reader { return &lineEndReader{r: r} }

type lineEndReader struct {
	r    io.Reader
	raw  []byte // room to read into
	cr   bool   // the last octet was a CR
	out  []byte // room for what has been read, with its line ends
	held []byte // the rest of it
	err  error
}

func (l *lineEndReader) Read(p []byte) (int, error) {
	for len(l.held) == 0 {
		if l.err != nil {
			return 0, l.err
		}
		if l.raw == nil {
			l.raw = make([]byte, 16<<10)
		}
		var n int
		n, l.err = l.r.Read(l.raw)
		l.out = l.out[:0]
		for _, c := range l.raw[:n] {
			if c == '\n' && !l.cr {
				l.out = append(l.out, '\r')
			}
			l.out = append(l.out, c)
			l.cr = c == '\r'
		}
		l.held = l.out
	}
	n := copy(p, l.held)
	l.held = l.held[n:]
	return n, nil
}

// bodySink matches the texts of a body with keys. It sets no match variables
// (RFC 5173 section 6).
type bodySink struct {
	keys    *keys
	work    *budget
	streams []globStream // of the text under way; nil before it
	start   []byte       // of the text under way, for :value
	texts   int
	found   bool
}

// maxValue is how much of a text :value compares.
const maxValue = 64 << 10

func (s *bodySink) begin() {
	if s.streams != nil {
		return
	}
	s.streams = make([]globStream, len(s.keys.folded))
	for i, key := range s.keys.folded {
		g := glob{{text: key}}
		if s.keys.globs != nil {
			g = s.keys.globs[i]
		}
		s.streams[i] = globStream{glob: g, work: s.work}
	}
}

func (s *bodySink) add(piece string) bool {
	if !s.work.spend(len(piece)) {
		return false
	}
	if s.keys.how == matchCount {
		return false
	}
	if s.byOrder() {
		s.start = append(s.start, piece[:min(len(piece), maxValue-len(s.start))]...)
		return len(s.start) < maxValue
	}
	s.begin()
	piece = s.keys.comparator.key(piece)
	more := false
	for i := range s.streams {
		s.streams[i].feed(piece)
		more = more || !s.streams[i].settled()
	}
	return more
}

// byOrder says whether texts are compared by their start alone.
func (s *bodySink) byOrder() bool {
	return s.keys.how == matchValue || s.keys.comparator == asciiNumeric
}

func (s *bodySink) end() bool {
	const perText = 16 << 10 // it takes time to get at a text, however short
	s.work.spend(perText)
	s.texts++
	switch {
	case s.keys.how == matchCount:
	case s.byOrder():
		_, s.found = s.keys.match(string(s.start), s.work)
		s.start = s.start[:0]
	default:
		s.begin()
		for i := range s.streams {
			s.found = s.found || s.streams[i].end()
		}
		s.streams = nil
	}
	return s.found || *s.work < 0
}
