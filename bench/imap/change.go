package main

import (
	"fmt"
	"strings"
	"time"

	"rtls/bench/report"
)

// stores sets and clears a flag of all messages, and of some, one at a time.
func (b *bench) stores() error {
	return b.inSessions("INBOX", func(clients map[*site]*client) error {
		turn := make(map[*site]int)
		sign := func(s *site) string {
			turn[s]++
			return [...]string{"+", "-"}[(turn[s]-1)%2]
		}
		err := b.measure(b.rounds(6), report.Row{Scenario: "STORE 1:* FLAGS", Goal: 1}, func(s *site) (time.Duration, error) {
			return s.timed(func() error { return clients[s].do("STORE 1:* " + sign(s) + `FLAGS (\Flagged)`) })
		})
		if err != nil {
			return err
		}
		// A few of them, or it is Dovecot's habit to look at the directory now
		// and then that is measured.
		const some = 20
		return b.measure(b.rounds(9), report.Row{Scenario: fmt.Sprintf("STORE of one message, %d times", some), Goal: b.tenfold()}, func(s *site) (time.Duration, error) {
			sign := sign(s)
			return s.timed(func() error {
				for i := range some {
					if err := clients[s].do(fmt.Sprintf(`STORE %d %sFLAGS (\Answered)`, 1+i*b.n/some, sign)); err != nil {
						return err
					}
				}
				return nil
			})
		})
	})
}

// literal is an APPEND of so many octets.
func literal(mailbox string, octets int) string {
	const header = "From: a@example.org\r\nTo: b@example.org\r\nSubject: bench\r\nMessage-ID: <bench@example.org>\r\n\r\n"
	const line = "The quick brown fox jumps over the lazy dog and goes to sleep again.\r\n"
	text := header + strings.Repeat(line, octets/len(line))
	return fmt.Sprintf(`APPEND %s (\Seen) {%d+}`, mailbox, len(text)) + "\r\n" + text
}

func (b *bench) appends() error {
	return b.inSessions("INBOX", func(clients map[*site]*client) error {
		for _, size := range []struct {
			name   string
			octets int
		}{{"4 KB", 4 << 10}, {"1 MB", 1 << 20}} {
			command := literal("Sent", size.octets)
			err := b.measure(15, report.Row{Scenario: "APPEND of " + size.name, Goal: 1}, func(s *site) (time.Duration, error) {
				return s.timed(func() error { return clients[s].do(command) })
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// copies copies messages, moves the copies back, and moves and expunges as many.
func (b *bench) copies() error {
	return b.inSessions("INBOX", func(clients map[*site]*client) error {
		rounds := b.rounds(5)
		err := b.measure(rounds, report.Row{Scenario: "COPY of 1000", Goal: 1}, func(s *site) (time.Duration, error) {
			return s.timed(func() error { return clients[s].do("COPY 1:1000 Copies") })
		})
		if err != nil {
			return err
		}
		for _, c := range clients {
			if err := c.do("SELECT Copies", "MOVE 1:* INBOX", "SELECT INBOX"); err != nil {
				return err
			}
		}
		last := fmt.Sprintf("%d:%d", b.n+1, b.n+500) // the others take the place of those that are gone
		err = b.measure(rounds, report.Row{Scenario: "MOVE of 500", Goal: 1}, func(s *site) (time.Duration, error) {
			return s.timed(func() error { return clients[s].do("MOVE " + last + " Moved") })
		})
		if err != nil {
			return err
		}
		return b.measure(rounds, report.Row{Scenario: "EXPUNGE of 500", Goal: 1}, func(s *site) (time.Duration, error) {
			if err := clients[s].do("STORE " + last + ` +FLAGS.SILENT (\Deleted)`); err != nil {
				return 0, err
			}
			return s.timed(func() error { return clients[s].do("EXPUNGE") })
		})
	})
}
