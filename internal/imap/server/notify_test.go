package server

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// until reads lines up to one that begins as wanted, and returns them all.
func (c *client) until(want string) (lines []string) {
	c.t.Helper()
	for {
		line := strings.TrimSuffix(c.line(), "\r\n")
		lines = append(lines, line)
		if strings.HasPrefix(line, want) {
			return lines
		}
	}
}

// RFC 5465 section 3.1: word of the selected mailbox and of others while no command is
// in progress.
func TestNotify(t *testing.T) {
	s := newSite(t)
	s.mailboxes("Lists/Lemonade", "Lists/Im2000", "misc")
	s.deliverN(3)
	c, other := s.login("INBOX"), s.login("INBOX")
	c.script(`
		C: a NOTIFY SET STATUS (selected (MessageNew (UID BODY.PEEK[HEADER.FIELDS (From Subject)]) MessageExpunge FlagChange)) (subtree Lists (MessageNew MessageExpunge FlagChange))
		S: * STATUS Lists (MESSAGES 0 UIDNEXT 1 UIDVALIDITY <*> UNSEEN 0 HIGHESTMODSEQ <*>)
		S: * STATUS Lists/Im2000 (MESSAGES 0 UIDNEXT 1 UIDVALIDITY <*> UNSEEN 0 HIGHESTMODSEQ <*>)
		S: * STATUS Lists/Lemonade (MESSAGES 0 UIDNEXT 1 UIDVALIDITY <*> UNSEEN 0 HIGHESTMODSEQ <*>)
		S: a OK NOTIFY completed`)
	s.deliver("INBOX", message(4), deliverMeta)
	c.script(`
		S: * 4 EXISTS
		S: * 4 RECENT
		S: * 4 FETCH (UID 4 BODY[HEADER.FIELDS (From Subject)] {51}
		S: From: Bob <bob@example.com>
		S: Subject: message 4
		S:
		S: )`)
	other.do(`STORE 2 +FLAGS (\Deleted)`)
	c.expect(`* 2 FETCH (UID 2 FLAGS (\Deleted \Recent))`)
	other.do("EXPUNGE")
	c.expect("* 2 EXPUNGE")
	s.deliver("misc", message(1), deliverMeta) // nobody wants to know
	s.deliver("Lists/Lemonade", message(1), deliverMeta)
	c.expect("* STATUS Lists/Lemonade (MESSAGES 1 UIDNEXT 2 UIDVALIDITY <*> UNSEEN 1 HIGHESTMODSEQ <*>)")
	other.do("SELECT Lists/Lemonade")
	other.do(`STORE 1 +FLAGS (\Seen)`)
	c.expect("* STATUS Lists/Lemonade (MESSAGES 1 UIDNEXT 2 UIDVALIDITY <*> UNSEEN 0 HIGHESTMODSEQ <*>)")
	other.do(`STORE 1 +FLAGS (\Deleted)`)
	c.expect("* STATUS Lists/Lemonade (MESSAGES 1 UIDNEXT 2 UIDVALIDITY <*> UNSEEN 0 HIGHESTMODSEQ <*>)")
	other.do("EXPUNGE")
	c.expect("* STATUS Lists/Lemonade (MESSAGES 0 UIDNEXT 2 UIDVALIDITY <*> UNSEEN 0 HIGHESTMODSEQ <*>)")
	// A command has its answer as ever, and what was asked for stays so.
	c.do("UID FETCH 1:* FLAGS")
	s.deliver("Lists/Im2000", message(1), deliverMeta)
	c.expect("* STATUS Lists/Im2000 (MESSAGES 1 UIDNEXT 2 UIDVALIDITY <*> UNSEEN 1 HIGHESTMODSEQ <*>)")
	// IDLE tells the same (section 4).
	c.script("C: d IDLE\nS: + idling")
	s.deliver("Lists/Im2000", message(2), deliverMeta)
	c.expect("* STATUS Lists/Im2000 (MESSAGES 2 UIDNEXT 3 UIDVALIDITY <*> UNSEEN 2 HIGHESTMODSEQ <*>)")
	c.script("C: DONE\nS: d OK IDLE completed")
	// What the client does itself is no news to it, unless there is more.
	c.script("C: e1 APPEND Lists/Im2000 {1+}\nC: x\nS: e1 OK [APPENDUID <*> 3] APPEND completed")
	c.script("C: e2 UID COPY 1,3 Lists/Im2000\nS: e2 OK [COPYUID <*> 1,3 4:5] UID COPY completed")
	s.deliver("Lists/Lemonade", message(2), deliverMeta)
	c.expect("* STATUS Lists/Lemonade (MESSAGES 1 UIDNEXT 3 UIDVALIDITY <*> UNSEEN 1 HIGHESTMODSEQ <*>)")
	s.deliver("Lists/Im2000", message(2), deliverMeta)
	c.expect("* STATUS Lists/Im2000 (MESSAGES 6 UIDNEXT 7 UIDVALIDITY <*> UNSEEN 6 HIGHESTMODSEQ <*>)")
	c.script(`
		C: e NOTIFY NONE
		S: e OK NOTIFY completed`)
	s.deliver("Lists/Im2000", message(3), deliverMeta)
	s.deliver("INBOX", message(5), deliverMeta)
	c.script(`
		C: f UID FETCH 1 UID
		S: * 1 FETCH (UID 1)
		S: f OK UID FETCH completed
		C: g NOOP
		S: * 4 EXISTS
		S: * 4 RECENT
		S: g OK NOOP completed
	`)
}

// RFC 5465 section 6.1: a client that counts messages hears of those that are gone
// when a command lets it; flags that it does not want to know of are not told.
func TestNotifySelectedDelayed(t *testing.T) {
	s := newSite(t)
	s.deliverN(3)
	c, other := s.login("INBOX"), s.login("INBOX")
	c.script(`
		C: a NOTIFY SET (selected-delayed (MessageNew MessageExpunge))
		S: a OK NOTIFY completed`)
	other.do(`STORE 1 +FLAGS (\Deleted)`)
	other.do("EXPUNGE")
	s.deliver("INBOX", message(4), deliverMeta)
	c.script(`
		S: * 4 EXISTS
		S: * 3 RECENT
		C: b FETCH 2 UID
		S: * 2 FETCH (UID 2)
		S: b OK FETCH completed
		C: c NOOP
		S: * 1 EXPUNGE
		S: c OK NOOP completed
	`)
	// The first command that says so tells what there was (section 3.1).
	other.do("NOOP")
	other.do(`STORE 1:2 +FLAGS (\Deleted)`)
	other.do("EXPUNGE")
	c.script(`
		C: d NOTIFY SET (selected (MessageNew MessageExpunge))
		S: * 2 EXPUNGE
		S: * 1 EXPUNGE
		S: d OK NOTIFY completed
	`)
}

// Without a word on the selected mailbox there is none (RFC 5465 section 3.1), but the
// client's own commands are answered.
func TestNotifyNothingSelected(t *testing.T) {
	s := newSite(t)
	s.mailboxes("box")
	s.deliverN(3)
	c, other := s.login("INBOX"), s.login("INBOX")
	c.do("NOTIFY SET (personal (MessageNew MessageExpunge)) (selected NONE)")
	other.do(`STORE 1 +FLAGS (\Deleted)`)
	other.do("EXPUNGE")
	s.deliver("INBOX", message(4), deliverMeta)
	s.deliver("box", message(1), deliverMeta)
	c.script(`
		S: * STATUS box (MESSAGES 1 UIDNEXT 2 UIDVALIDITY <*> UNSEEN 1)
		C: a UID STORE 2 +FLAGS (\Deleted)
		S: * 2 FETCH (UID 2 FLAGS (\Deleted \Recent))
		S: a OK UID STORE completed
		C: b UID EXPUNGE 2
		S: * 2 EXPUNGE
		S: * 1 EXPUNGE`)
	c.until("b OK UID EXPUNGE") // the new message may have been seen by now
	c.script("C: c UNSELECT\nS: c OK UNSELECT completed")
	s.deliver("INBOX", message(5), deliverMeta)
	c.until("* STATUS INBOX (MESSAGES 3 UIDNEXT 6 ")
}

// RFC 5465 sections 5.4 and 5.5: mailboxes that come, go and are renamed, and
// subscriptions.
func TestNotifyMailboxes(t *testing.T) {
	s := newSite(t)
	s.mailboxes("old", "hidden")
	c, other := s.login(""), s.login("")
	c.script(`
		C: a NOTIFY SET (mailboxes hidden NONE) (personal (MailboxName SubscriptionChange MessageNew MessageExpunge))
		S: a OK NOTIFY completed`)
	other.do("CREATE new")
	c.expect(`* LIST (\HasNoChildren) "/" new`)
	other.do("SUBSCRIBE new")
	c.expect(`* LIST (\HasNoChildren \Subscribed) "/" new`)
	other.do("RENAME old newer")
	c.expect(`* LIST (\HasNoChildren) "/" newer ("OLDNAME" (old))`)
	s.deliver("newer", message(1), deliverMeta) // it is followed as the one that it was
	c.expect(`* STATUS newer (MESSAGES 1 UIDNEXT 2 UIDVALIDITY <*> UNSEEN 1)`)
	other.do("UNSUBSCRIBE new")
	c.expect(`* LIST (\HasNoChildren) "/" new`)
	other.do("DELETE hidden")
	other.do("DELETE new")
	c.expect(`* LIST (\Noselect \NonExistent \HasNoChildren) "/" new`)
	// What the client does itself is no news to it.
	c.script(`
		C: b CREATE mine/deep
		S: b OK [MAILBOXID (<*>)] CREATE completed
		C: c RENAME mine yours
		S: c OK RENAME completed
		C: d SUBSCRIBE yours
		S: d OK SUBSCRIBE completed
		C: e DELETE yours/deep
		S: e OK DELETE completed`)
	other.do("CREATE last")
	c.expect(`* LIST (\HasNoChildren) "/" last`)
	s.deliver("last", message(1), deliverMeta)
	c.expect(`* STATUS last (MESSAGES 1 UIDNEXT 2 UIDVALIDITY <*> UNSEEN 1)`)
}

// RFC 5465 sections 5.6 and 5.7.
func TestNotifyMetadata(t *testing.T) {
	s := newSite(t)
	s.mailboxes("box")
	c, other := s.login(""), s.login("")
	c.script(`
		C: a NOTIFY SET (mailboxes box (MailboxMetadataChange)) (inboxes (ServerMetadataChange))
		S: a OK NOTIFY completed`)
	other.do(`SETMETADATA INBOX (/private/comment "x")`)
	other.do(`SETMETADATA box (/private/comment "x")`)
	c.expect("* METADATA box /private/comment")
	other.do(`SETMETADATA "" (/private/comment "x")`)
	c.expect(`* METADATA "" /private/comment`)
	c.script(`
		C: b SETMETADATA box (/private/comment NIL)
		S: b OK SETMETADATA completed
		C: c NOOP
		S: c OK NOOP completed
	`)
}

// RFC 5465 sections 3.1 and 5: what is refused, and that it changes nothing.
func TestNotifyRefused(t *testing.T) {
	s := newSite(t)
	c := s.login("INBOX")
	c.script(`
		C: a NOTIFY SET (selected (MessageNew MessageExpunge))
		S: a OK NOTIFY completed
		C: b NOTIFY SET (personal (MessageNew MessageExpunge AnnotationChange)) (x "y
		S: b NO [BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange)] an event is not known
		C: c NOTIFY SET (personal (MessageNew))
		S: c BAD MessageNew and MessageExpunge go together, and FlagChange with them
		C: d NOTIFY SET (selected NONE) (selected-delayed NONE)
		S: d BAD SELECTED and SELECTED-DELAYED can be there once
		C: e NOTIFY SET (selected (MailboxName))
		S: e BAD the selected mailbox has events of messages alone
		C: f NOTIFY SET (mailboxes (nowhere INBOX) (MessageNew MessageExpunge)) (selected (MessageNew MessageExpunge FlagChange))
		S: f OK NOTIFY completed`)
	s.deliver("INBOX", message(1), deliverMeta)
	c.script("S: * 1 EXISTS\nS: * 1 RECENT")
}

// A client that speaks at once, or in the middle of news, gets all of it.
func TestNotifyBusy(t *testing.T) {
	s := newSite(t)
	s.mailboxes("box")
	c := s.login("INBOX")
	c.do("NOTIFY SET (selected (MessageNew (UID) MessageExpunge FlagChange)) (personal (MessageNew MessageExpunge))")
	const messages = 60
	delivered := make(chan struct{})
	go func() {
		defer close(delivered)
		for n := range messages {
			s.deliver([]string{"INBOX", "box"}[n%2], message(n), deliverMeta)
		}
	}()
	var told []string
	for n, busy := 0, true; busy; n++ {
		select {
		case <-delivered:
			busy = false
		default:
		}
		tag := fmt.Sprintf("t%d", n)
		c.send(tag + " NOOP\r\n")
		told = append(told, c.until(tag+" OK")...)
	}
	last := "* STATUS box (MESSAGES 30 "
	isLast := func(line string) bool { return strings.HasPrefix(line, last) }
	fetched := func() (n int) {
		for _, line := range told {
			if strings.Contains(line, " FETCH (UID ") {
				n++
			}
		}
		return n
	}
	for !slices.ContainsFunc(told, isLast) || fetched() < messages/2 {
		told = append(told, strings.TrimSpace(c.line()))
	}
	if n := fetched(); n != messages/2 {
		t.Errorf("%d messages were fetched, want %d", n, messages/2)
	}
}

// Sessions that are told news end as others do, and leave nothing behind.
func TestNotifyEnds(t *testing.T) {
	const all = "NOTIFY SET (selected (MessageNew MessageExpunge)) (personal (MessageNew MessageExpunge MailboxName))"
	s := newSite(t)
	s.mailboxes("box")
	for name, end := range map[string]func(c *client){
		"logout":  func(c *client) { c.do("LOGOUT") },
		"cut off": func(c *client) { c.conn.Close() },
		"mailbox deleted": func(c *client) {
			if err := s.account.DeleteMailbox(t.Context(), "box"); err != nil {
				t.Error(err)
			}
			lines := c.until("* BYE")
			if last := lines[len(lines)-1]; last != "* BYE the selected mailbox was deleted, renamed or replaced" {
				t.Error(last)
			}
			s.mailboxes("box")
		},
		"unauthenticated": func(c *client) {
			c.do("UNAUTHENTICATE")
			c.do("LOGIN alice secret")
			c.do("SELECT box")
			s.deliver("INBOX", message(1), deliverMeta)
			c.script("C: x UID SEARCH ALL\nS: * SEARCH\nS: x OK UID SEARCH completed")
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := s.login("box")
			c.do(all)
			end(c)
		})
	}
	c := s.login("box")
	c.do(all)
	s.stop() // waits for all sessions
	c.expect("* BYE [UNAVAILABLE] localhost is shutting down")
	c.closed()
}

func TestNotifyAutologout(t *testing.T) {
	s := newSite(t, func(srv *Server) { srv.IdleTimeout = 200 * time.Millisecond })
	c := s.login("")
	c.do("NOTIFY SET (personal (MailboxName))")
	c.expect("* BYE autologout: waited too long")
	c.closed()
}

// RFC 5465 section 5.8: too many mailboxes are refused, or end what was asked for.
func TestNotifyOverflow(t *testing.T) {
	s := newSite(t, func(srv *Server) { srv.MaxFollowed = 3 })
	s.mailboxes("one", "two")
	c := s.login("")
	c.script(`
		C: a NOTIFY SET (personal (MessageNew MessageExpunge))
		S: a OK NOTIFY completed`)
	s.mailboxes("three")
	c.expect("* OK [NOTIFICATIONOVERFLOW] so many mailboxes are not followed, name some")
	s.deliver("one", message(1), deliverMeta)
	c.script(`
		C: b NOTIFY SET (personal (MessageNew MessageExpunge))
		S: b NO [NOTIFICATIONOVERFLOW] so many mailboxes are not followed, name some
		C: c NOTIFY SET STATUS (mailboxes (one two three) (MessageNew MessageExpunge))
		S: * STATUS one (MESSAGES 1 UIDNEXT 2 UIDVALIDITY <*> UNSEEN 1)
		S: * STATUS three (MESSAGES 0 UIDNEXT 1 UIDVALIDITY <*> UNSEEN 0)
		S: * STATUS two (MESSAGES 0 UIDNEXT 1 UIDVALIDITY <*> UNSEEN 0)
		S: c OK NOTIFY completed
	`)
}
