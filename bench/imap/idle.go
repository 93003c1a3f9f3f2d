package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"rtls/bench/report"
)

const (
	idleUsers   = 3
	idlePerUser = 40
)

// idleMemory is by how much a server grows with each client that has a mailbox
// selected and waits under IDLE. Pages that processes share are shared out among them
// (PSS), else Dovecot would have to answer for its libraries once for each client.
func (b *bench) idleMemory() error {
	var before, after [2]float64
	sites := []*site{b.ours, b.peer}
	for _, each := range []int{1, idlePerUser - 1} { // the first, for what all of a user's share
		for _, s := range sites {
			clients, err := s.idle(each)
			for _, c := range clients {
				defer c.conn.Close()
			}
			if err != nil {
				return err
			}
		}
		before = after
		settle()
		for i, s := range sites {
			after[i] = s.pss()
		}
	}
	const more = idleUsers * (idlePerUser - 1)
	b.add(report.Row{Scenario: fmt.Sprintf("memory of an idle connection, of %d", more), Goal: 1, Most: 64},
		(after[0]-before[0])/more, (after[1]-before[1])/more, "KiB")
	fmt.Fprintf(os.Stderr, "all of it, in KiB: %.0f and %.0f, for %d more %.0f and %.0f\n", before[0], before[1], more, after[0], after[1])
	return nil
}

// settle gives servers the time to give memory back that they needed for the logins:
// clients wait for hours.
func settle() { time.Sleep(30 * time.Second) }

// idle opens so many sessions of each of the users who have little mail.
func (s *site) idle(each int) (all []*client, err error) {
	for i := range idleUsers * each {
		c, err := s.open(fmt.Sprintf("idle%d", i%idleUsers), "INBOX")
		if err != nil {
			return all, err
		}
		all = append(all, c)
		if err := c.send("zz9 IDLE\r\n"); err != nil {
			return all, err
		}
		if err := c.awaitLine("+ "); err != nil {
			return all, err
		}
	}
	return all, nil
}

// pss is the memory of all processes of the server, in KiB.
func (s *site) pss() (kib float64) {
	for pid := range s.family() {
		raw, _ := os.ReadFile(filepath.Join("/proc", pid, "smaps_rollup")) // nothing, of one that has ended
		for line := range strings.Lines(string(raw)) {
			if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "Pss:" {
				n, _ := strconv.ParseFloat(fields[1], 64)
				kib += n
			}
		}
	}
	return kib
}

// deliveries measures the time from a file's rename into new/ to the EXISTS of a
// client that waits under IDLE.
func (b *bench) deliveries() error {
	return b.inSessions("INBOX", func(clients map[*site]*client) error {
		for _, c := range clients {
			if err := c.send("zz9 IDLE\r\n"); err != nil {
				return err
			}
			if err := c.awaitLine("+ "); err != nil {
				return err
			}
		}
		err := b.measure(15, report.Row{Scenario: "delivery to EXISTS", Goal: 1, Most: 20}, func(s *site) (time.Duration, error) {
			start, err := s.deliver()
			if err != nil {
				return 0, err
			}
			err = clients[s].awaitLine(" EXISTS")
			return time.Since(start), err
		})
		if err != nil {
			return err
		}
		for _, c := range clients {
			if err := c.send("DONE\r\n"); err != nil {
				return err
			}
			if err := c.await(); err != nil {
				return err
			}
		}
		return nil
	})
}

// deliver puts a message into alice's new/ and says when it got there.
func (s *site) deliver() (time.Time, error) {
	s.delivered++
	name := fmt.Sprintf("%d.M1P1Q%d.bench", time.Now().Unix(), s.delivered)
	tmp := filepath.Join(s.maildir, "tmp", name)
	if err := os.WriteFile(tmp, []byte("From: a@example.org\nSubject: new\n\ntext\n"), 0o600); err != nil {
		return time.Time{}, err
	}
	if s.uid >= 0 {
		if err := os.Chown(tmp, s.uid, -1); err != nil {
			return time.Time{}, err
		}
	}
	start := time.Now()
	return start, os.Rename(tmp, filepath.Join(s.maildir, "new", name))
}
