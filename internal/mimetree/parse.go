package mimetree

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// lineBuffer bounds what is seen of a line at once. It is longer than any line
// that has to be seen whole, which are delimiter lines.
const lineBuffer = 32 << 10

// Parse reads a message in wire form up to its end and returns its root. Lines end
// in CRLF or in LF; a CR alone ends none. The error is the reader's; there is no
// other.
func Parse(r io.Reader) (*Part, error) {
	p := &parser{r: bufio.NewReaderSize(r, lineBuffer)}
	root, _, _ := p.part(1, isMessage)
	if p.err != nil {
		return nil, fmt.Errorf("read message: %w", p.err)
	}
	return root, nil
}

type parser struct {
	r     *bufio.Reader
	err   error // the reader's, but for io.EOF
	at    mark  // what has been read
	inner bool  // the last piece did not end its line
	cr    bool  // the last piece ended in a CR
	eol   int64 // octets of the line end before at, if at is the start of a line

	open  []string // boundaries of the multiparts around, outermost first
	parts int
	fields

	strings stringMaker

	wire   bool    // a line feed without carriage return counts as both
	common *common // of the root, where a summary is made
	thread string  // see Summary
}

// mark is a place in the message, and the number of line feeds before it.
type mark struct{ off, lines int64 }

func later(a, b mark) mark {
	if a.off > b.off {
		return a
	}
	return b
}

// piece is a line with its end or, of a line that is too long, a piece of it.
type piece struct {
	data  []byte // valid until the next piece is read; empty at the end of the message
	start mark
	eol   int64 // octets of the line end before it
	first bool  // it starts a line
	last  bool  // it ends a line
	bare  bool  // its line feed counts as two octets
}

func (p *parser) next() piece {
	data, err := p.r.ReadSlice('\n')
	full := errors.Is(err, bufio.ErrBufferFull)
	if err != nil && !full && !errors.Is(err, io.EOF) {
		p.err = err
		return piece{start: p.at} // as if the message ended here
	}
	pc := piece{data: data, start: p.at, eol: p.eol, first: !p.inner, last: !full}
	p.inner = full
	p.at.off += int64(len(data))
	if text, ok := bytes.CutSuffix(data, []byte("\n")); ok {
		p.at.lines++
		p.eol = 1
		if bytes.HasSuffix(text, []byte("\r")) || len(text) == 0 && p.cr {
			p.eol = 2
		}
		if p.eol == 1 && p.wire {
			p.eol, pc.bare = 2, true
			p.at.off++
		}
	}
	p.cr = bytes.HasSuffix(data, []byte("\r"))
	return pc
}

// skim passes over lines that are in memory already and can be no delimiter lines.
func (p *parser) skim() {
	if p.inner {
		return
	}
	data, _ := p.r.Peek(p.r.Buffered())
	end := bytes.LastIndexByte(data, '\n') + 1
	if len(p.open) > 0 {
		if bytes.HasPrefix(data, []byte("--")) {
			return
		}
		if i := bytes.Index(data[:end], []byte("\n--")); i >= 0 {
			end = i + 1
		}
	}
	if end == 0 {
		return
	}
	data = data[:end]
	lines := bytes.Count(data, []byte("\n"))
	p.at.lines += int64(lines)
	p.at.off += int64(end)
	p.eol = 1
	if bytes.HasSuffix(data, []byte("\r\n")) {
		p.eol = 2
	}
	if p.wire {
		p.at.off += int64(lines - bytes.Count(data, []byte("\r\n")))
		p.eol = 2
	}
	p.cr = false
	_, _ = p.r.Discard(end) // it is there
}

// stop is what ends a part: a delimiter line of a multipart around it, or the end
// of the message.
type stop struct {
	level   int  // which multipart, an index of open; -1 for the end of the message
	closing bool // the delimiter is the multipart's last
	line    mark // where the delimiter line starts
	body    mark // the same without the line end that belongs to the delimiter
}

// stopAt says whether a piece is a stop.
func (p *parser) stopAt(pc piece) (stop, bool) {
	s := stop{level: -1, line: pc.start, body: pc.start}
	if len(pc.data) == 0 {
		return s, true
	}
	if !pc.first || !pc.last || !bytes.HasPrefix(pc.data, []byte("--")) {
		return s, false
	}
	s.level, s.closing = p.delimiter(bytes.TrimRight(pc.data[2:], " \t\r\n"))
	if pc.eol > 0 {
		s.body = mark{pc.start.off - pc.eol, pc.start.lines - 1}
	}
	return s, s.level >= 0
}

// delimiter finds the multipart that the text of a delimiter line, without dashes
// before it and white space behind it, belongs to; -1 if to none. The innermost
// comes first, since boundaries are used twice. RFC 2046 section 5.1.1 lets a line
// match that only starts with the boundary, but its grammar does not, and real
// messages hold boundaries that are the start of another.
func (p *parser) delimiter(text []byte) (level int, closing bool) {
	for i := len(p.open) - 1; i >= 0; i-- {
		if string(text) == p.open[i] {
			return i, false
		}
	}
	text, closing = bytes.CutSuffix(text, []byte("--"))
	for i := len(p.open) - 1; i >= 0 && closing; i-- {
		if string(text) == p.open[i] {
			return i, true
		}
	}
	return -1, false
}

// scan passes over everything up to the next stop.
func (p *parser) scan() stop {
	for {
		p.skim()
		if s, ok := p.stopAt(p.next()); ok {
			return s
		}
	}
}

// role is what the place of a part makes of it.
type role uint8

const (
	isPart     role = iota
	isDigested      // a part of a multipart/digest
	isMessage       // the root, or the child of a message part
)

// part reads a part from its first line on. It returns what stopped it, and where
// the part ends, which may be before or, if its header ends there, at the stop.
func (p *parser) part(depth int, as role) (*Part, stop, mark) {
	p.parts++
	part := &Part{Header: Span{Start: p.at.off}}
	s, ended := p.header(as)
	start := p.at
	if ended {
		start = s.line
	}
	part.Header.End = start.off
	p.describe(part, as)
	if as == isMessage {
		part.Envelope = p.envelope()
		if p.parts == 1 && p.common != nil {
			p.thread = p.threadRoot()
		}
	}
	end := start
	switch {
	case ended:
		part.hollow(start, end)
	case part.IsMultipart():
		s, end = p.multipart(part, depth)
	case part.IsMessage() && depth < MaxDepth && p.parts < MaxParts:
		var child *Part
		child, s, end = p.part(depth+1, isMessage)
		part.Children = []*Part{child}
	default:
		s = p.scan()
		end = s.body
		part.hollow(start, later(start, end))
	}
	end = later(start, end)
	part.Body = Span{start.off, end.off}
	part.Lines = end.lines - start.lines
	return part, s, end
}

// hollow gives a message part whose message is not looked into a child without a
// header, since it must have one.
func (p *Part) hollow(start, end mark) {
	if !p.IsMessage() {
		return
	}
	p.Children = []*Part{{
		Header:   Span{start.off, start.off},
		Body:     Span{start.off, end.off},
		Lines:    end.lines - start.lines,
		Type:     "text",
		Subtype:  "plain",
		Envelope: &Envelope{},
	}}
}

// multipart reads the body of a multipart.
func (p *parser) multipart(part *Part, depth int) (stop, mark) {
	boundary := strings.TrimRight(part.Param("boundary"), " \t")
	if boundary == "" || len(boundary) > maxBoundary || depth >= MaxDepth {
		s := p.scan()
		return s, s.body
	}
	as := isPart
	if part.Is("multipart", "digest") {
		as = isDigested
	}
	level := len(p.open)
	p.open = append(p.open, boundary)
	var end mark
	s := p.scan()
	for s.level == level && !s.closing {
		if p.parts >= MaxParts {
			s = p.scan()
			continue
		}
		var child *Part
		child, s, end = p.part(depth+1, as)
		part.Children = append(part.Children, child)
	}
	p.open = p.open[:level]
	if s.level == level {
		s = p.scan()
	}
	return s, later(end, s.body)
}
