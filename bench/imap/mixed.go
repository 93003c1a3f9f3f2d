package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"rtls/bench/report"
)

const mixedClients = 32

// mixed has many clients of one user work at once, each as fast as it is answered.
func (b *bench) mixed() error {
	row := report.Row{Goal: b.tenfold()}
	var each, slow [2]float64
	for i, s := range []*site{b.ours, b.peer} {
		took, err := s.mix(b.n, b.many)
		if err != nil {
			return err
		}
		slices.Sort(took)
		each[i] = ms(b.many) / float64(len(took))
		slow[i] = ms(took[len(took)*99/100])
	}
	row.Scenario = fmt.Sprintf("%d clients, an operation", mixedClients)
	b.add(row, each[0], each[1], "ms")
	row.Scenario = fmt.Sprintf("%d clients, 99 of 100 faster than", mixedClients)
	b.add(row, slow[0], slow[1], "ms")
	return nil
}

// mix returns how long each operation took.
func (s *site) mix(n int, length time.Duration) ([]time.Duration, error) {
	var clients []*client
	for range mixedClients {
		c, err := s.open("alice", "INBOX")
		if err != nil {
			return nil, err
		}
		defer c.conn.Close()
		clients = append(clients, c)
	}
	// What has to be read once of all messages is in the index from then on.
	if err := clients[0].do("UID FETCH 1:* ENVELOPE", "UID SEARCH SUBJECT nobody-has-this"); err != nil {
		return nil, err
	}
	end := time.Now().Add(length)
	took := make([][]time.Duration, mixedClients)
	errs := make([]error, mixedClients)
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(i))) // the same work on each server
			for time.Now().Before(end) {
				start := time.Now()
				if errs[i] = c.do(operation(r, n)); errs[i] != nil {
					return
				}
				took[i] = append(took[i], time.Since(start))
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return slices.Concat(took...), nil
}

var small = literal("Sent", 4<<10)

// operation is something that a mail program asks.
func operation(r *rand.Rand, n int) string {
	at := 1 + r.IntN(n-100)
	switch p := r.IntN(100); {
	case p < 30:
		return fmt.Sprintf("UID FETCH %d:%d (UID FLAGS ENVELOPE)", at, at+20)
	case p < 55:
		return fmt.Sprintf("UID FETCH %d BODY.PEEK[]", at)
	case p < 75:
		return fmt.Sprintf(`UID STORE %d %sFLAGS (\Flagged)`, at, [...]string{"+", "-"}[r.IntN(2)])
	case p < 80:
		return fmt.Sprintf("UID FETCH %d:%d (UID FLAGS)", at, at+100)
	case p < 85:
		return "UID SEARCH UNSEEN"
	case p < 88:
		return "UID SEARCH SUBJECT nobody-has-this"
	case p < 93:
		return small
	case p < 97:
		return "STATUS Sent (MESSAGES UNSEEN UIDNEXT)"
	}
	return "NOOP"
}
