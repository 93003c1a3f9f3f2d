package lda

import (
	"bytes"
	"crypto/tls"
	"strings"
	"time"

	"rtls/store"
)

// trace writes the fields that stand on top of a stored message. Each line ends
// in eol.
func (a *Agent) trace(env *Envelope, r *Recipient, v verdict, eol string, now time.Time) []byte {
	var b bytes.Buffer
	line := func(parts ...string) {
		for _, p := range parts {
			b.WriteString(p)
		}
		b.WriteString(eol)
	}
	line("Return-Path: <", env.Sender, ">") // RFC 5321 section 4.4: one, on top
	line("Delivered-To: ", r.Address)       // RFC 9228
	// Received comes last: a message that starts with white space continues the
	// field above it, and nothing may continue RTLS-Delivery.
	writeDelivery(line, env, r, v)
	a.writeReceived(line, env, r, v, now)
	return b.Bytes()
}

func writeDelivery(line func(...string), env *Envelope, r *Recipient, v verdict) {
	version, cipher := "none", ""
	if env.TLS != nil {
		version = strings.Replace(tls.VersionName(env.TLS.Version), " ", "v", 1)
		cipher = "; cipher=" + tls.CipherSuiteName(env.TLS.CipherSuite)
	}
	more := func(name, value string) string {
		if value == "" {
			return ""
		}
		return "; " + name + "=" + value
	}
	ret := env.Ret
	if v.tag == store.TagRequire {
		ret = "HDRS" // RFC 8689 section 5: whatever was asked for
	}
	line(deliveryField, ": tag=", v.tag.String(), "; origin=", v.origin.String(), more("ret", ret), ";")
	if dsn := more("envid", env.EnvID) + more("notify", r.Notify); dsn != "" {
		line("\t", dsn[2:], ";")
	}
	if r.ORcpt != "" {
		line("\torcpt=", r.ORcpt, ";")
	}
	line("\ttls=", version, cipher)
}

// writeReceived follows RFC 5321 section 4.4 for LMTP, with the protocol names of
// RFC 3848 and RFC 6531, and the "tls" clause of RFC 8314 section 4.3. There is
// no registered protocol for a pipe, so there the field has neither "from" nor
// "with" (RFC 5322 section 3.6.7 asks for neither).
func (a *Agent) writeReceived(line func(...string), env *Envelope, r *Recipient, v verdict, now time.Time) {
	by := "by " + a.cfg.Hostname + " (rtls-lda)"
	if env.Protocol == "" {
		line("Received: ", by, comment(v))
	} else {
		line("Received: from ", env.Client, " (", env.Remote, ")")
		line("\t", by, " with ", env.Protocol, comment(v))
	}
	line("\tid ", env.ID, " for <", r.Address, ">")
	if env.TLS != nil {
		line("\ttls ", tls.CipherSuiteName(env.TLS.CipherSuite))
	}
	line("\t; ", now.Format(time.RFC1123Z))
}

// comment marks a message that came with REQUIRETLS, the way mox does; not one
// of which only a header field says so.
func comment(v verdict) string {
	if v.tag == store.TagRequire && v.origin != store.OriginHeader {
		return " (requiretls)"
	}
	return ""
}
