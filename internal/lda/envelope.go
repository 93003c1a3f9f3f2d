package lda

import "crypto/tls"

// Evidence is what came along with a message, outside it, that demands TLS.
type Evidence uint8

const (
	NoEvidence  Evidence = iota
	ByMDA                // argv or environment of the command
	ByParameter          // REQUIRETLS on MAIL, inside TLS
)

// Envelope is what is known of a message apart from its bytes and recipients.
type Envelope struct {
	ID       string // of this delivery, in Received and the log
	Sender   string // reverse-path without angle brackets; empty is the null reverse-path
	NoSender bool   // nobody said who the sender is: the message's own Return-Path counts
	Protocol string // "LMTP", "LMTPS", "UTF8LMTP", "UTF8LMTPS"; empty on the command line
	Client   string // name that the client gave itself
	Remote   string // where the client is: an address, or "unix"
	TLS      *tls.ConnectionState
	Evidence Evidence
	Ret      string // "FULL" or "HDRS": what a report may hold (RFC 3461 section 4.3)
	EnvID    string // xtext, as received (RFC 3461 section 4.4)
	QueueID  string // the mail transfer agent's own, for the log
}

// Recipient is one resolved recipient.
type Recipient struct {
	Address string // as received, quoting and detail included
	User    string // whose account it is
	Folder  string // where to deliver; INBOX when it is empty or does not exist
	Notify  string // RFC 3461 section 4.1, as received
	ORcpt   string // RFC 3461 section 4.2, as received
}

// effectiveRet is what a report on the message may hold. With REQUIRETLS it is
// the header only, whatever was asked for (RFC 8689 section 5).
func (e *Envelope) effectiveRet() string {
	if e.Evidence != NoEvidence {
		return "HDRS"
	}
	return e.Ret
}

// eol is the line end of a message that has none.
func (e *Envelope) eol() string {
	if e.Protocol == "" {
		return "\n"
	}
	return "\r\n"
}
