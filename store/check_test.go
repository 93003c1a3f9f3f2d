package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rtls/store/internal/faultfs"
	"rtls/store/internal/index"
	"rtls/store/internal/sqlite"
	"rtls/store/internal/vfs"
)

// findingsOf runs Check or Repair.
func findingsOf(t *testing.T, run func(context.Context, CheckOptions) error) (list []Finding) {
	t.Helper()
	err := run(t.Context(), CheckOptions{Found: func(f Finding) error { list = append(list, f); return nil }})
	must(t, err)
	return list
}

func wantClean(t *testing.T, a *Account) {
	t.Helper()
	for _, f := range findingsOf(t, a.Check) {
		t.Errorf("still there: %+v", f)
	}
}

// inodes are the messages of an account as a plain listing shows them: file and octets.
func inodes(t *testing.T, dir string) map[uint64]string {
	t.Helper()
	all := make(map[uint64]string)
	must(t, filepath.WalkDir(filepath.Join(dir, "Maildir"), func(path string, d fs.DirEntry, err error) error {
		sub := filepath.Base(filepath.Dir(path))
		if err != nil || !d.Type().IsRegular() || sub != "cur" && sub != "new" {
			return err
		}
		info, err := vfs.OS{}.Stat(path)
		if err != nil {
			return err
		}
		raw, err := os.ReadFile(path)
		all[info.Inode] = string(raw)
		return err
	}))
	return all
}

func wantInodes(t *testing.T, dir string, before map[uint64]string) {
	t.Helper()
	after := inodes(t, dir)
	for inode, text := range before {
		if got, ok := after[inode]; !ok || got != text {
			t.Errorf("message %.40q is now %.40q (%v)", text, got, ok)
		}
	}
}

// checkedAccount has messages in two mailboxes, all in the index, and one that waits.
func checkedAccount(t *testing.T) string {
	t.Helper()
	dir := template(t)
	a, err := Open(dir, nil)
	must(t, err)
	must(t, a.Subscribe(t.Context(), "Dest", true))
	must(t, a.Repair(t.Context(), CheckOptions{}))
	must(t, send(t.Context(), a, inbox, "late"))
	must(t, a.Close())
	return dir
}

// curNames are the names in cur/ of a mailbox, sorted.
func curNames(t testing.TB, mailbox string) (names []string) {
	entries, err := os.ReadDir(filepath.Join(mailbox, "cur"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}

// execIndex changes the index behind everybody's back.
func execIndex(t testing.TB, dir, statement string) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, ".rtls", "index.db"))
	if err == nil {
		_, err = db.Exec(statement)
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// editRows changes what the index has of the messages in INBOX, likewise.
func editRows(t testing.TB, dir string, f func(rows []index.Message) []index.Message) {
	t.Helper()
	ix, err := sqlite.Open(t.Context(), filepath.Join(dir, ".rtls", "index.db"))
	mustDo(t, err)
	var m index.Mailbox
	var rows []index.Message
	mustDo(t, ix.View(t.Context(), func(tx index.Tx) error {
		var err error
		if m, err = tx.MailboxAt(""); err != nil {
			return err
		}
		return tx.Messages(m.ID, 0, func(msg index.Message) error { rows = append(rows, msg); return nil })
	}))
	execIndex(t, dir, fmt.Sprintf("DELETE FROM block WHERE mailbox = %d", m.ID))
	mustDo(t, ix.Update(t.Context(), func(tx index.Tx) error { return tx.Put(m.ID, f(rows)) }))
	mustDo(t, ix.Close())
}

// editRow changes the row of a UID.
func editRow(t testing.TB, dir string, uid uint32, f func(row *index.Message)) {
	t.Helper()
	editRows(t, dir, func(rows []index.Message) []index.Message {
		i := slices.IndexFunc(rows, func(m index.Message) bool { return m.UID == uid })
		f(&rows[i])
		return rows
	})
}

// damages are all kinds of damage, with the finding that each makes.
var damages = []struct {
	name, kind string
	text       string // in the finding
	stays      bool   // Repair cannot fix it
	do         func(t testing.TB, dir string)
}{
	{name: "nothing", do: func(testing.TB, string) {}},
	{name: "open file", kind: KindAccess, text: "0644", do: func(t testing.TB, dir string) {
		in := filepath.Join(dir, "Maildir", "cur")
		mustDo(t, os.Chmod(filepath.Join(in, curNames(t, filepath.Dir(in))[0]), 0o644))
	}},
	{name: "open directory", kind: KindAccess, text: "0755", do: func(t testing.TB, dir string) {
		mustDo(t, os.Chmod(filepath.Join(dir, "Maildir", ".Dest", "new"), 0o755))
	}},
	{name: "open index", kind: KindAccess, text: "0640", do: func(t testing.TB, dir string) {
		mustDo(t, os.Chmod(filepath.Join(dir, ".rtls", "index.db"), 0o640))
	}},
	{name: "no new/", kind: KindDirectory, text: "is missing", do: func(t testing.TB, dir string) {
		mustDo(t, os.RemoveAll(filepath.Join(dir, "Maildir", ".Dest", "new")))
	}},
	{name: "no cur/", kind: KindDirectory, text: "without cur/", do: func(t testing.TB, dir string) {
		mustDo(t, os.MkdirAll(filepath.Join(dir, "Maildir", ".Half", "new"), 0o700))
	}},
	{name: "name of no mailbox", kind: KindDirectory, text: "cannot be the name", stays: true, do: func(t testing.TB, dir string) {
		mustDo(t, os.MkdirAll(filepath.Join(dir, "Maildir", ".a..b", "cur"), 0o700))
	}},
	{name: "link to a mailbox", kind: KindDirectory, text: "links are not followed", stays: true, do: func(t testing.TB, dir string) {
		mustDo(t, os.Symlink(".Dest", filepath.Join(dir, "Maildir", ".Link")))
	}},
	{name: "link in a mailbox", kind: KindDirectory, text: "links are not followed", stays: true, do: func(t testing.TB, dir string) {
		mustDo(t, os.Mkdir(filepath.Join(dir, "Maildir", ".Half"), 0o700))
		mustDo(t, os.Symlink("../.Dest/cur", filepath.Join(dir, "Maildir", ".Half", "cur")))
	}},
	{name: "no identity", kind: KindIdentity, text: "missing", do: func(t testing.TB, dir string) {
		mustDo(t, os.Remove(filepath.Join(dir, "Maildir", identityFile)))
	}},
	{name: "damaged identity", kind: KindIdentity, text: "makes no sense", do: func(t testing.TB, dir string) {
		mustDo(t, os.WriteFile(filepath.Join(dir, "Maildir", identityFile), []byte("rtls-mailbox 1\nid x\n"), 0o600))
	}},
	{name: "identity of another", kind: KindIdentity, text: "the same as that of", do: func(t testing.TB, dir string) {
		mustDo(t, os.CopyFS(filepath.Join(dir, "Maildir", ".Twin"), os.DirFS(filepath.Join(dir, "Maildir", ".Dest"))))
		for _, sub := range []string{"", "cur", "new", "tmp"} {
			mustDo(t, os.MkdirAll(filepath.Join(dir, "Maildir", ".Twin", sub), 0o700))
			mustDo(t, os.Chmod(filepath.Join(dir, "Maildir", ".Twin", sub), 0o700))
		}
	}},
	{name: "old identity", kind: KindIdentity, text: "covers UIDs below 2", do: func(t testing.TB, dir string) {
		path := filepath.Join(dir, "Maildir", identityFile)
		raw, err := os.ReadFile(path)
		mustDo(t, err)
		head, _, _ := strings.Cut(string(raw), "uidnext")
		mustDo(t, os.WriteFile(path, []byte(head+"uidnext 2\n"), 0o600))
	}},
	{name: "annotations of a mailbox", kind: KindMetadata, text: "makes no sense", do: func(t testing.TB, dir string) {
		mustDo(t, os.WriteFile(filepath.Join(dir, "Maildir", metadataFile), []byte(metadataHeader+"eA== /private/comment\nno base64 /private/x\n"), 0o600))
	}},
	{name: "annotations of the account", kind: KindMetadata, text: "makes no sense", do: func(t testing.TB, dir string) {
		mustDo(t, os.WriteFile(filepath.Join(dir, ".rtls", accountMetadataFile), []byte("\x00\xff"), 0o600))
	}},
	{name: "no file of annotations", kind: KindMetadata, text: "is no file", do: func(t testing.TB, dir string) {
		mustDo(t, os.Mkdir(filepath.Join(dir, "Maildir", ".Dest", metadataFile), 0o700))
	}},
	{name: "open annotations", kind: KindAccess, text: "0644", do: func(t testing.TB, dir string) {
		path := filepath.Join(dir, ".rtls", accountMetadataFile)
		mustDo(t, os.WriteFile(path, []byte(metadataHeader), 0o600))
		mustDo(t, os.Chmod(path, 0o644))
	}},
	{name: "directory in cur/", kind: KindStranger, text: "directory", do: func(t testing.TB, dir string) {
		mustDo(t, os.MkdirAll(filepath.Join(dir, "Maildir", "cur", "1.a.b", "c"), 0o700))
	}},
	{name: "link in new/", kind: KindStranger, text: "no file", do: func(t testing.TB, dir string) {
		mustDo(t, os.Symlink("/etc/passwd", filepath.Join(dir, "Maildir", "new", "1.a.b")))
	}},
	{name: "wrong size", kind: KindName, text: "octets, not 7", do: func(t testing.TB, dir string) {
		renameFirst(t, dir, func(name string) string { return replaceField(name, "S", "7") })
	}},
	{name: "wrong size on the wire", kind: KindName, text: "on the wire, not 7", do: func(t testing.TB, dir string) {
		renameFirst(t, dir, func(name string) string { return replaceField(name, "W", "7") })
	}},
	{name: "damaged tag", kind: KindName, text: "tag that is damaged", do: func(t testing.TB, dir string) {
		renameFirst(t, dir, func(name string) string { return replaceField(name, "H", "xx") })
	}},
	{name: "another tag", kind: KindAltered, text: "(none, esmtp)", do: func(t testing.TB, dir string) {
		renameFirst(t, dir, func(name string) string { return replaceField(name, "T", "ne") })
	}},
	{name: "altered message", kind: KindAltered, text: "require, esmtp", do: func(t testing.TB, dir string) {
		path := filepath.Join(dir, "Maildir", "cur", curNames(t, filepath.Join(dir, "Maildir"))[0])
		info, err := os.Stat(path)
		mustDo(t, err)
		raw, err := os.ReadFile(path)
		mustDo(t, err)
		raw[len(raw)-3] ^= 1
		mustDo(t, os.WriteFile(path, raw, 0o600))
		mustDo(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
	}},
	{name: "cut-off move", kind: KindDuplicate, text: "same file", do: func(t testing.TB, dir string) {
		name := curNames(t, filepath.Join(dir, "Maildir"))[0]
		mustDo(t, os.Link(filepath.Join(dir, "Maildir", "cur", name), filepath.Join(dir, "Maildir", "new", parseName(name).base)))
	}},
	{name: "cut-off change of flags", kind: KindDuplicate, text: "same file", do: func(t testing.TB, dir string) {
		name := curNames(t, filepath.Join(dir, "Maildir"))[0]
		mustDo(t, os.Link(filepath.Join(dir, "Maildir", "cur", name), filepath.Join(dir, "Maildir", "cur", name+"F")))
	}},
	{name: "two messages of one key", kind: KindDuplicate, text: "key of another", do: func(t testing.TB, dir string) {
		name := curNames(t, filepath.Join(dir, "Maildir"))[0]
		mustDo(t, os.WriteFile(filepath.Join(dir, "Maildir", "cur", string(parseName(name).key)+":2,"), []byte("another\n"), 0o600))
	}},
	{name: "three names of one key", kind: KindDuplicate, text: "key", do: func(t testing.TB, dir string) {
		in := filepath.Join(dir, "Maildir", "cur")
		name := curNames(t, filepath.Dir(in))[0]
		mustDo(t, os.WriteFile(filepath.Join(in, string(parseName(name).key)+":2,F"), []byte("another\n"), 0o600))
		mustDo(t, os.Link(filepath.Join(in, name), filepath.Join(in, name+"P")))
	}},
	{name: "damaged index", kind: KindIndex, text: "damaged", do: func(t testing.TB, dir string) {
		mustDo(t, os.WriteFile(filepath.Join(dir, ".rtls", "index.db"), []byte(strings.Repeat("no database ", 1000)), 0o600))
	}},
	{name: "no index", kind: KindIndex, text: "missing", do: func(t testing.TB, dir string) {
		mustDo(t, os.Remove(filepath.Join(dir, ".rtls", "index.db")))
	}},
	{name: "orphans", kind: KindIndex, text: "1 entries of no mailbox", do: func(t testing.TB, dir string) {
		execIndex(t, dir, "INSERT INTO expunged VALUES (77, 1, 1)")
	}},
	{name: "record of no mailbox", kind: KindIndex, text: "is not there", do: func(t testing.TB, dir string) {
		execIndex(t, dir, "INSERT INTO mailbox SELECT 77, 'gone', '.Gone', uidvalidity, uidnext, modseq, log_floor, log_len, recent_from, messages, unseen, deleted, size, deleted_size, 0, 0, '' FROM mailbox LIMIT 1")
	}},
	{name: "counters", kind: KindIndex, text: "index counts 9 messages", do: func(t testing.TB, dir string) {
		execIndex(t, dir, "UPDATE mailbox SET messages = 9 WHERE dir = ''")
	}},
	{name: "row without a file", kind: KindIndex, text: "has no file", do: func(t testing.TB, dir string) {
		editRows(t, dir, func(rows []index.Message) []index.Message {
			return append(rows, index.Message{UID: 500, ModSeq: rows[0].ModSeq, Name: "1.no.file:2,", Size: 10})
		})
		execIndex(t, dir, "UPDATE mailbox SET uidnext = max(uidnext, 501)")
	}},
	{name: "file without a row", kind: KindIndex, text: "does not have the file", do: func(t testing.TB, dir string) {
		editRows(t, dir, func(rows []index.Message) []index.Message {
			return slices.DeleteFunc(rows, func(m index.Message) bool { return m.UID == 2 })
		})
	}},
	{name: "another name", kind: KindIndex, text: "index has the name", do: func(t testing.TB, dir string) {
		editRow(t, dir, 1, func(row *index.Message) { row.Name += "F" })
	}},
	{name: "size of a row", kind: KindIndex, text: "index has 11 octets", do: func(t testing.TB, dir string) {
		editRow(t, dir, 1, func(row *index.Message) { row.Size = 11 })
	}},
	{name: "UID above UIDNEXT", kind: KindIndex, text: "not below UIDNEXT", do: func(t testing.TB, dir string) {
		execIndex(t, dir, "UPDATE mailbox SET uidnext = 2 WHERE dir = ''")
	}},
	{name: "UID that was never given", kind: KindIndex, text: "UID 3000000000 is not below", do: func(t testing.TB, dir string) {
		editRow(t, dir, 2, func(row *index.Message) { row.UID = 3_000_000_000 })
	}},
	{name: "two UIDs of one message", kind: KindIndex, text: "are one message", do: func(t testing.TB, dir string) {
		editRows(t, dir, func(rows []index.Message) []index.Message {
			second := rows[0]
			second.UID = 600
			return append(rows, second)
		})
		execIndex(t, dir, "UPDATE mailbox SET uidnext = 601")
	}},
	{name: "change above the last", kind: KindIndex, text: "after the last change", do: func(t testing.TB, dir string) {
		editRow(t, dir, 1, func(row *index.Message) { row.ModSeq = 900_000_000_000 })
	}},
	{name: "log above the last change", kind: KindIndex, text: "1 entries above", do: func(t testing.TB, dir string) {
		execIndex(t, dir, "INSERT INTO expunged SELECT id, 900000000000, 1 FROM mailbox WHERE dir = ''")
	}},
}

func mustDo(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func renameFirst(t testing.TB, dir string, to func(string) string) {
	in := filepath.Join(dir, "Maildir", "cur")
	name := curNames(t, filepath.Dir(in))[0]
	mustDo(t, os.Rename(filepath.Join(in, name), filepath.Join(in, to(name))))
}

// replaceField gives a field of a name another value.
func replaceField(name, field, value string) string {
	before, rest, _ := strings.Cut(name, ","+field+"=")
	i := strings.IndexAny(rest, ",:")
	return before + "," + field + "=" + value + rest[i:]
}

// Each kind of damage is found, changes nothing when it is only looked at, and is gone
// after Repair, which loses no message and no UID that was right.
func TestCheckFindsAndRepairs(t *testing.T) {
	from := checkedAccount(t)
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			dir := duplicate(t, from)
			a := openTestAccount(t, dir)
			must(t, a.Repair(t.Context(), CheckOptions{})) // the copy has other stamps
			uids := allUIDs(t, a)
			d.do(t, dir)
			before, files := inodes(t, dir), tree(t, filepath.Join(dir, "Maildir"))
			must(t, a.dropIndex(a.ix, false))

			found := findingsOf(t, a.Check)
			if d.kind != "" && !slices.ContainsFunc(found, func(f Finding) bool {
				return f.Kind == d.kind && strings.Contains(f.Text, d.text) && !f.Fixed
			}) || d.kind == "" && len(found) > 0 {
				t.Errorf("found %+v", found)
			}
			if got := tree(t, filepath.Join(dir, "Maildir")); !slices.Equal(got, files) {
				t.Errorf("a check has changed the files: %v, they were %v", got, files)
			}
			for _, f := range findingsOf(t, a.Repair) {
				if f.Fixed == d.stays {
					t.Errorf("repair: %+v", f)
				}
			}
			if !d.stays {
				wantClean(t, a)
			}
			wantInodes(t, dir, before)
			if strings.HasSuffix(d.name, " index") && d.kind == KindIndex || strings.Contains(d.name, "never given") || strings.HasPrefix(d.name, "file without") {
				return // these have new UIDs
			}
			for key, uid := range allUIDs(t, a) {
				if was := uids[key]; was != 0 && was != uid {
					t.Errorf("%s had UID %d and has %d", key, was, uid)
				}
			}
		})
	}
}

// Repair keeps the annotations that make sense, and the file as it was.
func TestRepairMetadata(t *testing.T) {
	a := openTestAccount(t, checkedAccount(t))
	for file, mailbox := range map[string]string{
		filepath.Join(a.maildir(), metadataFile):          inbox,
		filepath.Join(a.maildir(), ".Dest", metadataFile): "Dest",
		filepath.Join(a.private(), accountMetadataFile):   "",
	} {
		_, err := a.SetMetadata(t.Context(), mailbox, []Annotation{{"/private/a", []byte("one")}, {"/shared/b", []byte("two")}, {"/shared/c", []byte("three")}})
		must(t, err)
		raw, err := os.ReadFile(file)
		must(t, err)
		for _, damaged := range []string{
			strings.Replace(string(raw), " /shared/b\n", "\n", 1),
			strings.Replace(string(raw), "dHdv", "d\x00wo", 1),
			strings.Replace(string(raw), "dHdv", "\n!", 1) + "and no more",
			strings.Replace("rtls-metadata 2"+strings.TrimPrefix(string(raw), "rtls-metadata 1"), "dHdv", "=", 1),
		} {
			must(t, os.WriteFile(file, []byte(damaged), 0o600))
			if _, err := a.Metadata(t.Context(), mailbox); err == nil {
				t.Fatalf("%q is good", damaged)
			}
			must(t, a.Repair(t.Context(), CheckOptions{}))
			wantClean(t, a)
			all, err := a.Metadata(t.Context(), mailbox)
			must(t, err)
			if len(all) != 2 || all[0].Name != "/private/a" || string(all[1].Value) != "three" {
				t.Errorf("%s: of %q %v is left", mailbox, damaged, all)
			}
			if !slices.ContainsFunc(contents(t, filepath.Join(a.private(), "aside")), func(s string) bool { return s == damaged }) {
				t.Errorf("%s: %q is not aside", mailbox, damaged)
			}
		}
	}
}

// contents is what is in the files of a directory.
func contents(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		all = append(all, string(raw))
	}
	return all
}

func allUIDs(t *testing.T, a *Account) map[string]uint32 {
	t.Helper()
	all := make(map[string]uint32)
	list, err := a.Mailboxes(t.Context())
	must(t, err)
	for _, info := range list {
		if !info.Exists {
			continue
		}
		m, err := a.Mailbox(t.Context(), info.Name)
		must(t, err)
		s := m.Snapshot()
		for i := range s.Len() {
			all[info.Name+" "+string(s.At(i).Key)] = s.At(i).UID
		}
		must(t, m.Close())
	}
	return all
}

// A move from new/ to cur/ that was cut off is ended by the next session, also when it
// has no reason to look into cur/. The flags are those in cur/.
func TestRepairCutOffMove(t *testing.T) {
	dir := checkedAccount(t)
	a := openTestAccount(t, dir)
	must(t, within(t.Context(), a, func(m *Mailbox) error {
		_, err := m.SetFlags(t.Context(), FlagChange{UIDs: []uint32{1}, Flags: Seen})
		return err
	}))
	must(t, a.Repair(t.Context(), CheckOptions{})) // cur/ has settled
	name := curNames(t, a.maildir())[0]
	must(t, os.Link(filepath.Join(a.maildir(), "cur", name), filepath.Join(a.maildir(), "new", parseName(name).base)))
	m := openMailbox(t, a, inbox)
	s := see(t, m)
	if got := s.At(0); got.UID != 1 || got.Flags != Seen || len(tree(t, a.maildir()).in("new")) != 0 {
		t.Errorf("%s; %v", describe(s), tree(t, a.maildir()).in("new"))
	}
}

// What is left of something that was cut off goes, once it is old enough.
func TestCheckLeftovers(t *testing.T) {
	dir := checkedAccount(t)
	left := []string{"Maildir/tmp/1.a.b", "Maildir/.Dest/tmp/x", "Maildir/.rtls-12", "Maildir/.Dest/.rtls-12", ".rtls/.rtls-3", ".rtls/trash/ab/cur/1", ".rtls/views/" + newObject(), ".rtls/once/abc", ".rtls/index.db.damaged-1"}
	for _, name := range left {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
	}
	a := openTestAccount(t, dir)
	importInto(t, a, "", "A: 1\r\n\r\n")
	kept := journalOf(t, a)
	gone := filepath.Join(".rtls/imports", journalName("test", newObject()))
	left = append(left, gone, ".rtls/imports/.rtls-4")
	for _, name := range left[len(left)-2:] {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(journalStart+"\"test\"\n"), 0o600))
	}
	wantClean(t, a) // they could still be in use
	late := func(after time.Duration) *Account {
		a, err := Open(dir, &Options{Clock: func() time.Time { return time.Now().Add(after) }})
		must(t, err)
		t.Cleanup(func() { must(t, a.Close()) })
		return a
	}
	found := findingsOf(t, late(37*time.Hour).Check)
	if len(found) != len(left)-2 || slices.ContainsFunc(found, func(f Finding) bool { return f.Kind != KindLeftover }) {
		t.Errorf("after 37 hours: %+v", found)
	}
	a = late(8 * 24 * time.Hour)
	if found := findingsOf(t, a.Repair); len(found) != len(left) {
		t.Errorf("after eight days: %+v", found)
	}
	wantClean(t, a)
	if _, err := os.Lstat(kept); err != nil {
		t.Error(err)
	}
	for _, name := range left {
		if name == ".rtls/trash/ab/cur/1" {
			name = ".rtls/trash/ab"
		}
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there", name)
		}
	}
}

// A damaged packed view is found and removed.
func TestCheckPackedView(t *testing.T) {
	a := newTestAccount(t)
	fillMailbox(t, a, 3*cacheAfter/2)
	m, err := a.Mailbox(t.Context(), inbox)
	must(t, err)
	must(t, m.Close())
	wantClean(t, a)
	raw, err := os.ReadFile(m.v.cachePath())
	must(t, err)
	raw[len(raw)/2] ^= 1
	must(t, os.WriteFile(m.v.cachePath(), raw, 0o600))
	found := findingsOf(t, a.Check)
	if len(found) != 1 || found[0].Kind != KindView {
		t.Errorf("found %+v", found)
	}
	must(t, a.Repair(t.Context(), CheckOptions{}))
	wantClean(t, a)
}

// An account that is kept open is current with whatever index it has opened.
func TestCurrent(t *testing.T) {
	dir := template(t)
	for what, use := range map[string]func(*Account) error{
		"check":   func(a *Account) error { return a.Check(t.Context(), CheckOptions{}) },
		"repair":  func(a *Account) error { return a.Repair(t.Context(), CheckOptions{}) },
		"rebuild": func(a *Account) error { return a.Rebuild(t.Context(), CheckOptions{}) },
		"list":    func(a *Account) error { return a.CreateMailbox(t.Context(), "New", "") },
	} {
		t.Run(what, func(t *testing.T) {
			a := openTestAccount(t, duplicate(t, dir))
			must(t, use(a))
			if a.ix == nil || !a.Current() {
				t.Error("the account is taken for another")
			}
			must(t, os.Rename(a.indexPath(), a.indexPath()+"-"))
			if a.Current() {
				t.Error("the index is gone, and nobody notices")
			}
		})
	}
}

// Rebuild makes a new index. UIDVALIDITY stays, and UIDs are above all that were given.
func TestRebuild(t *testing.T) {
	dir := checkedAccount(t)
	a, other := openTestAccount(t, dir), openTestAccount(t, dir)
	m, err := a.Mailbox(t.Context(), inbox)
	must(t, err)
	_, err = m.SetFlags(t.Context(), FlagChange{UIDs: []uint32{1}, Keywords: []string{"kept"}})
	must(t, err)
	before, was := inodes(t, dir), m.Snapshot()
	must(t, m.Close())
	mo, err := other.Mailbox(t.Context(), "Dest")
	must(t, err)
	if err := a.Rebuild(t.Context(), CheckOptions{}); !errors.Is(err, ErrIndexInUse) {
		t.Fatalf("while another has it open: %v", err)
	}
	must(t, mo.Close())
	must(t, other.Close())
	must(t, os.Remove(filepath.Join(dir, "Maildir", identityFile))) // the old index knows it
	must(t, a.Rebuild(t.Context(), CheckOptions{}))
	wantInodes(t, dir, before)
	s := openMailbox(t, a, inbox).Snapshot()
	if s.UIDValidity() != was.UIDValidity() || s.Len() != was.Len() || s.At(0).UID < was.UIDNext() || !slices.Contains(s.At(0).Keywords, "kept") {
		t.Errorf("UIDVALIDITY %d, %d; %s", s.UIDValidity(), was.UIDValidity(), describe(s))
	}
	if aside, err := filepath.Glob(filepath.Join(dir, ".rtls", "index.db.damaged-*")); err != nil || len(aside) != 1 {
		t.Errorf("put aside: %v, %v", aside, err)
	}
	wantClean(t, a)
}

// An account whose index turns out damaged while it is open gets a new one, and its
// sessions are told that their mailboxes are gone.
func TestRepairWhileOpen(t *testing.T) {
	a := newTestAccount(t)
	fillMailbox(t, a, 900)
	m, err := a.Mailbox(t.Context(), inbox)
	must(t, err)
	must(t, m.Close())
	must(t, os.RemoveAll(filepath.Join(a.private(), "views")))
	path := a.indexPath()
	must(t, a.dropIndex(a.ix, false))
	raw, err := os.ReadFile(path)
	must(t, err)
	for i := 8192; i < len(raw); i++ { // behind the schema
		raw[i] = 0x5a
	}
	must(t, os.WriteFile(path, raw, 0o600))
	for range 3 {
		if m, err = a.Mailbox(t.Context(), inbox); err == nil {
			break
		}
		t.Log(err)
	}
	must(t, err)
	if n := m.Snapshot().Len(); n != 900 {
		t.Errorf("%d messages", n)
	}
	must(t, m.Close())
	wantClean(t, a)
}

// Check goes on while sessions and deliveries do, and finds nothing.
func TestCheckWhileInUse(t *testing.T) {
	a := newTestAccount(t)
	must(t, a.CreateMailbox(t.Context(), "Dest", ""))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 2)
	work := func(step func(n int) error) {
		for n := 0; ; n++ {
			if err := step(n); err != nil || ctx.Err() != nil {
				done <- err
				return
			}
		}
	}
	go work(func(n int) error {
		if n == 300 { // or there would be more and more to check
			<-ctx.Done()
			return nil
		}
		return send(t.Context(), a, inbox, fmt.Sprint("s", n))
	})
	go work(func(n int) error {
		return within(t.Context(), a, func(m *Mailbox) error {
			uids := uidsOf(m.Snapshot())
			_, err := m.SetFlags(t.Context(), FlagChange{UIDs: uids, Op: FlagOp(n % 2), Flags: Seen, Keywords: []string{"k"}})
			if err == nil && len(uids) > 20 {
				if _, _, err = m.Move(t.Context(), uids[:5], "Dest"); err == nil {
					err = m.Expunge(t.Context(), uids[5:10])
				}
			}
			return err
		})
	})
	own := openTestAccount(t, a.dir)
	for range 2 {
		wantClean(t, own)
		for _, f := range findingsOf(t, own.Repair) {
			t.Errorf("repair: %+v", f)
		}
	}
	stop()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Whatever happens to an account, no message that a plain listing shows is lost, and
// after repair or rebuild there is nothing left to find.
func TestRepairRandomDamage(t *testing.T) {
	from := checkedAccount(t)
	rounds := 20
	if raceDetector {
		rounds = 8
	}
	for seed := range rounds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(seed), 8689))
			dir := duplicate(t, from)
			var did []string
			for range 1 + r.IntN(5) {
				d := damages[r.IntN(len(damages))]
				if d.stays || slices.Contains(did, d.name) {
					continue
				}
				if slices.Contains(did, "damaged index") || slices.Contains(did, "no index") {
					if d.kind == KindIndex || d.name == "open index" {
						continue // there is none to change
					}
				}
				d.do(t, dir)
				did = append(did, d.name)
			}
			if r.IntN(3) == 0 && !slices.Contains(did, "no index") {
				did = append(did, "octets of the index")
				path := filepath.Join(dir, ".rtls", "index.db")
				raw, err := os.ReadFile(path)
				must(t, err)
				for range 1 + r.IntN(50) {
					raw[r.IntN(len(raw))] = byte(r.Uint32())
				}
				must(t, os.WriteFile(path, raw, 0o600))
			}
			before := inodes(t, dir)
			a := openTestAccount(t, dir)
			if err := a.Check(t.Context(), CheckOptions{}); err != nil {
				t.Logf("check: %v", err)
			}
			rerr := a.Repair(t.Context(), CheckOptions{})
			if rerr != nil || r.IntN(3) == 0 {
				must(t, a.Rebuild(t.Context(), CheckOptions{}))
				must(t, a.Repair(t.Context(), CheckOptions{}))
			}
			wantInodes(t, dir, before)
			wantClean(t, a)
			if t.Failed() {
				t.Logf("damage: %v; repair: %v", did, rerr)
			}
		})
	}
}

// Repair is cut off at its calls: nothing is lost, and done again it is whole.
func TestRepairFaultWalk(t *testing.T) {
	for name, which := range map[string][]string{
		"files": {"open file", "no new/", "no cur/", "old identity", "identity of another", "link in new/", "wrong size", "cut-off move"},
		"index": {"annotations of a mailbox", "two messages of one key", "cut-off change of flags", "altered message", "counters", "row without a file", "record of no mailbox", "no identity"},
		"new":   {"damaged index", "damaged identity", "wrong size on the wire"},
	} {
		t.Run(name, func(t *testing.T) {
			walkRepair(t, func(dir string) {
				for _, d := range damages {
					if slices.Contains(which, d.name) {
						d.do(t, dir)
					}
				}
			})
		})
	}
}

func walkRepair(t *testing.T, damage func(dir string)) {
	from := checkedAccount(t)
	skip := 6
	if raceDetector {
		skip = 1 // it is slow
	}
	for n := 1; !t.Failed(); n++ {
		if os.Getenv("RTLS_TEST_KILLS") != "all" { // make soak stops at each
			n += n / skip
		}
		dir := duplicate(t, from)
		damage(dir)
		before := inodes(t, dir)
		ffs := faultfs.New(vfs.OS{}, t.TempDir(), n, syscall.EIO)
		a, err := Open(dir, &Options{fs: ffs})
		if err == nil {
			err = errors.Join(a.Repair(t.Context(), CheckOptions{}), a.Close())
		}
		wantInodes(t, dir, before)
		a, oerr := Open(dir, nil)
		must(t, oerr)
		must(t, a.Repair(t.Context(), CheckOptions{}))
		wantInodes(t, dir, before)
		wantClean(t, a)
		must(t, a.Close())
		if t.Failed() {
			t.Logf("fault at %s: %v", ffs.Hit(), err)
		}
		if ffs.Hit() == "" {
			must(t, err)
			t.Logf("%d calls", n-1)
			return
		}
	}
}
