// Package sieve runs a user's mail filter on a message that is being delivered.
// The filter is a script in Sieve (RFC 5228).
//
// Parse reads a script and checks all of it, reached or not. Run says what is to
// be done with a message; doing it is the caller's. Nothing that a script or a
// message holds loses mail: whatever goes wrong in a run, its result is to keep the
// message.
//
// # Language
//
// All of RFC 5228, with the comparators i;octet, i;ascii-casemap and (RFC 4790)
// i;ascii-numeric, and these extensions:
//
//	body               RFC 5173; :text is :content "text", HTML as it is written
//	copy               RFC 3894
//	date               RFC 5260; index, of the same RFC, is not there
//	encoded-character  RFC 5228
//	envelope           RFC 5228; "from" and "to"
//	ereject, reject    RFC 5429; not beside an action that stores or sends
//	fileinto           RFC 5228
//	imap4flags         RFC 5232; names of variables are constant
//	mailbox            RFC 5490
//	relational         RFC 5231
//	subaddress         RFC 5233; as the delivery cuts addresses, see Env.Delimiter
//	vacation           RFC 5230
//	vacation-seconds   RFC 6131
//	variables          RFC 5229
//	vnd.rtls.tag       the tag of RFC 8689, see below
//
// Line ends within strings of a script are CRLF, whatever those of its file, and so
// are those of the bodies that they are compared with.
//
// # Tag
//
//	Usage:  tlstag [MATCH-TYPE] [COMPARATOR] <key-list: string-list>
//	        tlsorigin [MATCH-TYPE] [COMPARATOR] <key-list: string-list>
//
// tlstag compares what the sender wished for the message's way: "require" is
// REQUIRETLS, "optional" is TLS-Required: No, "none" is neither and "unknown" is
// that nobody can say. tlsorigin compares what that rests on: "esmtp" for the
// parameter in a verified session, "local" for a local client whose user was
// checked, "mda" for the mail system's own configuration, "header" for a field that
// anybody could have written, "unknown" for nothing. With :is, the default, a key
// that is none of these is an error.
//
//	require ["vnd.rtls.tag", "fileinto"];
//	if allof (tlstag "require", tlsorigin "esmtp") { fileinto "Confidential"; }
//
// # Limits
//
// Of a script, in parser.go: its length, and how deep blocks and tests nest. Of a
// run, in run.go: variables, strings, actions, and how much is read of a header. A
// site sets Limits: how many addresses a message is redirected to, and how much a
// run can do at all. A script has no loops, and :matches takes no more steps than
// the length of the pattern times that of the value; they come out of the same
// budget, so that a run ends in time whatever the script and the message. What a
// body test holds in memory depends on the keys and not on the message.
//
// Beyond a limit a script has an error, but for two things: values of variables are
// cut off (RFC 5229 section 6), and so are strings that variables have made long.
package sieve
