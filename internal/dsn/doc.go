// Package dsn makes the reports that tell a sender what became of a message
// (RFC 3464), and takes care of what they give away.
//
// A report has one of two forms. With the header of the message it says all that
// RFC 3464 knows, and never holds more of the message than that header, whatever RET
// was asked for. The minimal form holds the status, the recipients, the envelope
// identifier and the Message-ID, and nothing else: no Subject, no To, no text of the
// server that refused the message, which may have quoted from it.
//
// A report about a message with REQUIRETLS has the same protection as the message
// (RFC 8689 section 5): it goes with REQUIRETLS. The way back need not be able to do
// that. The RFC then wants the report to go all the same, header and all; here it
// goes in its minimal form, which is worth no protection but that of TLS. What
// cannot go by TLS does not go: the caller keeps it and says so.
//
// About a report, which has the null reverse-path, there is no report (RFC 3461
// section 6.2).
package dsn
