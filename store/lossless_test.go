package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rtls/store/internal/index"
	"rtls/store/internal/sqlite"
)

// What these targets have in common: whatever others write, no message is lost that a
// plain listing of the directories shows.

// plainTexts are the contents of an INBOX's files, in order, found without the store.
func plainTexts(t *testing.T, dir string) (texts []string) {
	t.Helper()
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(dir, "Maildir", sub))
		must(t, err)
		for _, e := range entries {
			if e.Name()[0] == '.' || !e.Type().IsRegular() {
				continue
			}
			raw, err := os.ReadFile(filepath.Join(dir, "Maildir", sub, e.Name()))
			must(t, err)
			texts = append(texts, string(raw))
		}
	}
	slices.Sort(texts)
	return texts
}

// listedTexts are the contents of INBOX's messages, in order. The files have no bare
// line feeds, so that they are what is on the wire.
func listedTexts(t *testing.T, a *Account) (texts []string, err error) {
	t.Helper()
	m, err := a.Mailbox(t.Context(), inbox)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	// What is not there is listed until that is sure; for ever, if the index has a
	// name for it that no file can have. Damage can show as late as then.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		s, err := m.Sync(t.Context())
		if err != nil {
			return nil, err
		}
		if texts, err = readableTexts(t, m, s); err == nil {
			break
		}
		if !errors.Is(err, ErrNoMessage) {
			return nil, err
		}
		if time.Now().After(deadline) {
			t.Fatalf("not all messages can be read within 10 s: %v; %s", err, describe(s))
		}
	}
	slices.Sort(texts)
	return texts, nil
}

// readableTexts are the texts of the messages in s, but for those of names that no file
// can have. It fails with ErrNoMessage while one is not there.
func readableTexts(t *testing.T, m *Mailbox, s *Snapshot) (texts []string, err error) {
	t.Helper()
	for i := range s.Len() {
		c, err := m.Open(t.Context(), s.At(i).UID)
		switch {
		case errors.Is(err, ErrNoMessage):
			return nil, err
		case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ENOTDIR):
			continue
		case err != nil:
			return nil, err
		}
		raw, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
		must(t, errors.Join(err, c.Close()))
		texts = append(texts, string(raw))
	}
	return texts, nil
}

// Files have whatever names others give them; two may have one key.
func FuzzForeignNames(f *testing.F) {
	for _, names := range []string{
		"1.a:2,S\n1.a:2,", "1.a,S=1:2,\n1.a,S=2", ":2,\n,\n:", "a\na:2,\na:2,S\na,x", ".hidden\n..x\nx",
		"1.M1P1Q1R0123456789abcdef.h,S=6,W=6,T=re:2,\n1.M1P1Q1R0123456789abcdef.h,S=7,W=7,T=re:2,FS", "x\r\n\xff\n\x01:2,\x7f",
	} {
		f.Add(names)
	}
	f.Fuzz(func(t *testing.T, names string) {
		a := newTestAccount(t)
		for i, name := range strings.Split(names, "\n") {
			if name == "" || name == "." || name == ".." || len(name) > 200 || strings.ContainsAny(name, "/\x00") || i == 6 {
				continue
			}
			sub := []string{"cur", "new"}[i%2]
			must(t, os.WriteFile(filepath.Join(a.maildir(), sub, name), fmt.Appendf(nil, "%d\r\n", i), 0o600))
		}
		want := plainTexts(t, a.dir)
		check := func(when string) {
			t.Helper()
			again, err := Open(a.dir, nil)
			must(t, err)
			defer again.Close()
			if got, err := listedTexts(t, again); err != nil || !slices.Equal(got, want) {
				t.Fatalf("%s %q is listed, %v; there is %q", when, got, err, want)
			}
		}
		check("at first")
		m := openMailbox(t, a, inbox)
		_, err := m.SetFlags(t.Context(), FlagChange{UIDs: uidsOf(see(t, m)), Flags: Flagged})
		must(t, err)
		check("with a flag")
		removeIndex(t, a.dir)
		check("without the index")
		if there := plainTexts(t, a.dir); !slices.Equal(there, want) {
			t.Fatalf("there is %q, and was %q", there, want)
		}
	})
}

// What is put into an index comes back as it was, and a view has what the index has.
func FuzzIndexRecords(f *testing.F) {
	f.Add("1.a,S=5,W=6,T=re:2,FS", "k l", int64(6), int64(1_800_000_000), uint32(1), false, uint64(9))
	f.Add("1.a,S=05,W=06,T=re:2,SF", "", int64(-1), int64(-5), uint32(1<<32-9), true, uint64(1<<63-1))
	f.Add(",:\x00\xff", "\xff \x00", int64(1<<62), int64(1<<40), uint32(77), false, uint64(1))
	f.Fuzz(func(t *testing.T, name, words string, size, date int64, uid uint32, inNew bool, modSeq uint64) {
		if name == "" || len(name) > 255 || uid == 0 || uid > freed-3 || modSeq == 0 || modSeq > 1<<63-1 {
			return // the store puts no such thing
		}
		keywords := strings.Fields(words)
		slices.Sort(keywords)
		joined := strings.Join(slices.Compact(keywords), " ")
		rows := []index.Message{
			{UID: uid, ModSeq: modSeq, Name: name, New: inNew, Size: size, Date: date, Keywords: joined},
			{UID: uid + 1, ModSeq: 1, Name: name + "2", New: !inNew, Size: 1, Date: 1},
			{UID: uid + 2, ModSeq: modSeq, Name: "3" + name, Size: size, Date: date, Keywords: joined},
		}
		ix, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "index.db"))
		must(t, err)
		defer ix.Close()
		m := index.Mailbox{Object: strings.Repeat("0", 32), UIDValidity: 1, UIDNext: uid + 3, ModSeq: modSeq}
		must(t, ix.Update(t.Context(), func(tx index.Tx) (err error) {
			if m, err = tx.PutMailbox(m); err == nil {
				err = tx.Put(m.ID, rows)
			}
			return err
		}))
		var back []index.Message
		must(t, ix.View(t.Context(), func(tx index.Tx) error {
			return tx.Messages(m.ID, 0, func(row index.Message) error { back = append(back, row); return nil })
		}))
		if !slices.Equal(back, rows) {
			t.Fatalf("%+v came back as %+v", rows, back)
		}
		if size < 0 || date < 0 {
			return // no file has it
		}
		e := emptySnapshot().edit()
		for _, row := range back {
			e.put(row)
		}
		s := e.done(m)
		for i, row := range rows {
			if got := s.message(i); got != row {
				t.Errorf("%+v is %+v in the view", row, got)
			}
		}
	})
}

// damageTexts are the messages of the account that is damaged.
var damageTexts = []string{"1\r\n", "22\r\n", "333\r\n", "4444\r\n"}

// damageAccount makes the account, and returns its index file.
func damageAccount(f *testing.F) (dir string, db []byte) {
	f.Helper()
	dir = filepath.Join(f.TempDir(), "alice")
	err := Create(dir, nil)
	var a *Account
	if err == nil {
		a, err = Open(dir, nil)
	}
	var m *Mailbox
	if err == nil {
		m, err = a.Mailbox(f.Context(), inbox)
	}
	if err != nil {
		f.Fatal(err)
	}
	for i, text := range damageTexts {
		appendText(f, m, text, Meta{Tag: TagRequire, Origin: OriginESMTP, Keywords: []string{"work", "home"}[i%2:]})
	}
	if err := m.Close(); err != nil {
		f.Fatal(err)
	}
	if err := a.Close(); err != nil {
		f.Fatal(err)
	}
	if db, err = os.ReadFile(filepath.Join(dir, ".rtls", "index.db")); err != nil {
		f.Fatal(err)
	}
	return dir, db
}

// An index with some octets overwritten makes no difference to which messages there
// are. Where damage shows late, there is an error before the index is made anew, by
// whatever process comes next. What looks like the index of a later version of this
// program is refused, until somebody removes it.
func FuzzDamagedIndex(f *testing.F) {
	dir, db := damageAccount(f)
	for page := 0; page < len(db); page += 4096 {
		f.Add(uint32(page), []byte("\xff\xff\xff\xff"))
		f.Add(uint32(page), make([]byte, 4096))
		f.Add(uint32(page+100), []byte("\x00\x01"))
		f.Add(uint32(page+4000), bytes.Repeat([]byte{0x5a}, 90))
	}
	f.Add(uint32(28), []byte("\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, at uint32, octets []byte) {
		if int(at)+len(octets) > len(db) {
			return
		}
		damaged := slices.Clone(db)
		copy(damaged[at:], octets)
		own := duplicate(t, dir)
		must(t, os.WriteFile(filepath.Join(own, ".rtls", "index.db"), damaged, 0o600))
		must(t, os.RemoveAll(filepath.Join(own, ".rtls", "views"))) // they would hide it
		a := openTestAccount(t, own)
		got, err := listedTexts(t, a)
		if err != nil {
			must(t, a.Close())
			a = openTestAccount(t, own)
			got, err = listedTexts(t, a)
		}
		if err != nil && strings.Contains(err.Error(), "index has version") {
			must(t, a.Close())
			removeIndex(t, own)
			got, err = listedTexts(t, openTestAccount(t, own))
		}
		if err != nil || !slices.Equal(got, damageTexts) {
			t.Fatalf("%q is listed, %v", got, err)
		}
		if there := plainTexts(t, own); !slices.Equal(there, damageTexts) {
			t.Fatalf("there is %q", there)
		}
	})
}

// FuzzImportMbox imports whatever comes. What is then exported reads back as the same
// messages, and exports the same again.
func FuzzImportMbox(f *testing.F) {
	const from = "From bob@example.com Mon Jan  2 15:04:05 2006\n"
	for _, mbox := range []string{
		from + "Subject: x\n\ntext\n\n" + from + "Status: RO\n\n>From y\n",
		from + "Status: O\nX-Status: AFTD\nX-Keywords: $Forwarded work\nX-Mbox-Last-Line: open\n\nx\n\n",
		strings.ReplaceAll(from+"A: b\nX-Keywords: a\n b\n\nc\r\n\r\n"+from, "\n", "\r\n"),
		"From x\n\n>>From \nFrom \n", "\n\nFrom ", from + "X-Status: A", from + from + from, from + "\r\r\n\r", "From a Thu Jan  1 00:00:00 1970\n\n>",
	} {
		f.Add(mbox)
	}
	f.Fuzz(func(t *testing.T, mbox string) {
		a := newTestAccount(t)
		n, err := a.ImportMbox(t.Context(), inbox, Mbox{Reader: strings.NewReader(mbox)}, ImportReport{})
		first := openMailbox(t, a, inbox)
		if s := see(t, first); s.Len() != n.Added {
			t.Fatalf("%+v were imported, %d are there", n, s.Len())
		}
		if err != nil {
			return
		}
		var exported, again bytes.Buffer
		must(t, a.ExportMbox(t.Context(), inbox, &exported, nil))
		second := makeMailbox(t, a, "Second")
		if m, err := a.ImportMbox(t.Context(), "Second", Mbox{Reader: bytes.NewReader(exported.Bytes())}, ImportReport{}); err != nil || m.Added != n.Added {
			t.Fatalf("%+v of %+v were imported again: %v", m, n, err)
		}
		compareMailboxes(t, first, second, TagUnknown)
		must(t, a.ExportMbox(t.Context(), "Second", &again, nil))
		if !bytes.Equal(exported.Bytes(), again.Bytes()) {
			t.Fatalf("exported as %q, then as %q", exported.Bytes(), again.Bytes())
		}
	})
}
