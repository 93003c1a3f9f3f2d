package server

import (
	"strings"
	"testing"

	"rtls/store"
)

// RFC 8508 section 3.
func TestReplace(t *testing.T) {
	s := newSite(t)
	s.mailboxes("Sent")
	s.deliverN(3)
	c := s.login("INBOX")
	c.script(`
		C: A003 REPLACE 2 INBOX (\Seen \Draft) {12}
		S: + go ahead
		C: Subject: x
		C:
		S: * OK [APPENDUID <*> 4] replaced
		S: * 2 EXPUNGE
		S: * 3 EXISTS
		S: * 3 RECENT
		S: A003 OK REPLACE completed
		C: a UID FETCH 1:* (FLAGS RFC822.SIZE)
		S: * 1 FETCH (UID 1 FLAGS (\Recent) RFC822.SIZE <*>)
		S: * 2 FETCH (UID 3 FLAGS (\Recent) RFC822.SIZE <*>)
		S: * 3 FETCH (UID 4 FLAGS (\Seen \Draft \Recent) RFC822.SIZE 12)
		S: a OK UID FETCH completed
		C: A004 UID REPLACE 3 Sent {3+}
		C: abc
		S: * OK [APPENDUID <*> 1] replaced
		S: * 2 EXPUNGE
		S: A004 OK UID REPLACE completed
		C: b STATUS Sent (MESSAGES)
		S: * STATUS Sent (MESSAGES 1)
		S: b OK STATUS completed
	`)
	// What cannot be done leaves the old message and stores no new one.
	c.script(`
		C: A005 UID REPLACE 3 INBOX {3+}
		C: abc
		S: A005 NO [EXPUNGEISSUED] the message to be replaced is not there
		C: A006 REPLACE 3 INBOX {3}
		S: A006 BAD there are 2 messages
		C: A007 REPLACE * Nowhere {3+}
		C: abc
		S: A007 NO [TRYCREATE] no such mailbox
		C: A008 REPLACE 1 INBOX {3+}
		C: abc {3+}
		C: def
		S: A008 NO [LIMIT] one command takes so many messages: 1
		C: A009 REPLACE 1 INBOX {999999999}
		S: A009 NO [TOOBIG] a message has at most 104857600 octets
		C: c UID SEARCH ALL
		S: * SEARCH 1 4
		S: c OK UID SEARCH completed
	`)
	c.do("EXAMINE INBOX")
	c.script(`
		C: A010 REPLACE 1 INBOX {3+}
		C: abc
		S: A010 NO [READ-ONLY] mailbox is selected read-only
		C: d UID SEARCH ALL
		S: * SEARCH 1 4
		S: d OK UID SEARCH completed
	`)
	if n := s.files(); n != 2 {
		t.Errorf("%d files", n)
	}
}

// A quota is asked for the net (RFC 8508 section 3.4). Where there is no room for
// that the old message stays.
func TestReplaceOverQuota(t *testing.T) {
	s := newSiteWithQuota(t, store.Quota{Messages: 2, Bytes: 400})
	s.mailboxes("Sent")
	s.deliverN(2)
	c := s.login("INBOX")
	c.script(`
		C: a APPEND INBOX {3+}
		C: abc
		S: a NO [OVERQUOTA] the account has no room for it
		C: b REPLACE 1 INBOX {3+}
		C: abc
		S: * OK [APPENDUID <*> 3] replaced
		S: * 1 EXPUNGE
		S: * 2 EXISTS
		S: * 2 RECENT
		S: b OK REPLACE completed
		C: c REPLACE 1 Sent {300+}
		C: ` + strings.Repeat("x", 300) + `
		S: * OK [APPENDUID <*> 1] replaced
		S: * 1 EXPUNGE
		S: c OK REPLACE completed
		C: d REPLACE 1 Sent {300+}
		C: ` + strings.Repeat("x", 300) + `
		S: d NO [OVERQUOTA] the account has no room for it
		C: e UID SEARCH ALL
		S: * SEARCH 3
		S: e OK UID SEARCH completed
		C: f STATUS Sent (MESSAGES)
		S: * STATUS Sent (MESSAGES 1)
		S: f OK STATUS completed
	`)
}

// The example of RFC 8508 section 4.2.
func TestReplaceCatenate(t *testing.T) {
	s := newSite(t)
	s.mailboxes("Drafts")
	s.deliver("Drafts", "Date: Thu, 1 Jan 2015 00:10:00 -0500\r\n\r\nYours\r\n", store.Meta{})
	c := s.login("Drafts")
	c.script(`
		C: A011 UID REPLACE 1 Drafts (\Draft) CATENATE (TEXT {71}
		S: + go ahead
		C: To: Mitzy <miss.mitzy@example.org>
		C: Subject: My view of the fireworks
		C:  URL "/Drafts/;UID=1")
		S: * OK [APPENDUID <*> 2] replaced
		S: * 1 EXPUNGE
		S: * 1 EXISTS
		S: * 1 RECENT
		S: A011 OK UID REPLACE completed
	`)
	if got := c.body(2); !strings.HasPrefix(got, "To: Mitzy <miss.mitzy@example.org>\r\nSubject: My view of the fireworks\r\nDate: ") || !strings.HasSuffix(got, "Yours\r\n") {
		t.Errorf("got %q", got)
	}
}

// A connection that ends inside of the new message costs nothing.
func TestReplaceCutOff(t *testing.T) {
	s := newSite(t)
	s.deliverN(1)
	c := s.login("INBOX")
	c.send("a REPLACE 1 INBOX {100+}\r\nSubject: x\r\n")
	if err := c.conn.Close(); err != nil {
		t.Fatal(err)
	}
	s.restart()
	c = s.login("INBOX")
	if got := c.found("SUBJECT \"message 1\""); got != "1" {
		t.Errorf("found %q", got)
	}
}
