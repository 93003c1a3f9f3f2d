package server

import (
	"fmt"
	"strings"
	"testing"

	"rtls/store"
)

// annotate sets annotations as another process would, that of the administrator for
// instance.
func (s *site) annotate(mailbox string, entries ...string) {
	s.t.Helper()
	var set []store.Annotation
	for i := 0; i < len(entries); i += 2 {
		set = append(set, store.Annotation{Name: entries[i], Value: []byte(entries[i+1])})
	}
	if _, err := s.account.SetMetadata(s.t.Context(), mailbox, set); err != nil {
		s.t.Fatal(err)
	}
}

// RFC 5464 section 6.2.1: how to reach the administrator stands in the configuration,
// can be read by all users, and set by none.
func TestAdminEntry(t *testing.T) {
	s := newSite(t)
	s.login("").script(`
		C: a GETMETADATA "" /shared/admin
		S: * METADATA "" (/shared/admin NIL)
		S: a OK GETMETADATA completed
	`)
	s = newSite(t, func(srv *Server) { srv.Admin = "mailto:postmaster@example.org" })
	s.annotate("", "/shared/ADMIN", "mailto:mallory@example.com", "/shared/comment", "Shared comment")
	s.login("").script(`
		C: a GETMETADATA "" /shared/admin
		S: * METADATA "" (/shared/admin "mailto:postmaster@example.org")
		S: a OK GETMETADATA completed
		C: b GETMETADATA (DEPTH infinity) "" /shared
		S: * METADATA "" (/shared/admin "mailto:postmaster@example.org" /shared/comment "Shared comment")
		S: b OK GETMETADATA completed
		C: c GETMETADATA INBOX /shared/admin
		S: * METADATA INBOX (/shared/admin NIL)
		S: c OK GETMETADATA completed
		C: d SETMETADATA "" (/shared/admin "mailto:mallory@example.com")
		S: d NO [NOPERM] shared annotations of the server are not set by its users
		C: e SETMETADATA "" (/shared/admin NIL)
		S: e NO [NOPERM] shared annotations of the server are not set by its users
		C: f GETMETADATA (MAXSIZE 10) "" /shared/admin
		S: f OK [METADATA LONGENTRIES 29] GETMETADATA completed
	`)
}

// RFC 5464 sections 4.2 and 4.4.1.
func TestGetMetadata(t *testing.T) {
	s := newSite(t)
	s.annotate("", "/shared/comment", "Shared comment")
	s.annotate("INBOX", "/shared/comment", strings.Repeat("s", 2199), "/private/comment", "My own comment",
		"/private/filters/values/small", "SMALLER 5000", "/private/filters/values/boss", `FROM "boss@example.com"`, "/private/filters/values/boss/x", "deep")
	c := s.login("")
	c.script(`
		C: a GETMETADATA "" /shared/comment
		S: * METADATA "" (/shared/comment "Shared comment")
		S: a OK GETMETADATA completed
		C: b GETMETADATA "INBOX" /private/comment
		S: * METADATA INBOX (/private/comment "My own comment")
		S: b OK GETMETADATA completed
		C: c GETMETADATA "INBOX" (/private/comment /PRIVATE/Comment /private/none)
		S: * METADATA INBOX (/private/comment "My own comment" /private/none NIL)
		S: c OK GETMETADATA completed
		C: d GETMETADATA "INBOX" (MAXSIZE 1024) (/shared/comment /private/comment)
		S: * METADATA INBOX (/private/comment "My own comment")
		S: d OK [METADATA LONGENTRIES 2199] GETMETADATA completed
		C: e GETMETADATA (MAXSIZE 14) INBOX /private/comment
		S: * METADATA INBOX (/private/comment "My own comment")
		S: e OK GETMETADATA completed
		C: f GETMETADATA "INBOX" (DEPTH 1) (/private/filters/values)
		S: * METADATA INBOX (/private/filters/values/boss "FROM \"boss@example.com\"" /private/filters/values/small "SMALLER 5000")
		S: f OK GETMETADATA completed
		C: g GETMETADATA (DEPTH infinity) INBOX /private/filters/values/boss
		S: * METADATA INBOX (/private/filters/values/boss "FROM \"boss@example.com\"" /private/filters/values/boss/x "deep")
		S: g OK GETMETADATA completed
		C: h GETMETADATA (DEPTH infinity) INBOX /private/filt
		S: h OK GETMETADATA completed
		C: i GETMETADATA Nowhere /private/comment
		S: i NO [NONEXISTENT] no such mailbox
		C: j GETMETADATA INBOX /comment
		S: j BAD name of an entry starts with /private or /shared
		C: k GETMETADATA / /private/comment
		S: k NO [CANNOT] mailbox name is not allowed
	`)
}

// RFC 5464 section 4.3.
func TestSetMetadata(t *testing.T) {
	s := newSite(t)
	s.mailboxes("Work")
	c := s.login("")
	c.script(`
		C: a SETMETADATA INBOX (/private/comment {33}
		S: + go ahead
		C: My new comment across
		C: two lines.)
		S: a OK SETMETADATA completed
		C: b GETMETADATA INBOX /private/comment
		S: * METADATA INBOX (/private/comment {33}
		S: My new comment across
		S: two lines.)
		S: b OK GETMETADATA completed
		C: c SETMETADATA INBOX (/private/comment "My new comment" /shared/comment "This one is for you!")
		S: c OK SETMETADATA completed
		C: d SETMETADATA inbox (/PRIVATE/COMMENT NIL)
		S: d OK SETMETADATA completed
		C: e GETMETADATA INBOX (/private/comment /shared/comment)
		S: * METADATA INBOX (/private/comment NIL /shared/comment "This one is for you!")
		S: e OK GETMETADATA completed
		C: f SETMETADATA "" (/private/vendor/acme/key "")
		S: f OK SETMETADATA completed
		C: g GETMETADATA "" (DEPTH infinity) (/private)
		S: * METADATA "" (/private/vendor/acme/key "")
		S: g OK GETMETADATA completed
		C: h SETMETADATA Nowhere (/private/comment "x")
		S: h NO [NONEXISTENT] no such mailbox
	`)
	// One that cannot be set keeps the others from being set.
	c.script(`
		C: i SETMETADATA "" (/private/comment "x" /shared/comment "y")
		S: i NO [NOPERM] shared annotations of the server are not set by its users
		C: j SETMETADATA Work (/private/comment "x" /shared/vendor/RTLS/requiretls "required=0")
		S: j NO [CANNOT] /shared/vendor/RTLS/requiretls is read-only
		C: k SETMETADATA Work (/private/comment "x" /private/large {65537}
		S: k NO [METADATA MAXSIZE 65536] a value has at most 65536 octets
		C: l GETMETADATA Work /private/comment
		S: * METADATA Work (/private/comment NIL)
		S: l OK GETMETADATA completed
		C: m GETMETADATA "" /private/comment
		S: * METADATA "" (/private/comment NIL)
		S: m OK GETMETADATA completed
	`)
	// A literal that the client does not wait with is never taken for commands.
	c.send("n SETMETADATA Work (/private/large {65557+}\r\n" + strings.Repeat("x", 65537) + "\r\nn DELETE Work\r\n\r\n /private/comment {1+}\r\nx)\r\n")
	c.expect("n NO [METADATA MAXSIZE 65536] a value has at most 65536 octets")
	// Octets as they are, and the largest value.
	c.send("o SETMETADATA Work (/private/binary ~{4+}\r\n\x00\xff\r\n /private/large {65536+}\r\n" + strings.Repeat("x", 65536) + ")\r\n")
	c.expect("o OK SETMETADATA completed")
	c.send("p GETMETADATA (MAXSIZE 4) Work (/private/binary /private/large)\r\n")
	c.expect("* METADATA Work (/private/binary ~{4}")
	if got := c.line() + c.line(); got != "\x00\xff\r\n)\r\n" {
		t.Errorf("binary value is %q", got)
	}
	c.expect("p OK [METADATA LONGENTRIES 65536] GETMETADATA completed")
}

func TestMetadataTooMany(t *testing.T) {
	s := newSite(t)
	c := s.login("")
	for i := range store.MaxAnnotations {
		c.do(fmt.Sprintf(`SETMETADATA INBOX (/private/%d "x")`, i))
	}
	c.script(`
		C: a SETMETADATA INBOX (/private/comment "My new comment")
		S: a NO [METADATA TOOMANY] there is no room for more annotations
		C: b SETMETADATA INBOX (/private/1 "other")
		S: b OK SETMETADATA completed
		C: c SETMETADATA INBOX (/private/1 NIL /private/comment "My new comment")
		S: c OK SETMETADATA completed
	`)
}

// RFC 5464 section 4.1: annotations go where their mailbox goes.
func TestMetadataFollowsMailbox(t *testing.T) {
	s := newSite(t)
	s.mailboxes("A", "A/B")
	c := s.login("")
	for _, name := range []string{"A", "A/B", "INBOX"} {
		c.do(fmt.Sprintf(`SETMETADATA %s (/shared/comment "of %s")`, name, name))
	}
	c.do("RENAME A C")
	c.do("RENAME INBOX Old")
	c.do("CREATE A")
	c.do("DELETE C/B")
	c.do("CREATE C/B")
	s.restart()
	c = s.login("")
	c.script(`
		C: a LIST "" * RETURN (METADATA (/shared/comment))
		S: * LIST (\HasNoChildren) "/" INBOX
		S: * METADATA INBOX (/shared/comment "of INBOX")
		S: * LIST (\HasNoChildren) "/" A
		S: * METADATA A (/shared/comment NIL)
		S: * LIST (\HasChildren) "/" C
		S: * METADATA C (/shared/comment "of A")
		S: * LIST (\HasNoChildren) "/" C/B
		S: * METADATA C/B (/shared/comment NIL)
		S: * LIST (\HasNoChildren) "/" Old
		S: * METADATA Old (/shared/comment "of INBOX")
		S: a OK LIST completed
	`)
}

// RFC 9590 section 4.
func TestListMetadata(t *testing.T) {
	s := newSite(t)
	s.mailboxes("foo", "bar")
	c := s.login("")
	c.do(`SETMETADATA INBOX (/shared/vendor/cmu/cyrus-imapd/color "#b71c1c")`)
	c.do("SUBSCRIBE gone")
	c.script(`
		C: A01 LIST "" % RETURN (METADATA ("/shared/vendor/cmu/cyrus-imapd/color") STATUS (MESSAGES))
		S: * LIST (\HasNoChildren) "/" INBOX
		S: * METADATA INBOX (/shared/vendor/cmu/cyrus-imapd/color "#b71c1c")
		S: * STATUS INBOX (MESSAGES 0)
		S: * LIST (\HasNoChildren) "/" bar
		S: * METADATA bar (/shared/vendor/cmu/cyrus-imapd/color NIL)
		S: * STATUS bar (MESSAGES 0)
		S: * LIST (\HasNoChildren) "/" foo
		S: * METADATA foo (/shared/vendor/cmu/cyrus-imapd/color NIL)
		S: * STATUS foo (MESSAGES 0)
		S: A01 OK LIST completed
	`)
	for _, line := range c.do(`LIST (SUBSCRIBED) "" * RETURN (METADATA (/shared/comment))`) {
		if strings.HasPrefix(line, "* METADATA") {
			t.Errorf("of a mailbox that does not exist: %s", line)
		}
	}
}

// The counts of tags follow the mailbox and are never stored.
func TestTagCounts(t *testing.T) {
	s := newSite(t)
	s.mailboxes("Other")
	for _, tag := range []store.Tag{store.TagRequire, store.TagRequire, store.TagOptional, store.TagNone, store.TagUnknown} {
		s.deliver("INBOX", message(1), store.Meta{Tag: tag, Origin: store.OriginESMTP})
	}
	c := s.login("INBOX")
	c.do("COPY 1 Other")
	c.script(`
		C: a GETMETADATA INBOX /shared/vendor/rtls/requiretls
		S: * METADATA INBOX (/shared/vendor/rtls/requiretls "required=2 optional=1 unknown=1 none=1")
		S: a OK GETMETADATA completed
		C: b GETMETADATA (DEPTH infinity) Other /shared
		S: * METADATA Other (/shared/vendor/rtls/requiretls "required=1 optional=0 unknown=0 none=0")
		S: b OK GETMETADATA completed
		C: c LIST "" Other RETURN (METADATA (/shared/vendor/rtls/requiretls))
		S: * LIST (\HasNoChildren) "/" Other
		S: * METADATA Other (/shared/vendor/rtls/requiretls "required=1 optional=0 unknown=0 none=0")
		S: c OK LIST completed
		C: d GETMETADATA "" (DEPTH infinity) (/shared)
		S: d OK GETMETADATA completed
		C: e GETMETADATA (DEPTH 1) Other /shared/vendor
		S: e OK GETMETADATA completed
	`)
	if all, err := s.account.Metadata(t.Context(), "INBOX"); err != nil || len(all) != 0 {
		t.Errorf("stored are %v, %v", all, err)
	}
}

// RFC 5464 section 4.4.2: changes by others are told to those who asked for it.
func TestMetadataNews(t *testing.T) {
	s := newSite(t)
	c, other := s.login(""), s.login("INBOX")
	other.do(`SETMETADATA INBOX (/private/before "x")`)
	c.script(`
		C: a ENABLE METADATA
		S: * ENABLED METADATA
		S: a OK ENABLE completed
		C: b SETMETADATA INBOX (/private/own "x")
		S: b OK SETMETADATA completed
	`)
	other.do(`SETMETADATA INBOX (/shared/comment "x" /private/comment "y")`)
	other.do(`SETMETADATA "" (/private/comment NIL)`)
	c.script(`
		C: c NOOP
		S: * METADATA INBOX /shared/comment /private/comment
		S: * METADATA "" /private/comment
		S: c OK NOOP completed
		C: d NOOP
		S: d OK NOOP completed
		C: e IDLE
		S: + idling
	`)
	other.do(`SETMETADATA INBOX (/shared/comment NIL)`)
	c.script(`
		S: * METADATA INBOX /shared/comment
		C: DONE
		S: e OK IDLE completed
	`)
	other.script(`
		C: f NOOP
		S: f OK NOOP completed
	`)
}
