package lda

import (
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

// strictest is the tag without TLS-Required. The origin of "none" is that of the
// path on which a wish would have come: nothing said inside TLS is as good as
// REQUIRETLS said there, and the command line speaks for the mail transfer
// agent. LMTP in clear cannot carry the parameter at all, so what it does not
// say rests on nothing.
func (a *Agent) strictest(env *Envelope, h *header) verdict {
	switch {
	case env.Evidence == ByParameter:
		return verdict{tag: store.TagRequire, origin: store.OriginESMTP}
	case env.Evidence == ByMDA:
		return verdict{tag: store.TagRequire, origin: store.OriginMDA}
	case a.cfg.TrustHeader && len(h.esmtp) > 0 && strings.EqualFold(h.esmtp[0], "yes"):
		return verdict{tag: store.TagRequire, origin: store.OriginHeader}
	case env.Protocol == "":
		return verdict{tag: store.TagNone, origin: store.OriginMDA}
	case env.TLS != nil:
		return verdict{tag: store.TagNone, origin: store.OriginESMTP}
	}
	return verdict{tag: store.TagNone, origin: store.OriginUnknown}
}
