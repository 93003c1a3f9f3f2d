package server

import (
	"strings"
	"testing"
	"time"

	"rtls/store"
)

// RFC 7377 section 3, its dialogues with smaller numbers.
func TestMultiSearch(t *testing.T) {
	s := newSite(t)
	s.mailboxes("folder1", "folder2", "folder2/banana", "folder2/peach", "folder2/salmon", "folder2/peach/stone")
	for _, name := range []string{"folder1", "folder1", "folder1", "folder2/banana", "folder2/peach/stone"} {
		s.deliver(name, message(1), deliverMeta)
		s.sync(name)
	}
	s.deliver("folder2/salmon", message(2), store.Meta{Tag: store.TagNone, Flags: store.Seen})
	s.deliver("INBOX", message(3), deliverMeta)
	c := s.login("")
	c.do("SUBSCRIBE folder2/banana")
	c.script(`
		C: tag1 ESEARCH IN (mailboxes "folder1" subtree "folder2") unseen
		S: * ESEARCH (TAG "tag1" MAILBOX folder1 UIDVALIDITY <*>) UID ALL 1:3
		S: * ESEARCH (TAG "tag1" MAILBOX folder2/banana UIDVALIDITY <*>) UID ALL 1
		S: * ESEARCH (TAG "tag1" MAILBOX folder2/peach/stone UIDVALIDITY <*>) UID ALL 1
		S: tag1 OK ESEARCH completed
		C: tag2 ESEARCH IN (mailboxes "folder1" subtree-one "folder2") RETURN (MIN COUNT) subject "message 1"
		S: * ESEARCH (TAG "tag2" MAILBOX folder1 UIDVALIDITY <*>) UID MIN 1 COUNT 3
		S: * ESEARCH (TAG "tag2" MAILBOX folder2/banana UIDVALIDITY <*>) UID MIN 1 COUNT 1
		S: tag2 OK ESEARCH completed
		C: tag3 ESEARCH IN (subscribed) RETURN () CHARSET UTF-8 ALL
		S: * ESEARCH (TAG "tag3" MAILBOX folder2/banana UIDVALIDITY <*>) UID ALL 1
		S: tag3 OK ESEARCH completed
		C: tag4 ESEARCH IN (personal mailboxes (INBOX folder1/ nowhere)) RETURN (COUNT) NOT SUBJECT 1
		S: * ESEARCH (TAG "tag4" MAILBOX INBOX UIDVALIDITY <*>) UID COUNT 1
		S: * ESEARCH (TAG "tag4" MAILBOX folder2/salmon UIDVALIDITY <*>) UID COUNT 1
		S: tag4 OK ESEARCH completed
		C: tag5 ESEARCH IN (inboxes) RETURN (PARTIAL 2:3) MODSEQ 1
		S: * ESEARCH (TAG "tag5" MAILBOX INBOX UIDVALIDITY <*>) UID PARTIAL (2:3 NIL)
		S: * ESEARCH (TAG "tag5" MAILBOX folder1 UIDVALIDITY <*>) UID PARTIAL (2:3 2:3) MODSEQ <*>
		S: * ESEARCH (TAG "tag5" MAILBOX folder2/banana UIDVALIDITY <*>) UID PARTIAL (2:3 NIL)
		S: * ESEARCH (TAG "tag5" MAILBOX folder2/peach/stone UIDVALIDITY <*>) UID PARTIAL (2:3 NIL)
		S: * ESEARCH (TAG "tag5" MAILBOX folder2/salmon UIDVALIDITY <*>) UID PARTIAL (2:3 NIL)
		S: tag5 OK ESEARCH completed
		C: tag6 ESEARCH IN (mailboxes nowhere subtree folder1/none) ALL
		S: tag6 OK ESEARCH completed
	`)
}

// The selected mailbox is searched as the client knows it; "$" belongs to it.
func TestMultiSearchSelected(t *testing.T) {
	s := newSite(t)
	s.mailboxes("other")
	s.deliver("other", message(9), deliverMeta)
	s.deliverN(3)
	c := s.login("")
	c.script(`
		C: a ESEARCH IN (selected) ALL
		S: a BAD no mailbox is selected
		C: b ESEARCH ALL
		S: b BAD no mailbox is selected
		C: b2 ESEARCH IN (personal) RETURN (UPDATE) ALL
		S: b2 BAD no mailbox is selected
		C: b3 ESEARCH IN (personal selected) ALL
		S: b3 BAD no mailbox is selected
	`)
	c.do("SELECT INBOX")
	s.box("INBOX").Expunge(t.Context(), []uint32{1})
	c.script(`
		C: c ESEARCH RETURN (SAVE MAX) ALL
		S: * ESEARCH (TAG "c" MAILBOX INBOX UIDVALIDITY <*>) UID MAX 3
		S: c OK ESEARCH completed
		C: d ESEARCH IN (mailboxes inbox) $
		S: * ESEARCH (TAG "d" MAILBOX INBOX UIDVALIDITY <*>) UID ALL 3
		S: d OK ESEARCH completed
		C: e ESEARCH IN (selected) RETURN (SAVE) SUBJECT message
		S: e OK ESEARCH completed
		C: f ESEARCH IN (mailboxes other) NOT $
		S: f NO the saved result is of the selected mailbox alone
		C: g ESEARCH IN (personal) RETURN (SAVE) ALL
		S: g BAD SAVE takes the source option selected, and no other
		C: g2 ESEARCH IN (mailboxes INBOX) RETURN (SAVE) ALL
		S: g2 BAD SAVE takes the source option selected, and no other
		C: g3 ESEARCH IN (selected mailboxes INBOX) RETURN (SAVE) ALL
		S: g3 BAD SAVE takes the source option selected, and no other
		C: i NOOP
		S: * 1 EXPUNGE
		S: i OK NOOP completed
		C: j UID FETCH $ UID
		S: * 1 FETCH (UID 2)
		S: * 2 FETCH (UID 3)
		S: j OK UID FETCH completed
		C: k ESEARCH IN (selected-delayed) ALL
		S: k BAD unknown mailbox filter SELECTED-DELAYED
		C: l ESEARCH IN () ALL
		S: l BAD expected a mailbox filter
		C: m ESEARCH IN (mailboxes ()) ALL
		S: m BAD expected a mailbox
		C: n ESEARCH IN (personal (x)) ALL
		S: n BAD unknown scope option
	`)
}

// RFC 7377 section 2: a window of message numbers may lie beyond the end of a mailbox,
// and means the numbers in each mailbox that is searched; the answers are UIDs.
func TestMultiSearchWindow(t *testing.T) {
	s := newSite(t)
	s.mailboxes("other")
	for n := range 3 {
		s.deliver("other", message(n+1), deliverMeta)
		s.sync("other")
	}
	s.deliverN(2)
	if err := s.box("other").Expunge(t.Context(), []uint32{1}); err != nil {
		t.Fatal(err)
	}
	c := s.login("INBOX")
	c.script(`
		C: a ESEARCH IN (personal) FROM "bob" 2:100
		S: * ESEARCH (TAG "a" MAILBOX INBOX UIDVALIDITY <*>) UID ALL 2
		S: * ESEARCH (TAG "a" MAILBOX other UIDVALIDITY <*>) UID ALL 3
		S: a OK ESEARCH completed
		C: b ESEARCH IN (personal) FROM "bob" 101:200
		S: b OK ESEARCH completed
		C: c ESEARCH FROM "bob" 101:200
		S: c OK ESEARCH completed
		C: d UID SEARCH FROM "bob" 101:200
		S: * SEARCH
		S: d OK UID SEARCH completed
	`)
}

// Word on how far it has come stands between answers, and in none of them.
func TestMultiSearchProgress(t *testing.T) {
	s := newSite(t, func(srv *Server) { srv.ProgressEvery = time.Nanosecond })
	names := []string{"a", "b", "c", "d", "e"}
	s.mailboxes(names...)
	for _, name := range names {
		s.deliver(name, message(1), deliverMeta)
		s.deliver(name, message(2), deliverMeta)
	}
	c := s.login("")
	deadline := time.Now().Add(20 * time.Second)
	for told := false; !told; {
		if time.Now().After(deadline) {
			t.Fatal("no word on how far the search has come")
		}
		found := 0
		for _, line := range c.do("ESEARCH IN (personal) BODY body") {
			switch {
			case strings.HasPrefix(line, `* OK [INPROGRESS ("do" `) && strings.HasSuffix(line, " NIL)] working"):
				told = true
			case strings.HasPrefix(line, `* ESEARCH (TAG "do" MAILBOX `) && strings.HasSuffix(line, ") UID ALL 1:2"):
				found++
			default:
				t.Errorf("unexpected %s", line)
			}
		}
		if found != len(names) {
			t.Fatalf("found in %d mailboxes, want %d", found, len(names))
		}
	}
}

// UPDATE is for what was found in the selected mailbox, and for that alone (RFC 7377
// section 2.2).
func TestMultiSearchUpdate(t *testing.T) {
	s := newSite(t)
	s.mailboxes("other", "third")
	s.deliver("other", message(9), deliverMeta)
	s.deliverN(3)
	c := s.login("INBOX")
	c.script(`
		C: a ESEARCH IN (personal) RETURN (UPDATE COUNT) SUBJECT message
		S: * ESEARCH (TAG "a" MAILBOX INBOX UIDVALIDITY <*>) UID COUNT 3
		S: * ESEARCH (TAG "a" MAILBOX other UIDVALIDITY <*>) UID COUNT 1
		S: a OK ESEARCH completed
		C: b ESEARCH RETURN (UPDATE (FLAGS)) FLAGGED
		S: b OK ESEARCH completed
		C: c ESEARCH IN (mailboxes other) RETURN (UPDATE) ALL
		S: * ESEARCH (TAG "c" MAILBOX other UIDVALIDITY <*>) UID ALL 1
		S: * NO [NOUPDATE "c"] the selected mailbox is not among those that were searched
		S: c OK ESEARCH completed
		C: a ESEARCH RETURN (UPDATE) ALL
		S: a BAD the tag belongs to a search that is kept up to date
		C: a UID SEARCH RETURN (UPDATE) ALL
		S: a BAD the tag belongs to a search that is kept up to date
		C: d STORE 2 +FLAGS.SILENT (\Flagged)
		S: * ESEARCH (TAG "b" MAILBOX INBOX UIDVALIDITY <*>) UID ADDTO (0 2)
		S: d OK STORE completed
	`)
	s.deliver("other", message(10), deliverMeta)
	s.sync("other")
	s.deliver("INBOX", message(4), store.Meta{Tag: store.TagNone, Flags: store.Flagged})
	s.sync("INBOX")
	c.script(`
		C: e NOOP
		S: * 4 EXISTS
		S: * 4 RECENT
		S: * ESEARCH (TAG "a" MAILBOX INBOX UIDVALIDITY <*>) UID ADDTO (0 4)
		S: * 4 FETCH (FLAGS (\Flagged \Recent))
		S: * ESEARCH (TAG "b" MAILBOX INBOX UIDVALIDITY <*>) UID ADDTO (0 4)
		S: e OK NOOP completed
		C: f CANCELUPDATE "b"
		S: f OK CANCELUPDATE completed
		C: g STORE 2 +FLAGS.SILENT (\Deleted)
		S: g OK STORE completed
		C: h EXPUNGE
		S: * ESEARCH (TAG "a" MAILBOX INBOX UIDVALIDITY <*>) UID REMOVEFROM (0 2)
		S: * 2 EXPUNGE
		S: h OK EXPUNGE completed
	`)
	// A search that fails is kept by nobody, and they end with the mailbox.
	c.script(`
		C: i ESEARCH RETURN (UPDATE) CHARSET KOI8-R SUBJECT message
		S: i NO [BADCHARSET (US-ASCII UTF-8)] charset is not supported
		C: i ESEARCH RETURN (UPDATE COUNT) FLAGGED
		S: * ESEARCH (TAG "i" MAILBOX INBOX UIDVALIDITY <*>) UID COUNT 1
		S: i OK ESEARCH completed
	`)
	c.do("UNSELECT")
	c.do("SELECT INBOX")
	c.script(`
		C: j STORE 1 +FLAGS.SILENT (\Flagged)
		S: j OK STORE completed
		C: i ESEARCH RETURN (UPDATE COUNT) FLAGGED
		S: * ESEARCH (TAG "i" MAILBOX INBOX UIDVALIDITY <*>) UID COUNT 2
		S: i OK ESEARCH completed
	`)
}
