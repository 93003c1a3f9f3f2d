package mimetree

import (
	"bytes"
	"encoding/binary"
	"iter"
	"strings"
)

// commonNames are the fields whose lines a summary keeps: what Thunderbird, mutt,
// Apple's and Android's mail programs, Roundcube and mbsync ask for to list
// messages. Those that many mails have and that are large, Received, DKIM-Signature
// and their like, are left out: they would make the summaries several times as large.
// Names that hardly any mail has cost nothing, and spare the file. Summaries know them
// by their place in this list.
var commonNames = strings.Fields(`
	From Sender Reply-To To Cc Bcc Subject Date Message-ID In-Reply-To References
	Content-Type Content-Description MIME-Version Newsgroups Lines
	Priority X-Priority X-MSMail-Priority Importance Precedence Auto-Submitted
	List-Id List-Post List-Help List-Archive List-Subscribe List-Unsubscribe List-Unsubscribe-Post
	Disposition-Notification-To Return-Receipt-To Return-Path Delivered-To X-Original-To
	X-Label X-Keywords X-Status X-TUID X-Mailer User-Agent X-Draft-Info
	X-K9mail-Identity X-Uniform-Type-Identifier X-Universally-Unique-Identifier
	X-Spam-Flag X-Spam-Status Require-TLS-ESMTP TLS-Required RTLS-Delivery
`)

// knownName is what a field's name is known for.
type knownName struct {
	field  field // none if the tree does not need it
	common int8  // its place in commonNames, -1 if it is not there
}

// longestKnown is the length of the longest name that is known.
const longestKnown = 31

var knownNames = func() map[string]knownName {
	known := make(map[string]knownName)
	for name, f := range fieldNames {
		known[name] = knownName{f, -1}
	}
	for i, name := range commonNames {
		name = strings.ToLower(name)
		f, ok := fieldNames[name]
		if !ok {
			f = none
		}
		known[name] = knownName{f, int8(i)}
	}
	return known
}()

// lookUp finds a field's name, in any case and with white space behind it, which is
// obsolete syntax (RFC 5322 section 4.5).
func lookUp[T []byte | string](name T) knownName {
	end := len(name)
	for end > 0 && blank(name[end-1]) {
		end--
	}
	var lower [longestKnown]byte
	if end > len(lower) {
		return knownName{none, -1}
	}
	for i := range end {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	if known, ok := knownNames[string(lower[:end])]; ok {
		return known
	}
	return knownName{none, -1}
}

// FieldSet is a set of common fields.
type FieldSet uint64

// IsCommon says whether a header field is among those that summaries keep.
func IsCommon(name string) bool { return lookUp(name).common >= 0 }

// CommonFields is the set of those of the names that are common.
func CommonFields(names ...string) (set FieldSet) {
	for _, name := range names {
		if i := lookUp(name).common; i >= 0 {
			set |= 1 << i
		}
	}
	return set
}

// A group is the lines of a common field of a header. Summaries keep groups as three
// octets each: the place of its name in commonNames, and how many octets it has, the
// lowest first.
const groupLen = 3

func groupAt(groups string) (name byte, octets int) {
	return groups[0], int(groups[1]) | int(groups[2])<<8
}

// HasFields says whether Fields holds all lines of the common fields. Those of a
// header that is very large are left out.
func (s *Summary) HasFields() bool { return s.hasFields }

// Lines yields the lines of the fields in a set, those of one field together, in
// their order.
func (s *Summary) Lines(set FieldSet) iter.Seq[string] {
	return func(yield func(string) bool) {
		rest := s.Fields
		for groups := s.groups; groups != ""; groups = groups[groupLen:] {
			name, octets := groupAt(groups)
			lines := rest[:octets]
			rest = rest[octets:]
			if set&(1<<name) != 0 && !yield(lines) {
				return
			}
		}
	}
}

// common collects the common fields of a header.
type common struct {
	lines  []byte
	groups []byte
	wanted bool // the current field is one
	odd    bool // they are too many to be kept, or too odd
}

// begin takes the first line of a field, or its first piece. colon is where its name
// ends, negative if it does not.
func (c *common) begin(pc piece, colon int, known knownName) {
	isField := colon >= 0 && colon < maxName
	c.odd = c.odd || !isField && len(pc.data) > maxName
	c.wanted = isField && known.common >= 0
	if c.wanted && !c.odd {
		c.groups = append(c.groups, byte(known.common), 0, 0)
	}
	c.add(pc)
}

// add takes what follows.
func (c *common) add(pc piece) {
	if !c.wanted || c.odd {
		return
	}
	before := len(c.lines)
	c.lines = append(c.lines, pc.data...)
	if pc.bare {
		c.lines = append(bytes.TrimSuffix(c.lines, []byte("\n")), '\r', '\n')
	}
	if len(c.lines) > maxKeptFields {
		c.odd = true
		return
	}
	octets := c.groups[len(c.groups)-groupLen+1:]
	n := binary.LittleEndian.Uint16(octets) + uint16(len(c.lines)-before)
	binary.LittleEndian.PutUint16(octets, n)
}
