// Package compose turns what a program pipes into sendmail into a message that
// can be sent, and its envelope.
//
// The whole message is read before anything is sent. A NUL, a second
// TLS-Required field or a missing recipient are thereby known before a connection
// is opened, so that a refused message leaves nothing behind anywhere, and the size
// for SIZE= is exact. The price is one copy of a large message: a body of up to
// 64 KiB stays in memory, a larger one goes to a file without a name, so that memory
// stays flat.
//
// # What is done to a message
//
// Line ends become CRLF: LF, CRLF, both mixed, and CR alone in the body. The last
// line gets one if it has none. A line that holds a single dot is text. Parts with
// lines of more than 998 octets are encoded in quoted-printable or base64, long
// fields are folded; 8-bit text stays as it is, and is encoded only for a server
// without 8BITMIME. Neither is ever done to a signed part: see Recode.
//
// The header is repaired only where readers disagree about what it means:
//
//   - mbox "From " lines before the first field are removed;
//   - where the first line is no field, the message is a body without a header;
//   - lines before the first field that continue nothing become a Comments field;
//   - a line that is no field, with further fields behind it, continues the field
//     before it; without further fields behind it the body begins there;
//   - blanks before the colon of a field are removed (RFC 5322 section 4.5);
//   - Bcc and Resent-Bcc are removed, always, and so are Return-Path and
//     Content-Length, which mailboxes have;
//   - an address in From without a domain is replaced by the account's;
//   - To and Cc name who is behind aliases, or nobody, if that is asked for, and
//     lose the tag of a wish;
//   - Date, Message-ID and From are added where they are missing, and
//     TLS-Required: No (RFC 8689 section 3) if that is the wish; Resent-Date and
//     Resent-Message-ID where there are other Resent- fields.
//
// # What is refused
//
// NUL octets anywhere (RFC 2045 sections 2.7 and 2.8), a carriage return within a
// header line (what follows it would be a field to some readers and not to
// others), more than one TLS-Required field or one with another value than No,
// a header of more than 1 MiB, more than 100 Received fields, addresses that SMTP
// cannot carry, and long lines in a signed part.
package compose
