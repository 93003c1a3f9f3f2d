package server

import (
	"fmt"
	"testing"

	"rtls/store"
)

// RFC 9586 section 3.
func TestUIDOnly(t *testing.T) {
	s := newSite(t)
	s.deliverN(5)
	c := s.login("")
	c.script(`
		C: 01 ENABLE UIDONLY
		S: * ENABLED UIDONLY
		S: 01 OK ENABLE completed
		C: 02 SELECT INBOX
		` + flagsLine + `
		` + permanentLine + `
		S: * 5 EXISTS
		S: * 5 RECENT
		S: * OK [UIDVALIDITY <*>] uidvalidity
		S: * OK [UIDNEXT 6] uidnext
		S: * OK [HIGHESTMODSEQ 6] highestmodseq
		S: * OK [MAILBOXID (<*>)] mailboxid
		S: 02 OK [READ-WRITE] SELECT completed
		C: 03 UID STORE 1 +FLAGS (\Deleted)
		S: * 1 UIDFETCH (FLAGS (\Deleted \Recent))
		S: 03 OK UID STORE completed
		C: 04 EXPUNGE
		S: * VANISHED 1
		S: 04 OK EXPUNGE completed
		C: 05 UID FETCH 2:3 (FLAGS)
		S: * 2 UIDFETCH (FLAGS (\Recent))
		S: * 3 UIDFETCH (FLAGS (\Recent))
		S: 05 OK UID FETCH completed
		C: 06 UID FETCH 2 (UID BODY[TEXT])
		S: * 2 UIDFETCH (UID 2 BODY[TEXT] {8}
		S: body 2
		S:  FLAGS (\Seen \Recent))
		S: 06 OK UID FETCH completed
		C: 07 UID SEARCH RETURN (SAVE ALL) UID 3:*
		S: * ESEARCH (TAG "07") UID ALL 3:5
		S: 07 OK UID SEARCH completed
		C: 08 UID SEARCH $ NOT SEEN
		S: * SEARCH 3 4 5
		S: 08 OK UID SEARCH completed
	`)
	for i, cmd := range []string{
		"FETCH 1 FLAGS", `STORE 1 FLAGS (\Seen)`, "COPY 1 INBOX", "MOVE 1 INBOX", "SEARCH ALL", "SORT (DATE) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL", "REPLACE 1 INBOX {3+}\r\nabc",
		"UID SEARCH 1:3", "UID SEARCH NOT (UID 1 OR SEEN *)", "UID SORT (DATE) UTF-8 1", "UID THREAD REFERENCES UTF-8 1", "SELECT INBOX (QRESYNC (1 1 1:5 (1:5 1:5)))",
	} {
		c.send(fmt.Sprintf("x%d %s\r\n", i, cmd))
		c.expect(fmt.Sprintf("x%d BAD [UIDREQUIRED] sequence numbers are switched off", i))
	}
	// What others do is told in the same way.
	other := s.login("INBOX")
	other.do(`STORE 2 +FLAGS.SILENT (\Flagged)`)
	other.do(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	other.do("EXPUNGE")
	s.deliver("INBOX", message(6), store.Meta{})
	c.script(`
		C: 09 NOOP
		S: * VANISHED 2
		S: * 4 EXISTS
		S: * 4 RECENT
		S: * 3 UIDFETCH (FLAGS (\Flagged \Recent))
		S: 09 OK NOOP completed
		C: 10 UNAUTHENTICATE
		S: 10 OK UNAUTHENTICATE completed
		C: 11 LOGIN alice secret
		S: 11 ` + loggedIn + `
		C: 12 EXAMINE INBOX
	`)
	for range 10 {
		c.line()
	}
	c.script(`
		C: 13 FETCH 1 UID
		S: * 1 FETCH (UID 3)
		S: 13 OK FETCH completed
	`)
}
