package server

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lockIndex holds up whoever wants to change alice's index, as another process
// would, until unlock.
func (s *site) lockIndex() (unlock func()) {
	s.t.Helper()
	f, err := os.OpenFile(filepath.Join(s.dir, ".rtls", "index.db-lock"), os.O_RDWR, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		s.t.Fatal(err)
	}
	return func() { f.Close() }
}

func often(srv *Server) { srv.ProgressEvery = time.Millisecond }

// RFC 9585 section 4: words on a command that takes long, for as long as it does.
func TestProgressOfChanges(t *testing.T) {
	s := newSite(t, often)
	s.deliverN(4)
	s.mailboxes("Archive")
	c := s.login("INBOX")
	for _, test := range []struct {
		command, tag, code string
		after              []string
	}{
		{`STORE 1:3 +FLAGS.SILENT (\Flagged)`, "A001", `("A001" 0 3)`, nil},
		{"UID COPY 1:* Archive", "A]2", "(NIL 0 4)", nil},
		{"APPEND Archive {1+}\r\nx {1+}\r\ny", "A003", `("A003" <*> 2)`, nil},
		{"UID MOVE 1:2 Archive", "A004", `("A004" 0 2)`, []string{"* OK [COPYUID ", "* 2 EXPUNGE", "* 1 EXPUNGE"}},
		{"UID EXPUNGE 3", "A005", `("A005" 0 1)`, []string{"* 1 EXPUNGE"}},
	} {
		if strings.Contains(test.command, "EXPUNGE") {
			c.do(`UID STORE 3 +FLAGS.SILENT (\Deleted)`)
		}
		unlock := s.lockIndex()
		c.send(test.tag + " " + test.command + "\r\n")
		line := "* OK [INPROGRESS " + test.code + "] working"
		c.expect(line)
		c.expect(line)
		unlock()
		got := c.line()
		for ; strings.HasPrefix(got, "* OK [INPROGRESS"); got = c.line() {
		}
		for _, want := range test.after {
			if !strings.HasPrefix(got, want) {
				t.Errorf("%s: got %q, want %q", test.command, got, want)
			}
			got = c.line()
		}
		if !strings.HasPrefix(got, test.tag+" OK ") || strings.Contains(got, "INPROGRESS") {
			t.Errorf("%s: got %q", test.command, got)
		}
	}
}

var inProgress = regexp.MustCompile(`^\* OK \[INPROGRESS \("(\w+)" (\d+) (\d+)\)\] working\r\n$`)

// What is searched is counted: never backwards, and never to the end.
func TestProgressOfSearch(t *testing.T) {
	s := newSite(t, func(srv *Server) { srv.ProgressEvery = time.Nanosecond })
	const messages = 50
	for n := range messages {
		s.deliver("INBOX", message(n), deliverMeta)
	}
	c := s.login("INBOX")
	for name, command := range map[string]string{
		"body": "SEARCH BODY nowhere", "header": "SEARCH SUBJECT nowhere", "sort": "SORT (SUBJECT) UTF-8 ALL", "thread": "THREAD REFERENCES UTF-8 ALL",
	} {
		t.Run(name, func(t *testing.T) {
			counted := false
			deadline := time.Now().Add(20 * time.Second)
			for try := 0; !counted; try++ { // a search can be done before the clock has a turn
				if time.Now().After(deadline) {
					t.Fatal("no word on how far the search has come")
				}
				tag := fmt.Sprint("t", try)
				counted = searchProgress(t, c, tag, command, messages)
			}
		})
	}
}

// searchProgress runs a search and reports whether there was word of messages that
// it was done with.
func searchProgress(t *testing.T, c *client, tag, command string, messages int) (counted bool) {
	t.Helper()
	c.send(tag + " " + command + "\r\n")
	last := 0
	for {
		line := c.line()
		if strings.HasPrefix(line, tag+" ") {
			return counted
		}
		m := inProgress.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		done := atoi(m[2])
		if m[1] != tag || atoi(m[3]) != messages || done < last || done >= messages {
			t.Errorf("%s, after %d messages", line, last)
		}
		last, counted = done, counted || done > 0
	}
}

// A command that is quick says nothing but its answer.
func TestProgressOnlyWhenLong(t *testing.T) {
	s := newSite(t)
	s.deliverN(2)
	c := s.login("INBOX")
	c.script(`
		C: a SEARCH BODY body
		S: * SEARCH 1 2
		S: a OK SEARCH completed
		C: b STORE 1 +FLAGS.SILENT (\Seen)
		S: b OK STORE completed
	`)
}
