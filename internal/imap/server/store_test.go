package server

import (
	"slices"
	"testing"

	"rtls/store"
)

func TestStore(t *testing.T) {
	s := newSite(t)
	s.deliverN(3)
	c := s.login("INBOX")
	c.script(`
		C: a STORE 1:2 +FLAGS (\Seen \deleted)
		S: * 1 FETCH (FLAGS (\Deleted \Seen \Recent))
		S: * 2 FETCH (FLAGS (\Deleted \Seen \Recent))
		S: a OK STORE completed
		C: b STORE 1 -FLAGS \Deleted
		S: * 1 FETCH (FLAGS (\Seen \Recent))
		S: b OK STORE completed
		C: c UID STORE 3 FLAGS.SILENT ($Forwarded \Answered)
		S: c OK UID STORE completed
		C: d FETCH 3 FLAGS
		S: * 3 FETCH (FLAGS (\Answered $Forwarded \Recent))
		S: d OK FETCH completed
		C: e UID STORE 3 +FLAGS (Junk)
		S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Forwarded Junk $RequireTLSUnknown $RequireTLS $TLSOptional)
		S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $Forwarded Junk \*)] flags permitted
		S: * 3 FETCH (UID 3 FLAGS (\Answered $Forwarded \Recent Junk))
		S: e OK UID STORE completed
		C: f STORE 3 -FLAGS (JUNK)
		S: * 3 FETCH (FLAGS (\Answered $Forwarded \Recent))
		S: f OK STORE completed
		C: g STORE 1 FLAGS ()
		S: * 1 FETCH (FLAGS (\Recent))
		S: g OK STORE completed
		C: h STORE 1 +FLAGS ()
		S: * 1 FETCH (FLAGS (\Recent))
		S: h OK STORE completed
		C: i UID STORE 99 +FLAGS (\Seen)
		S: i OK UID STORE completed
		C: j STORE 9 +FLAGS (\Seen)
		S: j BAD there are 3 messages
		C: k STORE 1 +FLAGS (\Recent)
		S: k BAD \Recent cannot be set
	`)
}

// What one session changes the others hear, and the one itself only once.
func TestStoreIsNewsToOthers(t *testing.T) {
	s := newSite(t)
	s.deliverN(2)
	c, other := s.login("INBOX"), s.login("INBOX")
	c.script(`
		C: a STORE 1 +FLAGS.SILENT (\Flagged)
		S: a OK STORE completed
		C: b NOOP
		S: b OK NOOP completed
	`)
	other.script(`
		C: a NOOP
		S: * 1 FETCH (FLAGS (\Flagged))
		S: a OK NOOP completed
		C: b STORE 1 +FLAGS (\Seen)
		S: * 1 FETCH (FLAGS (\Flagged \Seen))
		S: b OK STORE completed
	`)
	c.script(`
		C: c STORE 1 +FLAGS.SILENT (\Answered)
		S: * 1 FETCH (FLAGS (\Answered \Flagged \Seen \Recent))
		S: c OK STORE completed
	`)
}

// I13: the tag is a keyword that clients see, and that no command sets or clears.
func TestTagIsReadOnly(t *testing.T) {
	s := newSite(t)
	for _, m := range []store.Meta{
		{Tag: store.TagRequire, Origin: store.OriginESMTP},
		{Tag: store.TagOptional, Origin: store.OriginHeader},
		{Tag: store.TagNone, Origin: store.OriginESMTP},
		{Tag: store.TagUnknown, Origin: store.OriginMDA},
	} {
		s.deliver("INBOX", message(1), m)
		s.sync("INBOX")
	}
	c := s.login("INBOX")
	c.script(`
		C: a FETCH 1:* FLAGS
		S: * 1 FETCH (FLAGS (\Recent $RequireTLS))
		S: * 2 FETCH (FLAGS (\Recent $TLSOptional))
		S: * 3 FETCH (FLAGS (\Recent))
		S: * 4 FETCH (FLAGS (\Recent $RequireTLSUnknown))
		S: a OK FETCH completed
		C: b STORE 1 -FLAGS ($RequireTLS \Seen)
		S: b NO [CANNOT] $RequireTLS is set by delivery and by nothing else
		C: c STORE 3 +FLAGS ($requiretls)
		S: c NO [CANNOT] $requiretls is set by delivery and by nothing else
		C: d STORE 3 +FLAGS ($TLSOptional)
		S: d NO [CANNOT] $TLSOptional is set by delivery and by nothing else
		C: e STORE 3 -FLAGS ($RequireTLSUnknown)
		S: e NO [CANNOT] $RequireTLSUnknown is set by delivery and by nothing else
		C: f STORE 1 FLAGS (\Seen)
		S: * 1 FETCH (FLAGS (\Seen \Recent $RequireTLS))
		S: f OK STORE completed
		C: g STORE 3 FLAGS (\Seen $RequireTLS)
		S: * 3 FETCH (FLAGS (\Seen \Recent))
		S: g OK STORE completed
		C: h SEARCH KEYWORD $requiretls
		S: * SEARCH 1
		S: h OK SEARCH completed
		C: i SEARCH UNKEYWORD $RequireTLS
		S: * SEARCH 2 3 4
		S: i OK SEARCH completed
		C: j SEARCH OR KEYWORD $TLSOptional KEYWORD $RequireTLSUnknown
		S: * SEARCH 2 4
		S: j OK SEARCH completed
	`)
	c.do("CREATE kept")
	c.do("COPY 1 kept")
	c.do("MOVE 2 kept")
	c.do("SELECT kept")
	c.script(`
		C: k FETCH 1:* FLAGS
		S: * 1 FETCH (FLAGS (\Seen \Recent $RequireTLS))
		S: * 2 FETCH (FLAGS (\Recent $TLSOptional))
		S: k OK FETCH completed
	`)
	snap := s.box("kept").Snapshot()
	if m := snap.At(0); m.Tag != store.TagRequire || m.Origin != store.OriginESMTP {
		t.Errorf("the copy has tag %s of %s", m.Tag, m.Origin)
	}
}

// I15, D08: a keyword in APPEND makes no tag.
func TestAppendMakesNoTag(t *testing.T) {
	s := newSite(t)
	c := s.login("INBOX")
	c.script(`
		C: a APPEND INBOX ($RequireTLS $TLSOptional $requiretlsunknown \Seen) {4+}
		C: x: y
		S: * 1 EXISTS
		S: * 1 RECENT
		S: a OK [APPENDUID <*> 1] APPEND completed
		C: b FETCH 1 FLAGS
		S: * 1 FETCH (FLAGS (\Seen \Recent))
		S: b OK FETCH completed
	`)
	if m := s.box("INBOX").Snapshot().At(0); m.Tag != store.TagNone || len(m.Keywords) > 0 {
		t.Errorf("stored with tag %s and keywords %q", m.Tag, m.Keywords)
	}
}

func TestCopyAndMove(t *testing.T) {
	s := newSite(t)
	s.deliverN(4)
	c := s.login("INBOX")
	c.script(`
		C: a COPY 1 Nowhere
		S: a NO [TRYCREATE] no such mailbox
		C: b CREATE work
		S: b OK [MAILBOXID (<*>)] CREATE completed
		C: c COPY 2:3,1 work
		S: c OK [COPYUID <*> 1:3 1:3] COPY completed
		C: d UID MOVE 2 work
		S: * OK [COPYUID <*> 2 4] moved
		S: * 2 EXPUNGE
		S: d OK UID MOVE completed
		C: e MOVE 2:3 work
		S: * OK [COPYUID <*> 3:4 5:6] moved
		S: * 3 EXPUNGE
		S: * 2 EXPUNGE
		S: e OK MOVE completed
		C: f COPY 1 INBOX
		S: * 2 EXISTS
		S: * 2 RECENT
		S: f OK [COPYUID <*> 1 5] COPY completed
		C: g MOVE 9 work
		S: g BAD there are 2 messages
	`)
}

// Defect 10: nothing to copy is one reply, without COPYUID.
func TestDefect10NothingToCopy(t *testing.T) {
	s := newSite(t)
	s.deliverN(1)
	c := s.login("INBOX")
	c.script(`
		C: a UID COPY 99 INBOX
		S: a OK no messages found
		C: b UID MOVE 99 INBOX
		S: b OK no messages found
	`)
}

func TestExpunge(t *testing.T) {
	s := newSite(t)
	s.deliverN(6)
	c := s.login("INBOX")
	c.do(`STORE 1,3:5 +FLAGS.SILENT (\Deleted)`)
	c.script(`
		C: a UID EXPUNGE 2:3
		S: * 3 EXPUNGE
		S: a OK UID EXPUNGE completed
		C: b EXPUNGE
		S: * 4 EXPUNGE
		S: * 3 EXPUNGE
		S: * 1 EXPUNGE
		S: b OK EXPUNGE completed
		C: c UID FETCH 1:* UID
		S: * 1 FETCH (UID 2)
		S: * 2 FETCH (UID 6)
		S: c OK UID FETCH completed
		C: d EXPUNGE
		S: d OK EXPUNGE completed
		C: e STORE 1 +FLAGS.SILENT (\Deleted)
		S: e OK STORE completed
		C: f CLOSE
		S: f OK CLOSE completed
	`)
	snap := s.box("INBOX").Snapshot()
	if snap.Len() != 1 || snap.At(0).UID != 6 {
		t.Errorf("%d messages are left", snap.Len())
	}
}

// UNSELECT and LOGOUT expunge nothing.
func TestUnselectKeepsDeleted(t *testing.T) {
	s := newSite(t)
	s.deliver("INBOX", message(1), store.Meta{Flags: store.Deleted})
	c := s.login("INBOX")
	c.do("UNSELECT")
	c.do("SELECT INBOX")
	c.script(`
		C: a LOGOUT
		S: * BYE see you
		S: a OK LOGOUT completed
	`)
	c.closed()
	if n := s.box("INBOX").Snapshot().Len(); n != 1 {
		t.Errorf("%d messages are left", n)
	}
}

// Keywords are one whatever their case, in the spelling that came first.
func TestKeywordCase(t *testing.T) {
	s := newSite(t)
	s.deliverN(2)
	c := s.login("INBOX")
	c.do("STORE 1 +FLAGS.SILENT (NonJunk)")
	c.do("STORE 2 +FLAGS.SILENT (nonjunk)")
	if lines := c.do("SEARCH KEYWORD NONJUNK"); !slices.Contains(lines, "* SEARCH 1 2") {
		t.Errorf("%q", lines)
	}
	for i := range 2 {
		if k := s.box("INBOX").Snapshot().At(i).Keywords; !slices.Equal(k, []string{"NonJunk"}) {
			t.Errorf("message %d has %q", i+1, k)
		}
	}
}

// The answer names the command that was given, also where it has a response code.
func TestAnswerNamesCommand(t *testing.T) {
	s := newSite(t)
	s.deliverN(1)
	c := s.login("INBOX")
	c.do("ENABLE CONDSTORE")
	c.do("CREATE work")
	c.script(`
		C: a UID COPY 1 work
		S: a OK [COPYUID <*> 1 1] UID COPY completed
		C: b COPY 1 work
		S: b OK [COPYUID <*> 1 2] COPY completed
	`)
	c.do(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	c.script(`
		C: c UID EXPUNGE 1
		S: * 1 EXPUNGE
		S: c OK [HIGHESTMODSEQ <*>] UID EXPUNGE completed
	`)
}
