// Package mimetree finds the parts of a message and where each one lies in it.
//
// It takes one pass, in memory that depends on the number of parts and not on the
// message's size, and fails on no input: where a message breaks the rules, the
// tree says what a careful reader would make of it. Nothing is decoded and nothing
// is written anew, so that what IMAP serves of a part are the message's own bytes.
package mimetree

import "strings"

// Limits of a tree. What lies beyond them stays in the body of the part that it
// was found in.
const (
	MaxDepth = 100    // parts one in the other
	MaxParts = 10_000 // parts in all

	maxField    = 256 << 10 // octets kept of the values of one field name
	maxFields   = 1 << 20   // octets kept of all fields of a message
	maxBoundary = 998       // octets; RFC 2046 section 5.1.1 allows 70
)

// Span is a range of octets of the message, the end not included.
type Span struct{ Start, End int64 }

// Size is the number of octets in the span.
func (s Span) Size() int64 { return s.End - s.Start }

// Part is a part of a message, or a whole message.
//
// Strings are the header's own, unfolded, without white space around them and
// without RFC 5322 quoting; encoded words and the pieces of RFC 2231 stay as they
// are. They may hold any octet but NUL, CR and LF, in whose place a space stands.
// An empty string is a field that is absent, or empty. Of several fields with
// one name the first counts.
type Part struct {
	// Header reaches up to and with the empty line that ends it, if there is one.
	// It starts where the part starts, and Body follows it at once.
	Header Span
	// Body ends before the line end that belongs to the delimiter line behind it
	// (RFC 2046 section 5.1.1). A line end that is part of a header is not given
	// away: a header's lines are whole.
	Body  Span
	Lines int64 // line feeds in Body

	// Type and Subtype are as written; compare with Is. Without a Content-Type, or
	// with one that cannot be read, they are text/plain, and message/rfc822 in a
	// multipart/digest.
	Type, Subtype     string
	Params            []Param // in their order; no charset is added
	ID                string
	Description       string
	Encoding          string
	MD5               string
	Disposition       string
	DispositionParams []Param
	Language          []string
	Location          string

	// Children are the parts of a multipart, none if no delimiter was found, and
	// for message/rfc822 and message/global exactly one, the message in it.
	Children []*Part
	// Envelope is there for messages: the root and the child of a message part.
	Envelope *Envelope
}

// Param is a parameter of Content-Type or Content-Disposition.
type Param struct{ Name, Value string }

// Envelope is a message's envelope as IMAP has it (RFC 9051 section 7.5.2). Of the
// four texts nil means absent, which is not the same as empty. Of several fields
// with one name the first counts, but address lists are put together, so that
// nobody can hide one From behind another. Sender and ReplyTo are already those of
// From where they are absent or empty.
type Envelope struct {
	Date, Subject, InReplyTo, MessageID *string
	From, Sender, ReplyTo, To, Cc, Bcc  []Address
}

// Address is one element of an envelope's address list.
type Address struct {
	Kind AddressKind
	Name string // display name or, without one, the comment behind the address
	// Route is the source route of RFC 822, "@a,@b".
	Route string
	// Mailbox is the local part, for GroupStart the name of the group.
	Mailbox string
	// Host is empty where the address has no domain, which IMAP must show as "" since
	// NIL would make it a group.
	Host string
}

// AddressKind tells addresses from the marks around the members of a group.
type AddressKind uint8

const (
	Mailbox    AddressKind = iota
	GroupStart             // shown as (NIL NIL mailbox NIL)
	GroupEnd               // shown as (NIL NIL NIL NIL); always follows a GroupStart
)

// Is compares the content type, in any case. An empty subtype matches every one.
func (p *Part) Is(typ, subtype string) bool {
	return strings.EqualFold(p.Type, typ) && (subtype == "" || strings.EqualFold(p.Subtype, subtype))
}

// IsMultipart says whether Children are parts of a multipart.
func (p *Part) IsMultipart() bool { return p.Is("multipart", "") }

// IsMessage says whether the part holds a message: Children[0].
func (p *Part) IsMessage() bool { return p.Is("message", "rfc822") || p.Is("message", "global") }

// Param returns the value of the first Content-Type parameter of that name, in
// any case, or "".
func (p *Part) Param(name string) string { return param(p.Params, name) }

func param(params []Param, name string) string {
	for _, p := range params {
		if strings.EqualFold(p.Name, name) {
			return p.Value
		}
	}
	return ""
}

// Find returns the part with an IMAP section number (RFC 9051 section 6.4.5.1),
// counted from the message p, or nil. The empty path is p itself. Part 1 of a
// message that is no multipart is its body, so the part returned is the message;
// numbers behind that of a message part go on in the message it holds.
//
// BODY[path] is the part's Body and BODY[path.MIME] its Header. For a message part,
// BODY[path.HEADER] and BODY[path.TEXT] are Header and Body of its Children[0].
func (p *Part) Find(path []int) *Part {
	part := p
	in := p // what the next number counts in: a multipart or a message
	for _, n := range path {
		switch {
		case in == nil || n < 1:
			return nil
		case in.IsMultipart():
			if n > len(in.Children) {
				return nil
			}
			part = in.Children[n-1]
		case n == 1:
			part = in
		default:
			return nil
		}
		switch {
		case part.IsMultipart():
			in = part
		case part.IsMessage():
			in = part.Children[0]
		default:
			in = nil
		}
	}
	return part
}
