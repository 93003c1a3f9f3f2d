package server

import (
	"strings"
	"testing"
	"time"

	"rtls/store"
)

var deliverMeta = store.Meta{Tag: store.TagNone, Origin: store.OriginESMTP}

func TestIdle(t *testing.T) {
	s := newSite(t)
	s.deliverN(2)
	c, other := s.login("INBOX"), s.login("INBOX")
	c.script("C: a IDLE\nS: + idling")
	s.deliver("INBOX", message(3), deliverMeta) // by another process
	c.script("S: * 3 EXISTS\nS: * 3 RECENT")
	other.do(`STORE 1 +FLAGS (\Deleted)`)
	c.expect(`* 1 FETCH (FLAGS (\Deleted \Recent))`)
	other.do("EXPUNGE")
	c.expect("* 1 EXPUNGE")
	c.script(`
		C: DONE
		S: a OK IDLE completed
		C: b FETCH 1:2 UID
		S: * 1 FETCH (UID 2)
		S: * 2 FETCH (UID 3)
		S: b OK FETCH completed
	`)
}

// What there is to tell when IDLE begins comes with "+ idling", in one TLS record:
// Thunderbird misses what comes right after it.
func TestIdleBeginsWithNews(t *testing.T) {
	s := newSite(t)
	s.deliverN(2)
	c, other := s.login("INBOX"), s.login("INBOX")
	other.do(`STORE 1 +FLAGS.SILENT (\Flagged)`)
	s.deliver("INBOX", message(3), deliverMeta)
	c.send("a IDLE\r\n")
	record := make([]byte, 1<<14)
	n, err := c.conn.Read(record) // of one record
	if want := "+ idling\r\n* 3 EXISTS\r\n* 3 RECENT\r\n* 1 FETCH (FLAGS (\\Flagged \\Recent))\r\n"; err != nil || string(record[:n]) != want {
		t.Errorf("%q, %v, want %q", record[:n], err, want)
	}
	c.script("C: DONE\nS: a OK IDLE completed")
}

// Defect 17: DONE in any case, something else is BAD, and the session goes on.
func TestDefect17IdleEnds(t *testing.T) {
	s := newSite(t)
	c := s.login("")
	c.script(`
		C: a IDLE
		S: + idling
		C: done
		S: a OK IDLE completed
		C: b IDLE
		S: + idling
		C: c NOOP
		S: b BAD expected DONE
		C: d NOOP
		S: d OK NOOP completed
	`)
	c.send("e IDLE\r\nDONE\r\nf NOOP\r\n")
	c.script("S: + idling\nS: e OK IDLE completed\nS: f OK NOOP completed")
}

// Defect 17: a client that leaves under IDLE leaves nothing behind.
func TestIdleClientLeaves(t *testing.T) {
	s := newSite(t)
	c := s.login("INBOX")
	c.script("C: a IDLE\nS: + idling")
	c.conn.Close()
	s.waitLog("msg=disconnect")
}

// waitLog waits for a text in the log.
func (s *site) waitLog(text string) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if strings.Contains(s.log.String(), text) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%q does not come up in the log:\n%s", text, s.log)
		}
	}
}

func TestIdleKeepAlive(t *testing.T) {
	s := newSite(t, func(srv *Server) { srv.KeepAlive = 10 * time.Millisecond })
	c := s.login("")
	c.script(`
		C: a IDLE
		S: + idling
		S: * OK still here
		S: * OK still here
	`)
}

// The mailbox goes away under IDLE.
func TestIdleMailboxDeleted(t *testing.T) {
	s := newSite(t)
	s.mailboxes("work")
	c, other := s.login("work"), s.login("")
	c.script("C: a IDLE\nS: + idling")
	other.do("DELETE work")
	c.expect("* BYE the selected mailbox was deleted, renamed or replaced")
	c.closed()
}

// Autologout and shutdown are announced, also under IDLE.
func TestGoodbye(t *testing.T) {
	for name, idle := range map[string]bool{"command": false, "idle": true} {
		t.Run("autologout in "+name, func(t *testing.T) {
			s := newSite(t, func(srv *Server) { srv.IdleTimeout = 200 * time.Millisecond })
			c := s.login("INBOX")
			if idle {
				c.script("C: a IDLE\nS: + idling")
			}
			c.expect("* BYE autologout: waited too long")
			c.closed()
		})
		t.Run("shutdown in "+name, func(t *testing.T) {
			s := newSite(t)
			c := s.login("INBOX")
			if idle {
				c.script("C: a IDLE\nS: + idling")
			}
			s.stop()
			c.expect("* BYE [UNAVAILABLE] localhost is shutting down")
			c.closed()
		})
	}
}
