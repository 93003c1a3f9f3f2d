package store

import (
	"errors"
	"fmt"
	"testing"
)

// A mailbox that is opened again while it is kept is not read again, and shows what
// others did meanwhile.
func TestMailboxIsKept(t *testing.T) {
	dir := newTestAccount(t).dir
	a, err := Open(dir, &Options{Keep: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	other := openTestAccount(t, dir)
	deliver(t, other, "INBOX", "A: b\n\n1\n", Meta{})
	use := func(name string) (v *view, n int) {
		t.Helper()
		m, err := a.Mailbox(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}()
		return m.v, m.Snapshot().Len()
	}
	first, _ := use("INBOX")
	deliver(t, other, "INBOX", "A: b\n\n2\n", Meta{})
	if again, n := use("INBOX"); again != first || n != 2 {
		t.Errorf("kept %t, %d messages", again == first, n)
	}
	if err := a.CreateMailbox(t.Context(), "Other", ""); err != nil {
		t.Fatal(err)
	}
	use("Other") // takes the place
	if again, n := use("INBOX"); again == first || n != 2 {
		t.Errorf("kept %t, %d messages", again == first, n)
	}
	if len(a.views) != 1 || len(a.kept) != 1 {
		t.Errorf("%d views, %d kept", len(a.views), len(a.kept))
	}
}

// A mailbox that another process deletes and makes again is another one.
func TestKeptMailboxIsReplaced(t *testing.T) {
	dir := newTestAccount(t).dir
	a, err := Open(dir, &Options{Keep: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	other := openTestAccount(t, dir)
	var objects []string
	for i := range 2 {
		if err := other.CreateMailbox(t.Context(), "Work", ""); err != nil {
			t.Fatal(err)
		}
		for range i + 1 {
			deliver(t, other, "Work", fmt.Sprintf("A: b\n\n%d\n", i), Meta{})
		}
		m, err := a.Mailbox(t.Context(), "Work")
		if err != nil {
			t.Fatal(err)
		}
		if n := m.Snapshot().Len(); n != i+1 {
			t.Errorf("%d messages", n)
		}
		objects = append(objects, m.ObjectID())
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if err := other.DeleteMailbox(t.Context(), "Work"); err != nil {
			t.Fatal(err)
		}
	}
	if objects[0] == objects[1] {
		t.Error("it is the same mailbox")
	}
}

// The same while somebody has the old one open: he is told, and holds up nobody.
func TestOpenMailboxIsReplaced(t *testing.T) {
	dir := newTestAccount(t).dir
	a, other := openTestAccount(t, dir), openTestAccount(t, dir)
	must(t, other.CreateMailbox(t.Context(), "Work", ""))
	old := openMailbox(t, a, "Work")
	must(t, other.DeleteMailbox(t.Context(), "Work"))
	must(t, other.CreateMailbox(t.Context(), "Work", ""))
	deliver(t, other, "Work", hello, Meta{})
	m := openMailbox(t, a, "Work")
	if m.ObjectID() == old.ObjectID() || m.Snapshot().Len() != 1 {
		t.Errorf("mailbox %s with %d messages; the old one is %s", m.ObjectID(), m.Snapshot().Len(), old.ObjectID())
	}
	if _, err := old.Sync(t.Context()); !errors.Is(err, ErrNoMailbox) {
		t.Errorf("the old one: %v", err)
	}
	if again := openMailbox(t, a, "Work"); again.v != m.v {
		t.Error("the new one is not shared")
	}
}
