package main

import (
	"errors"
	"fmt"
	"time"

	"rtls/bench/report"
)

// logins measures the time from the first packet to being logged in. Neither server
// is spared the hash of the password, where there is one: ours keeps in memory for ten
// minutes which passwords were right, Dovecot has a cache that is off by default.
func (b *bench) logins() error {
	login := func(user func() string) func(s *site) (time.Duration, error) {
		return func(s *site) (time.Duration, error) {
			start := time.Now()
			c, err := s.login(user())
			took := time.Since(start)
			if err != nil {
				return 0, err
			}
			return took, c.leave()
		}
	}
	for _, user := range []string{"alice", "hashed"} { // ours works out the hash
		if _, err := login(func() string { return user })(b.ours); err != nil {
			return err
		}
	}
	for _, l := range []struct {
		name, user string
	}{
		{"connect and login; Dovecot's password not hashed", "alice"},
		{"connect and login; ARGON2ID", "hashed"},
	} {
		if err := b.measure(31, report.Row{Scenario: l.name, Goal: 0.2}, login(func() string { return l.user })); err != nil {
			return err
		}
	}
	turn := 0
	return b.measure(freshUsers, report.Row{Scenario: "connect and login, first since the start; ARGON2ID", Goal: 1}, login(func() string {
		turn++
		return fmt.Sprintf("fresh%d", (turn-1)/2)
	}))
}

func (b *bench) selects() error {
	selecting := func(s *site) (time.Duration, error) {
		c, err := s.login("alice")
		if err != nil {
			return 0, err
		}
		took, err := s.timed(func() error { return c.do("SELECT INBOX") })
		return took, errors.Join(err, c.leave())
	}
	first := func(s *site) (time.Duration, error) {
		if err := s.forget(b.ctx); err != nil {
			return 0, err
		}
		return selecting(s)
	}
	if err := b.measure(b.rounds(5), report.Row{Scenario: "SELECT, first", Goal: 1}, first); err != nil {
		return err
	}
	if err := b.measure(15, report.Row{Scenario: "SELECT on a new connection", Goal: 1}, selecting); err != nil {
		return err
	}
	return b.inSessions("INBOX", func(clients map[*site]*client) error {
		return b.measure(31, report.Row{Scenario: "SELECT again", Goal: 1}, func(s *site) (time.Duration, error) {
			return s.timed(func() error { return clients[s].do("SELECT INBOX") })
		})
	})
}

// inSessions runs f with one session on each server.
func (b *bench) inSessions(mailbox string, f func(clients map[*site]*client) error) error {
	clients := make(map[*site]*client)
	for _, s := range []*site{b.ours, b.peer} {
		c, err := s.open("alice", mailbox)
		if err != nil {
			return err
		}
		defer c.conn.Close()
		clients[s] = c
	}
	if err := f(clients); err != nil {
		return err
	}
	for _, c := range clients {
		if err := c.leave(); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) fetchFlags() error {
	return b.measure(b.rounds(9), report.Row{Scenario: "FETCH (UID FLAGS)", Goal: 1}, func(s *site) (time.Duration, error) {
		return s.ask("FETCH 1:* (UID FLAGS)")
	})
}

// bodies reads all mail, and then finds out what would be left of that time if there
// were nothing to do but to read the files and to encrypt them.
func (b *bench) bodies() error {
	fetch := func(s *site) (time.Duration, error) { return s.ask("UID FETCH 1:* BODY.PEEK[]") }
	for _, s := range []*site{b.ours, b.peer} {
		if _, err := fetch(s); err != nil { // the files are in memory from then on
			return err
		}
	}
	row := report.Row{Scenario: "all bodies", Goal: 1 / 1.5}
	if err := b.measure(b.rounds(5), row, fetch); err != nil {
		return err
	}
	perSecond, err := opensslSpeed(b.ctx)
	if err != nil {
		return err
	}
	ours, least, err := report.Interleave(b.rounds(5),
		func() (time.Duration, error) { return fetch(b.ours) },
		func() (time.Duration, error) { return floor(b.ours.maildir, perSecond) })
	if err != nil {
		return err
	}
	b.table.Add(report.Row{Scenario: "all bodies", Ours: ms(ours), Peer: ms(least), PeerName: "reading and AES-GCM", Unit: "ms", Goal: 2})
	return nil
}
