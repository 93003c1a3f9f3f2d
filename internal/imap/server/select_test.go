package server

import (
	"testing"

	"rtls/store"
)

func TestSelect(t *testing.T) {
	s := newSite(t)
	s.deliverN(3)
	c := s.login("")
	c.script(`
		C: a SELECT inbox
		` + flagsLine + `
		` + permanentLine + `
		S: * 3 EXISTS
		S: * 3 RECENT
		S: * OK [UNSEEN 1] unseen
		S: * OK [UIDVALIDITY <*>] uidvalidity
		S: * OK [UIDNEXT 4] uidnext
		S: * OK [HIGHESTMODSEQ <*>] highestmodseq
		S: * OK [MAILBOXID (<*>)] mailboxid
		S: a OK [READ-WRITE] SELECT completed
		C: b EXAMINE INBOX
		S: * OK [CLOSED] previous mailbox is closed
		` + flagsLine + `
		S: * OK [PERMANENTFLAGS ()] read-only mailbox
		S: * 3 EXISTS
		S: * 0 RECENT
		S: * OK [UNSEEN 1] unseen
		S: * OK [UIDVALIDITY <*>] uidvalidity
		S: * OK [UIDNEXT 4] uidnext
		S: * OK [HIGHESTMODSEQ <*>] highestmodseq
		S: * OK [MAILBOXID (<*>)] mailboxid
		S: b OK [READ-ONLY] EXAMINE completed
		C: c SELECT Nowhere
		S: * OK [CLOSED] previous mailbox is closed
		S: c NO [NONEXISTENT] no such mailbox
		C: d FETCH 1 FLAGS
		S: d BAD FETCH is not possible now: no mailbox is selected, or login is over
		C: e SELECT INBOX
		` + flagsLine + `
		` + permanentLine + `
		S: * 3 EXISTS
		S: * 0 RECENT
		S: * OK [UNSEEN 1] unseen
		S: * OK [UIDVALIDITY <*>] uidvalidity
		S: * OK [UIDNEXT 4] uidnext
		S: * OK [HIGHESTMODSEQ <*>] highestmodseq
		S: * OK [MAILBOXID (<*>)] mailboxid
		S: e OK [READ-WRITE] SELECT completed
		C: f UNSELECT
		S: f OK UNSELECT completed
		C: g UNSELECT
		S: g BAD UNSELECT is not possible now: no mailbox is selected, or login is over
	`)
}

// IMAP4rev2 has no RECENT and no UNSEEN, and says the mailbox's name.
func TestSelectRev2(t *testing.T) {
	s := newSite(t)
	s.deliverN(1)
	s.login("").script(`
		C: a ENABLE IMAP4rev2
		S: * ENABLED IMAP4rev2
		S: a OK ENABLE completed
		C: b SELECT INBOX
		` + flagsLine + `
		` + permanentLine + `
		S: * 1 EXISTS
		S: * OK [UIDVALIDITY <*>] uidvalidity
		S: * OK [UIDNEXT 2] uidnext
		S: * OK [HIGHESTMODSEQ <*>] highestmodseq
		S: * OK [MAILBOXID (<*>)] mailboxid
		S: * LIST () "/" INBOX
		S: b OK [READ-WRITE] SELECT completed
	`)
}

// Defect 25: EXAMINE is read-only.
func TestDefect25ExamineIsReadOnly(t *testing.T) {
	s := newSite(t)
	s.deliver("INBOX", message(1), store.Meta{Flags: store.Deleted})
	c := s.login("")
	c.do("EXAMINE INBOX")
	c.script(`
		C: a STORE 1 +FLAGS (\Seen)
		S: a NO [READ-ONLY] mailbox is selected read-only
		C: b EXPUNGE
		S: b NO [READ-ONLY] mailbox is selected read-only
		C: c UID EXPUNGE 1
		S: c NO [READ-ONLY] mailbox is selected read-only
		C: d MOVE 1 INBOX
		S: d NO [READ-ONLY] mailbox is selected read-only
		C: e FETCH 1 BODY[TEXT]
		S: * 1 FETCH (BODY[TEXT] {8}
		S: body 1
		S: )
		S: e OK FETCH completed
		C: f FETCH 1 FLAGS
		S: * 1 FETCH (FLAGS (\Deleted \Recent))
		S: f OK FETCH completed
		C: g CLOSE
		S: g OK CLOSE completed
	`)
	if n := s.box("INBOX").Snapshot().Len(); n != 1 {
		t.Errorf("%d messages are left", n)
	}
}

// A mailbox that goes away under a session ends it; the one who did it goes on.
func TestSelectedMailboxDeleted(t *testing.T) {
	s := newSite(t)
	c, other := s.login(""), s.login("")
	c.do("CREATE work")
	c.do("SELECT work")
	other.do("SELECT work")
	c.script(`
		C: a DELETE work
		S: * OK [CLOSED] the selected mailbox is deleted
		S: a OK DELETE completed
		C: b NOOP
		S: b OK NOOP completed
	`)
	other.script(`
		C: a NOOP
		S: * BYE the selected mailbox was deleted, renamed or replaced
	`)
	other.closed()
}
