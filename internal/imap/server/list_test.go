package server

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func (s *site) mailboxes(names ...string) {
	s.t.Helper()
	for _, name := range names {
		if err := s.account.CreateMailbox(s.t.Context(), name, ""); err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestList(t *testing.T) {
	s := newSite(t)
	s.mailboxes("work", "work/old", "work/old/2024", "zoo/lion")
	c := s.login("")
	for cmd, want := range map[string]string{
		`LIST "" ""`: `* LIST (\Noselect) "/" ""`,
		`LIST "" *`: `* LIST (\HasNoChildren) "/" INBOX
			* LIST (\HasChildren) "/" work
			* LIST (\HasChildren) "/" work/old
			* LIST (\HasNoChildren) "/" work/old/2024
			* LIST (\HasChildren) "/" zoo
			* LIST (\HasNoChildren) "/" zoo/lion`,
		`LIST "" %`: `* LIST (\HasNoChildren) "/" INBOX
			* LIST (\HasChildren) "/" work
			* LIST (\HasChildren) "/" zoo`,
		`LIST work/ %`:   `* LIST (\HasChildren) "/" work/old`,
		`LIST "" work/%`: `* LIST (\HasChildren) "/" work/old`,
		`LIST "" w*2024`: `* LIST (\HasNoChildren) "/" work/old/2024`,
		`LIST "" w%2024`: ``,
		`LIST "" "%/%"`: `* LIST (\HasChildren) "/" work/old
			* LIST (\HasNoChildren) "/" zoo/lion`,
		`LIST "" inbox`:   `* LIST (\HasNoChildren) "/" INBOX`,
		`LIST "" inB%`:    `* LIST (\HasNoChildren) "/" INBOX`,
		`LIST "" "*x"`:    `* LIST (\HasNoChildren) "/" INBOX`,
		`LIST "" WORK`:    ``,
		`LIST "" nowhere`: ``,
		`LIST "" (inbox "work/%")`: `* LIST (\HasNoChildren) "/" INBOX
			* LIST (\HasChildren) "/" work/old`,
		`LIST "" work RETURN (STATUS (MESSAGES UNSEEN) CHILDREN)`: `* LIST (\HasChildren) "/" work
			* STATUS work (MESSAGES 0 UNSEEN 0)`,
		`NAMESPACE`: `* NAMESPACE (("" "/")) NIL NIL`,
	} {
		var lines []string
		for line := range strings.Lines(want) {
			lines = append(lines, strings.TrimSpace(line))
		}
		if got := c.do(cmd); !slices.Equal(got, lines) {
			t.Errorf("%s:\n got %q\nwant %q", cmd, got, lines)
		}
	}
}

// A level of the hierarchy that is no mailbox is listed as what it is.
func TestListMissingParent(t *testing.T) {
	s := newSite(t)
	s.mailboxes("a/b")
	c := s.login("")
	c.do("DELETE a")
	c.script(`
		C: a LIST "" %
		S: * LIST (\HasNoChildren) "/" INBOX
		S: * LIST (\Noselect \NonExistent \HasChildren) "/" a
		S: a OK LIST completed
		C: b LIST "" *
		S: * LIST (\HasNoChildren) "/" INBOX
		S: * LIST (\HasNoChildren) "/" a/b
		S: b OK LIST completed
		C: c SELECT a
		S: c NO [NONEXISTENT] no such mailbox
	`)
}

func TestSubscriptions(t *testing.T) {
	s := newSite(t)
	s.mailboxes("a/b/c", "d")
	c := s.login("")
	for _, name := range []string{"INBOX", "a/b/c", "ghost"} {
		c.do("SUBSCRIBE " + name)
	}
	c.script(`
		C: a LSUB "" *
		S: * LSUB () "/" INBOX
		S: * LSUB () "/" a/b/c
		S: * LSUB (\Noselect) "/" ghost
		S: a OK LSUB completed
		C: b LSUB "" %
		S: * LSUB () "/" INBOX
		S: * LSUB (\Noselect) "/" a
		S: * LSUB (\Noselect) "/" ghost
		S: b OK LSUB completed
		C: c LIST (SUBSCRIBED) "" *
		S: * LIST (\HasNoChildren \Subscribed) "/" INBOX
		S: * LIST (\HasNoChildren \Subscribed) "/" a/b/c
		S: * LIST (\Noselect \NonExistent \HasNoChildren \Subscribed) "/" ghost
		S: c OK LIST completed
		C: d LIST (SUBSCRIBED RECURSIVEMATCH) "" %
		S: * LIST (\HasNoChildren \Subscribed) "/" INBOX
		S: * LIST (\HasChildren) "/" a ("CHILDINFO" ("SUBSCRIBED"))
		S: * LIST (\Noselect \NonExistent \HasNoChildren \Subscribed) "/" ghost
		S: d OK LIST completed
		C: e LIST "" d RETURN (SUBSCRIBED)
		S: * LIST (\HasNoChildren) "/" d
		S: e OK LIST completed
		C: f UNSUBSCRIBE ghost
		S: f OK UNSUBSCRIBE completed
		C: g UNSUBSCRIBE ghost
		S: g OK UNSUBSCRIBE completed
		C: h LIST (SUBSCRIBED) "" g*
		S: h OK LIST completed
	`)
}

// RFC 5819 section 3, RFC 9590 section 4: a mailbox that is listed for those below it
// has neither status nor annotations there, nor has one that cannot be selected.
func TestListReturnsOfWhatIsMeant(t *testing.T) {
	s := newSite(t)
	s.mailboxes("foo", "foo/bar", "level/below")
	c := s.login("")
	for _, name := range []string{"INBOX", "foo/bar", "gone"} {
		c.do("SUBSCRIBE " + name)
	}
	c.do("DELETE level")
	c.script(`
		C: A01 LIST "" % RETURN (STATUS (MESSAGES) METADATA (/shared/comment))
		S: * LIST (\HasNoChildren) "/" INBOX
		S: * METADATA INBOX (/shared/comment NIL)
		S: * STATUS INBOX (MESSAGES 0)
		S: * LIST (\HasChildren) "/" foo
		S: * METADATA foo (/shared/comment NIL)
		S: * STATUS foo (MESSAGES 0)
		S: * LIST (\Noselect \NonExistent \HasChildren) "/" level
		S: A01 OK LIST completed
		C: A02 LIST (SUBSCRIBED RECURSIVEMATCH) "" % RETURN (STATUS (MESSAGES) METADATA (/shared/comment))
		S: * LIST (\HasNoChildren \Subscribed) "/" INBOX
		S: * METADATA INBOX (/shared/comment NIL)
		S: * STATUS INBOX (MESSAGES 0)
		S: * LIST (\HasChildren) "/" foo ("CHILDINFO" ("SUBSCRIBED"))
		S: * LIST (\Noselect \NonExistent \HasNoChildren \Subscribed) "/" gone
		S: A02 OK LIST completed
	`)
}

// RFC 5819 section 2, RFC 9590 section 3: what cannot be looked up is left out, and the
// list is whole nevertheless.
func TestListReturnsWhatItCan(t *testing.T) {
	s := newSite(t)
	s.mailboxes("a", "b", "c")
	if err := os.WriteFile(filepath.Join(s.dir, "Maildir/.a/rtls-metadata"), []byte("damaged\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.login("").script(`
		C: A01 LIST "" % RETURN (STATUS (MESSAGES) METADATA (/shared/comment))
		S: * LIST (\HasNoChildren) "/" INBOX
		S: * METADATA INBOX (/shared/comment NIL)
		S: * STATUS INBOX (MESSAGES 0)
		S: * LIST (\HasNoChildren) "/" a
		S: * STATUS a (MESSAGES 0)
		S: * LIST (\HasNoChildren) "/" b
		S: * METADATA b (/shared/comment NIL)
		S: * STATUS b (MESSAGES 0)
		S: * LIST (\HasNoChildren) "/" c
		S: * METADATA c (/shared/comment NIL)
		S: * STATUS c (MESSAGES 0)
		S: A01 OK LIST completed
	`)
	s.waitLog("annotations of a mailbox")
}

func TestSpecialUse(t *testing.T) {
	s := newSite(t)
	c := s.login("")
	c.script(`
		C: a CREATE Out (USE (\sent))
		S: a OK [MAILBOXID (<*>)] CREATE completed
		C: b CREATE Bad (USE (\Foo))
		S: b NO [USEATTR] a mailbox has one special use, and it is one of RFC 6154
		C: c LIST (SPECIAL-USE) "" *
		S: * LIST (\HasNoChildren \Sent) "/" Out
		S: c OK LIST completed
		C: d LIST "" * RETURN (SPECIAL-USE)
		S: * LIST (\HasNoChildren) "/" INBOX
		S: * LIST (\HasNoChildren \Sent) "/" Out
		S: d OK LIST completed
	`)
}

// What a client makes under a usual name, as Thunderbird does with Trash, has its
// special use, so that the next client finds it.
func TestSpecialUseByName(t *testing.T) {
	s := newSite(t)
	c := s.login("")
	c.script(`
		C: a CREATE Trash
		S: a OK [MAILBOXID (<*>)] CREATE completed
		C: b CREATE "Sent Messages"
		S: b OK [MAILBOXID (<*>)] CREATE completed
		C: c LIST (SPECIAL-USE) "" *
		S: * LIST (\HasNoChildren \Sent) "/" "Sent Messages"
		S: * LIST (\HasNoChildren \Trash) "/" Trash
		S: c OK LIST completed
		C: d CREATE Bin (USE (\Trash))
		S: d OK [MAILBOXID (<*>)] CREATE completed
		C: e LIST "" * RETURN (SPECIAL-USE)
		S: * LIST (\HasNoChildren) "/" INBOX
		S: * LIST (\HasNoChildren \Trash) "/" Bin
		S: * LIST (\HasNoChildren \Sent) "/" "Sent Messages"
		S: * LIST (\HasNoChildren) "/" Trash
		S: e OK LIST completed
	`)
}

func TestMailboxCommands(t *testing.T) {
	s := newSite(t)
	s.deliverN(2)
	c := s.login("")
	c.script(`
		C: a CREATE INBOX
		S: a NO [ALREADYEXISTS] mailbox exists already
		C: b CREATE a/b/
		S: b OK [MAILBOXID (<*>)] CREATE completed
		C: c CREATE a
		S: c NO [ALREADYEXISTS] mailbox exists already
		C: d CREATE a//b
		S: d NO [CANNOT] mailbox name is not allowed
		C: e CREATE ""
		S: e NO [CANNOT] mailbox name is not allowed
		C: f DELETE INBOX
		S: f NO [CANNOT] mailbox name is not allowed
		C: g DELETE nowhere
		S: g NO [NONEXISTENT] no such mailbox
		C: h RENAME a c
		S: h OK RENAME completed
		C: i RENAME nowhere x
		S: i NO [NONEXISTENT] no such mailbox
		C: j RENAME c INBOX
		S: j NO [ALREADYEXISTS] mailbox exists already
		C: k LIST "" c*
		S: * LIST (\HasChildren) "/" c
		S: * LIST (\HasNoChildren) "/" c/b
		S: k OK LIST completed
		C: l RENAME inbox saved
		S: l OK RENAME completed
		C: m STATUS saved (MESSAGES UIDNEXT UNSEEN DELETED RECENT)
		S: * STATUS saved (MESSAGES 2 UIDNEXT 3 UNSEEN 2 DELETED 0 RECENT 2)
		S: m OK STATUS completed
		C: n STATUS inbox (MESSAGES SIZE APPENDLIMIT)
		S: * STATUS INBOX (MESSAGES 0 SIZE 0 APPENDLIMIT 104857600)
		S: n OK STATUS completed
		C: o STATUS nowhere (MESSAGES)
		S: o NO [NONEXISTENT] no such mailbox
	`)
}

// Defect 23: names are UTF-8 after ENABLE, and modified UTF-7 before.
func TestDefect23MailboxNames(t *testing.T) {
	s := newSite(t)
	c := s.login("")
	c.do(`CREATE "Tom &- J"`)
	c.do("CREATE Entw&APw-rfe")
	c.do("ENABLE UTF8=ACCEPT")
	c.do(`CREATE "C&D"`)
	c.script(`
		C: a LIST "" *
		S: * LIST (\HasNoChildren) "/" INBOX
		S: * LIST (\HasNoChildren) "/" C&D
		S: * LIST (\HasNoChildren) "/" "Entwürfe"
		S: * LIST (\HasNoChildren) "/" "Tom & J"
		S: a OK LIST completed
		C: b SELECT "Tom & K"
		S: b NO [NONEXISTENT] no such mailbox
	`)
	s.login("").script(`
		C: a LIST "" *
		S: * LIST (\HasNoChildren) "/" INBOX
		S: * LIST (\HasNoChildren) "/" C&-D
		S: * LIST (\HasNoChildren) "/" Entw&APw-rfe
		S: * LIST (\HasNoChildren) "/" "Tom &- J"
		S: a OK LIST completed
		C: b SELECT "Tom & J"
		S: b BAD mailbox name is not modified UTF-7: a shift does not end
	`)
}

// Defect 14: no pattern takes exponential time.
func TestDefect14Patterns(t *testing.T) {
	s := newSite(t)
	name := strings.Repeat("a", 200)
	s.mailboxes(name)
	c := s.login("")
	if got := c.do(`LIST "" ` + strings.Repeat("*a", 90) + "b"); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if got := c.do(`LIST "" ` + strings.Repeat("%a*", 90)); len(got) != 1 {
		t.Errorf("%q", got)
	}
}
