package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"rtls/bench/report"
)

const (
	processRounds = 5
	perProcess    = 60 // deliveries in a round
)

// processes compares a process for each message.
func processes(ctx context.Context, parent, bin string, table *report.Table) error {
	all := agents(bin)
	goals := map[string]float64{"dovecot-lda": 1 / 3.5, "maildrop": 1 / 0.9, "procmail": 1 / 0.7}
	for _, size := range []int{4 << 10, 1 << 20} {
		message := messageOf(size, "\n")
		round := 0
		one := func(a agent) func() (time.Duration, error) {
			return func() (time.Duration, error) {
				round++
				p, err := a.place(parent, fmt.Sprintf("process-%d-%d", size, round))
				if err != nil {
					return 0, err
				}
				// Without a queue id: with one, the same message is delivered once.
				if i := slices.Index(p.argv, "--queue-id"); i >= 0 {
					p.argv = p.argv[:i]
				}
				if _, err := p.deliver(ctx, message); err != nil { // makes the account
					return 0, err
				}
				start := time.Now()
				for range perProcess {
					if _, err := p.deliver(ctx, message); err != nil {
						return 0, err
					}
				}
				took := time.Since(start)
				return took, checkCount(p.maildir, perProcess+1)
			}
		}
		for _, peer := range all[1:] {
			ours, theirs, err := report.Interleave(processRounds, one(all[0]), one(peer))
			if err != nil {
				return err
			}
			row := report.Row{
				Scenario: "process, " + sizeName(size),
				Ours:     milliseconds(ours, perProcess), Peer: milliseconds(theirs, perProcess),
				PeerName: peer.name, Unit: "ms a message",
			}
			if size == 4<<10 {
				row.Goal = goals[peer.name]
			} else if peer.name == "dovecot-lda" {
				row.Goal = 1 / 2.0
			}
			table.Add(row)
		}
	}
	return nil
}

func sizeName(n int) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

func milliseconds(d time.Duration, n int) float64 {
	return d.Seconds() * 1000 / float64(n)
}

// checkCount makes sure that an agent did what it was measured doing.
func checkCount(maildir string, want int) error {
	found, err := stored(maildir)
	if err == nil && len(found) != want {
		err = fmt.Errorf("%s has %d messages, not %d", maildir, len(found), want)
	}
	return err
}

// stored are the messages in a Maildir's new and cur.
func stored(maildir string) ([]string, error) {
	var all []string
	for _, sub := range []string{"new", "cur"} {
		found, err := filepath.Glob(filepath.Join(maildir, sub, "*"))
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}
