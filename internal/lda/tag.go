package lda

import (
	"slices"
	"strings"

	"rtls/internal/requiretls"
	"rtls/store"
)

// verdict is a message's tag with what it rests on, and what the log should
// know about the evidence.
type verdict struct {
	tag    store.Tag
	origin store.Origin
	notes  []string
}

// judge decides a message's tag. The evidence, best first: the parameter of MAIL,
// the command line, the header fields (RFC 8689 section 4.1: with the parameter
// the TLS-Required field has no say).
func (a *Agent) judge(env *Envelope, h *header) verdict {
	wish := requiretls.ReadHeader(h.tlsRequired)
	v := a.strictest(env, h)
	switch {
	case v.tag == store.TagRequire:
		if wish != requiretls.HeaderAbsent {
			v.notes = append(v.notes, "TLS-Required passed over: REQUIRETLS wins")
		}
	case !h.whole:
		// Nobody has read all of the header, so nobody can say "none".
		v = verdict{tag: store.TagUnknown, origin: store.OriginUnknown, notes: []string{"header too long to judge"}}
	case wish == requiretls.HeaderOptional:
		v = verdict{tag: store.TagOptional, origin: store.OriginHeader}
	case wish == requiretls.HeaderMalformed:
		v.notes = append(v.notes, "TLS-Required malformed, not obeyed")
	}
	if h.forged > 0 {
		v.notes = append(v.notes, deliveryField+" of somebody else removed")
	}
	return v
}

// strictest is the tag without TLS-Required.
func (a *Agent) strictest(env *Envelope, h *header) verdict {
	says := func(value string) bool { return strings.EqualFold(value, "yes") }
	switch {
	case env.RequireTLS:
		return verdict{tag: store.TagRequire, origin: env.origin()}
	// Postfix adds its field at the end. One that the sender put above it and
	// that says something else must not hide it.
	case a.cfg.TrustHeader && slices.ContainsFunc(h.esmtp, says):
		return verdict{tag: store.TagRequire, origin: store.OriginHeader}
	}
	return verdict{tag: store.TagNone, origin: env.origin()}
}

// explainEvidence says what the tag is and what it rests on.
func (j *job) explainEvidence() {
	if j.a.cfg.Explain == nil {
		return
	}
	from := "as the agent says"
	if j.env.NoSender {
		from = "as Return-Path or the From line says"
	}
	j.a.explain("sender: <%s>, %s", j.env.Sender, from)
	parameter := "no REQUIRETLS"
	if j.env.RequireTLS {
		parameter = "REQUIRETLS"
	}
	j.a.explain("tag: %s, origin %s: %s; TLS-Required: %q; Require-TLS-ESMTP: %q, trusted %t",
		j.v.tag, j.v.origin, parameter, j.h.tlsRequired, j.h.esmtp, j.a.cfg.TrustHeader)
	for _, note := range j.v.notes {
		j.a.explain("tag: %s", note)
	}
	if j.mayKnow() {
		j.a.explain("once: the message is known again by the queue id %s, the recipient and its digest", j.queueID())
	} else {
		j.a.explain("once: the message is not known again")
	}
}
