package mimetree

import (
	"bytes"
	"strings"
)

// field is a header field that the tree is interested in.
type field int8

const (
	none field = iota - 1
	contentType
	contentID
	contentDescription
	contentEncoding
	contentMD5
	contentDisposition
	contentLanguage
	contentLocation
	date // from here on, only of messages
	subject
	inReplyTo
	messageID
	references
	from // from here on, address lists
	sender
	replyTo
	to
	cc
	bcc
	fieldCount
)

var fieldNames = map[string]field{
	"content-type":              contentType,
	"content-id":                contentID,
	"content-description":       contentDescription,
	"content-transfer-encoding": contentEncoding,
	"content-md5":               contentMD5,
	"content-disposition":       contentDisposition,
	"content-language":          contentLanguage,
	"content-location":          contentLocation,
	"date":                      date,
	"subject":                   subject,
	"in-reply-to":               inReplyTo,
	"message-id":                messageID,
	"references":                references,
	"from":                      from,
	"sender":                    sender,
	"reply-to":                  replyTo,
	"to":                        to,
	"cc":                        cc,
	"bcc":                       bcc,
}

// longestName is that of Content-Transfer-Encoding.
const longestName = 25

// fields are the fields of the header that was read last.
type fields struct {
	values [fieldCount][]byte // unfolded; address lists of several fields have LF between them
	seen   [fieldCount]bool
	kept   int // octets, in the whole message
}

// header reads a header with the empty line that ends it. If it is stopped before
// that, it returns true and by what.
func (p *parser) header(as role) (stop, bool) {
	p.seen = [fieldCount]bool{}
	current := none
	for {
		pc := p.next()
		if s, ok := p.stopAt(pc); ok {
			return s, true
		}
		if p.keepHead && p.parts == 1 && len(p.head) < maxHead {
			p.head = append(p.head, pc.data...)
		}
		switch {
		case !pc.first, pc.data[0] == ' ', pc.data[0] == '\t':
			p.keep(current, pc.data)
		case pc.data[0] == '\n', len(pc.data) == 2 && string(pc.data) == "\r\n":
			return stop{}, false
		default:
			name, value, _ := bytes.Cut(pc.data, []byte(":"))
			current = p.begin(name, as)
			p.keep(current, value)
		}
	}
}

// begin starts a field and returns none if it is not to be kept.
func (p *parser) begin(name []byte, as role) field {
	name = bytes.TrimRight(name, " \t") // obsolete syntax, RFC 5322 section 4.5
	if len(name) > longestName {
		return none
	}
	var lower [longestName]byte
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	f, ok := fieldNames[string(lower[:len(name)])]
	switch {
	case !ok, f >= date && as != isMessage:
		return none
	case !p.seen[f]:
		p.seen[f] = true
		p.values[f] = p.values[f][:0]
	case f < from, len(p.values[f]) >= maxField, p.kept >= maxFields:
		return none
	default:
		p.values[f] = append(p.values[f], '\n')
		p.kept++
	}
	return f
}

// keep appends a piece of a line to a field's value, unfolded and without what
// cannot be shown: NUL and a CR that ends no line become blanks.
func (p *parser) keep(f field, data []byte) {
	if f == none {
		return
	}
	value := p.values[f]
	data = data[:max(0, min(len(data), maxField-len(value), maxFields-p.kept))]
	p.kept += len(data)
	for i, c := range data {
		switch {
		case c == '\n', c == '\r' && i+1 < len(data) && data[i+1] == '\n':
			continue
		case c == '\r', c == 0:
			c = ' '
		}
		value = append(value, c)
	}
	p.values[f] = value
}

// text is a field's value, "" if it is absent.
func (p *parser) text(f field) string {
	if !p.seen[f] {
		return ""
	}
	return string(bytes.Trim(p.values[f], " \t"))
}

// textOrNil tells an absent field from an empty one.
func (p *parser) textOrNil(f field) *string {
	if !p.seen[f] {
		return nil
	}
	s := p.text(f)
	return &s
}

// describe fills in what the Content fields say.
func (p *parser) describe(part *Part, as role) {
	var ok bool
	part.Type, part.Subtype, part.Params, ok = parseType(p.text(contentType))
	switch {
	case ok:
	case as == isDigested && !p.seen[contentType]: // RFC 2046 section 5.1.5
		part.Type, part.Subtype = "message", "rfc822"
	default: // RFC 2045 section 5.2
		part.Type, part.Subtype = "text", "plain"
	}
	part.ID = p.text(contentID)
	part.Description = p.text(contentDescription)
	part.Encoding = parseToken(p.text(contentEncoding))
	part.MD5 = p.text(contentMD5)
	part.Disposition, part.DispositionParams = parseDisposition(p.text(contentDisposition))
	for tag := range strings.SplitSeq(p.text(contentLanguage), ",") {
		if tag = parseToken(tag); tag != "" {
			part.Language = append(part.Language, tag)
		}
	}
	part.Location = p.text(contentLocation)
}

// envelope makes the envelope of a message.
func (p *parser) envelope() *Envelope {
	e := &Envelope{
		Date:      p.textOrNil(date),
		Subject:   p.textOrNil(subject),
		InReplyTo: p.textOrNil(inReplyTo),
		MessageID: p.textOrNil(messageID),
		From:      p.addresses(from),
		Sender:    p.addresses(sender),
		ReplyTo:   p.addresses(replyTo),
		To:        p.addresses(to),
		Cc:        p.addresses(cc),
		Bcc:       p.addresses(bcc),
	}
	if len(e.Sender) == 0 {
		e.Sender = e.From
	}
	if len(e.ReplyTo) == 0 {
		e.ReplyTo = e.From
	}
	return e
}

// addresses parses each field of its own, so that a quote or a comment that is
// left open in one cannot swallow the next.
func (p *parser) addresses(f field) []Address {
	var all []Address
	for value := range strings.SplitSeq(p.text(f), "\n") {
		all = append(all, parseAddresses(value)...)
	}
	return all
}
