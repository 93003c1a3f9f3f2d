package store

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// once delivers with a Once and returns the key.
func once(t *testing.T, a *Account, mailbox, text, id string) Key {
	t.Helper()
	return deliver(t, a, mailbox, text, Meta{Tag: TagRequire, Origin: OriginESMTP, Once: id})
}

func TestOnce(t *testing.T) {
	a := newTestAccount(t)
	must(t, a.CreateMailbox(t.Context(), "Other", ""))
	first := once(t, a, inbox, body("first"), "id")
	if again := once(t, a, inbox, "Received: later\r\n"+body("first"), "id"); again != first {
		t.Errorf("the second try returned %s, not %s", again, first)
	}
	m := openMailbox(t, a, inbox)
	s := see(t, m)
	if s.Len() != 1 || s.At(0).Key != first || s.At(0).Tag != TagRequire || content(t, m, 1) != body("first") {
		t.Fatal(describe(s))
	}
	if again := once(t, a, inbox, body("first"), "id"); again != first { // now it is in cur/
		t.Errorf("the third try returned %s, not %s", again, first)
	}
	must(t, m.Expunge(t.Context(), []uint32{1}))
	once(t, a, inbox, body("first"), "id")
	if s := see(t, m); s.Len() != 0 {
		t.Errorf("a message that was expunged is back: %s", describe(s))
	}
	once(t, a, inbox, body("second"), "another id")
	once(t, a, "Other", body("first"), "id") // another mailbox
	if s := see(t, m); s.Len() != 1 {
		t.Errorf("another id: %s", describe(s))
	}
	if s := see(t, openMailbox(t, a, "Other")); s.Len() != 1 {
		t.Errorf("another mailbox: %s", describe(s))
	}
	for _, name := range onceNames(t, a) {
		if !strings.HasSuffix(name, doneSuffix) {
			t.Errorf("%s holds the content of a message that was delivered", name)
		}
	}
}

func onceNames(t *testing.T, a *Account) []string {
	t.Helper()
	names, err := a.fs.Names(a.onceDir())
	must(t, err)
	return names
}

func TestOnceNeedsNoIndex(t *testing.T) {
	a := newTestAccount(t)
	once(t, a, inbox, body("x"), "id")
	if a.ix != nil {
		t.Error("the delivery has opened the index")
	}
}

// TestOnceOtherContent: the first try got as far as its trace, and the second has
// other octets: what is delivered is whole and has its own size.
func TestOnceOtherContent(t *testing.T) {
	a := newTestAccount(t)
	d, err := a.Deliver(t.Context(), inbox)
	must(t, err)
	_, err = io.WriteString(d, "Subject: first\n\nbare\n")
	must(t, err)
	must(t, d.finish(Meta{}))
	mine, err := d.leavePending(Meta{}, d.trace("id"))
	must(t, err)
	if !mine {
		t.Fatal("there was a trace before the first try")
	}
	must(t, d.Abort())
	once(t, a, inbox, body("second"), "id")
	m := openMailbox(t, a, inbox)
	const wire = "Subject: first\r\n\r\nbare\r\n"
	if s := see(t, m); s.Len() != 1 || content(t, m, 1) != wire || s.At(0).Size != int64(len(wire)) {
		t.Error(describe(s))
	}
}

func TestOnceWithShare(t *testing.T) {
	a := newTestAccount(t)
	must(t, a.CreateMailbox(t.Context(), "Other", ""))
	for range 2 {
		first, err := a.Deliver(t.Context(), inbox)
		must(t, err)
		second, err := first.Share(t.Context(), a, "Other")
		must(t, err)
		_, err = io.WriteString(first, body("shared"))
		must(t, err)
		for _, d := range []*Delivery{first, second} {
			_, err := d.Commit(Meta{Once: "id"})
			must(t, err)
		}
	}
	if waitingInode(t, a, inbox) != waitingInode(t, a, "Other") {
		t.Error("the content was written twice")
	}
}

// TestOnceRace lets many try at once, while a reader moves what it finds.
func TestOnceRace(t *testing.T) {
	a := newTestAccount(t)
	m := openMailbox(t, a, inbox)
	const rounds, tries = 20, 8
	for round := range rounds {
		id := string(rune('a' + round))
		keys := make([]Key, tries)
		var wg sync.WaitGroup
		for i := range tries {
			wg.Go(func() {
				d, err := a.Deliver(t.Context(), inbox)
				if err != nil {
					t.Error(err)
					return
				}
				defer d.Abort()
				_, _ = io.WriteString(d, body(id)) // Commit tells
				if keys[i], err = d.Commit(Meta{Once: id}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			for range 5 {
				if _, err := m.Sync(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Wait()
		for _, key := range keys[1:] {
			if key != keys[0] {
				t.Fatalf("keys %s and %s", key, keys[0])
			}
		}
	}
	if s := see(t, m); s.Len() != rounds {
		t.Errorf("%d messages, not %d", s.Len(), rounds)
	}
}

func TestOnceCleaned(t *testing.T) {
	a := newTestAccount(t)
	for _, id := range []string{"a", "b", "c"} {
		once(t, a, inbox, body(id), id)
	}
	a.cleanOnce()
	if n := len(onceNames(t, a)); n != 3 {
		t.Fatalf("%d traces, not 3", n)
	}
	later, err := Open(a.dir, &Options{Clock: func() time.Time { return time.Now().Add(onceKeep + time.Hour) }})
	must(t, err)
	defer later.Close()
	later.cleanOnce()
	if names := onceNames(t, a); len(names) != 0 {
		t.Errorf("old traces are left: %v", names)
	}
}

func TestOnceMailboxGone(t *testing.T) {
	a := newTestAccount(t)
	must(t, a.CreateMailbox(t.Context(), "Gone", ""))
	d, err := a.Deliver(t.Context(), "Gone")
	must(t, err)
	must(t, os.RemoveAll(d.dir))
	if _, err := d.Commit(Meta{Once: "id"}); !errors.Is(err, ErrNoMailbox) {
		t.Errorf("Commit: %v", err)
	}
}
