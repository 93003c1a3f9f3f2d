package server

import (
	"testing"
	"time"
)

var internalDate = testDate.In(time.Local).Format("_2-Jan-2006 15:04:05 -0700")

// The dialogues of clients that no test here can run, command by command as they are
// known to send them, and that of Thunderbird, which make test-thunderbird runs.

// TestDialogueThunderbird is what Thunderbird 153 and this server said to each other.
func TestDialogueThunderbird(t *testing.T) {
	s := newSite(t)
	s.deliverN(2)
	c := s.connect()
	c.script(`
		C: 87 authenticate PLAIN
		S: + 
		C: AGFsaWNlAHNlY3JldA==
		S: 87 ` + loggedIn + `
		C: 88 namespace
		S: * NAMESPACE (("" "/")) NIL NIL
		S: 88 OK NAMESPACE completed
		C: 89 ID ("name" "Thunderbird" "version" "153.7.0")
		S: * ID ("name" "rtls-imapd" "version" "<*>")
		S: 89 OK ID completed
		C: 90 ENABLE UTF8=ACCEPT
		S: * ENABLED UTF8=ACCEPT
		S: 90 OK ENABLE completed
		C: 91 list (subscribed) "" "*" return (special-use)
		S: 91 OK LIST completed
		C: 92 list "" "INBOX"
		S: * LIST (\HasNoChildren) "/" INBOX
		S: 92 OK LIST completed
		C: 93 list "" "Trash"
		S: 93 OK LIST completed
		C: 94 create "Trash"
		S: 94 OK [MAILBOXID (<*>)] CREATE completed
		C: 95 subscribe "Trash"
		S: 95 OK SUBSCRIBE completed
		C: 96 list "" "Trash"
		S: * LIST (\HasNoChildren \Trash) "/" Trash
		S: 96 OK LIST completed
		C: 97 select "INBOX"
		` + flagsLine + `
		` + permanentLine + `
		S: * 2 EXISTS
		S: * 2 RECENT
		S: * OK [UNSEEN 1] unseen
		S: * OK [UIDVALIDITY <*>] uidvalidity
		S: * OK [UIDNEXT 3] uidnext
		S: * OK [HIGHESTMODSEQ <*>] highestmodseq
		S: * OK [MAILBOXID (<*>)] mailboxid
		S: 97 OK [READ-WRITE] SELECT completed
		C: 98 getquotaroot "INBOX"
		S: * QUOTAROOT INBOX
		S: 98 OK GETQUOTAROOT completed
		C: 99 UID fetch 1:* (FLAGS)
		S: * 1 FETCH (UID 1 FLAGS (\Recent))
		S: * 2 FETCH (UID 2 FLAGS (\Recent))
		S: 99 OK UID FETCH completed
		C: 100 UID fetch 1 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From Subject Received)])
		S: * 1 FETCH (UID 1 RFC822.SIZE 150 FLAGS (\Recent) BODY[HEADER.FIELDS (From Subject Received)] {51}
		S: From: Bob <bob@example.com>
		S: Subject: message 1
		S:
		S: )
		S: 100 OK UID FETCH completed
		C: 101 UID fetch 1 (UID RFC822.SIZE BODY.PEEK[]<0.20>)
		S: * 1 FETCH (UID 1 RFC822.SIZE 150 BODY[]<0> {20}
		S: From: Bob <bob@examp)
		S: 101 OK UID FETCH completed
		C: 102 UID fetch 1 (UID BODY.PEEK[HEADER.FIELDS (Content-Type Content-Transfer-Encoding)] BODY.PEEK[TEXT]<0.2048>)
		S: * 1 FETCH (UID 1 BODY[HEADER.FIELDS (Content-Type Content-Transfer-Encoding)] {2}
		S:
		S:  BODY[TEXT]<0> {8}
		S: body 1
		S: )
		S: 102 OK UID FETCH completed
		C: 103 uid store 1 +Flags (\Seen)
		S: * 1 FETCH (UID 1 FLAGS (\Seen \Recent))
		S: 103 OK UID STORE completed
		C: 104 uid store 2 +FLAGS ($label1)
		S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Forwarded $label1 $RequireTLSUnknown $RequireTLS $TLSOptional)
		S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $Forwarded $label1 \*)] flags permitted
		S: * 2 FETCH (UID 2 FLAGS (\Recent $label1))
		S: 104 OK UID STORE completed
		C: 105 uid SEARCH UNDELETED BODY "body 2"
		S: * SEARCH 2
		S: 105 OK UID SEARCH completed
		C: 106 uid move 1 "Trash"
		S: * OK [COPYUID <*> 1 1] moved
		S: * 1 EXPUNGE
		S: 106 OK UID MOVE completed
		C: 107 create "Trash/Höhle & Co"
		S: 107 OK [MAILBOXID (<*>)] CREATE completed
		C: 108 rename "Trash/Höhle & Co" "Trash/Хата"
		S: 108 OK RENAME completed
		C: 109 list "" "Trash/Хата"
		S: * LIST (\HasNoChildren) "/" "Trash/Хата"
		S: 109 OK LIST completed
		C: 110 append "Trash" (\Draft) UTF8 (~{13+}
		C: Subject: ä
		C: )
		S: 110 OK [APPENDUID <*> 2] APPEND completed
		C: 111 IDLE
		S: + idling
		C: DONE
		S: 111 OK IDLE completed
		C: 112 noop
		S: 112 OK NOOP completed
		C: 113 check
		S: 113 OK CHECK completed
		C: 114 logout
		S: * BYE <*>
		S: 114 OK LOGOUT completed
	`)
}

// TestDialogueK9 is how K-9 Mail, which is Thunderbird for Android, goes about it: it
// asks for few messages at a time, and deletes by copying.
func TestDialogueK9(t *testing.T) {
	s := newSite(t)
	s.deliverN(3)
	c := s.connect()
	c.script(`
		C: 1 AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==
		S: 1 ` + loggedIn + `
		C: 2 ID ("name" "K-9 Mail" "version" "8.0")
		S: * ID ("name" "rtls-imapd" "version" "<*>")
		S: 2 OK ID completed
		C: 3 NAMESPACE
		S: * NAMESPACE (("" "/")) NIL NIL
		S: 3 OK NAMESPACE completed
		C: 4 CREATE Sent
		S: 4 OK [MAILBOXID (<*>)] CREATE completed
		C: 5 LIST "" "*" RETURN (SPECIAL-USE)
		S: * LIST (\HasNoChildren) "/" INBOX
		S: * LIST (\HasNoChildren \Sent) "/" Sent
		S: 5 OK LIST completed
		C: 6 LIST (SUBSCRIBED) "" "*" RETURN (SPECIAL-USE)
		S: 6 OK LIST completed
		C: 7 LIST "" "Sent"
		S: * LIST (\HasNoChildren \Sent) "/" Sent
		S: 7 OK LIST completed
		C: 8 SELECT "INBOX"
		` + flagsLine + `
		` + permanentLine + `
		S: * 3 EXISTS
		S: * 3 RECENT
		S: * OK [UNSEEN 1] unseen
		S: * OK [UIDVALIDITY <*>] uidvalidity
		S: * OK [UIDNEXT 4] uidnext
		S: * OK [HIGHESTMODSEQ <*>] highestmodseq
		S: * OK [MAILBOXID (<*>)] mailboxid
		S: 8 OK [READ-WRITE] SELECT completed
		C: 9 UID SEARCH 1:3 NOT DELETED
		S: * SEARCH 1 2 3
		S: 9 OK UID SEARCH completed
		C: 10 UID FETCH 3,2,1 (UID FLAGS)
		S: * 1 FETCH (UID 1 FLAGS (\Recent))
		S: * 2 FETCH (UID 2 FLAGS (\Recent))
		S: * 3 FETCH (UID 3 FLAGS (\Recent))
		S: 10 OK UID FETCH completed
		C: 11 UID FETCH 3 (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (date subject from content-type to cc reply-to message-id references in-reply-to list-unsubscribe X-K9mail-Identity)])
		S: * 3 FETCH (UID 3 FLAGS (\Recent) INTERNALDATE "` + internalDate + `" RFC822.SIZE 150 BODY[HEADER.FIELDS (date subject from content-type to cc reply-to message-id references in-reply-to list-unsubscribe X-K9mail-Identity)] {142}
		S: From: Bob <bob@example.com>
		S: To: alice@example.org
		S: Subject: message 3
		S: Date: Sat, 14 Mar 2026 15:09:03 +0000
		S: Message-ID: <3@example.com>
		S:
		S: )
		S: 11 OK UID FETCH completed
		C: 12 UID FETCH 3 (UID BODYSTRUCTURE)
		S: * 3 FETCH (UID 3 BODYSTRUCTURE ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 8 1 NIL NIL NIL NIL))
		S: 12 OK UID FETCH completed
		C: 13 UID FETCH 3 (UID BODY.PEEK[TEXT]<0.32768>)
		S: * 3 FETCH (UID 3 BODY[TEXT]<0> {8}
		S: body 3
		S: )
		S: 13 OK UID FETCH completed
		C: 15 UID STORE 3 +FLAGS.SILENT (\Seen)
		S: 15 OK UID STORE completed
		C: 16 UID COPY 2 "Trash"
		S: 16 NO [TRYCREATE] no such mailbox
		C: 17 CREATE "Trash"
		S: 17 OK [MAILBOXID (<*>)] CREATE completed
		C: 18 UID COPY 2 "Trash"
		S: 18 OK [COPYUID <*> 2 1] UID COPY completed
		C: 19 UID STORE 2 +FLAGS.SILENT (\Deleted)
		S: 19 OK UID STORE completed
		C: 20 UID EXPUNGE 2
		S: * 2 EXPUNGE
		S: 20 OK UID EXPUNGE completed
		C: 21 UID MOVE 1 "Trash"
		S: * OK [COPYUID <*> 1 2] moved
		S: * 1 EXPUNGE
		S: 21 OK UID MOVE completed
		C: 22 APPEND "Sent" (\Seen) {36}
		S: + go ahead
		C: Message-ID: <k9@example.org>
		C:
		C: sent
		S: 22 OK [APPENDUID <*> 1] APPEND completed
		C: 23 EXAMINE "Sent"
		S: * OK [CLOSED] <*>
		` + flagsLine + `
		S: * OK [PERMANENTFLAGS ()] read-only mailbox
		S: * 1 EXISTS
		S: * 1 RECENT
		S: * OK [UIDVALIDITY <*>] uidvalidity
		S: * OK [UIDNEXT 2] uidnext
		S: * OK [HIGHESTMODSEQ <*>] highestmodseq
		S: * OK [MAILBOXID (<*>)] mailboxid
		S: 23 OK [READ-ONLY] EXAMINE completed
		C: 24 UID SEARCH HEADER MESSAGE-ID "<k9@example.org>"
		S: * SEARCH 1
		S: 24 OK UID SEARCH completed
		C: 25 IDLE
		S: + idling
		C: DONE
		S: 25 OK IDLE completed
		C: 26 LOGOUT
		S: * BYE <*>
		S: 26 OK LOGOUT completed
	`)
}

// TestDialogueApple is how Mail on iOS and macOS goes about it: it resynchronises by
// CONDSTORE (RFC 7162) and STATUS, asks for BODYSTRUCTURE and then for parts, and flags
// in colours.
func TestDialogueApple(t *testing.T) {
	s := newSite(t)
	s.deliverN(2)
	s.deliver("INBOX", alternative, deliverMeta)
	c := s.connect()
	c.script(`
		C: 1.1 CAPABILITY
		S: * CAPABILITY IMAP4rev1 IMAP4rev2 ` + offered + ` SASL-IR LITERAL+ ID ENABLE
		S: 1.1 OK CAPABILITY completed
		C: 2.1 AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==
		S: 2.1 ` + loggedIn + `
		C: 3.1 ID ("name" "iPhone Mail" "version" "22A3354" "os" "iOS" "os-version" "18.0 (22A3354)")
		S: * ID ("name" "rtls-imapd" "version" "<*>")
		S: 3.1 OK ID completed
		C: 4.1 ENABLE CONDSTORE
		S: * ENABLED CONDSTORE
		S: 4.1 OK ENABLE completed
		C: 5.1 LIST "" ""
		S: * LIST (\Noselect) "/" ""
		S: 5.1 OK LIST completed
		C: 6.1 CREATE "Deleted Messages"
		S: 6.1 OK [MAILBOXID (<*>)] CREATE completed
		C: 7.1 SUBSCRIBE "Deleted Messages"
		S: 7.1 OK SUBSCRIBE completed
		C: 8.1 LIST "" "*" RETURN (SUBSCRIBED CHILDREN SPECIAL-USE)
		S: * LIST (\HasNoChildren) "/" INBOX
		S: * LIST (\HasNoChildren \Subscribed \Trash) "/" "Deleted Messages"
		S: 8.1 OK LIST completed
		C: 9.1 LSUB "" "*"
		S: * LSUB () "/" "Deleted Messages"
		S: 9.1 OK LSUB completed
		C: 10.1 STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)
		S: * STATUS INBOX (MESSAGES 3 UIDNEXT 4 UIDVALIDITY <*> UNSEEN 3 HIGHESTMODSEQ <*>)
		S: 10.1 OK STATUS completed
		C: 11.1 SELECT INBOX (CONDSTORE)
		` + flagsLine + `
		` + permanentLine + `
		S: * 3 EXISTS
		S: * 3 RECENT
		S: * OK [UNSEEN 1] unseen
		S: * OK [UIDVALIDITY <*>] uidvalidity
		S: * OK [UIDNEXT 4] uidnext
		S: * OK [HIGHESTMODSEQ <*>] highestmodseq
		S: * OK [MAILBOXID (<*>)] mailboxid
		S: 11.1 OK [READ-WRITE] SELECT completed
		C: 12.1 UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1)
		S: * 1 FETCH (UID 1 FLAGS (\Recent) MODSEQ (<*>))
		S: * 2 FETCH (UID 2 FLAGS (\Recent) MODSEQ (<*>))
		S: * 3 FETCH (UID 3 FLAGS (\Recent) MODSEQ (<*>))
		S: 12.1 OK UID FETCH completed
		C: 13.1 FETCH 2 (INTERNALDATE UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (date subject from x-uniform-type-identifier)])
		S: * 2 FETCH (INTERNALDATE "` + internalDate + `" UID 2 RFC822.SIZE 150 FLAGS (\Recent) BODY[HEADER.FIELDS (date subject from x-uniform-type-identifier)] {90}
		S: From: Bob <bob@example.com>
		S: Subject: message 2
		S: Date: Sat, 14 Mar 2026 15:09:02 +0000
		S:
		S: )
		S: 13.1 OK FETCH completed
		C: 14.1 UID FETCH 3 (BODYSTRUCTURE BODY.PEEK[HEADER])
		S: * 3 FETCH (UID 3 BODYSTRUCTURE (("text" "plain" ("charset" "utf-8") NIL NIL "7bit" 7 1 NIL NIL NIL NIL)("text" "html" ("charset" "utf-8") NIL NIL "7bit" 13 1 NIL NIL NIL NIL) "alternative" ("boundary" "b") NIL NIL NIL) BODY[HEADER] {85}
		S: Subject: both
		S: MIME-Version: 1.0
		S: Content-Type: multipart/alternative; boundary=b
		S:
		S: )
		S: 14.1 OK UID FETCH completed
		C: 15.1 UID FETCH 3 (BODY.PEEK[1]<0.16384> BODY.PEEK[2]<0.16384>)
		S: * 3 FETCH (UID 3 BODY[1]<0> {7}
		S: plain
		S:  BODY[2]<0> {13}
		S: <p>html</p>
		S: )
		S: 15.1 OK UID FETCH completed
		C: 16.1 UID STORE 3 +FLAGS.SILENT (\Seen)
		S: * 3 FETCH (UID 3 MODSEQ (<*>))
		S: 16.1 OK UID STORE completed
		C: 17.1 UID STORE 2 +FLAGS (\Flagged $MailFlagBit0)
		S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Forwarded $MailFlagBit0 $RequireTLSUnknown $RequireTLS $TLSOptional)
		S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $Forwarded $MailFlagBit0 \*)] flags permitted
		S: * 2 FETCH (UID 2 FLAGS (\Flagged \Recent $MailFlagBit0) MODSEQ (<*>))
		S: 17.1 OK UID STORE completed
		C: 18.1 UID SEARCH RETURN (ALL) 1:* UNSEEN
		S: * ESEARCH (TAG "18.1") UID ALL 1:2
		S: 18.1 OK UID SEARCH completed
		C: 19.1 UID SEARCH UNDELETED SINCE 1-Jan-2026 OR FROM "bob" SUBJECT "both"
		S: * SEARCH 1 2 3
		S: 19.1 OK UID SEARCH completed
		C: 20.1 UID MOVE 1 "Deleted Messages"
		S: * OK [COPYUID <*> 1 1] moved
		S: * 1 EXPUNGE
		S: 20.1 OK UID MOVE completed
		C: 21.1 APPEND "Sent Messages" (\Seen) {4}
		S: 21.1 NO [TRYCREATE] no such mailbox
		C: 22.1 IDLE
		S: + idling
		C: DONE
		S: 22.1 OK IDLE completed
		C: 23.1 CLOSE
		S: 23.1 OK CLOSE completed
		C: 24.1 LOGOUT
		S: * BYE <*>
		S: 24.1 OK LOGOUT completed
	`)
}

const alternative = "Subject: both\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n" +
	"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nplain\r\n\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>html</p>\r\n\r\n--b--\r\n"
