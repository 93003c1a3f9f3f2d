package server

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rtls/store"
)

// eventually waits until ok says so.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not yet", what)
		}
		<-tick.C
	}
}

// A user who gets the index has it from the next login on, although the account is
// kept open.
func TestTextIndexSwitch(t *testing.T) {
	var on atomic.Bool
	s := newSite(t, func(s *Server) { s.TextIndex = func(string) bool { return on.Load() }; s.Keep = time.Hour })
	s.deliverN(1)
	dir := filepath.Join(s.dir, ".rtls", "text")
	c := s.login("INBOX")
	c.do("LOGOUT")
	if _, err := os.Stat(dir); err == nil {
		t.Error("there is an index that nobody has asked for")
	}
	on.Store(true)
	s.login("INBOX")
	eventually(t, "the index", func() bool {
		_, err := os.Stat(dir)
		return err == nil
	})
}

// Who selects a mailbox has its mail brought into the index of texts, what comes later
// included, and the answers stay those of the files.
func TestTextIndex(t *testing.T) {
	s := newSite(t, func(s *Server) { s.TextIndex = func(user string) bool { return user == "alice" } })
	s.deliverN(3)
	c := s.login("INBOX")
	segments := func() int {
		names, err := filepath.Glob(filepath.Join(s.dir, ".rtls", "text", strings.Repeat("[0-9a-f]", 16)))
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	eventually(t, "mail that was there", func() bool { return segments() == 1 })
	s.deliver("INBOX", "Subject: later\r\n\r\nthe needle is here\r\n", store.Meta{})
	c.do("NOOP")
	eventually(t, "mail that came", func() bool { return segments() == 2 })
	for keys, want := range map[string]string{
		"BODY needle": "4", "TEXT later": "4", "SUBJECT message": "1 2 3", "NOT BODY needle": "1 2 3", `BODY "body 2"`: "2",
		"OR BODY needle SUBJECT 3": "3 4", "HEADER X-None x": "", "BODY nowhere": "",
	} {
		if got := c.found(keys); got != want {
			t.Errorf("SEARCH %s: got %q, want %q", keys, got, want)
		}
	}
	files, err := filepath.Glob(filepath.Join(s.dir, "Maildir", "cur", "*"))
	if err != nil || len(files) != 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(raw), "needle", "noodle")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.do("SEARCH BODY noodle"); got[0] != "* SEARCH 4" { // and that its tag is gone
		t.Errorf("altered file: %q", got)
	}
	if err := os.RemoveAll(filepath.Join(s.dir, ".rtls", "text")); err != nil {
		t.Fatal(err)
	}
	if got := c.found("BODY noodle"); got != "4" {
		t.Errorf("without the index: %q", got)
	}
}
