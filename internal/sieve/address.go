package sieve

import (
	"slices"
	"strings"

	"rtls/internal/mimetree"
)

// addressFields are the fields that the test address can look at: those that hold
// addresses (RFC 5228 section 5.1).
var addressFields = []string{
	"apparently-to", "bcc", "cc", "delivered-to", "disposition-notification-to",
	"envelope-from", "envelope-to", "errors-to", "from", "mail-followup-to",
	"mail-reply-to", "reply-to", "resent-bcc", "resent-cc", "resent-from",
	"resent-reply-to", "resent-sender", "resent-to", "return-path",
	"return-receipt-to", "sender", "to", "x-original-to",
}

type addressPart uint8

const (
	partAll addressPart = iota
	partLocal
	partDomain
	partUser
	partDetail
)

func readPart(call *call) addressPart {
	for tag, part := range map[string]addressPart{"localpart": partLocal, "domain": partDomain, "user": partUser, "detail": partDetail} {
		if call.has(tag) {
			return part
		}
	}
	return partAll
}

// of returns the part of an address, if it has that part.
func (p addressPart) of(a mimetree.Address, delimiter string) (string, bool) {
	if p == partAll {
		return whole(a), true
	}
	if a.Mailbox == "" || a.Host == "" { // RFC 5228 section 2.7.4
		return "", false
	}
	user, detail, detailed := splitDetail(a.Mailbox, delimiter)
	switch p {
	case partLocal:
		return a.Mailbox, true
	case partDomain:
		return a.Host, true
	case partUser:
		return user, true
	default:
		return detail, detailed
	}
}

// whole is an address without the quoting of its local part.
func whole(a mimetree.Address) string {
	if a.Host == "" {
		return a.Mailbox
	}
	return a.Mailbox + "@" + a.Host
}

// splitDetail cuts a local part at the first delimiter that has something before
// it (RFC 5233).
func splitDetail(local, delimiter string) (user, detail string, detailed bool) {
	if delimiter == "" || local == "" {
		return local, "", false
	}
	if i := strings.Index(local[1:], delimiter); i >= 0 {
		return local[:i+1], local[i+1+len(delimiter):], true
	}
	return local, "", false
}

// addresses reads the unfolded value of an address field, groups taken apart.
func addresses(value string) []mimetree.Address {
	list := mimetree.ParseAddresses(strings.ReplaceAll(value, "\x00", " "))
	return slices.DeleteFunc(list, func(a mimetree.Address) bool { return a.Kind != mimetree.Mailbox })
}

// pathAddress reads an address of the envelope. Its source route is dropped.
func pathAddress(path string) (mimetree.Address, bool) {
	list := addresses("<" + path + ">")
	if len(list) != 1 || path == "" {
		return mimetree.Address{}, false
	}
	return list[0], true
}

// addressSource is the test address.
type addressSource struct {
	names []text
	part  addressPart
}

func (c *compiler) addressSource(call *call) (valueSource, error) {
	s := addressSource{part: readPart(call)}
	var err error
	if s.names, err = c.all(call.pos[0]); err != nil {
		return nil, err
	}
	for _, name := range s.names {
		if name.constant() && !slices.Contains(addressFields, lower(name.raw)) {
			return nil, name.at.errorf("address does not look at %q, which holds no addresses: use header", name.raw)
		}
	}
	return s, nil
}

func (s addressSource) values(r *run) (list []string, count int, err error) {
	for _, t := range s.names {
		name := lower(r.expand(t))
		if !slices.Contains(addressFields, name) {
			continue
		}
		found, err := r.content.addresses(r.ctx, name)
		if err != nil || !r.work.spend(perValue*(len(found)+1)) {
			return nil, 0, err
		}
		for _, a := range found {
			if v, ok := s.part.of(a, r.env.Delimiter); ok {
				list = append(list, v)
			}
		}
		count += len(found)
	}
	return list, count, nil
}

// envelopeSource is the test envelope.
type envelopeSource struct {
	parts []text
	part  addressPart
}

func (c *compiler) envelopeSource(call *call) (valueSource, error) {
	s := envelopeSource{part: readPart(call)}
	var err error
	if s.parts, err = c.all(call.pos[0]); err != nil {
		return nil, err
	}
	for _, t := range s.parts {
		if name := lower(t.raw); t.constant() && name != "from" && name != "to" {
			return nil, t.at.errorf(`the envelope has no part %q: it can be "from" or "to"`, t.raw)
		}
	}
	return s, nil
}

func (s envelopeSource) values(r *run) (list []string, count int, err error) {
	for _, t := range s.parts {
		var path string
		switch name := lower(r.expand(t)); name {
		case "from":
			if path = r.content.Sender; path == "" {
				list = append(list, "") // whatever the part (RFC 5228 section 5.4)
			}
		case "to":
			path = r.content.Recipient
		default:
			return nil, 0, t.at.errorf(`the envelope has no part %q: it can be "from" or "to"`, name)
		}
		if !r.work.spend(perValue + len(path)) {
			return nil, 0, nil
		}
		a, ok := pathAddress(path)
		if !ok {
			continue
		}
		count++
		if v, ok := s.part.of(a, r.env.Delimiter); ok {
			list = append(list, v)
		}
	}
	return list, count, nil
}
