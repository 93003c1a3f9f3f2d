package lda

import "rtls/store"

// Envelope is what is known of a message apart from its bytes and recipients.
// What goes into header fields has to be free of line ends: addresses pass
// CheckAddress, Client, EnvID, Notify and ORcpt are checked by whoever sets them.
type Envelope struct {
	ID         string // of this delivery, in Received and the log
	Sender     string // reverse-path without angle brackets; empty is the null reverse-path
	NoSender   bool   // nobody said who the sender is: the message's own Return-Path counts
	Protocol   string // "LMTP", "LMTPS", "UTF8LMTP", "UTF8LMTPS"; empty on the command line
	Client     string // name that the client gave itself
	Remote     string // where the client is: an address, or "unix"
	TLS        *TLS   // nil without
	Local      bool   // the client is a local process whose user we trust
	Stranger   bool   // clients have to show certificates, and this one has not
	RequireTLS bool   // REQUIRETLS was on MAIL, or the command line says so
	Ret        string // "FULL" or "HDRS": what a report may hold (RFC 3461 section 4.3)
	EnvID      string // xtext, as received (RFC 3461 section 4.4)
	QueueID    string // the mail transfer agent's own, for the log and for DeliverOnce
}

// TLS is what a message came through, in the words of package tls, which a delivery
// does not need otherwise.
type TLS struct {
	Version string // "TLS 1.3"
	Cipher  string // "TLS_AES_128_GCM_SHA256"
}

// Recipient is one resolved recipient. Whoever hands it to the agent gets one
// result for it.
type Recipient struct {
	Address string   // as received, quoting and detail included
	User    string   // whose account it is
	Folder  string   // where to deliver; INBOX when it is empty or does not exist
	Also    []Target // further ones, if Address is an alias of several
	Notify  string   // RFC 3461 section 4.1, as received
	ORcpt   string   // RFC 3461 section 4.2, as received
}

// Target is where a message to a recipient goes.
type Target struct {
	User   string
	Folder string // as in Recipient
}

// Targets are all of them, User and Folder first.
func (r *Recipient) Targets() []Target {
	return append([]Target{{r.User, r.Folder}}, r.Also...)
}

// origin is what a tag rests on that came the envelope's way: REQUIRETLS, or its
// absence. Nothing said inside TLS is as good as REQUIRETLS said there, and the
// command line speaks for the mail transfer agent. LMTP in clear cannot carry the
// parameter at all, so what it does not say rests on nothing.
func (e *Envelope) origin() store.Origin {
	switch {
	case e.TLS != nil && !e.Stranger:
		return store.OriginESMTP
	case e.Local:
		return store.OriginLocal
	case e.Protocol == "":
		return store.OriginMDA
	}
	return store.OriginUnknown
}

// eol is the line end of a message that has none.
func (e *Envelope) eol() string {
	if e.Protocol == "" {
		return "\n"
	}
	return "\r\n"
}
