package mimetree

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"unsafe"
)

// ErrSummary says that octets are no summary of this version, or a damaged one.
var ErrSummary = errors.New("octets are no summary of a message")

// Want says what of a summary is of use; size, fields, thread and Structure always are.
type Want uint8

const (
	WantEnvelope  Want = 1 << iota
	WantTree           // and the envelope
	WantStructure      // WantTree, of a summary without Structure
)

// SummaryReader reads summaries into room that it uses again. It belongs to one
// goroutine.
type SummaryReader struct {
	d         decoder
	summaries supply[Summary]
}

// Reset takes back the room of all summaries that were read: they must not be used any
// more.
func (r *SummaryReader) Reset() {
	r.summaries.reset()
	m := &r.d.made
	m.envelopes.reset()
	m.addresses.reset()
	m.texts.reset()
	m.parts.reset()
	m.children.reset()
	m.params.reset()
}

// Read reads what AppendBinary has written: ErrSummary. The summary's texts are parts
// of octets, which must not be modified as long as it is used.
func (r *SummaryReader) Read(octets []byte, want Want) (*Summary, error) {
	n := len(octets) - checksumLen
	if n < 1 || octets[0] != summaryVersion ||
		crc32.Checksum(octets[:n], castagnoli()) != binary.LittleEndian.Uint32(octets[n:]) {
		return nil, ErrSummary
	}
	d := &r.d
	d.all, d.at, d.fields, d.parts, d.bad = unsafe.String(&octets[0], n), 1, "", 0, false
	s := &r.summaries.take(1)[0]
	s.Size, s.Header = d.place(), d.place()
	flags := d.number()
	s.hasFields = flags&flagFields != 0
	d.commonFields(s)
	s.Thread = d.text()
	if n := d.number(); n <= MaxStructure {
		s.Structure = d.octets(n)
	} else {
		d.fail()
	}
	d.size = s.Size
	if want&WantStructure != 0 && s.Structure == "" {
		want |= WantTree
	}
	if want&(WantEnvelope|WantTree) != 0 {
		s.Envelope = &d.made.envelopes.take(1)[0]
		d.envelope(s.Envelope)
	}
	if want&WantTree != 0 && flags&flagTree != 0 {
		s.Root = &d.made.parts.take(1)[0]
		d.part(s.Root, 0, 1)
		s.Root.Envelope = s.Envelope
		d.bad = d.bad || d.left() > 0
	}
	if d.bad || s.Header > s.Size {
		return nil, ErrSummary
	}
	return s, nil
}

// supply is room for many of something. What is taken of it is zero.
type supply[T any] struct {
	all, free []T
	taken     int
}

// leastSupply is how many of something are made at least.
const leastSupply = 128

func (s *supply[T]) take(n int) []T {
	if n > len(s.free) {
		s.all = make([]T, max(n, leastSupply))
		s.free = s.all
	}
	s.taken += n
	taken := s.free[:n:n]
	s.free = s.free[n:]
	return taken
}

// reset takes everything back, and sees to it that as much fits at once.
func (s *supply[T]) reset() {
	if s.taken > len(s.all) {
		s.all = make([]T, s.taken)
	}
	clear(s.all)
	s.free, s.taken = s.all, 0
}

// decoder reads a summary. Once something makes no sense it is bad, and all that is
// read is empty.
type decoder struct {
	all    string
	at     int // of what was not read yet
	fields string
	size   int64 // of the message
	parts  int
	bad    bool

	made struct { // room for many
		envelopes supply[Envelope]
		addresses supply[Address]
		texts     supply[string]
		parts     supply[Part]
		children  supply[*Part]
		params    supply[Param]
	}
}

func (d *decoder) left() int { return len(d.all) - d.at }

func (d *decoder) number() (n uint64) {
	if d.at < len(d.all) && d.all[d.at] < 0x80 {
		d.at++
		return uint64(d.all[d.at-1])
	}
	return d.longNumber()
}

func (d *decoder) longNumber() (n uint64) {
	for i := range min(d.left(), binary.MaxVarintLen64) {
		c := d.all[d.at+i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			d.at += i + 1
			return n
		}
	}
	d.fail()
	return 0
}

func (d *decoder) fail() { d.bad, d.at = true, len(d.all) }

// commonFields reads the common fields.
func (d *decoder) commonFields(s *Summary) {
	groups, lines := d.number(), d.number()
	s.groups, s.Fields = d.octets(groups), d.octets(lines)
	d.fields = s.Fields
	for rest := s.groups; len(rest) >= groupLen; rest = rest[groupLen:] {
		name, octets := groupAt(rest)
		d.bad = d.bad || int(name) >= len(commonNames)
		lines -= uint64(octets)
	}
	if groups%groupLen != 0 || lines != 0 {
		d.fail()
	}
}

// place reads a number of octets.
func (d *decoder) place() int64 {
	n := d.number()
	if n > 1<<62 {
		d.fail()
		return 0
	}
	return int64(n)
}

// count reads how many of something follow, each of an octet at least.
func (d *decoder) count() int {
	n := d.number()
	if n > uint64(d.left()) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) octets(n uint64) string {
	if n > uint64(d.left()) {
		d.fail()
		return ""
	}
	d.at += int(n)
	return d.all[d.at-int(n) : d.at]
}

func (d *decoder) text() string {
	n := d.number()
	if n&1 == 0 {
		return d.octets(n / 2)
	}
	at, n := d.number(), n/2
	if at > uint64(len(d.fields)) || n > uint64(len(d.fields))-at {
		d.fail()
		return ""
	}
	return d.fields[at : at+n]
}

func (d *decoder) envelope(v *Envelope) {
	has := d.number()
	texts := d.made.texts.take(4)
	for i, into := range [...]**string{&v.Date, &v.Subject, &v.InReplyTo, &v.MessageID} {
		if has&(1<<i) != 0 {
			texts[i] = d.text()
			*into = &texts[i]
		}
	}
	v.From = d.addresses()
	v.Sender, v.ReplyTo = v.From, v.From
	if has&senderIsFrom == 0 {
		v.Sender = d.addresses()
	}
	if has&replyToIsFrom == 0 {
		v.ReplyTo = d.addresses()
	}
	v.To = d.addresses()
	v.Cc = d.addresses()
	v.Bcc = d.addresses()
}

func (d *decoder) addresses() []Address {
	n := d.count()
	if n == 0 {
		return nil
	}
	list := d.made.addresses.take(n)
	for i := range list {
		a := &list[i]
		has := d.number()
		a.Kind = AddressKind(has & 3)
		if a.Kind > GroupEnd {
			d.fail()
		}
		if has&hasName != 0 {
			a.Name = d.text()
		}
		if has&hasRoute != 0 {
			a.Route = d.text()
		}
		a.Mailbox = d.text()
		a.Host = d.text()
		if d.bad {
			return nil
		}
	}
	return list
}

// part reads a part and those in it.
func (d *decoder) part(p *Part, base int64, depth int) {
	// Messages that were not looked into are parts beyond the limits.
	if d.parts++; d.parts > 2*MaxParts || depth > MaxDepth+1 {
		d.fail()
		return
	}
	has := d.number()
	p.Header.Start = base + d.place()
	p.Header.End = p.Header.Start + d.place()
	p.Body = Span{p.Header.End, p.Header.End + d.place()}
	p.Lines = d.place()
	if p.Header.Start < 0 || p.Header.End < p.Header.Start || p.Body.End < p.Body.Start || p.Body.End > d.size {
		d.fail()
		return
	}
	p.Type = d.text()
	p.Subtype = d.text()
	for i, text := range p.texts() {
		if has&(1<<i) != 0 {
			*text = d.text()
		}
	}
	if has&hasParams != 0 {
		p.Params = d.params()
	}
	if has&hasDispositionParams != 0 {
		p.DispositionParams = d.params()
	}
	if has&hasLanguage != 0 {
		for range d.count() {
			p.Language = append(p.Language, d.text())
		}
	}
	if has&hasEnvelope != 0 {
		p.Envelope = &Envelope{}
		d.envelope(p.Envelope)
	}
	if has&hasChildren != 0 {
		d.children(p, depth)
	}
	if p.IsMessage() && len(p.Children) != 1 {
		d.fail()
	}
}

func (d *decoder) children(p *Part, depth int) {
	const least = 7 // octets of a part
	n := d.number()
	if n == 0 || n > uint64(d.left())/least {
		d.fail()
		return
	}
	p.Children = d.made.children.take(int(n))
	parts := d.made.parts.take(int(n))
	for i := range p.Children {
		p.Children[i] = &parts[i]
		d.part(&parts[i], p.Body.Start, depth+1)
		if d.bad {
			return
		}
	}
}

func (d *decoder) params() []Param {
	n := d.count()
	if n == 0 {
		return nil
	}
	list := d.made.params.take(n)
	for i := range list {
		list[i] = Param{d.text(), d.text()}
	}
	return list
}
