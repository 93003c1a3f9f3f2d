package server

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"rtls/store"
)

// RFC 8514 section 4.
func TestSaveDate(t *testing.T) {
	var day atomic.Int64 // of December 2014
	clock := func() time.Time { return time.Date(2014, 12, int(day.Load()), 18, 50, 53, 0, time.Local) }
	var s *site
	s = newSite(t, func(server *Server) {
		server.OpenAccount = func(context.Context, string) (*store.Account, error) {
			return store.Open(s.dir, &store.Options{Clock: clock})
		}
	})
	s.mailboxes("Trash")
	c := s.login("INBOX")
	day.Store(27)
	c.script(`
		C: a APPEND INBOX "17-Jul-1996 02:44:25 -0700" {3+}
		C: abc
		S: * 1 EXISTS
		S: * 1 RECENT
		S: a OK [APPENDUID <*> 1] APPEND completed
	`)
	day.Store(28)
	c.do("COPY 1 Trash")
	day.Store(29)
	c.do("COPY 1 INBOX")
	c.do(`STORE 1 +FLAGS (\Seen)`) // gives the file another name
	day.Store(30)
	c.do("MOVE 1 Trash")
	c.do("SELECT Trash")
	zone := time.Date(2014, 12, 28, 18, 50, 53, 0, time.Local).Format("-0700")
	c.script(`
		C: A101 FETCH 1:2 (SAVEDATE)
		S: * 1 FETCH (SAVEDATE "28-Dec-2014 18:50:53 ` + zone + `")
		S: * 2 FETCH (SAVEDATE "30-Dec-2014 18:50:53 ` + zone + `")
		S: A101 OK FETCH completed
		C: A102 SEARCH SAVEDON 28-Dec-2014
		S: * SEARCH 1
		S: A102 OK SEARCH completed
		C: A103 SEARCH SAVEDSINCE 28-Dec-2014
		S: * SEARCH 1 2
		S: A103 OK SEARCH completed
		C: A104 SEARCH SAVEDBEFORE 30-Dec-2014 SAVEDATESUPPORTED
		S: * SEARCH 1
		S: A104 OK SEARCH completed
		C: A105 SEARCH SAVEDBEFORE 28-Dec-2014
		S: * SEARCH
		S: A105 OK SEARCH completed
		C: A106 SEARCH ON 17-Jul-1996
		S: * SEARCH 1 2
		S: A106 OK SEARCH completed
	`)
	c.do("SELECT INBOX")
	if got := c.found("SAVEDON 29-Dec-2014"); got != "1" {
		t.Errorf("in INBOX: %q", got)
	}
}
