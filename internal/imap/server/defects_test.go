package server

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rtls/store"
)

// The defects of another server loop that are not tested beside the command that
// they are about. The numbers name the same defect everywhere.

// countingListener counts the writes of the connections it accepts.
type countingListener struct {
	net.Listener
	writes *atomic.Int64
}

type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return countingConn{conn, l.writes}, err
}

func (c countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// Defect 13: a large answer is a few large writes, not one for each line.
func TestDefect13FewWrites(t *testing.T) {
	var writes atomic.Int64
	s := newSite(t, func(srv *Server) {
		srv.Logger = nil
	})
	s.wrap = func(l net.Listener) net.Listener { return countingListener{l, &writes} }
	s.restart()
	for i := range 500 {
		s.deliver("INBOX", message(i+1), store.Meta{})
	}
	c := s.login("INBOX")
	before := writes.Load()
	if lines := c.do("FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)"); len(lines) != 500 {
		t.Fatalf("%d lines", len(lines))
	}
	// About 50 KB: two buffers, two records each.
	if n := writes.Load() - before; n > 6 {
		t.Errorf("%d writes for one answer", n)
	}
	before = writes.Load()
	c.do("SELECT INBOX")
	if n := writes.Load() - before; n != 1 {
		t.Errorf("%d writes for SELECT", n)
	}
}

// Defect 15: a literal may take as long as it likes, as long as it comes.
func TestDefect15SlowLiteral(t *testing.T) {
	s := newSite(t, func(srv *Server) { srv.DataTimeout = 300 * time.Millisecond })
	c := s.login("")
	c.send("a APPEND INBOX {20}\r\n")
	c.expect("+ go ahead")
	for range 20 {
		c.send("x")
		time.Sleep(30 * time.Millisecond) // the client is slow, that is the point
	}
	c.script("C:\nS: a OK [APPENDUID <*> 1] APPEND completed")
	c.send("b APPEND INBOX {20}\r\n")
	c.expect("+ go ahead")
	c.send("x")
	c.expect("* BYE autologout: waited too long")
	c.closed()
}

// Defect 18: what is malformed is BAD, not the server's fault.
func TestDefect18MalformedIsBad(t *testing.T) {
	s := newSite(t)
	s.deliverN(1)
	c := s.login("INBOX")
	for _, cmd := range []string{
		"FETCH x FLAGS", "FETCH 1:2:3 FLAGS", "SEARCH FOO", "SEARCH SINCE 99-Foo-2020", "SELECT &!!!-", "STORE 1 +FLAGS (\\Foo)",
		"APPEND INBOX \"bad date\" {1+}\r\nx", "UID FETCH 0 FLAGS", "STATUS INBOX (FOO)", "LIST (FOO) \"\" *", "FETCH 1 BODY[1.2.FOO]",
	} {
		c.send("a " + cmd + "\r\n")
		if line := c.line(); !strings.HasPrefix(line, "a BAD ") {
			t.Errorf("%s: %s", cmd, line)
		}
	}
}

// Defect 27: a message that cannot be read costs its own answer and nothing else.
func TestDefect27UnreadableMessage(t *testing.T) {
	s := newSite(t)
	s.deliverN(3)
	c := s.login("INBOX")
	// A directory in place of the file can be opened, but not read.
	names, err := filepath.Glob(filepath.Join(s.dir, "Maildir", "*", "*R*"))
	if err != nil || len(names) != 3 {
		t.Fatalf("%q, %v", names, err)
	}
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(raw, []byte("message 2")) {
			continue
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c.script(`
		C: a FETCH 1:3 BODY.PEEK[TEXT]
		S: * 1 FETCH (BODY[TEXT] {8}
		S: body 1
		S: )
		S: * 3 FETCH (BODY[TEXT] {8}
		S: body 3
		S: )
		S: a NO [UNAVAILABLE] some of the messages cannot be read now
		C: b FETCH 2 FLAGS
		S: * 2 FETCH (FLAGS (\Recent))
		S: b OK FETCH completed
	`)
}

// Defect 30: commands in one write are run in order, each with its answer.
func TestDefect30Pipelining(t *testing.T) {
	s := newSite(t)
	s.deliverN(2)
	c := s.login("")
	c.send("a SELECT INBOX\r\nb FETCH 1 UID\r\nc STORE 1 +FLAGS.SILENT (\\Deleted)\r\nd EXPUNGE\r\ne APPEND INBOX {1+}\r\nx\r\nf FETCH 1:2 UID\r\ng LOGOUT\r\n")
	got, err := io.ReadAll(c.r)
	if err != nil {
		t.Fatal(err)
	}
	_, got, _ = bytes.Cut(got, []byte("SELECT completed\r\n"))
	validity := s.box("INBOX").Snapshot().UIDValidity()
	want := fmt.Sprintf("* 1 FETCH (UID 1)\r\nb OK FETCH completed\r\nc OK STORE completed\r\n* 1 EXPUNGE\r\nd OK EXPUNGE completed\r\n"+
		"* 2 EXISTS\r\n* 2 RECENT\r\ne OK [APPENDUID %d 3] APPEND completed\r\n* 1 FETCH (UID 2)\r\n* 2 FETCH (UID 3)\r\nf OK FETCH completed\r\n* BYE see you\r\ng OK LOGOUT completed\r\n", validity)
	if string(got) != want {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

// Defect 30: a client that does not take what it asked for is given up.
func TestDefect30StalledReader(t *testing.T) {
	s := newSite(t, func(srv *Server) { srv.WriteTimeout = 200 * time.Millisecond })
	s.deliver("INBOX", "Subject: x\r\n\r\n"+strings.Repeat("0123456789abcdef\r\n", 1<<20), store.Meta{})
	c := s.login("INBOX")
	c.send("a FETCH 1 BODY[]\r\n")
	s.waitLog("i/o timeout")
	s.waitLog("msg=disconnect")
}

// Defect 22: nothing is smaller than nothing.
func TestDefect22SmallerThanNothing(t *testing.T) {
	s := newSite(t)
	s.deliverN(2)
	s.login("INBOX").script(`
		C: a SEARCH SMALLER 0
		S: * SEARCH
		S: a OK SEARCH completed
		C: b SEARCH NOT SMALLER 0
		S: * SEARCH 1 2
		S: b OK SEARCH completed
	`)
}

// Defect 24: INBOX is INBOX in any case, wherever a name can stand.
func TestDefect24InboxInAnyCase(t *testing.T) {
	s := newSite(t)
	c := s.login("")
	c.script(`
		C: a LIST "" inbox
		S: * LIST (\HasNoChildren) "/" INBOX
		S: a OK LIST completed
		C: b LIST "" InB%
		S: * LIST (\HasNoChildren) "/" INBOX
		S: b OK LIST completed
		C: c APPEND inBOX {1+}
		C: x
		S: c OK [APPENDUID <*> 1] APPEND completed
		C: d STATUS inbox (MESSAGES)
		S: * STATUS INBOX (MESSAGES 1)
		S: d OK STATUS completed
	`)
	c.do("SELECT InBox")
}

// Defect 26: many changes while a client says nothing are one piece of news.
func TestDefect26ManyChangesAtOnce(t *testing.T) {
	s := newSite(t)
	s.deliverN(1)
	c := s.login("INBOX")
	for i := range 300 {
		s.deliver("INBOX", message(i+2), store.Meta{})
	}
	other := s.login("INBOX")
	for range 50 {
		other.do(`STORE 1:* +FLAGS.SILENT (\Flagged)`)
		other.do(`STORE 1:* -FLAGS.SILENT (\Flagged)`)
	}
	other.do(`STORE 2:300 +FLAGS.SILENT (\Deleted)`)
	other.do("EXPUNGE")
	lines := c.do("NOOP")
	if len(lines) > 5 || lines[0] != "* 2 EXISTS" {
		t.Errorf("%d lines of news: %.200q", len(lines), lines)
	}
}

// The list of defects is complete, and each of its tests is there.
func TestDefectsAreListed(t *testing.T) {
	list, err := os.ReadFile("../../../docs/decisions/0001-own-imap-layer.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var source []byte
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, text...)
	}
	rows := regexp.MustCompile("(?m)^\\| (\\d+) \\| .* \\| `(\\w+)` \\|$").FindAllSubmatch(list, -1)
	for i, row := range rows {
		if string(row[1]) != fmt.Sprint(i+1) || !bytes.Contains(source, []byte("func "+string(row[2])+"(t *testing.T)")) {
			t.Errorf("row %d: %s, %s", i+1, row[1], row[2])
		}
	}
	if len(rows) != 31 {
		t.Errorf("%d defects are listed, want 31", len(rows))
	}
}
