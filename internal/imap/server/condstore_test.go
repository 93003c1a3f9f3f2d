package server

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// modSeq fetches a message's mod-sequence.
func (c *client) modSeq(uid int) uint64 {
	c.t.Helper()
	lines := c.do(fmt.Sprintf("UID FETCH %d MODSEQ", uid))
	m := regexp.MustCompile(`MODSEQ \((\d+)\)`).FindStringSubmatch(lines[len(lines)-1])
	if m == nil {
		c.t.Fatalf("%q", lines)
	}
	n, err := strconv.ParseUint(m[1], 10, 64)
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// RFC 7162 section 3.1.
func TestCondStore(t *testing.T) {
	s := newSite(t)
	s.deliverN(3)
	c := s.login("INBOX")
	c.script(`
		C: a STORE 1 +FLAGS (\Seen)
		S: * 1 FETCH (FLAGS (\Seen \Recent))
		S: a OK STORE completed
		C: b UID FETCH 1 MODSEQ
		S: * OK [HIGHESTMODSEQ <*>] highest
		S: * 1 FETCH (UID 1 MODSEQ (<*>))
		S: b OK UID FETCH completed
		C: c STORE 1 +FLAGS (\Flagged)
		S: * 1 FETCH (UID 1 FLAGS (\Flagged \Seen \Recent) MODSEQ (<*>))
		S: c OK STORE completed
		C: d STORE 1 -FLAGS.SILENT (\Flagged)
		S: * 1 FETCH (UID 1 MODSEQ (<*>))
		S: d OK STORE completed
	`)
	first, second := c.modSeq(1), c.modSeq(2)
	if first <= second {
		t.Errorf("a change does not raise the mod-sequence: %d, %d", first, second)
	}
	c.script(fmt.Sprintf(`
		C: e UID FETCH 1:* FLAGS (CHANGEDSINCE %[2]d)
		S: * 1 FETCH (UID 1 FLAGS (\Seen \Recent) MODSEQ (%[1]d))
		S: * 3 FETCH (UID 3 FLAGS (\Recent) MODSEQ (<*>))
		S: e OK UID FETCH completed
		C: f FETCH 1:* FLAGS (CHANGEDSINCE %[1]d)
		S: f OK FETCH completed
		C: g STORE 1:2 (UNCHANGEDSINCE %[2]d) +FLAGS.SILENT (\Deleted)
		S: * 1 FETCH (UID 1 FLAGS (\Seen \Recent) MODSEQ (%[1]d))
		S: * 2 FETCH (UID 2 MODSEQ (<*>))
		S: g OK [MODIFIED 1] some messages have changed and were left alone
		C: h UID STORE 1 (UNCHANGEDSINCE %[1]d) +FLAGS (\Deleted)
		S: * 1 FETCH (UID 1 FLAGS (\Deleted \Seen \Recent) MODSEQ (<*>))
		S: h OK UID STORE completed
		C: i UID STORE 3 (UNCHANGEDSINCE 0) +FLAGS (\Deleted)
		S: * 3 FETCH (UID 3 FLAGS (\Recent) MODSEQ (<*>))
		S: i OK [MODIFIED 3] some messages have changed and were left alone
	`, first, second))
	high := c.modSeq(1)
	c.script(fmt.Sprintf(`
		C: j SEARCH MODSEQ %[1]d
		S: * SEARCH 1 (MODSEQ %[1]d)
		S: j OK SEARCH completed
		C: k SEARCH RETURN (ALL) MODSEQ "/flags/\\seen" all %[1]d
		S: * ESEARCH (TAG "k") ALL 1 MODSEQ %[1]d
		S: k OK SEARCH completed
		C: l SEARCH MODSEQ 9223372036854775807
		S: * SEARCH
		S: l OK SEARCH completed
		C: l SEARCH MODSEQ "/nonsense" all 1
		S: l BAD expected the name of a flag's entry, found "/nonsense"
		C: m STATUS INBOX (HIGHESTMODSEQ HIGHESTMODSEQ)
		S: * STATUS INBOX (HIGHESTMODSEQ %[1]d)
		S: m OK STATUS completed
		C: n EXPUNGE
		S: * 2 EXPUNGE
		S: * 1 EXPUNGE
		S: n OK [HIGHESTMODSEQ <*>] EXPUNGE completed
	`, high))
}

// Marking as read tells the mod-sequence in the same response, and whose it is.
func TestCondStoreSeen(t *testing.T) {
	s := newSite(t)
	s.deliverN(1)
	c := s.login("")
	c.do("ENABLE CONDSTORE")
	c.do("SELECT INBOX")
	c.script(`
		C: a FETCH 1 BODY[TEXT]
		S: * 1 FETCH (BODY[TEXT] {8}
		S: body 1
		S:  UID 1 FLAGS (\Seen \Recent) MODSEQ (<*>))
		S: a OK FETCH completed
		C: b NOOP
		S: b OK NOOP completed
	`)
	s.deliverN(1)
	c.do("NOOP")
	c.script(`
		C: c UID FETCH 2 (BODY[TEXT] FLAGS)
		S: * 2 FETCH (UID 2 BODY[TEXT] {8}
		S: body 1
		S:  FLAGS (\Seen \Recent) MODSEQ (<*>))
		S: c OK UID FETCH completed
	`)
}

// highest selects a mailbox and returns UIDVALIDITY and HIGHESTMODSEQ.
func (c *client) state(mailbox string) (validity, highest string) {
	c.t.Helper()
	for _, line := range c.do("SELECT " + mailbox) {
		if m := regexp.MustCompile(`\[(UIDVALIDITY|HIGHESTMODSEQ) (\d+)\]`).FindStringSubmatch(line); m != nil {
			if m[1] == "UIDVALIDITY" {
				validity = m[2]
			} else {
				highest = m[2]
			}
		}
	}
	return validity, highest
}

// RFC 7162 section 3.2.
func TestQResync(t *testing.T) {
	s := newSite(t)
	s.deliverN(6)
	c := s.login("")
	c.script(`
		C: a SELECT INBOX (QRESYNC (1 1))
		S: a BAD QRESYNC was not enabled
		C: b ENABLE QRESYNC
		S: * ENABLED QRESYNC
		S: b OK ENABLE completed
	`)
	validity, highest := c.state("INBOX")
	c.do("UNSELECT")

	other := s.login("INBOX")
	other.do(`STORE 2,4:5 +FLAGS.SILENT (\Deleted)`)
	other.do("EXPUNGE")
	other.do(`UID STORE 3 +FLAGS.SILENT (\Flagged)`)
	s.deliver("INBOX", message(7), deliverMeta)

	head := flagsLine + "\n" + permanentLine
	open := func(tag, params string) string {
		return fmt.Sprintf(`
			C: %s SELECT INBOX (QRESYNC (%s))
			S: * OK [CLOSED] previous mailbox is closed
			%s
			S: * 4 EXISTS
			S: * 0 RECENT
			S: * OK [UNSEEN 1] unseen
			S: * OK [UIDVALIDITY %s] uidvalidity
			S: * OK [UIDNEXT 8] uidnext
			S: * OK [HIGHESTMODSEQ <*>] highestmodseq
			S: * OK [MAILBOXID (<*>)] mailboxid
		`, tag, params, head, validity)
	}
	c.do("SELECT INBOX")
	c.script(open("c", validity+" "+highest) + `
		S: * VANISHED (EARLIER) 2,4:5
		S: * 2 FETCH (UID 3 FLAGS (\Flagged) MODSEQ (<*>))
		S: * 4 FETCH (UID 7 FLAGS () MODSEQ (<*>))
		S: c OK [READ-WRITE] SELECT completed
	`)
	c.script(open("d", validity+" "+highest+" 1:4") + `
		S: * VANISHED (EARLIER) 2,4
		S: * 2 FETCH (UID 3 FLAGS (\Flagged) MODSEQ (<*>))
		S: d OK [READ-WRITE] SELECT completed
	`)
	c.script(open("e", validity+" "+highest+" 1:6 (1,2 1,2)") + `
		S: * VANISHED (EARLIER) 2,4:5
		S: * 2 FETCH (UID 3 FLAGS (\Flagged) MODSEQ (<*>))
		S: e OK [READ-WRITE] SELECT completed
	`)
	c.script(open("f", "1 "+highest) + `
		S: f OK [READ-WRITE] SELECT completed
	`)
	c.script(fmt.Sprintf(`
		C: g UID FETCH 1:5 FLAGS (CHANGEDSINCE %s VANISHED)
		S: * VANISHED (EARLIER) 2,4:5
		S: * 2 FETCH (UID 3 FLAGS (\Flagged) MODSEQ (<*>))
		S: g OK UID FETCH completed
		C: h UID STORE 3,7 +FLAGS.SILENT (\Deleted)
		S: * 2 FETCH (UID 3 MODSEQ (<*>))
		S: * 4 FETCH (UID 7 MODSEQ (<*>))
		S: h OK UID STORE completed
		C: i EXPUNGE
		S: * VANISHED 3,7
		S: i OK [HIGHESTMODSEQ <*>] EXPUNGE completed
		C: j CLOSE
		S: j OK CLOSE completed
	`, highest))
}

// Expunges that others did come as VANISHED, too.
func TestQResyncVanishedAsNews(t *testing.T) {
	s := newSite(t)
	s.deliverN(5)
	c := s.login("")
	c.do("ENABLE QRESYNC")
	c.do("SELECT INBOX")
	other := s.login("INBOX")
	other.do(`STORE 1:3 +FLAGS.SILENT (\Deleted)`)
	other.do("EXPUNGE")
	c.script(`
		C: a FETCH 5 UID
		S: * 5 FETCH (UID 5)
		S: a OK FETCH completed
		C: b NOOP
		S: * VANISHED 1:3
		S: b OK NOOP completed
		C: c FETCH 2 UID
		S: * 2 FETCH (UID 5)
		S: c OK FETCH completed
	`)
}

// A client that cannot be told yet what is gone must not take a mod-sequence behind
// that for its highest (RFC 7162 section 6).
func TestQResyncHoldsBack(t *testing.T) {
	s := newSite(t)
	s.deliverN(5)
	c := s.login("")
	c.do("ENABLE QRESYNC")
	validity, highest := c.state("INBOX")
	other := s.login("INBOX")
	other.do(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	other.do("EXPUNGE")
	c.script(`
		C: A150 STORE 2 +FLAGS.SILENT (\Seen)
		S: * 2 FETCH (UID 2 MODSEQ (<*>))
		S: * OK [HIGHESTMODSEQ ` + highest + `] highestmodseq
		S: A150 OK STORE completed
		C: A151 FETCH 3 (MODSEQ)
		S: * 3 FETCH (MODSEQ (<*>))
		S: * OK [HIGHESTMODSEQ ` + highest + `] highestmodseq
		S: A151 OK FETCH completed
		C: A152 FETCH 3 (UID)
		S: * 3 FETCH (UID 3)
		S: A152 OK FETCH completed
	`)
	// What the connection loses here is told on the next one.
	again := s.login("")
	again.do("ENABLE QRESYNC")
	if lines := again.do("SELECT INBOX (QRESYNC (" + validity + " " + highest + "))"); !slices.Contains(lines, "* VANISHED (EARLIER) 1") {
		t.Errorf("%q", lines)
	}
	c.script(`
		C: A153 NOOP
		S: * VANISHED 1
		S: * OK [HIGHESTMODSEQ <*>] highestmodseq
		S: A153 OK NOOP completed
		C: A154 STORE 1 +FLAGS.SILENT (\Seen \Flagged)
		S: * 1 FETCH (UID 2 MODSEQ (<*>))
		S: A154 OK STORE completed
	`)
}

func TestEnable(t *testing.T) {
	s := newSite(t)
	c := s.login("INBOX")
	c.script(`
		C: a ENABLE nonsense
		S: * ENABLED
		S: a OK ENABLE completed
		C: b ENABLE CONDSTORE X-FOO IMAP4rev2 utf8=accept
		S: * OK [HIGHESTMODSEQ <*>] highest
		S: * ENABLED CONDSTORE IMAP4rev2 UTF8=ACCEPT
		S: b OK ENABLE completed
	`)
	if line := c.do("CAPABILITY")[0]; !strings.Contains(line, " QRESYNC ") {
		t.Error(line)
	}
}
