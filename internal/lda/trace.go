package lda

import (
	"bytes"
	"strings"
	"time"

	"rtls/store"
)

// trace writes the fields that stand on top of a stored message. Each line ends
// in eol. Where copies of several recipients are one file, nothing in it is of one
// recipient: what RCPT said of reports is in the log alone then.
func (j *job) trace(c *content, eol string) []byte {
	var b bytes.Buffer
	line := func(parts ...string) {
		for _, p := range parts {
			b.WriteString(p)
		}
		b.WriteString(eol)
	}
	var r Recipient
	line("Return-Path: <", j.env.Sender, ">") // RFC 5321 section 4.4: one, on top
	if !c.common {
		r = c.to
		line("Delivered-To: ", r.Address) // RFC 9228
	}
	// Received comes last: a message that starts with white space continues the
	// field above it, and nothing may continue RTLS-Delivery.
	j.writeDelivery(line, &r)
	j.writeReceived(line, &r)
	return b.Bytes()
}

func (j *job) writeDelivery(line func(...string), r *Recipient) {
	env, v := &j.env, &j.v
	version, cipher := "none", ""
	if env.TLS != nil {
		version = strings.Replace(env.TLS.Version, " ", "v", 1)
		cipher = "; cipher=" + env.TLS.Cipher
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
	line("\ttls=", version, cipher, ";")
	peer := env.Remote
	if env.Protocol == "" {
		peer = "pipe"
	}
	line("\tpeer=", peer, "; time=", j.start.Format(time.RFC3339))
}

// writeReceived follows RFC 5321 section 4.4 for LMTP, with the protocol names of
// RFC 3848 and RFC 6531, and the "tls" clause of RFC 8314 section 4.3. There is
// no registered protocol for a pipe, so there the field has neither "from" nor
// "with" (RFC 5322 section 3.6.7 asks for neither).
func (j *job) writeReceived(line func(...string), r *Recipient) {
	env := &j.env
	by := "by " + j.a.cfg.Hostname + " (rtls-lda)"
	if env.Protocol == "" {
		line("Received: ", by, comment(j.v))
	} else {
		line("Received: from ", env.Client, " (", env.Remote, ")")
		line("\t", by, " with ", env.Protocol, comment(j.v))
	}
	if r.Address == "" {
		line("\tid ", env.ID)
	} else {
		line("\tid ", env.ID, " for <", r.Address, ">")
	}
	if env.TLS != nil {
		line("\ttls ", env.TLS.Cipher)
	}
	line("\t; ", j.start.Format(time.RFC1123Z))
}

// comment marks a message that came with REQUIRETLS, the way mox does; not one
// of which only a header field says so.
func comment(v verdict) string {
	if v.tag == store.TagRequire && v.origin != store.OriginHeader {
		return " (requiretls)"
	}
	return ""
}
