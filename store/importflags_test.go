package store

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// importFlags imports messages with these flags: letters, and keywords behind a space.
func importFlags(t *testing.T, a *Account, flags ...string) (changed int) {
	t.Helper()
	i, err := a.StartImport(t.Context(), "test", inbox, "7")
	must(t, err)
	for n, text := range flags {
		id := fmt.Sprint(n + 1)
		f, ok := parseSourceFlags(text)
		if !ok {
			t.Fatal(text)
		}
		if i.Has(id) {
			must(t, i.Update(t.Context(), id, f.flags, f.words()))
			continue
		}
		d, err := i.Start(t.Context())
		must(t, err)
		_, err = io.WriteString(d, "A: "+id+"\r\n\r\n")
		must(t, err)
		_, err = i.Append(t.Context(), d, id, Meta{Flags: f.flags, Keywords: f.words()})
		must(t, err)
	}
	changed, err = i.Finish(t.Context())
	must(t, err)
	must(t, i.Close())
	return changed
}

// flagsThere are those of the messages in INBOX, in the order of their UIDs.
func flagsThere(t *testing.T, m *Mailbox) (list []string) {
	t.Helper()
	s := see(t, m)
	for i := range s.Len() {
		list = append(list, newSourceFlags(s.At(i).Flags, s.At(i).Keywords).String())
	}
	return list
}

// What the source has changed of flags since the last import comes, and what was changed
// here stays.
func TestImportBringsChangedFlags(t *testing.T) {
	a := newTestAccount(t)
	m := openMailbox(t, a, inbox)
	first := []string{" ", "S work", "F ", "S ", "D home work", "S "}
	if n := importFlags(t, a, first...); n != 0 {
		t.Errorf("the first import has changed %d", n)
	}
	for _, change := range []FlagChange{
		{UIDs: []uint32{1}, Op: FlagsAdd, Flags: Answered, Keywords: []string{"mine"}},
		{UIDs: []uint32{4}, Op: FlagsRemove, Flags: Seen},
		{UIDs: []uint32{6}, Op: FlagsRemove, Flags: Seen},
	} {
		_, err := m.SetFlags(t.Context(), change)
		must(t, err)
	}
	must(t, m.Expunge(t.Context(), []uint32{3}))
	before := flagsThere(t, m)
	if n := importFlags(t, a, first...); n != 0 || !slices.Equal(flagsThere(t, m), before) {
		t.Errorf("nothing was changed there; here %d have become %q", n, flagsThere(t, m))
	}
	then := []string{"S $Junk", " ", "FS ", "S work", "D home", "FS "}
	want := []string{"RS $Junk mine", " ", " work", "D home", "F "}
	for range 2 {
		n := importFlags(t, a, then...)
		if got := flagsThere(t, m); !slices.Equal(got, want) {
			t.Errorf("%d changed: %q, want %q", n, got, want)
		}
	}
	if n := importFlags(t, a, first...); n != 5 {
		t.Errorf("back again: %d changed", n)
	}
	if got := flagsThere(t, m); got[1] != "S work" || got[4] != " " {
		t.Errorf("back again: %q", got)
	}
}

// Of a message whose flags were not noted it is not known what has changed.
func TestImportNotesFlags(t *testing.T) {
	a := newTestAccount(t)
	m := openMailbox(t, a, inbox)
	importFlags(t, a, "S ", "F ")
	must(t, os.Remove(journalOf(t, a)))
	if n := importFlags(t, a, "F ", "FS "); n != 0 || strings.Join(flagsThere(t, m), ",") != "S ,F " {
		t.Errorf("%d changed: %q", n, flagsThere(t, m))
	}
	if n := importFlags(t, a, "F ", "S "); n != 1 || strings.Join(flagsThere(t, m), ",") != "S , " {
		t.Errorf("%d changed: %q", n, flagsThere(t, m))
	}
}

// It is the same for a Maildir, whose names say it, and for an mbox.
func TestImportBringsChangedFlagsFromFiles(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"cur", "new", "tmp"} {
		must(t, os.Mkdir(filepath.Join(dir, sub), 0o700))
	}
	must(t, os.WriteFile(filepath.Join(dir, "new", "1.a"), []byte("A: 1\n\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "cur", "2.b:2,S"), []byte("A: 2\n\n"), 0o600))
	mbox := func(status string) Mbox {
		return Mbox{Reader: strings.NewReader("From x Mon Jan  2 15:04:05 2006\nStatus: " + status + "\nA: 3\n\nx\n"), Source: "x"}
	}
	a := newTestAccount(t)
	m := openMailbox(t, a, inbox)
	_, err := a.ImportMaildir(t.Context(), inbox, dir, ImportReport{})
	must(t, err)
	_, err = a.ImportMbox(t.Context(), inbox, mbox("O"), ImportReport{})
	must(t, err)
	must(t, os.Rename(filepath.Join(dir, "new", "1.a"), filepath.Join(dir, "cur", "1.a:2,FS")))
	must(t, os.Rename(filepath.Join(dir, "cur", "2.b:2,S"), filepath.Join(dir, "cur", "2.b:2,R")))
	done, err := a.ImportMaildir(t.Context(), inbox, dir, ImportReport{})
	if err != nil || done.Changed != 2 || done.Known != 2 {
		t.Errorf("Maildir: %+v, %v", done, err)
	}
	done, err = a.ImportMbox(t.Context(), inbox, mbox("RO"), ImportReport{})
	if err != nil || done.Changed != 1 || done.Known != 1 {
		t.Errorf("mbox: %+v, %v", done, err)
	}
	if got := flagsThere(t, m); !slices.Equal(got, []string{"FS ", "R ", "S "}) {
		t.Errorf("%q", got)
	}
}
