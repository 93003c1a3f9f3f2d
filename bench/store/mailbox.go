package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
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
	b := &mailboxBench{table: table, n: n, cur: filepath.Join(account, "Maildir", "cur")}
	// All opens have file names and inodes in the kernel's cache: what differs is
	// what the store has. Cold is without an index, warm in a new process with one.
	if b.listing, err = report.Median(3, func() (time.Duration, error) { return list(b.cur) }); err != nil {
		return err
	}
	start := time.Now()
	if err := open(ctx, account, nil); err != nil {
		return err
	}
	first := time.Since(start)
	b.add("first open, no index", ms(first), ms(b.listing), "one readdir of cur/", "ms")
	if err := open(ctx, account, func(m *store.Mailbox) error { return b.warm(ctx, m) }); err != nil {
		return err
	}
	return b.againstDovecot(dir, account, first)
}

// mailboxBench measures one mailbox.
type mailboxBench struct {
	table   *report.Table
	n       int
	cur     string
	listing time.Duration
	flags   map[int]time.Duration // of so many messages
}

func (b *mailboxBench) add(scenario string, ours, peer float64, name, unit string) {
	row := report.Row{Scenario: fmt.Sprintf("%s, %d messages", scenario, b.n), Ours: ours, Peer: peer, PeerName: name, Unit: unit}
	if name == limit {
		row.Goal = 1
	}
	b.table.Add(row)
}

const limit = "the limit we set"

// warm measures what is done with an index there.
func (b *mailboxBench) warm(ctx context.Context, m *store.Mailbox) error {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	dir := filepath.Dir(filepath.Dir(b.cur))
	start := time.Now()
	account, err := store.Open(dir, nil)
	if err != nil {
		return err
	}
	defer account.Close()
	own, err := account.Mailbox(ctx, "INBOX")
	if err != nil {
		return err
	}
	defer own.Close()
	b.add("open in a new process", ms(time.Since(start)), ms(b.listing), "one readdir of cur/", "ms")
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.add("memory per message", float64(after.HeapAlloc-before.HeapAlloc)/float64(b.n), 120, limit, "octets")
	again, err := report.Median(5, func() (time.Duration, error) {
		start := time.Now()
		_, err := own.Sync(ctx)
		return time.Since(start), err
	})
	if err != nil {
		return err
	}
	b.add("look again, nothing changed", ms(again), ms(b.listing), "one readdir of cur/", "ms")
	if err := b.notice(ctx, account, m); err != nil {
		return err
	}
	return b.changes(ctx, own)
}

// notice measures how long it takes from a delivery until a session sees it.
func (b *mailboxBench) notice(ctx context.Context, account *store.Account, m *store.Mailbox) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := m.Watch(ctx)
	took, err := report.Median(20, func() (time.Duration, error) {
		want := m.Snapshot().Len() + 1
		d, err := account.Deliver(ctx, "INBOX")
		if err != nil {
			return 0, err
		}
		defer d.Abort()
		if _, err := d.Write(bytesOf(messageLen)); err != nil {
			return 0, err
		}
		if _, err := d.Commit(store.Meta{}); err != nil {
			return 0, err
		}
		start := time.Now()
		for m.Snapshot().Len() < want {
			<-changes
			if _, err := m.Sync(ctx); err != nil {
				return 0, err
			}
		}
		return time.Since(start), nil
	})
	if err != nil {
		return err
	}
	b.add("from delivery to view", ms(took), 20, limit, "ms")
	return nil
}

// changes measures flag changes, and finding them again.
func (b *mailboxBench) changes(ctx context.Context, m *store.Mailbox) error {
	uids := make([]uint32, 0, b.n)
	for s, i := m.Snapshot(), 0; i < s.Len(); i++ {
		uids = append(uids, s.At(i).UID)
	}
	b.flags = make(map[int]time.Duration)
	for _, count := range []int{1, 10_000} {
		if count > b.n/2 {
			continue
		}
		op, to := store.FlagsAdd, 0
		ours, bare, err := report.Interleave(6, func() (time.Duration, error) {
			start := time.Now()
			_, err := m.SetFlags(ctx, store.FlagChange{UIDs: uids[:count], Op: op, Flags: store.Flagged})
			op = store.FlagsAdd + store.FlagsRemove - op
			return time.Since(start), err
		}, func() (time.Duration, error) {
			to++
			return rename(b.cur, b.n, count, to)
		})
		if err != nil {
			return err
		}
		b.flags[count] = ours
		b.add(fmt.Sprintf("flag %d of them", count), ms(ours), ms(bare), "rename and one fsync, done by hand", "ms")
	}
	return b.changed(ctx, m, uids)
}

// changed measures finding what changed since a change number.
func (b *mailboxBench) changed(ctx context.Context, m *store.Mailbox, uids []uint32) error {
	for i, count := range []int{1, 100, 10_000} {
		if count > b.n/2 {
			continue
		}
		flag := []store.Flags{store.Answered, store.Draft, store.Deleted}[i] // which none has
		since := m.Snapshot().HighestModSeq()
		spread := make([]uint32, count) // all over the mailbox
		for i := range spread {
			spread[i] = uids[i*(len(uids)/count)]
		}
		if _, err := m.SetFlags(ctx, store.FlagChange{UIDs: spread, Op: store.FlagsAdd, Flags: flag}); err != nil {
			return err
		}
		s := m.Snapshot()
		found, walked := 0, 0
		ours, walk, err := report.Interleave(5, func() (time.Duration, error) {
			start := time.Now()
			found = 0
			for range s.Changed(since) {
				found++
			}
			return time.Since(start), nil
		}, func() (time.Duration, error) {
			start := time.Now()
			walked = 0
			for i := range s.Len() {
				if s.At(i).ModSeq > since {
					walked++
				}
			}
			return time.Since(start), nil
		})
		if err != nil {
			return err
		}
		if found != count || walked != count {
			return fmt.Errorf("found %d and %d changes of %d", found, walked, count)
		}
		b.add(fmt.Sprintf("find %d changes all over", count), float64(ours.Nanoseconds())/1000, float64(walk.Nanoseconds())/1000, "a look at every message", "µs")
	}
	return nil
}

// rename gives the last messages other flags, or theirs back, with bare system calls,
// the to-th time.
func rename(cur string, n, count, to int) (time.Duration, error) {
	flags := [2]string{"S", "FS"}
	names := make([][2]string, 0, count)
	for i := n - count; i < n; i++ {
		base := strings.TrimSuffix(filepath.Join(cur, messageName(i)), "S")
		names = append(names, [2]string{base + flags[(to+1)%2], base + flags[to%2]})
	}
	start := time.Now()
	for _, name := range names {
		if err := os.Rename(name[0], name[1]); err != nil {
			return 0, err
		}
	}
	d, err := os.Open(cur)
	if err != nil {
		return 0, err
	}
	err = d.Sync()
	return time.Since(start), errors.Join(err, d.Close())
}

// againstDovecot compares with Dovecot on the same files, where it is installed.
func (b *mailboxBench) againstDovecot(dir, account string, first time.Duration) error {
	d, err := newDovecot(dir, filepath.Dir(b.cur))
	if d == nil || err != nil {
		return err
	}
	took, err := d.do("mailbox", "status", "messages", "INBOX")
	if err != nil {
		return err
	}
	b.add("first open, no index", ms(first), ms(took), "doveadm mailbox status", "ms")
	if b.n > 100_000 {
		return nil // doveadm takes minutes to flag some of them
	}
	for _, count := range []int{1, 10_000} {
		if b.flags[count] == 0 {
			continue
		}
		took, err := report.Median(3, func() (time.Duration, error) {
			if _, err := d.do("flags", "remove", "\\Answered", "mailbox", "INBOX", "uid", fmt.Sprintf("1:%d", count)); err != nil {
				return 0, err
			}
			return d.do("flags", "add", "\\Answered", "mailbox", "INBOX", "uid", fmt.Sprintf("1:%d", count))
		})
		if err != nil {
			return err
		}
		b.add(fmt.Sprintf("flag %d of them", count), ms(b.flags[count]), ms(took), "doveadm flags add", "ms")
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
	message := bytesOf(smallLen)
	cur := filepath.Join(dir, "Maildir", "cur")
	for i := range n {
		if err := os.WriteFile(filepath.Join(cur, messageName(i)), message, 0o600); err != nil {
			return err
		}
	}
	return nil
}

const smallLen = 200

// messageName is the name of message i, a second after the one before it.
func messageName(i int) string {
	digest := sha256.Sum256(bytesOf(smallLen))
	bond := sha256.Sum256(append(digest[:], "ne"...)) // as the store binds octets and tag
	return fmt.Sprintf("%d.M%dP1Q%dR%016x.bench,S=%d,W=%d,T=ne,H=%x:2,S", 1_700_000_000+i, i%1_000_000, i, i, smallLen, smallLen, bond[:8])
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
