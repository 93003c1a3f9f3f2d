package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"rtls/store/internal/vfs"
)

func usage(t *testing.T, a *Account) Quota {
	t.Helper()
	bytes, messages, err := a.Usage(t.Context())
	must(t, err)
	return Quota{bytes, messages}
}

func wantUsage(t *testing.T, a *Account, want Quota) {
	t.Helper()
	if got := usage(t, a); got != want {
		t.Errorf("usage is %+v, not %+v", got, want)
	}
}

// tryDeliver delivers text and returns what Commit says.
func tryDeliver(t *testing.T, a *Account, mailbox, text string, meta Meta) error {
	t.Helper()
	d, err := a.Deliver(t.Context(), mailbox)
	must(t, err)
	defer d.Abort()
	_, err = io.WriteString(d, text)
	must(t, err)
	_, err = d.Commit(meta)
	return err
}

func TestUsage(t *testing.T) {
	a := newTestAccount(t)
	must(t, a.CreateMailbox(t.Context(), "Other", ""))
	wantUsage(t, a, Quota{})
	const text = "a\nb\r\n" // 6 octets on the wire
	deliver(t, a, inbox, text, Meta{})
	deliver(t, a, "Other", text, Meta{})
	wantUsage(t, a, Quota{12, 2})
	m := openMailbox(t, a, inbox)
	see(t, m)
	wantUsage(t, a, Quota{12, 2}) // one is in cur/ now

	foreign := filepath.Join(a.maildir(), "new", "1.foreign.example")
	must(t, os.WriteFile(foreign, []byte("1\n345"), 0o600))
	wantUsage(t, a, Quota{17, 3}) // its octets
	see(t, m)
	wantUsage(t, a, Quota{18, 3}) // and on the wire
	_, _, err := m.Copy(t.Context(), []uint32{1}, "Other")
	must(t, err)
	wantUsage(t, a, Quota{24, 4})
	must(t, m.Expunge(t.Context(), []uint32{1}))
	wantUsage(t, a, Quota{18, 3})
	must(t, a.DeleteMailbox(t.Context(), "Other"))
	wantUsage(t, a, Quota{6, 1})
}

// TestUsageWithoutIndex: a lost index is no reason to let everything in.
func TestUsageWithoutIndex(t *testing.T) {
	a := newTestAccount(t)
	deliver(t, a, inbox, "12345", Meta{})
	m, err := a.Mailbox(t.Context(), inbox)
	must(t, err)
	must(t, m.Close())
	must(t, a.Close())
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(filepath.Join(a.private(), "index.db"+suffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	b := openTestAccount(t, a.dir)
	b.SetQuota(Quota{Bytes: 9})
	if err := tryDeliver(t, b, inbox, "12345", Meta{}); !errors.Is(err, ErrQuota) {
		t.Errorf("Commit: %v", err)
	}
	wantUsage(t, b, Quota{5, 1})
}

func TestQuota(t *testing.T) {
	const text = "12345"
	for _, c := range []struct {
		quota Quota
		fits  bool
	}{
		{Quota{}, true},
		{Quota{Bytes: 10}, true},
		{Quota{Bytes: 9}, false},
		{Quota{Messages: 2}, true},
		{Quota{Messages: 1}, false},
		{Quota{Bytes: 9, Messages: 2}, false},
		{Quota{Bytes: 1}, false}, // it was over before
	} {
		ways := map[string]func(a *Account, m *Mailbox) error{
			"commit":            func(a *Account, _ *Mailbox) error { return tryDeliver(t, a, inbox, text, Meta{}) },
			"commit with flags": func(a *Account, _ *Mailbox) error { return tryDeliver(t, a, inbox, text, Meta{Flags: Seen}) },
			"commit once":       func(a *Account, _ *Mailbox) error { return tryDeliver(t, a, inbox, text, Meta{Once: "id"}) },
			"append": func(a *Account, m *Mailbox) error {
				d, err := a.Deliver(t.Context(), inbox)
				must(t, err)
				_, err = io.WriteString(d, text)
				must(t, err)
				_, err = m.Append(t.Context(), d, Meta{})
				return err
			},
			"copy": func(_ *Account, m *Mailbox) error {
				_, _, err := m.Copy(t.Context(), []uint32{1}, "Other")
				return err
			},
		}
		for name, do := range ways {
			t.Run(fmt.Sprintf("%s/%+v", name, c.quota), func(t *testing.T) {
				a := newTestAccount(t)
				must(t, a.CreateMailbox(t.Context(), "Other", ""))
				deliver(t, a, inbox, text, Meta{})
				m := openMailbox(t, a, inbox)
				see(t, m)
				a.SetQuota(c.quota)
				want := Quota{10, 2}
				err := do(a, m)
				if !c.fits {
					want = Quota{5, 1}
				}
				if c.fits && err != nil || !c.fits && !errors.Is(err, ErrQuota) {
					t.Errorf("returned %v", err)
				}
				if name == "commit with flags" && c.quota == (Quota{}) { // it is in cur/
					syncUntil(t, m, "the message is seen", func(s *Snapshot) bool { return s.Len() == 2 })
				}
				wantUsage(t, a, want)
				see(t, m)
				wantUsage(t, a, want)
				if c.fits && name == "commit with flags" && see(t, m).At(1).Flags != Seen {
					t.Error("the flag is lost")
				}
				if name == "commit once" && !c.fits {
					for _, left := range onceNames(t, a) {
						t.Errorf("the refused message is left as %s", left)
					}
				}
			})
		}
	}
}

// TestQuotaReplace: what counts is what the account gains, and who is over it can
// still lose.
func TestQuotaReplace(t *testing.T) {
	a := newTestAccount(t)
	must(t, a.CreateMailbox(t.Context(), "Other", ""))
	deliver(t, a, inbox, "12345", Meta{})
	m := openMailbox(t, a, inbox)
	see(t, m)
	uid := uint32(1)
	for _, c := range []struct {
		mailbox, text string
		quota         Quota
		fits          bool
	}{
		{inbox, "123456", Quota{Bytes: 5}, false},
		{"Other", "123456", Quota{Bytes: 5}, false},
		{inbox, "54321", Quota{Bytes: 5, Messages: 1}, true},
		{inbox, "4321", Quota{Bytes: 1, Messages: 1}, true}, // it is over, and gets smaller
		{"Other", "4321", Quota{Bytes: 4, Messages: 1}, true},
	} {
		a.SetQuota(c.quota)
		d, err := a.Deliver(t.Context(), c.mailbox)
		must(t, err)
		_, err = io.WriteString(d, c.text)
		must(t, err)
		next, err := m.Replace(t.Context(), uid, Pending{d, Meta{Keywords: []string{"draft"}}})
		if c.fits != (err == nil) || err != nil && !errors.Is(err, ErrQuota) {
			t.Fatalf("%+v: %v", c, err)
		}
		if err == nil {
			uid = next
		}
	}
	if s := openMailbox(t, a, "Other").Snapshot(); m.Snapshot().Len() != 0 || s.Len() != 1 || keywordsOf(s) != "draft" {
		t.Errorf("INBOX: %s, Other: %s", describe(m.Snapshot()), describe(s))
	}
	wantUsage(t, a, Quota{4, 1})
	d, err := a.Deliver(t.Context(), inbox)
	must(t, err)
	if _, err := m.Replace(t.Context(), uid+1, Pending{d, Meta{}}); !errors.Is(err, ErrNoMessage) {
		t.Errorf("of no message: %v", err)
	}
}

func TestQuotaMove(t *testing.T) {
	a := newTestAccount(t)
	must(t, a.CreateMailbox(t.Context(), "Other", ""))
	deliver(t, a, inbox, "12345", Meta{})
	m := openMailbox(t, a, inbox)
	a.SetQuota(Quota{Bytes: 1, Messages: 1})
	_, pairs, err := m.Move(t.Context(), []uint32{1}, "Other")
	must(t, err)
	if len(pairs) != 1 {
		t.Errorf("moved %v", pairs)
	}
	wantUsage(t, a, Quota{5, 1})
}

// TestQuotaOnceAgain: what was delivered is delivered, also when the account is full.
func TestQuotaOnceAgain(t *testing.T) {
	a := newTestAccount(t)
	a.SetQuota(Quota{Messages: 1})
	first := once(t, a, inbox, "12345", "id")
	if again := once(t, a, inbox, "12345", "id"); again != first {
		t.Errorf("keys %s and %s", first, again)
	}
}

func TestQuotaCopyAllOrNone(t *testing.T) {
	a := newTestAccount(t)
	must(t, a.CreateMailbox(t.Context(), "Other", ""))
	deliver(t, a, inbox, "12345", Meta{})
	deliver(t, a, inbox, "12345", Meta{})
	m := openMailbox(t, a, inbox)
	a.SetQuota(Quota{Messages: 3})
	if _, _, err := m.Copy(t.Context(), []uint32{1, 2}, "Other"); !errors.Is(err, ErrQuota) {
		t.Errorf("Copy: %v", err)
	}
	wantUsage(t, a, Quota{10, 2})
}

// TestQuotaConcurrent: never more than the limit, and nothing that fits is refused,
// while a reader moves messages to cur/.
func TestQuotaConcurrent(t *testing.T) {
	const deliveries, mailboxes, fit = 32, 8, 19
	a := newTestAccount(t)
	for i := range mailboxes {
		must(t, a.CreateMailbox(t.Context(), fmt.Sprint("M", i), ""))
	}
	m := openMailbox(t, a, "M0")
	text := body("x")
	size := int64(len(text))
	// Two accounts on one directory are as two processes are.
	accounts := []*Account{a, openTestAccount(t, a.dir)}
	for _, each := range accounts {
		each.SetQuota(Quota{Bytes: fit*size + size - 1})
	}
	var accepted, refused atomic.Int64
	var wg sync.WaitGroup
	for i := range deliveries {
		wg.Go(func() {
			d, err := accounts[i%2].Deliver(t.Context(), fmt.Sprint("M", i%mailboxes))
			if err != nil {
				t.Error(err)
				return
			}
			defer d.Abort()
			_, _ = io.WriteString(d, text) // Commit tells
			switch _, err := d.Commit(Meta{}); {
			case err == nil:
				accepted.Add(1)
			case errors.Is(err, ErrQuota):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Go(func() {
		for range 10 {
			if _, err := m.Sync(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	if accepted.Load() != fit || refused.Load() != deliveries-fit {
		t.Errorf("%d accepted and %d refused, not %d and %d", accepted.Load(), refused.Load(), fit, deliveries-fit)
	}
	wantUsage(t, a, Quota{fit * size, fit})
}

func TestNoQuotaNoIndex(t *testing.T) {
	a := newTestAccount(t)
	deliver(t, a, inbox, "12345", Meta{Flags: Seen})
	if a.ix != nil {
		t.Error("the delivery has opened the index")
	}
}

// TestQuotaUnreadable: where the usage cannot be found out, nothing is let in.
func TestQuotaUnreadable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "alice")
	must(t, Create(dir, nil))
	m, err := openTestAccount(t, dir).Mailbox(t.Context(), inbox)
	must(t, err)
	must(t, m.Close()) // now the index knows it
	a, err := Open(dir, &Options{Quota: Quota{Messages: 10}, fs: blind{}})
	must(t, err)
	defer a.Close()
	if err := tryDeliver(t, a, inbox, "12345", Meta{}); !errors.Is(err, syscall.EIO) {
		t.Errorf("Commit: %v", err)
	}
}

// blind cannot list a new/.
type blind struct{ vfs.OS }

func (b blind) Files(dir string) (names, odd []string, err error) {
	if filepath.Base(dir) == "new" {
		return nil, nil, &os.PathError{Op: "readdir", Path: dir, Err: syscall.EIO}
	}
	return b.OS.Files(dir)
}
