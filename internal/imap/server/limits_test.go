package server

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// What a client may send before login is bounded as a whole, whatever its commands
// are.
func TestOctetsBeforeLogin(t *testing.T) {
	s := newSite(t)
	c := s.connect()
	long := "a NOOP " + strings.Repeat("x", 60_000) + "\r\n"
	sent := 0
	for range 6 {
		n, err := io.WriteString(c.conn, long)
		if sent += n; err != nil {
			break // cut off already
		}
	}
	rest, _ := io.ReadAll(c.r)
	if sent > 400_000 || !strings.HasSuffix(string(rest), "* BYE too much before login\r\n") && len(rest) > 1000 {
		t.Errorf("after %d octets: %q", sent, rest)
	}
	s.waitLog("too much before login")

	// After login that is no limit.
	c = s.login("INBOX")
	for range 6 {
		c.do(fmt.Sprintf("APPEND INBOX {60000+}\r\n%s", strings.Repeat("x", 60_000)))
	}
}

// A search that takes too long is refused, and the session goes on.
func TestSearchTimeout(t *testing.T) {
	s := newSite(t, func(srv *Server) { srv.SearchTimeout = time.Nanosecond })
	s.deliverN(3)
	c := s.login("INBOX")
	for _, command := range []string{"SEARCH TEXT body", "SEARCH SUBJECT x", "SORT (SUBJECT) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL", "UID SEARCH BODY x"} {
		c.script("C: a " + command + "\nS: a NO [LIMIT] the search took longer than 1ns, ask for less")
	}
	c.do("FETCH 1:* UID")
	c.do("NOOP")
}
