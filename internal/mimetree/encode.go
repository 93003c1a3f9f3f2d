package mimetree

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
)

// A summary's octets:
//
//	version                 1 octet, changed with the form or the list of common fields
//	size, header            numbers: unsigned, 7 bits an octet, lowest first
//	flags                   1: there are fields, 2: there is a tree
//	fields                  number of octets of their groups, and of their lines;
//	                        the groups (see common.go); the lines
//	thread                  text
//	structure               number of octets, and these
//	envelope
//	tree                    parts, each before those in it
//	checksum                CRC-32C of all before it, 4 octets, lowest first
//
// A text is the double of its length and its octets or, where the fields hold the
// same octets, the double of its length plus 1 and where they are in them. Most of
// an envelope is.
const (
	summaryVersion = 3
	checksumLen    = 4
	minReference   = 4 // octets of a text for which it pays

	// MaxSummary is how many octets are kept of a message. What says more of itself
	// is rare, and has to be looked at each time.
	MaxSummary = 64 << 10
)

// ErrTooLarge says that a summary is too large to be kept.
var ErrTooLarge = errors.New("summary of the message is too large")

// castagnoli makes its table when it is first wanted: a process that delivers one
// message has no use for it, and it is a twentieth of its start.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

const (
	flagFields = 1 << iota
	flagTree
)

// AppendBinary appends the summary's octets to b: ErrTooLarge.
func (s *Summary) AppendBinary(b []byte) ([]byte, error) {
	e := encoder{b: append(b, summaryVersion), fields: s.Fields}
	e.number(uint64(s.Size))
	e.number(uint64(s.Header))
	flags := 0
	if s.hasFields {
		flags |= flagFields
	}
	if s.Root != nil {
		flags |= flagTree
	}
	e.number(uint64(flags))
	e.number(uint64(len(s.groups)))
	e.number(uint64(len(s.Fields)))
	e.b = append(e.b, s.groups...)
	e.b = append(e.b, s.Fields...)
	e.text(s.Thread)
	structure := s.Structure
	if len(structure) > MaxStructure {
		structure = ""
	}
	e.number(uint64(len(structure)))
	e.b = append(e.b, structure...)
	e.envelope(s.Envelope)
	if s.Root != nil {
		e.part(s.Root, 0, s.Envelope)
	}
	if len(e.b)-len(b)+checksumLen > MaxSummary {
		return b, ErrTooLarge
	}
	return binary.LittleEndian.AppendUint32(e.b, crc32.Checksum(e.b[len(b):], castagnoli())), nil
}

type encoder struct {
	b      []byte
	fields string
}

func (e *encoder) number(n uint64) { e.b = binary.AppendUvarint(e.b, n) }

func (e *encoder) text(s string) {
	n := uint64(len(s)) * 2
	if len(s) >= minReference {
		if at := strings.Index(e.fields, s); at >= 0 {
			e.number(n + 1)
			e.number(uint64(at))
			return
		}
	}
	e.number(n)
	e.b = append(e.b, s...)
}

// Which texts and lists an envelope has.
const (
	hasDate = 1 << iota
	hasSubject
	hasInReplyTo
	hasMessageID
	senderIsFrom
	replyToIsFrom
)

func (e *encoder) envelope(v *Envelope) {
	texts := [...]*string{v.Date, v.Subject, v.InReplyTo, v.MessageID}
	has := 0
	for i, text := range texts {
		if text != nil {
			has |= 1 << i
		}
	}
	if slices.Equal(v.Sender, v.From) {
		has |= senderIsFrom
	}
	if slices.Equal(v.ReplyTo, v.From) {
		has |= replyToIsFrom
	}
	e.number(uint64(has))
	for _, text := range texts {
		if text != nil {
			e.text(*text)
		}
	}
	e.addresses(v.From)
	if has&senderIsFrom == 0 {
		e.addresses(v.Sender)
	}
	if has&replyToIsFrom == 0 {
		e.addresses(v.ReplyTo)
	}
	e.addresses(v.To)
	e.addresses(v.Cc)
	e.addresses(v.Bcc)
}

// An address's kind is in the two lowest bits.
const (
	hasName = 4 << iota
	hasRoute
)

func (e *encoder) addresses(list []Address) {
	e.number(uint64(len(list)))
	for i := range list {
		a := &list[i]
		has := uint64(a.Kind)
		if a.Name != "" {
			has |= hasName
		}
		if a.Route != "" {
			has |= hasRoute
		}
		e.number(has)
		if a.Name != "" {
			e.text(a.Name)
		}
		if a.Route != "" {
			e.text(a.Route)
		}
		e.text(a.Mailbox)
		e.text(a.Host)
	}
}

// Which of what is rare a part has; the first ones are in the order of texts.
const (
	hasID = 1 << iota
	hasDescription
	hasEncoding
	hasMD5
	hasDisposition
	hasLocation
	hasParams
	hasDispositionParams
	hasLanguage
	hasEnvelope
	hasChildren
)

// texts are the texts of a part that can be empty.
func (p *Part) texts() [6]*string {
	return [...]*string{&p.ID, &p.Description, &p.Encoding, &p.MD5, &p.Disposition, &p.Location}
}

// part writes a part and those in it. Places are counted from base; known is an
// envelope that is written already.
func (e *encoder) part(p *Part, base int64, known *Envelope) {
	has := 0
	for i, text := range p.texts() {
		if *text != "" {
			has |= 1 << i
		}
	}
	if len(p.Params) > 0 {
		has |= hasParams
	}
	if len(p.DispositionParams) > 0 {
		has |= hasDispositionParams
	}
	if len(p.Language) > 0 {
		has |= hasLanguage
	}
	if p.Envelope != nil && p.Envelope != known {
		has |= hasEnvelope
	}
	if len(p.Children) > 0 {
		has |= hasChildren
	}
	e.number(uint64(has))
	e.number(uint64(p.Header.Start - base))
	e.number(uint64(p.Header.Size()))
	e.number(uint64(p.Body.Size()))
	e.number(uint64(p.Lines))
	e.text(p.Type)
	e.text(p.Subtype)
	for _, text := range p.texts() {
		if *text != "" {
			e.text(*text)
		}
	}
	if has&hasParams != 0 {
		e.params(p.Params)
	}
	if has&hasDispositionParams != 0 {
		e.params(p.DispositionParams)
	}
	if has&hasLanguage != 0 {
		e.number(uint64(len(p.Language)))
		for _, tag := range p.Language {
			e.text(tag)
		}
	}
	if has&hasEnvelope != 0 {
		e.envelope(p.Envelope)
	}
	if has&hasChildren != 0 {
		e.number(uint64(len(p.Children)))
		for _, child := range p.Children {
			e.part(child, p.Body.Start, nil)
		}
	}
}

func (e *encoder) params(list []Param) {
	e.number(uint64(len(list)))
	for _, p := range list {
		e.text(p.Name)
		e.text(p.Value)
	}
}
