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
	inRoot := p.common != nil && p.parts == 1
	for {
		pc := p.next()
		if s, ok := p.stopAt(pc); ok {
			return s, true
		}
		switch {
		case !pc.first, pc.data[0] == ' ', pc.data[0] == '\t':
			p.keep(current, pc.data)
			if inRoot {
				p.common.add(pc)
			}
		case pc.data[0] == '\n', len(pc.data) == 2 && string(pc.data) == "\r\n":
			return stop{}, false
		default:
			colon := bytes.IndexByte(pc.data, ':')
			name, value := pc.data, pc.data[len(pc.data):]
			if colon >= 0 {
				name, value = pc.data[:colon], pc.data[colon+1:]
			}
			known := lookUp(name)
			current = p.begin(known.field, as)
			p.keep(current, value)
			if inRoot {
				p.common.begin(pc, colon, known)
			}
		}
	}
}

// begin starts a field and returns none if it is not to be kept.
func (p *parser) begin(f field, as role) field {
	switch {
	case f == none, f >= date && as != isMessage:
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
	if text, ok := bytes.CutSuffix(data, []byte("\n")); ok {
		data = bytes.TrimSuffix(text, []byte("\r"))
	}
	value := p.values[f]
	data = data[:max(0, min(len(data), maxField-len(value), maxFields-p.kept))]
	p.kept += len(data)
	p.values[f] = append(value, data...)
	for i, c := range p.values[f][len(value):] {
		if c == '\r' || c == 0 {
			p.values[f][len(value)+i] = ' '
		}
	}
}

// text is a field's value, "" if it is absent.
func (p *parser) text(f field) string {
	if !p.seen[f] {
		return ""
	}
	return p.strings.of(bytes.Trim(p.values[f], " \t"))
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
	if !p.seen[f] {
		return nil
	}
	for value := range strings.SplitSeq(p.text(f), "\n") {
		if found := parseAddresses(value); all == nil {
			all = found
		} else {
			all = append(all, found...)
		}
	}
	return all
}
