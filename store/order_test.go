package store

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"rtls/store/internal/index"
)

// TestNameOrder has names of all kinds in the order that compareNames gives them.
func TestNameOrder(t *testing.T) {
	names := []string{
		"", "x", "9", "10", "010", "9.b", "9.a", "+1", "18446744073709551615.a", "18446744073709551616.b",
		"99999999999999999999999.c", "1790000000.M2P1.h", "1790000000.M10P1.h", "1790000001.M1P1.h", "~",
	}
	want := slices.Clone(names)
	slices.SortStableFunc(want, compareNames)
	for range 20 {
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		messages := make([]index.Message, len(names))
		for i, name := range names {
			messages[i].Name = name
		}
		var got []string
		for _, at := range nameOrder(messages) {
			got = append(got, names[at])
		}
		if slices.CompareFunc(got, want, compareNames) != 0 {
			t.Fatalf("order %q, want %q", got, want)
		}
	}
}

// TestOpenMany opens a mailbox with more messages than are examined one by one, and
// with what is none.
func TestOpenMany(t *testing.T) {
	const n = 1000
	a := newTestAccount(t)
	for i := range n {
		// No sizes in the name: the files are read.
		name := fmt.Sprintf("%d.host:2,S", 2*n-i)
		must(t, os.WriteFile(filepath.Join(a.maildir(), "cur", name), []byte(fmt.Sprintf("Subject: %d\n\n", i%10)), 0o600))
	}
	must(t, os.Mkdir(filepath.Join(a.maildir(), "cur", "1.directory"), 0o700))
	s := openMailbox(t, a, inbox).Snapshot()
	if s.Len() != n || s.UIDNext() != n+1 {
		t.Fatalf("%d messages, UIDNEXT %d", s.Len(), s.UIDNext())
	}
	for i := range n {
		if m := s.At(i); m.Key != Key(fmt.Sprintf("%d.host", n+1+i)) || m.UID != uint32(i+1) || m.Size != 14 {
			t.Fatalf("message %d is %+v", i, m)
		}
	}
	// Messages that come when the table of keys has been forgotten are found again.
	m := openMailbox(t, a, inbox)
	deliver(t, a, inbox, hello, Meta{})
	if s := see(t, m); s.Len() != n+1 {
		t.Errorf("%d messages", s.Len())
	}
	if s := see(t, m); s.Len() != n+1 {
		t.Errorf("%d messages the second time", s.Len())
	}
}
