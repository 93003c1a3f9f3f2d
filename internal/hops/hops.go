// Package hops reads out of a message's header by what way it came: who says so, and
// what is said about TLS (RFC 5321 section 4.4, RFC 3848, RFC 8314 section 4.3).
//
// A Received field is no proof of anything: whoever had the message later could have
// written or changed it. The one hop that is evidence is the last one, if our own
// delivery agent made it, which the caller has to know from elsewhere.
package hops

import (
	"strings"
)

// Evidence is what is known about the protection of a hop.
type Evidence string

// Unknown is everything that does not clearly say something else.
const (
	Proven  Evidence = "proven"  // our own record: TLS, or not over a network
	Claimed Evidence = "claimed" // the field says TLS
	Clear   Evidence = "clear"   // the field, or our own record, says that there was no TLS
	Unknown Evidence = "unknown" // the field says nothing of it, contradicts itself or cannot be read
)

// Hop is one Received field. What the field does not have is empty.
type Hop struct {
	Evidence   Evidence `json:"evidence"`
	From       string   `json:"from,omitempty"`
	By         string   `json:"by,omitempty"`
	With       string   `json:"with,omitempty"` // upper case
	TLS        string   `json:"tls,omitempty"`  // the clause, our own record, or the comment that tells of TLS
	RequireTLS bool     `json:"requiretls,omitempty"`
	Date       string   `json:"date,omitempty"` // as it is written
	Note       string   `json:"note,omitempty"` // why it is unknown, and what else is odd
}

// Read returns the hops of a message, the last one first. ours says that our own
// delivery agent has put the message here: then the first field is its, and what
// stands in delivery, the value of its own field, is true.
func Read(received []string, ours bool, delivery string) []Hop {
	list := make([]Hop, 0, len(received))
	for _, value := range received {
		list = append(list, readField(value))
	}
	if ours && len(list) > 0 {
		list[0].prove(delivery)
	}
	return list
}

// prove judges our own hop by what our agent noted of it.
func (h *Hop) prove(delivery string) {
	noted := make(map[string]string)
	for _, part := range strings.Split(delivery, ";") {
		// A semicolon can be the sender's, in ENVID and ORCPT; an equals sign cannot.
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := noted[name]; ok && !twice {
			noted[name] = value
		}
	}
	h.Note = ""
	switch tls, peer := noted["tls"], noted["peer"]; {
	case tls != "" && tls != "none":
		h.Evidence, h.TLS = Proven, strings.TrimSpace(tls+" "+noted["cipher"])
	case peer == "pipe", peer == "unix":
		h.Evidence, h.TLS, h.Note = Proven, "", "handed over on this host, "+peer
	case tls == "none":
		h.Evidence, h.TLS = Clear, ""
	default:
		h.Evidence, h.Note = Unknown, "the delivery agent's record is missing"
	}
}

// protocols are the values of "with" (RFC 3848, RFC 6531, RFC 8689 has none of its
// own): whether there was TLS.
var protocols = map[string]bool{
	"SMTP": false, "ESMTP": false, "ESMTPA": false, "ESMTPS": true, "ESMTPSA": true,
	"LMTP": false, "LMTPA": false, "LMTPS": true, "LMTPSA": true,
	"UTF8SMTP": false, "UTF8SMTPA": false, "UTF8SMTPS": true, "UTF8SMTPSA": true,
	"UTF8LMTP": false, "UTF8LMTPA": false, "UTF8LMTPS": true, "UTF8LMTPSA": true,
	// Names that are in no registry and in many messages.
	"SMTPS": true, "HTTPS": true, "ASMTP": false, "HTTP": false,
}

// readField judges a field that anybody may have written.
func readField(value string) Hop {
	f := parse(value)
	h := Hop{From: f.clause["from"], By: f.clause["by"], With: strings.ToUpper(f.clause["with"]), TLS: f.clause["tls"], Date: f.date}
	for _, c := range f.comments {
		lower := strings.ToLower(c)
		switch {
		case strings.TrimSpace(lower) == "requiretls":
			h.RequireTLS = true
		case h.TLS == "" && tellsOfTLS(lower):
			h.TLS = strings.TrimSpace(c)
		}
	}
	secure, known := protocols[h.With]
	switch {
	case f.odd != "":
		h.Evidence, h.Note = Unknown, f.odd
	case known && !secure && f.clause["tls"] != "":
		h.Evidence, h.Note = Unknown, "it names a protocol without TLS and has a tls clause"
	case known && secure, h.TLS != "":
		h.Evidence = Claimed
	case known:
		h.Evidence = Clear
	case h.With == "":
		h.Evidence, h.Note = Unknown, "it does not say by what protocol"
	default:
		h.Evidence, h.Note = Unknown, "nobody knows this protocol"
	}
	if h.RequireTLS && h.Evidence == Clear {
		h.Evidence, h.Note = Unknown, "it says requiretls, and names a protocol without TLS"
	}
	return h
}

// tellsOfTLS recognises comments like Postfix's "using TLSv1.3 with cipher ...",
// Exim's "TLS1.3" and Sendmail's "version=TLSv1.2 cipher=...".
func tellsOfTLS(comment string) bool {
	for _, word := range strings.FieldsFunc(comment, func(r rune) bool { return strings.ContainsRune(" \t=,;:", r) }) {
		rest, ok := strings.CutPrefix(word, "tls")
		if !ok {
			continue
		}
		rest = strings.TrimPrefix(rest, "v")
		if rest == "1" || strings.HasPrefix(rest, "1.") || strings.HasPrefix(rest, "1_") {
			return true
		}
	}
	return false
}
