package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"rtls/bench/report"
	"rtls/store"
)

// mailboxes measures how a mailbox opens, what it holds in memory and what a
// change costs, by size.
func mailboxes(ctx context.Context, table *report.Table) error {
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		if err := mailboxOf(ctx, table, n); err != nil {
			return fmt.Errorf("%d messages: %w", n, err)
		}
	}
	return nil
}

func mailboxOf(ctx context.Context, table *report.Table, n int) error {
	dir, remove, err := report.Dir()
	if err != nil {
		return err
	}
	defer remove()
	account := filepath.Join(dir, "account")
	if err := fill(account, n); err != nil {
		return err
	}
	listing, err := report.Median(3, func() (time.Duration, error) { return list(filepath.Join(account, "Maildir", "cur")) })
	if err != nil {
		return err
	}
	add := func(scenario string, d time.Duration) {
		table.Add(report.Row{Scenario: fmt.Sprintf("%s, %d messages", scenario, n), Ours: ms(d), Peer: ms(listing), PeerName: "one readdir of cur/", Unit: "ms"})
	}
	start := time.Now()
	if err := open(ctx, account, nil); err != nil {
		return err
	}
	add("first open, no index", time.Since(start))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start = time.Now()
	err = open(ctx, account, func(m *store.Mailbox) error {
		add("open in a new process", time.Since(start))
		runtime.GC()
		runtime.ReadMemStats(&after)
		table.Add(report.Row{
			Scenario: fmt.Sprintf("memory per message, %d messages", n),
			Ours:     float64(after.HeapAlloc-before.HeapAlloc) / float64(n), Peer: 120, PeerName: "the limit we set", Unit: "octets", Goal: 1,
		})
		warm, err := report.Median(5, func() (time.Duration, error) {
			start := time.Now()
			_, err := m.Sync(ctx)
			return time.Since(start), err
		})
		if err != nil {
			return err
		}
		add("look again, nothing changed", warm)
		return changes(ctx, m, n, add)
	})
	return err
}

// changes measures flag changes.
func changes(ctx context.Context, m *store.Mailbox, n int, add func(string, time.Duration)) error {
	uids := make([]uint32, 0, n)
	for s, i := m.Snapshot(), 0; i < s.Len(); i++ {
		uids = append(uids, s.At(i).UID)
	}
	for _, count := range []int{1, 10_000} {
		if count > len(uids) {
			continue
		}
		start := time.Now()
		if _, err := m.SetFlags(ctx, store.FlagChange{UIDs: uids[:count], Op: store.FlagsAdd, Flags: store.Flagged}); err != nil {
			return err
		}
		add(fmt.Sprintf("flag %d of them", count), time.Since(start))
	}
	return nil
}

func open(ctx context.Context, dir string, use func(*store.Mailbox) error) error {
	account, err := store.Open(dir, nil)
	if err != nil {
		return err
	}
	defer account.Close()
	m, err := account.Mailbox(ctx, "INBOX")
	if err != nil {
		return err
	}
	defer m.Close()
	if use == nil {
		return nil
	}
	return use(m)
}

// fill makes an account whose INBOX holds n small messages, the quick way:
// nothing of it has to survive.
func fill(dir string, n int) error {
	if err := store.Create(dir, nil); err != nil {
		return err
	}
	message := bytesOf(200)
	digest := sha256.Sum256(message)
	bond := sha256.Sum256(append(digest[:], "ne"...)) // as the store binds octets and tag
	cur := filepath.Join(dir, "Maildir", "cur")
	for i := range n {
		name := fmt.Sprintf("1790000000.M%dP1Q%dR%016x.bench,S=%d,W=%d,T=ne,H=%x:2,S", i%1_000_000, i, i, len(message), len(message), bond[:8])
		if err := os.WriteFile(filepath.Join(cur, name), message, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func list(dir string) (time.Duration, error) {
	start := time.Now()
	d, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	_, err = d.Readdirnames(-1)
	return time.Since(start), err
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
