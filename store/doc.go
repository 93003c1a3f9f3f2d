// Package store keeps mail in Maildirs, with what a Maildir cannot say: UIDs that
// last, change numbers, keywords, and the tag that a message got on its way here
// (RFC 8689). It knows no protocol. Several processes can use an account at once,
// and other programs can work on its Maildir at the same time.
//
// # Layout
//
//	ACCOUNT/                   0700
//	  Maildir/                 INBOX; any Maildir++ program can read it
//	    cur/ new/ tmp/
//	    rtls-mailbox           who this mailbox is, see identity.go
//	    rtls-metadata          its annotations, see metadata.go
//	    subscriptions          a name a line
//	    dovecot-keywords       which letters in file names are which keywords
//	    dovecot-uidlist        Dovecot's UIDs; read, never written
//	    .Name.Below/           another mailbox: cur/ new/ tmp/ rtls-mailbox rtls-metadata maildirfolder
//	  .rtls/
//	    index.db               SQLite: UIDs, change numbers, keywords, counters
//	    index.db-lock          who holds it changes the index
//	    index.db-users         who shares it has the index open
//	    index.db-suspect       damage was seen: who opens the index next looks at all of it
//	    metadata               annotations of the account
//	    text/                  an index of texts, if the reader keeps one: it can go at any time
//	    views/                 packed views, see viewcache.go: they can go at any time
//	    summaries/             of messages, see summaryfile.go: they can go, too
//	    once/                  traces of deliveries that can come again, see once.go
//	    imports/               what was imported from where, see journal.go
//	    aside/                 what Repair found in cur/ and new/ and is no message, and files of annotations that it mended
//	    trash/                 deleted mailboxes, for the moment that it takes to remove them
//
// Every byte of every message is in the Maildir, and so are its flags, its size and
// its tag, which are parts of the file's name (see filename.go). The name binds the
// tag to the octets (see bond.go). The index is a cache of these, and the only place
// of UIDs, change numbers and of the keywords that are not among the first 26 of a
// mailbox (see keywords.go).
//
// # States of a message
//
//	S0  nothing
//	S1  its file is being written, without a name or below tmp/
//	S2  the file is whole and its content durable
//	S3  it has its final name in new/ or cur/, and the name is durable: delivered
//	S4  the index has it: it has a UID, durable before anybody is shown it
//
// Commit takes a message from S1 to S3, Sync from S3 to S4, Append from S1 to S4.
// S3 is the commit point: only behind it may a sender be told that the message is
// here. What is left of S1 and S2 after a crash is below tmp/, where nobody looks.
//
// # Guarantees
//
// They hold after any crash, provided that the file system keeps what it was told
// to make durable:
//
//	G1  A message whose Commit or Append has returned nil is there, whole.
//	G2  A message whose Commit or Append has returned an error is not there. If
//	    the disk refuses even to take its name back, it may be.
//	G3  A message is listed once or not at all, and never in part.
//	G4  A message that is listed stays listed until it is expunged, here or by
//	    another program. A listing of a directory that misses it is no proof.
//	G5  A UID is never given twice under one UIDVALIDITY, and UIDs only rise; also
//	    when the index is lost. Losing rtls-mailbox and the index together gives
//	    the mailbox a new UIDVALIDITY, the time in seconds; with a dovecot-uidlist
//	    there, it is taken over from Dovecot as if for the first time, so remove
//	    that file first.
//	G6  Message bytes are never altered.
//	G7  A message has its tag from the moment it is visible. The tag survives
//	    renaming, flag changes, copies, moves and the loss of the index. A tag that
//	    is missing or makes no sense is unknown, never none.
//	G8  A change of flags that has returned nil is durable.
//	G9  Copy copies all messages or, when it returns an error, none; cut off by a
//	    crash it may have copied some. Move never leaves a message in neither
//	    mailbox; cut off, or with an error, it may leave one in both. So may Replace
//	    leave the old message and the new one, but never none.
//	G10 Deliveries that share their content (Delivery.Share) are as independent as
//	    others: what befalls one after the content is durable is not the others'.
//	G11 Commits with one Once into one mailbox within a week make one message,
//	    whatever became of the first of them; after a crash of the system, two if
//	    the file system does not keep the order of changes. In return G2 does not
//	    hold for them: one that failed may have delivered, which the next finds out.
//	G12 Under a quota no Commit, Append, Replace or Copy takes an account above it, and none
//	    that fits is refused, however many are under way in however many
//	    processes; a Move is never refused. Deliveries without a quota, and other
//	    programs, are not held back and can take the account above it.
//	G13 A tag that is not unknown was given to the octets that the message has. When
//	    a message is opened that another program has altered, it has no tag any more
//	    when Open returns, and there is an error in the log. An alteration that
//	    leaves size and time of the file as they were is found by Check.
package store
