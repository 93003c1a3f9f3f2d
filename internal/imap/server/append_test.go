package server

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rtls/store"
)

// files counts what is in the mailbox's directories, tmp included.
func (s *site) files() int {
	n := 0
	for _, dir := range []string{"cur", "new", "tmp"} {
		names, err := os.ReadDir(filepath.Join(s.dir, "Maildir", dir))
		if err != nil {
			s.t.Fatal(err)
		}
		n += len(names)
	}
	return n
}

func TestAppend(t *testing.T) {
	s := newSite(t)
	c := s.login("")
	date := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC).In(time.Local).Format("_2-Jan-2006 15:04:05 -0700")
	c.script(`
		C: a APPEND INBOX (\Seen Junk) " 3-Feb-2001 04:05:06 +0000" {12}
		S: + go ahead
		C: Subject: x
		C:
		S: a OK [APPENDUID <*> 1] APPEND completed
	`)
	c.do("SELECT INBOX")
	c.script(`
		C: b FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])
		S: * 1 FETCH (FLAGS (\Seen \Recent Junk) INTERNALDATE "` + date + `" RFC822.SIZE 12 BODY[] {12}
		S: Subject: x
		S: )
		S: b OK FETCH completed
		C: c APPEND INBOX {3+}
		C: abc
		S: * 2 EXISTS
		S: * 2 RECENT
		S: c OK [APPENDUID <*> 2] APPEND completed
		C: d APPEND INBOX ~{3+}
		C: abc
		S: * 3 EXISTS
		S: * 3 RECENT
		S: d OK [APPENDUID <*> 3] APPEND completed
		C: e APPEND Nowhere {3}
		S: e NO [TRYCREATE] no such mailbox
		C: f APPEND Nowhere {3+}
		C: abc
		S: f NO [TRYCREATE] no such mailbox
		C: g APPEND INBOX {0+}
		C:
		S: * 4 EXISTS
		S: * 4 RECENT
		S: g OK [APPENDUID <*> 4] APPEND completed
	`)
}

func TestMultiAppend(t *testing.T) {
	s := newSite(t)
	c := s.login("")
	c.script(`
		C: a APPEND INBOX (\Seen) {3+}
		C: abc {2}
		S: + go ahead
		C: de (\Flagged) {1+}
		C: f
		S: a OK [APPENDUID <*> 1:3] APPEND completed
		C: b APPEND INBOX {3+}
		C: abc {x}
		S: b BAD expected a literal, found "{x}"
		C: c APPEND INBOX {3+}
		C: abc (\Recent) {8+}
		C: z EVIL
		C:
		S: c BAD \Recent cannot be set
		C: d NOOP
		S: d OK NOOP completed
		C: e APPEND INBOX {3+}
		C: abc {0}
		S: e NO APPEND was cancelled by an empty message
	`)
	if n := s.box("INBOX").Snapshot().Len(); n != 3 {
		t.Errorf("%d messages, want 3", n)
	}
	if n := s.files(); n != 3 {
		t.Errorf("%d files, want 3", n)
	}
}

func TestAppendUTF8(t *testing.T) {
	s := newSite(t)
	c := s.login("")
	c.do("ENABLE UTF8=ACCEPT")
	c.do("SELECT INBOX")
	c.script(`
		C: a APPEND INBOX UTF8 (~{17+}
		C: Subject: grüß
		C: )
		S: * 1 EXISTS
		S: * 1 RECENT
		S: a OK [APPENDUID <*> 1] APPEND completed
		C: b FETCH 1 ENVELOPE
		S: * 1 FETCH (ENVELOPE (NIL "grüß" NIL NIL NIL NIL NIL NIL NIL NIL))
		S: b OK FETCH completed
		C: c SEARCH CHARSET UTF-8 SUBJECT x
		S: c BAD no CHARSET after UTF-8 was enabled
		C: d SEARCH SUBJECT "GRÜ"
		S: * SEARCH 1
		S: d OK SEARCH completed
	`)
	// I21: to a client that knows nothing of it, it is not hidden.
	s.login("INBOX").script(`
		C: a FETCH 1 ENVELOPE
		S: * 1 FETCH (ENVELOPE (NIL {6}
		S: grüß NIL NIL NIL NIL NIL NIL NIL NIL))
		S: a OK FETCH completed
	`)
}

// Defect 1, I19: a message that is cut off is not stored.
func TestDefect01AppendCutOff(t *testing.T) {
	s := newSite(t)
	for name, end := range map[string]func(c *client){
		"close_notify": func(c *client) { c.conn.Close() },
		"TCP end":      func(c *client) { c.conn.NetConn().Close() },
	} {
		c := s.login("INBOX")
		c.send("a APPEND INBOX {1000}\r\n")
		c.expect("+ go ahead")
		c.send(strings.Repeat("x", 322))
		end(c)
		if name == "" {
			t.Fatal("no name")
		}
	}
	s.stop() // waits for both
	if n := s.files(); n != 0 {
		t.Errorf("%d files were left", n)
	}
	if n := s.box("INBOX").Snapshot().Len(); n != 0 {
		t.Errorf("%d messages were stored", n)
	}
}

// Defects 2 and 3: whatever is wrong with a command, the literal that it announced
// is never run as commands.
func TestDefect02And03NoCommandsFromLiterals(t *testing.T) {
	s := newSite(t, func(srv *Server) { srv.AppendLimit = 1000 })
	c := s.login("")
	evil := "From: x\r\nX: CREATE pwned\r\nx CREATE pwned\r\n"
	evil += strings.Repeat("y", 2000)
	lit := fmt.Sprintf("{%d+}\r\n%s", len(evil), evil)
	for _, test := range []struct{ name, cmd, want string }{
		{"too large", "APPEND INBOX " + lit, "a NO [TOOBIG] a message has at most 1000 octets"},
		{"no mailbox", "APPEND Nowhere {20+}\r\nx CREATE pwned\r\nabcd", "a NO [TRYCREATE] no such mailbox"},
		{"second too large", "APPEND INBOX {1+}\r\nx " + lit, "a NO [TOOBIG] a message has at most 1000 octets"},
		{"bad date", `APPEND INBOX "yesterday" ` + lit, "a BAD <*>"},
		{"bad flag", `APPEND INBOX (\Recent) ` + lit, "a BAD <*>"},
		{"unknown command", "FROBNICATE " + lit, "a BAD unknown command"},
		{"wrong state", "FETCH 1 BODY[HEADER.FIELDS (" + lit + ")]", "a BAD <*>"},
		{"too many arguments", "NOOP " + lit, "a BAD <*>"},
		{"mailbox name", "CREATE " + lit, "a BAD mailbox name is too long"},
		{"in a list", "STATUS INBOX (MESSAGES " + lit + ")", "a BAD <*>"},
	} {
		c.send("a " + test.cmd + "\r\nb NOOP\r\n")
		if got := c.line(); strings.HasPrefix(got, "a ") {
			if want := strings.TrimSuffix(test.want, " <*>"); !strings.HasPrefix(got, want) {
				t.Errorf("%s: got %q, want %q", test.name, got, test.want)
			}
		} else {
			t.Errorf("%s: got %q", test.name, got)
		}
		c.expect("b OK NOOP completed")
	}
	infos, err := s.account.Mailboxes(t.Context())
	if err != nil || len(infos) != 1 {
		t.Errorf("mailboxes are %v, %v", infos, err)
	}
	if n := s.files(); n != 0 {
		t.Errorf("%d files were left", n)
	}
}

// A literal that is too large even to be thrown away ends the connection, said so.
func TestLiteralTooLargeToDrain(t *testing.T) {
	s := newSite(t, func(srv *Server) { srv.AppendLimit = 1000 })
	c := s.login("")
	c.script(`
		C: a APPEND INBOX {999999999+}
		S: * BYE announced literals are too large
	`)
	c.closed()
	c = s.connect()
	c.script(`
		C: a LOGIN {100000+}
		S: * BYE announced literals are too large
	`)
	c.closed()
}

// Defect 4: a literal that is refused is refused before the client sends it.
func TestDefect04NoHangOnRefusedLiteral(t *testing.T) {
	s := newSite(t)
	c := s.connect()
	c.script(`
		C: a LOGIN {100000}
		S: a BAD [TOOBIG] literal is too large
		C: b LOGIN {5}
		S: + go ahead
		C: alice {6}
		S: + go ahead
		C: secret
		S: b ` + loggedIn + `
	`)
}

// An APPEND of what another program would take for two messages is one.
func TestAppendIsDurable(t *testing.T) {
	s := newSite(t)
	c := s.login("")
	c.do("APPEND INBOX (\\Draft) {7+}\r\na: b\r\n\n")
	m := s.box("INBOX").Snapshot().At(0)
	if m.Flags != store.Draft || m.Size != 8 {
		t.Errorf("stored as %+v", m)
	}
}

// RFC 9208 section 4.3: what has no room is refused with OVERQUOTA, and nothing of it
// stays.
func TestOverQuota(t *testing.T) {
	s := newSite(t, func(server *Server) {
		open := server.OpenAccount
		server.OpenAccount = func(ctx context.Context, user string) (*store.Account, error) {
			a, err := open(ctx, user)
			if err == nil {
				a.SetQuota(store.Quota{Messages: 2})
			}
			return a, err
		}
	})
	c := s.login("")
	c.script(`
		C: a APPEND INBOX {3+}
		C: abc
		S: a OK [APPENDUID <*> 1] APPEND completed
		C: b APPEND INBOX {3+}
		C: abc {3+}
		C: def
		S: b NO [OVERQUOTA] the account has no room for it
		C: c APPEND INBOX {3+}
		C: abc
		S: c OK [APPENDUID <*> 2] APPEND completed
	`)
	c.do("SELECT INBOX")
	c.script(`
		C: d COPY 1 INBOX
		S: d NO [OVERQUOTA] the account has no room for it
		C: e NOOP
		S: e OK NOOP completed
	`)
	if n := s.files(); n != 2 {
		t.Errorf("%d files", n)
	}
}
