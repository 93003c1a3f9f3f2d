// Package spool is the durable outgoing queue of rtls-send. It keeps messages with
// their envelopes and wishes until a server has taken them, and knows no SMTP: what
// sends is a Transport. Several processes can use a spool at once. It needs a local
// file system with flock and rename.
//
// # Layout
//
//	SPOOL/        0711 with drop/, else 0700; its owner is the flusher
//	  queue/      0700; a file a message, named by its ID
//	  failed/     0700; messages that will not be sent, and files that are none
//	  state/      0700; a small file for each message that was tried, held or failed
//	  drop/       3733, optional: the door for everybody else
//
// An ID is the time in nanoseconds and 64 random bits, 26 letters and digits.
//
// Users who do not own the spool write their messages into drop/, without any
// program that runs with the rights of another. They can enter names there, and
// neither list nor read nor remove those of others: nobody but the owner of the
// directory can read it, and it is sticky. A message there belongs to who wrote it
// and has mode 0640, with the directory's group, or 0600 where the directory is not
// set-group-ID. Its sender is the owner of the file, which nobody can give away. It
// names an account of the flusher's configuration, never a server of its own. What
// comes from there is read as if a stranger had made it.
//
// # A message's file
//
//	rtls-spool 1 SHA256\n    of the next line; 1 is the version
//	{"id":...}\n             the Record in JSON, as this package writes it, to the octet
//	...                      Record.Size octets: the message, with CRLF line ends
//	rtls-end SHA256\n        of the message
//
// It never changes once it has a name. A file in which a single octet is wrong is
// moved to failed/ and not sent, so that neither a recipient nor a wish can be
// changed by accident. One of a newer version stays where it is, since it may wish
// for something that this program cannot do. A state's file is its first two lines,
// with the words "rtls-state 1"; damaged, it holds the message back.
//
// # States of a message
//
//	Q0  nothing
//	Q1  its file is being written and has no name
//	Q2  the file is whole and its content durable
//	Q3  it has its name in queue/ or drop/, and the name is durable: accepted
//	Q4  taken over from drop/ into queue/
//	Q5  in doubt: its last octet may leave, which is durable in state/ beforehand
//	Q6  the server has taken it: the name is gone, and that is durable
//	Q7  given up: it is in failed/
//
// Q3 is the commit point; only behind it may a caller be told that the message is
// here. A refusal leads from Q5 back to Q3. From Q5 a process that is killed, or
// whose connection is lost, leaves the message in doubt: the server may have it or
// not, and no protocol can tell (RFC 1047).
//
// # In doubt
//
// Such a message is sent again, after half an hour at the earliest and with the same
// Message-ID and envelope identifier, as RFC 5321 section 4.5.4.1 has it and other
// queues do. A second copy can be seen and thrown away, by rtls-lda if it is told to,
// while one message too few is noticed by nobody. But a sender is told:
// lists show the doubt, each such sending is logged, and after the fourth without an
// answer the message is given up, so that no broken server is fed for days. With
// InDoubt set to Hold, nothing is sent a second time until somebody says so.
//
// # Some recipients
//
// A server that answers for each recipient, as LMTP does, may take a message for some.
// They are in its state, and it is sent to the others only. Those it refuses for good
// are reported at once; once nobody else is left, the message is given up, Q7, with
// them. The process can end between a server's answer and the state: that is a doubt
// as any other.
//
// # Guarantees
//
// They hold after any crash, provided that the file system keeps what it was told
// to make durable:
//
//	G1  A message whose Add has returned nil is sent, or given up and kept, or it is
//	    still here. It vanishes only when a server took it or somebody removed it.
//	G2  A message whose Add has returned an error is not here. If the disk refuses
//	    even to take its name back, it may be.
//	G3  It is sent once, unless it is in doubt; then at most four times, and with
//	    Hold once.
//	G4  It is sent with the envelope and the wish that it was added with, or not at
//	    all.
//	G5  Only one process at a time sends it or changes its state. The lock is the
//	    system's and ends with the process, however that ends.
//	G6  One that is given up is kept, and a report of it made at least once.
//	G7  Message bytes are never altered.
package spool
