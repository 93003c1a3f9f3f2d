package mimetree

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// ErrSummary says that octets are no summary of this version, or a damaged one.
var ErrSummary = errors.New("octets are no summary of a message")

// ParseSummary reads what AppendBinary has written: ErrSummary. The tree is left out
// unless it is wanted. The octets are not kept.
func ParseSummary(octets []byte, tree bool) (*Summary, error) {
	n := len(octets) - checksumLen
	if n < 1 || octets[0] != summaryVersion ||
		crc32.Checksum(octets[:n], castagnoli()) != binary.LittleEndian.Uint32(octets[n:]) {
		return nil, ErrSummary
	}
	d := &decoder{rest: string(octets[1:n])}
	s := &Summary{Size: d.place(), Header: d.place()}
	flags := d.number()
	s.hasFields = flags&flagFields != 0
	d.commonFields(s)
	s.Thread = d.text()
	s.Envelope = &Envelope{}
	d.envelope(s.Envelope)
	d.size = s.Size
	if tree && flags&flagTree != 0 {
		s.Root = &Part{}
		d.part(s.Root, 0, 1)
		s.Root.Envelope = s.Envelope
		d.bad = d.bad || d.rest != ""
	}
	if d.bad || s.Header > s.Size {
		return nil, ErrSummary
	}
	return s, nil
}

// decoder reads a summary. Once something makes no sense it is bad, and all that is
// read is empty.
type decoder struct {
	rest   string
	fields string
	size   int64 // of the message
	parts  int
	bad    bool
}

func (d *decoder) number() (n uint64) {
	for i := range min(len(d.rest), binary.MaxVarintLen64) {
		c := d.rest[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			d.rest = d.rest[i+1:]
			return n
		}
	}
	d.fail()
	return 0
}

func (d *decoder) fail() { d.bad, d.rest = true, "" }

// commonFields reads the common fields.
func (d *decoder) commonFields(s *Summary) {
	n := d.count()
	if n > 0 {
		s.groups = make([]group, n)
	}
	octets := uint64(0)
	for i := range s.groups {
		name, size := d.number(), d.number()
		if name >= uint64(len(commonNames)) || size > maxKeptFields {
			d.fail()
			s.groups = nil
			return
		}
		s.groups[i] = group{int8(name), uint16(size)}
		octets += size
	}
	s.Fields = d.octets(octets)
	if d.bad {
		s.groups = nil
	}
	d.fields = s.Fields
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
	if n > uint64(len(d.rest)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) octets(n uint64) string {
	if n > uint64(len(d.rest)) {
		d.fail()
		return ""
	}
	text := d.rest[:n]
	d.rest = d.rest[n:]
	return text
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
	var texts [4]string
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
	list := make([]Address, n)
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
	if n == 0 || n > uint64(len(d.rest))/least {
		d.fail()
		return
	}
	p.Children = make([]*Part, n)
	parts := make([]Part, n)
	for i := range p.Children {
		p.Children[i] = &parts[i]
		d.part(&parts[i], p.Body.Start, depth+1)
		if d.bad {
			return
		}
	}
}

func (d *decoder) params() (list []Param) {
	for range d.count() {
		list = append(list, Param{d.text(), d.text()})
	}
	return list
}
