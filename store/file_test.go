package store

import (
	"os"
	"testing"
	"time"
)

// Whoever reads a file that another program alters meanwhile is told.
func TestFileUnchanged(t *testing.T) {
	for what, alter := range map[string]func(path string) error{
		"longer":  func(path string) error { return appendTo(path, "x") },
		"shorter": func(path string) error { return os.Truncate(path, 1) },
		"of another time": func(path string) error {
			return os.Chtimes(path, time.Time{}, time.Now().Add(-time.Hour))
		},
	} {
		a := newTestAccount(t)
		deliver(t, a, inbox, "one\n", Meta{})
		m := openMailbox(t, a, inbox)
		s := m.Snapshot()
		f, err := m.OpenFile(t.Context(), s.At(0).UID)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		if f.Size() != 4 || !f.Unchanged() {
			t.Fatalf("%d octets, unchanged: %v", f.Size(), f.Unchanged())
		}
		named := m.v.at(s, 0)
		if err := alter(m.v.path(named.inNew, named.name)); err != nil {
			t.Fatal(err)
		}
		if f.Unchanged() {
			t.Errorf("a file that is %s by now is unchanged", what)
		}
	}
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
