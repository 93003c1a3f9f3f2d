package indextest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"rtls/store/internal/index"
)

// disturb does some of everything.
func disturb(tx index.Tx, m index.Mailbox) error {
	m.ModSeq, m.Dir = 99, ".elsewhere"
	_, err := tx.PutMailbox(m)
	err = errors.Join(err, tx.Put(m.ID, []index.Message{{UID: 1, ModSeq: 99, Name: "changed"}, {UID: 3, ModSeq: 99}}))
	err = errors.Join(err, tx.Expunge(m.ID, []uint32{2}, 99))
	_, perr := tx.PutMailbox(mailbox(50))
	_, verr := tx.NextUIDValidity(4_000_000_000)
	return errors.Join(err, perr, verr)
}

// undisturbed checks that none of it has happened.
func undisturbed(t *testing.T, ix index.Index, m index.Mailbox, all []index.Message) {
	t.Helper()
	equal(t, "messages", messages(t, ix, m.ID, 0), all)
	equal(t, "log", expunged(t, ix, m.ID, 0), nil)
	update(t, ix, func(tx index.Tx) error {
		if got, err := tx.Mailbox(m.Object); err != nil || got != m {
			t.Errorf("mailbox: %+v, %v, want %+v", got, err, m)
		}
		if _, err := tx.Mailbox(object(50)); !errors.Is(err, index.ErrNoMailbox) {
			t.Errorf("a mailbox of a failed update: %v", err)
		}
		if n, err := tx.NextUIDValidity(1); err != nil || n >= 4_000_000_000 {
			t.Errorf("UIDVALIDITY %d, %v", n, err)
		}
		return nil
	})
}

func prepare(t *testing.T, ix index.Index) (index.Mailbox, []index.Message) {
	t.Helper()
	m := put(t, ix, mailbox(1))
	all := []index.Message{{UID: 1, ModSeq: 1, Name: "one"}, {UID: 2, ModSeq: 1, Name: "two"}}
	update(t, ix, func(tx index.Tx) error { return tx.Put(m.ID, all) })
	return m, all
}

func testFailedUpdate(t *testing.T, o Opener) {
	ix := open(t, o)
	m, all := prepare(t, ix)
	broken := errors.New("broken")
	err := ix.Update(t.Context(), func(tx index.Tx) error {
		if err := disturb(tx, m); err != nil {
			t.Error(err)
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("Update returned %v", err)
	}
	undisturbed(t, ix, m, all)
	if err := ix.Close(); err != nil {
		t.Fatal(err)
	}
	undisturbed(t, open(t, o), m, all)
}

// A panic, which a server may survive, leaves neither changes nor a lock.
func testPanickingUpdate(t *testing.T, o Opener) {
	ix := open(t, o)
	m, all := prepare(t, ix)
	func() {
		defer func() { _ = recover() }()
		_ = ix.Update(t.Context(), func(tx index.Tx) error {
			if err := disturb(tx, m); err != nil {
				t.Error(err)
			}
			panic("broken")
		})
	}()
	undisturbed(t, ix, m, all)
}

// An error of the caller's function ends a listing and comes back.
func testStopEarly(t *testing.T, o Opener) {
	ix := open(t, o)
	m, _ := prepare(t, ix)
	update(t, ix, func(tx index.Tx) error { return tx.Expunge(m.ID, []uint32{7, 8}, 9) })
	enough := errors.New("enough")
	view(t, ix, func(tx index.Tx) error {
		calls := 0
		err := tx.Messages(m.ID, 0, func(index.Message) error { calls++; return enough })
		if !errors.Is(err, enough) || calls != 1 {
			t.Errorf("Messages: %v after %d calls", err, calls)
		}
		calls = 0
		err = tx.Expunged(m.ID, 0, func(uint32) error { calls++; return enough })
		if !errors.Is(err, enough) || calls != 1 {
			t.Errorf("Expunged: %v after %d calls", err, calls)
		}
		return nil
	})
}

func testDurable(t *testing.T, o Opener) {
	ix := open(t, o)
	m, all := prepare(t, ix)
	update(t, ix, func(tx index.Tx) error { return tx.Expunge(m.ID, []uint32{2}, 5) })
	look := func(ix index.Index) {
		t.Helper()
		equal(t, "messages", messages(t, ix, m.ID, 0), all[:1])
		equal(t, "log", expunged(t, ix, m.ID, 0), []uint32{2})
		view(t, ix, func(tx index.Tx) error {
			if got, err := tx.Mailbox(m.Object); err != nil || got != m {
				t.Errorf("mailbox: %+v, %v, want %+v", got, err, m)
			}
			return nil
		})
	}
	other := open(t, o) // another handle, while this one is open
	look(other)
	if err := errors.Join(ix.Close(), other.Close()); err != nil {
		t.Fatal(err)
	}
	look(open(t, o))
}

func testViewIsOneState(t *testing.T, o Opener) {
	ix, other := open(t, o), open(t, o)
	m, _ := prepare(t, ix)
	view(t, ix, func(tx index.Tx) error {
		if _, err := tx.Mailbox(m.Object); err != nil { // the state is that of now
			return err
		}
		update(t, other, func(tx index.Tx) error { return disturb(tx, m) })
		if got, err := tx.Mailbox(m.Object); err != nil || got != m {
			t.Errorf("the mailbox has become %+v, %v", got, err)
		}
		n, err := tx.Count(m.ID, 0)
		if n != 2 {
			t.Errorf("the mailbox has %d messages by now", n)
		}
		return err
	})
	equal(t, "the next state", uids(messages(t, ix, m.ID, 0)), []uint32{1, 3})
}

// Nobody's change is lost, and nobody sees half of another's.
func testConcurrentUpdates(t *testing.T, o Opener) {
	const handles, workers, rounds = 3, 3, 15
	first := open(t, o)
	m := put(t, first, mailbox(1))
	var wg sync.WaitGroup
	for range handles {
		ix := open(t, o)
		for range workers {
			wg.Go(func() {
				for range rounds {
					if err := ix.Update(t.Context(), func(tx index.Tx) error { return addOne(tx, m.Object) }); err != nil {
						t.Error(err)
						return
					}
					if err := ix.View(t.Context(), func(tx index.Tx) error { return consistent(tx, m.Object) }); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	if n := len(messages(t, first, m.ID, 0)); n != handles*workers*rounds {
		t.Errorf("%d messages, want %d", n, handles*workers*rounds)
	}
}

func addOne(tx index.Tx, object string) error {
	m, err := tx.Mailbox(object)
	if err != nil {
		return err
	}
	m.ModSeq++
	if err := tx.Put(m.ID, []index.Message{{UID: m.UIDNext, ModSeq: m.ModSeq, Name: "n"}}); err != nil {
		return err
	}
	m.UIDNext++
	m.Messages++
	_, err = tx.PutMailbox(m)
	return err
}

func consistent(tx index.Tx, object string) error {
	m, err := tx.Mailbox(object)
	if err != nil {
		return err
	}
	n, err := tx.Count(m.ID, 1)
	if err == nil && (n != m.Messages || m.UIDNext != n+1) {
		err = fmt.Errorf("half of an update: %d messages, counter %d, next UID %d", n, m.Messages, m.UIDNext)
	}
	return err
}

func testEndedContext(t *testing.T, o Opener) {
	ix := open(t, o)
	m, all := prepare(t, ix)
	ctx, cancel := context.WithCancel(t.Context())
	err := ix.Update(ctx, func(tx index.Tx) error {
		if err := disturb(tx, m); err != nil {
			t.Error(err)
		}
		cancel()
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Update: %v", err)
	}
	nothing := func(index.Tx) error { t.Error("f was called"); return nil }
	if err := ix.Update(ctx, nothing); !errors.Is(err, context.Canceled) {
		t.Errorf("Update: %v", err)
	}
	if err := ix.View(ctx, nothing); !errors.Is(err, context.Canceled) {
		t.Errorf("View: %v", err)
	}
	undisturbed(t, ix, m, all)
}

func testClosed(t *testing.T, o Opener) {
	ix := open(t, o)
	if err := ix.Close(); err != nil {
		t.Fatal(err)
	}
	nothing := func(index.Tx) error { t.Error("f was called"); return nil }
	if err := ix.Update(t.Context(), nothing); err == nil {
		t.Error("Update of a closed index returns no error")
	}
	if err := ix.View(t.Context(), nothing); err == nil {
		t.Error("View of a closed index returns no error")
	}
}
