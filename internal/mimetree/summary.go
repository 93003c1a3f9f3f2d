package mimetree

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unsafe"
)

// Summary is what can be kept of a message so that listing it does not need the
// message: envelope, tree, and the fields of its header that clients ask for. It
// says the same as the message itself.
type Summary struct {
	Size   int64 // octets of the message
	Header int64 // of these its header, the empty line included
	// Fields are the lines of the header's common fields as they are, in their
	// order; see HasFields.
	Fields string
	// Thread is the message identifier that the message's thread starts with, as
	// far as the message knows: the first in References or else in In-Reply-To or
	// else its own. It is empty where there is none.
	Thread   string
	Envelope *Envelope
	Root     *Part // nil if only the header was read
	// Structure is what the reader of a summary makes of Root and does not want to make
	// again. It is empty if there is none; what is longer than MaxStructure is not kept.
	Structure string

	hasFields bool
	groups    string // of Fields
}

// Room is about how many octets of memory a summary takes.
func (s *Summary) Room() int {
	n := int(unsafe.Sizeof(*s)) + len(s.Fields) + len(s.Structure) + s.Envelope.room()
	if s.Root != nil {
		n += s.Root.room()
	}
	return n
}

func (p *Part) room() int {
	n := int(unsafe.Sizeof(*p)) + int(unsafe.Sizeof(Param{}))*(len(p.Params)+len(p.DispositionParams))
	for _, child := range p.Children {
		n += child.room() + child.Envelope.room()
	}
	return n
}

// room is that of the addresses.
func (e *Envelope) room() (n int) {
	if e == nil {
		return 0
	}
	for _, list := range [...][]Address{e.From, e.To, e.Cc, e.Bcc, e.Sender, e.ReplyTo} {
		n += len(list) // Sender and ReplyTo can be the same as From
	}
	return n * int(unsafe.Sizeof(Address{}))
}

// MaxStructure is how many octets of Structure are kept.
const MaxStructure = 4 << 10

const (
	maxHead       = 64 << 10 // octets of a header in which common fields are looked for
	maxKeptFields = 16 << 10
	maxThread     = 998     // octets, a line's most
	maxName       = 8 << 10 // octets of a line in which the colon is looked for
)

// A Summarizer makes summaries. It belongs to one goroutine.
type Summarizer struct {
	p      parser
	common common
}

// Summarize reads a message up to its end, or if not whole only its header; then size
// says how many octets it has in wire form. Lines may end in LF: places and sizes are
// those of the wire form, where all of them end in CRLF. The error is the reader's;
// there is no other.
func (z *Summarizer) Summarize(r io.Reader, size int64, whole bool) (*Summary, error) {
	p := z.reset(r)
	s := &Summary{Size: size}
	if whole {
		s.Root, _, _ = p.part(1, isMessage)
		s.Envelope, s.Header, s.Size = s.Root.Envelope, s.Root.Header.End, p.at.off
	} else {
		p.parts++
		stopped, ended := p.header(isMessage)
		s.Envelope, s.Header = p.envelope(), p.at.off
		if ended {
			s.Header = stopped.line.off
		}
		p.thread = p.threadRoot()
	}
	if p.err != nil {
		return nil, fmt.Errorf("read message: %w", p.err)
	}
	s.Thread = p.thread
	if s.Header <= maxHead && !z.common.odd {
		s.Fields, s.groups, s.hasFields = p.strings.of(z.common.lines), p.strings.of(z.common.groups), true
	}
	return s, nil
}

// Tree is Parse with what has been made for others before.
func (z *Summarizer) Tree(r io.Reader) (*Part, error) {
	p := z.reset(r)
	p.wire, p.common = false, nil
	root, _, _ := p.part(1, isMessage)
	if p.err != nil {
		return nil, fmt.Errorf("read message: %w", p.err)
	}
	return root, nil
}

// reset prepares for the next message what can be used again.
func (z *Summarizer) reset(r io.Reader) *parser {
	p := &z.p
	values, buffer := p.values, p.r
	if p.kept > maxKeptFields {
		values = [fieldCount][]byte{} // rare, and too large to be held for the next
	}
	if buffer == nil {
		buffer = bufio.NewReaderSize(nil, lineBuffer)
	}
	buffer.Reset(r)
	*p = parser{r: buffer, open: p.open[:0], fields: fields{values: values}, strings: p.strings, wire: true, common: &z.common}
	z.common = common{lines: z.common.lines[:0], groups: z.common.groups[:0]}
	return p
}

// threadRoot finds the message identifier that a thread starts with.
func (p *parser) threadRoot() string {
	id := firstID(p.text(references))
	if id == "" {
		id = firstID(p.text(inReplyTo))
	}
	own := p.text(messageID)
	if id == "" {
		id = firstID(own)
	}
	if id == "" {
		id = own
	}
	return id[:min(len(id), maxThread)]
}

// firstID is the first text in angle brackets, with them.
func firstID(text string) string {
	start := strings.IndexByte(text, '<')
	if start < 0 {
		return ""
	}
	end := strings.IndexByte(text[start:], '>')
	if end < 0 {
		return ""
	}
	return text[start : start+end+1]
}
