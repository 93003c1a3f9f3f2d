package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// importInto imports texts with the identifiers 1, 2 and so on, and says how many were
// added.
func importInto(t *testing.T, a *Account, epoch string, texts ...string) (added int) {
	t.Helper()
	i, err := a.StartImport(t.Context(), "test", inbox, epoch)
	must(t, err)
	for n, text := range texts {
		id := fmt.Sprint(n + 1)
		if i.Has(id) {
			continue
		}
		d, err := i.Start(t.Context())
		must(t, err)
		_, err = io.WriteString(d, text)
		must(t, err)
		ok, err := i.Append(t.Context(), d, id, Meta{})
		must(t, err)
		if ok {
			added++
		}
	}
	must(t, i.Close())
	return added
}

func journalOf(t *testing.T, a *Account) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(a.importDir(), "????????????????????????????????"))
	must(t, err)
	if len(paths) != 1 {
		t.Fatalf("%d journals", len(paths))
	}
	return paths[0]
}

// Whatever becomes of the journal, no message comes twice that is still in the mailbox;
// with what is left of it, none of those that are in it.
func TestImportJournalDamaged(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(string) string
		again  int // messages that come again, of two that were expunged
	}{
		"none":          {func(s string) string { return s }, 0},
		"cut off":       {func(s string) string { return s[:len(s)-5] }, 0},
		"flipped":       {func(s string) string { return strings.Replace(s, ` "2"`, ` "7"`, 1) }, 1},
		"empty":         {func(string) string { return "" }, 2},
		"nonsense":      {func(s string) string { return strings.Repeat("\x00\n", 99) + s }, 0},
		"without start": {func(s string) string { _, rest, _ := strings.Cut(s, "\n"); return rest }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a := newTestAccount(t)
			texts := []string{"A: 1\r\n\r\n", "A: 2\r\n\r\n", "A: 3\r\n\r\n", "A: 4\r\n\r\n"}
			if n := importInto(t, a, "", texts...); n != 4 {
				t.Fatalf("%d were added", n)
			}
			m := openMailbox(t, a, inbox)
			must(t, m.Expunge(t.Context(), []uint32{1, 2}))
			path := journalOf(t, a)
			raw, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path, []byte(test.damage(string(raw))), 0o600))
			texts = append(texts, "A: 5\r\n\r\n", "A: 6\r\n\r\n", "A: 7\r\n\r\n")
			if n := importInto(t, a, "", texts...); n != test.again+3 {
				t.Errorf("%d were added, want %d", n, test.again+3)
			}
			s := see(t, m)
			if s.Len() != 5+test.again {
				t.Errorf("%d messages", s.Len())
			}
			var all []uint32
			for i := range s.Len() {
				all = append(all, s.At(i).UID)
			}
			must(t, m.Expunge(t.Context(), all))
			if n := importInto(t, a, "", texts...); n != 0 {
				t.Errorf("%d were added by the last import", n)
			}
		})
	}
}

// The mark of an import is in the name, and so lasts longer than the index.
func TestImportSurvivesIndex(t *testing.T) {
	a := newTestAccount(t)
	importInto(t, a, "1", "A: 1\r\n\r\n", "A: 2\r\n\r\n")
	must(t, os.Remove(journalOf(t, a)))
	must(t, a.Rebuild(t.Context(), CheckOptions{}))
	if n := importInto(t, a, "1", "A: 1\r\n\r\n", "A: 2\r\n\r\n"); n != 0 {
		t.Errorf("%d were added", n)
	}
}

// What was imported into a mailbox is forgotten with it, and with no other.
func TestDeletedMailboxIsForgotten(t *testing.T) {
	a := newTestAccount(t)
	for _, name := range []string{"x", "y"} {
		must(t, a.CreateMailbox(t.Context(), name, ""))
		for _, source := range []string{"one", "two"} {
			i, err := a.StartImport(t.Context(), source, name, "")
			must(t, err)
			must(t, i.Close())
		}
	}
	must(t, a.DeleteMailbox(t.Context(), "x"))
	m := openMailbox(t, a, "y")
	for _, source := range []string{"one", "two"} {
		_, err := os.Lstat(filepath.Join(a.importDir(), journalName(source, m.ObjectID())))
		must(t, err)
	}
	names, err := os.ReadDir(a.importDir())
	must(t, err)
	if len(names) != 3 { // and the lock
		t.Errorf("%v", names)
	}
}

func TestOneImportAtATime(t *testing.T) {
	a := newTestAccount(t)
	i, err := a.StartImport(t.Context(), "x", inbox, "")
	must(t, err)
	if _, err := a.StartImport(t.Context(), "y", inbox, ""); !errors.Is(err, ErrImporting) {
		t.Errorf("a second import: %v", err)
	}
	must(t, i.Close())
	if n := importInto(t, a, "", "A: 1\r\n\r\n"); n != 1 {
		t.Errorf("%d were added", n)
	}
	if _, err := a.StartImport(t.Context(), "x", "none", ""); !errors.Is(err, ErrNoMailbox) {
		t.Errorf("import into nothing: %v", err)
	}
}

// A file that cannot be read is left out, and the others come.
func TestImportLeavesOutUnreadable(t *testing.T) {
	source := filepath.Join(t.TempDir(), "Maildir")
	for _, dir := range []string{"cur", "new", "tmp"} {
		must(t, os.MkdirAll(filepath.Join(source, dir), 0o700))
	}
	for _, name := range []string{"1.a", "2.b", "3.c"} {
		must(t, os.WriteFile(filepath.Join(source, "new", name), []byte("A: "+name+"\n\n"), 0o600))
	}
	a := newTestAccount(t)
	var left []string
	report := ImportReport{
		Failed: func(name string, err error) { left = append(left, filepath.Base(name)) },
		Progress: func(s Step) {
			if s.Messages == 1 { // what was listed is removed before it is read
				must(t, os.Remove(filepath.Join(source, "new", "2.b")))
			}
		},
	}
	done, err := a.ImportMaildir(t.Context(), inbox, source, report)
	if !errors.Is(err, ErrLeftOut) || done.Added != 2 || done.Failed != 1 || strings.Join(left, " ") != "2.b" {
		t.Errorf("%+v, %v, left out %q", done, err, left)
	}
}

// A message that gets other flags while the import runs comes under its new name, and
// a folder whose name is none is left out by name.
func TestImportOfMaildirInUse(t *testing.T) {
	source := filepath.Join(t.TempDir(), "Maildir")
	for _, dir := range []string{"cur", "new", "tmp", ".a..b/cur", ".a..b/new", ".a..b/tmp"} {
		must(t, os.MkdirAll(filepath.Join(source, dir), 0o700))
	}
	for _, name := range []string{"1.a", "2.b", "3.c"} {
		must(t, os.WriteFile(filepath.Join(source, "new", name), []byte("A: "+name+"\n\n"), 0o600))
	}
	a := newTestAccount(t)
	var left []string
	report := ImportReport{
		Failed: func(name string, err error) { left = append(left, filepath.Base(name)) },
		Progress: func(s Step) {
			if s.Messages == 1 {
				must(t, os.Rename(filepath.Join(source, "new", "2.b"), filepath.Join(source, "cur", "2.b:2,S")))
				must(t, os.Rename(filepath.Join(source, "new", "3.c"), filepath.Join(source, "cur", "3.c:2,F")))
			}
		},
	}
	done, err := a.ImportMaildir(t.Context(), inbox, source, report)
	if !errors.Is(err, ErrLeftOut) || done.Added != 3 || strings.Join(left, " ") != ".a..b" {
		t.Errorf("%+v, %v, left out %q", done, err, left)
	}
	if got := strings.Join(flagsThere(t, openMailbox(t, a, inbox)), ","); got != " ,S ,F " {
		t.Errorf("%q", got)
	}
}

func FuzzJournalEntry(f *testing.F) {
	e := entry{kind: entryAdded, sum: digest{1}, epoch: "7", id: "12"}
	f.Add(e.String(), "7", "12")
	f.Add("00000000 + 00 \"\" \"\"", "a b", "\"\n\x00\xff")
	f.Fuzz(func(t *testing.T, line, epoch, id string) {
		if e, ok := parseEntry(line); ok {
			if back, ok := parseEntry(e.String()); !ok || back != e {
				t.Errorf("%q is %+v, and then %+v", line, e, back)
			}
		}
		e := entry{kind: "+=~"[len(id)%3], epoch: epoch, id: id}
		if len(epoch)%2 == 0 {
			e.flags, e.hasFlags = newSourceFlags(Flags(len(id))&(Seen|Flagged|Passed), strings.Fields(epoch)), true
		}
		if strings.ContainsAny(e.String(), "\n") {
			t.Errorf("%q has two lines", e.String())
		}
		if back, ok := parseEntry(e.String()); !ok || back != e {
			t.Errorf("%+v is read as %+v", e, back)
		}
	})
}
