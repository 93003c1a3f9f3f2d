package server

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"rtls/store"
)

// openMessages is how many files of messages this process has open.
func (s *site) openMessages() (n int) {
	s.t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, link := range links {
		if target, _ := os.Readlink(link); strings.HasPrefix(target, filepath.Join(s.dir, "Maildir", "cur")+"/") {
			n++
		}
	}
	return n
}

// Messages that are read before their turn come in their turn, and none stays open,
// wherever the FETCH ends.
func TestBodiesAreReadAhead(t *testing.T) {
	s := newSite(t)
	const n = 40
	for i := range n {
		text := strings.Repeat(fmt.Sprintf("%d\n", i), 1+i*4000%90000)
		s.deliver("INBOX", "A: b\n\n"+text, store.Meta{Flags: store.Seen})
	}
	c := s.login("INBOX")
	c.send("a FETCH 1:* BODY.PEEK[]\r\n")
	for i := range n {
		text := strings.Repeat(fmt.Sprintf("%d\r\n", i), 1+i*4000%90000)
		if got := c.literal(fmt.Sprintf("* %d FETCH (BODY[] ", i+1)); !bytes.Equal(got, []byte("A: b\r\n\r\n"+text)) {
			t.Fatalf("message %d has %d octets", i+1, len(got))
		}
		c.expect(")")
	}
	c.expect("a OK FETCH completed")
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection closes what is forgotten, too
	for range 5 {
		c := s.login("INBOX")
		c.send("b FETCH 1:* BODY.PEEK[]\r\n")
		c.line()
		c.conn.Close()
	}
	for deadline := time.Now().Add(20 * time.Second); s.openMessages() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d messages stay open", s.openMessages())
		}
	}
}
