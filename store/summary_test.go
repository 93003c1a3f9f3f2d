package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
)

// kept lists the summaries of a mailbox as "UID octets".
func kept(t *testing.T, m *Mailbox, uids ...uint32) (list []string) {
	t.Helper()
	err := m.Summaries(t.Context(), uids, new([]byte), func(s Summary) error {
		list = append(list, fmt.Sprintf("%d %s", s.UID, s.Octets))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func wantKept(t *testing.T, m *Mailbox, uids []uint32, want ...string) {
	t.Helper()
	if got := kept(t, m, uids...); !slices.Equal(got, want) {
		t.Errorf("summaries of %v: %q, want %q", uids, got, want)
	}
}

func putSummaries(t *testing.T, m *Mailbox, uids ...uint32) {
	t.Helper()
	var list []Summary
	for _, uid := range uids {
		list = append(list, summaryOf(t, m, uid, fmt.Sprintf("%s/%d", m.Name(), uid)))
	}
	if err := m.PutSummaries(t.Context(), list); err != nil {
		t.Fatal(err)
	}
}

// summaryOf makes a summary of a message as it is; one that is gone has any.
func summaryOf(t *testing.T, m *Mailbox, uid uint32, octets string) Summary {
	t.Helper()
	s := Summary{UID: uid, Octets: []byte(octets)}
	f, err := m.OpenFile(t.Context(), uid)
	if errors.Is(err, ErrNoMessage) {
		return s
	}
	must(t, err)
	s.Stamp = f.Stamp()
	must(t, f.Close())
	return s
}

func upTo(n uint32) (uids []uint32) {
	for uid := range n {
		uids = append(uids, uid+1)
	}
	return uids
}

func TestSummaries(t *testing.T) {
	a := newTestAccount(t)
	for i := range 60 {
		deliver(t, a, "INBOX", fmt.Sprintf("message %d\n", i), Meta{})
	}
	m := openMailbox(t, a, "INBOX")
	wantKept(t, m, upTo(60))
	putSummaries(t, m, 1, 2, 3, 30, 60, 100) // there is no message 100
	wantKept(t, m, []uint32{2, 3, 60, 100}, "2 INBOX/2", "3 INBOX/3", "60 INBOX/60")
	wantKept(t, m, upTo(60), "1 INBOX/1", "2 INBOX/2", "3 INBOX/3", "30 INBOX/30", "60 INBOX/60")
	wantKept(t, m, nil)
	if err := m.Expunge(t.Context(), []uint32{2, 60}); err != nil {
		t.Fatal(err)
	}
	putSummaries(t, m, 2)
	wantKept(t, m, upTo(60), "1 INBOX/1", "3 INBOX/3", "30 INBOX/30")
	stop := errors.New("enough")
	if err := m.Summaries(t.Context(), upTo(3), new([]byte), func(Summary) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the error of a function is lost: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.PutSummaries(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// Copies have the summaries of their originals, also in the same mailbox, and what is
// moved takes its own along.
func TestSummariesOfCopies(t *testing.T) {
	a := newTestAccount(t)
	if err := a.CreateMailbox(t.Context(), "Other", ""); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		deliver(t, a, "INBOX", fmt.Sprintf("message %d\n", i), Meta{})
	}
	m, other := openMailbox(t, a, "INBOX"), openMailbox(t, a, "Other")
	putSummaries(t, m, 1, 3)
	if _, _, err := m.Copy(t.Context(), []uint32{1, 2, 3}, "Other"); err != nil {
		t.Fatal(err)
	}
	see(t, other)
	wantKept(t, other, upTo(9), "1 INBOX/1", "3 INBOX/3")
	if _, _, err := m.Copy(t.Context(), []uint32{3}, "INBOX"); err != nil {
		t.Fatal(err)
	}
	wantKept(t, m, upTo(9), "1 INBOX/1", "3 INBOX/3", "4 INBOX/3")
	if _, _, err := m.Move(t.Context(), []uint32{3}, "Other"); err != nil {
		t.Fatal(err)
	}
	wantKept(t, m, upTo(9), "1 INBOX/1", "4 INBOX/3")
	see(t, other)
	wantKept(t, other, upTo(9), "1 INBOX/1", "3 INBOX/3", "4 INBOX/3")
}

// A mailbox that takes the name of one that was deleted has none of its summaries, and
// whoever still has that one open can put none there.
func TestSummariesOfDeletedMailbox(t *testing.T) {
	a := newTestAccount(t)
	if err := a.CreateMailbox(t.Context(), "Box", ""); err != nil {
		t.Fatal(err)
	}
	deliver(t, a, "Box", "one\n", Meta{})
	old := openMailbox(t, a, "Box")
	putSummaries(t, old, 1)
	if err := a.DeleteMailbox(t.Context(), "Box"); err != nil {
		t.Fatal(err)
	}
	if err := old.PutSummaries(t.Context(), []Summary{{UID: 1, Octets: []byte("late")}}); !errors.Is(err, ErrNoMailbox) {
		t.Errorf("PutSummaries into a deleted mailbox: %v", err)
	}
	if err := a.CreateMailbox(t.Context(), "Box", ""); err != nil {
		t.Fatal(err)
	}
	deliver(t, a, "Box", "two\n", Meta{})
	wantKept(t, openMailbox(t, a, "Box"), upTo(9))
}

// Without the index nothing is lost but time.
func TestSummariesOfLostIndex(t *testing.T) {
	a := newTestAccount(t)
	deliver(t, a, "INBOX", "one\n", Meta{})
	m := openMailbox(t, a, "INBOX")
	putSummaries(t, m, 1)
	if err := errors.Join(m.Close(), a.Close()); err != nil {
		t.Fatal(err)
	}
	removeIndex(t, a.dir)
	again, err := Open(a.dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { again.Close() })
	m = openMailbox(t, again, "INBOX")
	uid := m.Snapshot().At(0).UID
	wantKept(t, m, upTo(uid))
	putSummaries(t, m, uid)
	wantKept(t, m, upTo(uid), fmt.Sprintf("%d INBOX/%d", uid, uid))
}

// Readers of summaries take no lock of the mailbox, so nothing that they look at may
// change when it gets new messages. The race detector tells.
func TestSummariesWhileMessagesCome(t *testing.T) {
	a := newTestAccount(t)
	deliver(t, a, "INBOX", "a message\n", Meta{})
	m := openMailbox(t, a, "INBOX")
	putSummaries(t, m, 1)
	ctx, stop := context.WithCancel(t.Context())
	var reader sync.WaitGroup
	reader.Go(func() {
		for ctx.Err() == nil {
			if err := m.Summaries(t.Context(), []uint32{1}, new([]byte), func(Summary) error { return nil }); err != nil {
				t.Error(err)
			}
		}
	})
	m.v.mu.Lock()
	m.v.id.uidNext = 0 // so that the next message has UIDs reserved
	m.v.mu.Unlock()
	deliver(t, a, "INBOX", "another message\n", Meta{})
	see(t, m)
	stop()
	reader.Wait()
}
