package server

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"rtls/store"
)

// one runs a command and returns what its only response, or else its tagged reply,
// has in the place of a group.
func (c *client) one(cmd, expr string) string {
	c.t.Helper()
	c.send("one " + cmd + "\r\n")
	var all string
	for {
		line := c.line()
		all += line
		if strings.HasPrefix(line, "one ") {
			break
		}
	}
	m := regexp.MustCompile(expr).FindStringSubmatch(all)
	if m == nil {
		c.t.Fatalf("%s: %q is not in %q", cmd, expr, all)
	}
	return m[1]
}

// A mailbox has one identifier wherever it is told, and keeps it under another name
// (RFC 8474 section 4).
func TestMailboxID(t *testing.T) {
	s := newSite(t)
	c := s.login("")
	const id = `MAILBOXID \((F[0-9a-f]{32})\)`
	created := c.one("CREATE foo", `one OK \[`+id+`\] `)
	if got := c.one("STATUS foo (MAILBOXID MESSAGES)", id+" MESSAGES 0"); got != created {
		t.Errorf("STATUS: %s, CREATE: %s", got, created)
	}
	if got := c.one("SELECT foo", `\* OK \[`+id+`\] `); got != created {
		t.Errorf("SELECT: %s, CREATE: %s", got, created)
	}
	if other := c.one("STATUS INBOX (MAILBOXID)", id); other == created {
		t.Error("two mailboxes have one identifier")
	}
	c.do("CLOSE")
	c.do("RENAME foo renamed")
	if got := c.one("STATUS renamed (MAILBOXID)", id); got != created {
		t.Errorf("after RENAME: %s, before: %s", got, created)
	}
	c.do("DELETE renamed")
	if again := c.one("CREATE foo", id); again == created {
		t.Error("a new mailbox has the identifier of one that was deleted")
	}
	if lines := c.do(`LIST "" INBOX RETURN (STATUS (MAILBOXID))`); len(lines) != 2 || !regexp.MustCompile(id).MatchString(lines[1]) {
		t.Errorf("LIST-STATUS: %q", lines)
	}
}

// Copies have the identifiers of their originals, and both survive the loss of the
// index (RFC 8474 section 5).
func TestEmailID(t *testing.T) {
	s := newSite(t)
	const header = "From: a@example.com\r\nSubject: same\r\n"
	for _, ids := range []string{
		"Message-ID: <1@x>\r\n",
		"Message-ID: <2@x>\r\nIn-Reply-To: <1@x>\r\n",
		"Message-ID: <3@x>\r\nReferences: <1@x>\r\n\t<2@x>\r\n",
		"Message-ID: <4@x>\r\n",
		"",
		"",
	} {
		s.deliver("INBOX", header+ids+"\r\nbody\r\n", store.Meta{})
		s.sync("INBOX")
	}
	c := s.login("INBOX")
	const expr = `EMAILID \((M[0-9a-f]{16})\) THREADID \((T[0-9a-f]{24})\)`
	ids := func(mailbox string) (emails, threads []string) {
		t.Helper()
		c.do("SELECT " + mailbox)
		for _, line := range c.do("FETCH 1:* (EMAILID THREADID)") {
			m := regexp.MustCompile(expr).FindStringSubmatch(line)
			if m == nil {
				t.Fatalf("%s: %q", mailbox, line)
			}
			emails, threads = append(emails, m[1]), append(threads, m[2])
		}
		return emails, threads
	}
	emails, threads := ids("INBOX")
	if len(emails) != 6 || len(slices.Compact(slices.Sorted(slices.Values(emails)))) != 6 {
		t.Fatalf("EMAILIDs: %q", emails)
	}
	if threads[0] != threads[1] || threads[0] != threads[2] || len(slices.Compact(slices.Sorted(slices.Values(threads)))) != 4 {
		t.Errorf("THREADIDs: %q", threads)
	}
	c.script(`
		C: a SEARCH EMAILID ` + emails[3] + `
		S: * SEARCH 4
		S: a OK <*>
		C: a SEARCH NOT THREADID ` + threads[0] + `
		S: * SEARCH 4 5 6
		S: a OK <*>
		C: a UID SEARCH 2:* THREADID ` + threads[0] + ` OR EMAILID ` + emails[1] + ` EMAILID Mnone
		S: * SEARCH 2
		S: a OK <*>
		C: a SEARCH THREADID ` + strings.ToLower(threads[0]) + `
		S: * SEARCH
		S: a OK <*>
		C: a SEARCH EMAILID ""
		S: a BAD expected an atom, found "\"\""`)
	c.do("CREATE Copies")
	c.do("COPY 1:5 Copies")
	c.do("MOVE 6 Copies")
	check := func() {
		t.Helper()
		gotEmails, gotThreads := ids("Copies")
		if !slices.Equal(gotEmails, emails) || !slices.Equal(gotThreads, threads) {
			t.Errorf("copies: %q %q\noriginals: %q %q", gotEmails, gotThreads, emails, threads)
		}
	}
	check()
	c.do("LOGOUT")
	s.stop()
	s.loseIndex()
	s.start()
	c = s.login("")
	check()
}
