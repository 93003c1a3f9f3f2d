package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"rtls/store/internal/index"
)

// fillMailbox puts n messages into INBOX the quick way, some by other programs'
// rules.
func fillMailbox(t *testing.T, a *Account, n int) {
	t.Helper()
	for i := range n {
		name := string(a.names.key())
		switch i % 3 {
		case 0:
			name = baseName(Key(name), sumOfText(hello), TagRequire, OriginESMTP) + ":2,S"
		case 1:
			name += ",U=7:2,Fab"
		}
		must(t, os.WriteFile(filepath.Join(a.maildir(), "cur", name), []byte(hello), 0o600))
	}
}

// reopened describes INBOX as a new process finds it.
func reopened(t *testing.T, dir string) string {
	t.Helper()
	a, err := Open(dir, nil)
	must(t, err)
	defer a.Close()
	m, err := a.Mailbox(t.Context(), inbox)
	must(t, err)
	defer m.Close()
	return describe(m.Snapshot())
}

func TestPackedView(t *testing.T) {
	a := newTestAccount(t)
	fillMailbox(t, a, 3*cacheAfter/2)
	m, err := a.Mailbox(t.Context(), inbox)
	must(t, err)
	_, err = m.SetFlags(t.Context(), FlagChange{UIDs: []uint32{5, 700}, Keywords: []string{"one", "two"}})
	must(t, err)
	want := describe(m.Snapshot())
	must(t, m.Close())
	path := filepath.Join(a.private(), "views", m.v.id.object)

	use := func() bool { // whether a new process could use it
		t.Helper()
		ix, err := a.index(t.Context())
		must(t, err)
		var record index.Mailbox
		must(t, ix.View(t.Context(), func(tx index.Tx) (err error) {
			record, err = tx.Mailbox(m.v.id.object)
			return err
		}))
		return m.v.cached(record) != nil
	}
	if got := reopened(t, a.dir); got != want || !use() {
		t.Fatalf("after reading the packed view: %.300s; should be %.300s", got, want)
	}
	// What changes later comes from the index.
	m = openMailbox(t, a, inbox)
	must(t, m.Expunge(t.Context(), []uint32{1, 2}))
	_, err = m.SetFlags(t.Context(), FlagChange{UIDs: []uint32{3}, Flags: Deleted, Keywords: []string{"three"}})
	must(t, err)
	deliver(t, a, inbox, hello, Meta{Tag: TagRequire})
	want = describe(see(t, m))
	if got := reopened(t, a.dir); got != want {
		t.Errorf("with later changes: %.300s; should be %.300s", got, want)
	}
	// Damage anywhere is noticed and costs time only: the next to close it packs it
	// again.
	for what, damage := range map[string]func([]byte) []byte{
		"header":   func(b []byte) []byte { b[0] ^= 0x40; return b },
		"name":     func(b []byte) []byte { b[len(viewHeader)+9] ^= 1; return b },
		"middle":   func(b []byte) []byte { b[len(b)/2] ^= 0x40; return b },
		"checksum": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"empty":    func(b []byte) []byte { return nil },
		"short":    func(b []byte) []byte { return b[:100] },
		"cut":      func(b []byte) []byte { return b[:len(b)-1] },
		"longer":   func(b []byte) []byte { return append(b, 0) },
	} {
		packed, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path, damage(packed), 0o600))
		if use() {
			t.Errorf("%s: it is used", what)
		}
		if got := reopened(t, a.dir); got != want {
			t.Errorf("%s: %.300s", what, got)
		}
		if !use() {
			t.Errorf("%s: it was not packed again", what)
		}
	}
	must(t, os.Remove(path))
	if got := reopened(t, a.dir); got != want {
		t.Errorf("without it: %.300s", got)
	}
}

func FuzzReadView(f *testing.F) {
	e := emptySnapshot().edit()
	for uid := uint32(1); uid < 20; uid++ {
		e.put(index.Message{UID: uid, Name: fmt.Sprintf("%d.host,S=1,W=1,T=re,H=0123456789abcdef:2,%s", uid, []string{"", "a", "SS"}[uid%3]), Size: 1, Keywords: "a b"})
	}
	m := index.Mailbox{UIDValidity: 1, UIDNext: 20, ModSeq: 9, Cache: "id"}
	var b bytes.Buffer
	p := &packer{w: &b}
	p.pack(e.done(m), "id")
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, raw []byte) {
		u := &unpacker{r: bytes.NewReader(raw), left: int64(len(raw))}
		s := u.unpack(m)
		if u.err != nil {
			return
		}
		// Whatever is let in can be looked at, and packs to the same again.
		for i := range s.Len() {
			s.message(i)
			if at, ok := s.Find(s.At(i).UID); !ok || at != i {
				t.Fatalf("message %d is found at %d %v", i, at, ok)
			}
		}
		if u.left > 0 {
			return
		}
		var again bytes.Buffer
		(&packer{w: &again}).pack(s, "id")
		u = &unpacker{r: &again, left: int64(again.Len())}
		if next := u.unpack(m); u.err != nil || next.Len() != s.Len() {
			t.Fatalf("packed again: %v", u.err)
		}
		if n, err := again.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Fatal("packed again it is longer")
		}
	})
}
