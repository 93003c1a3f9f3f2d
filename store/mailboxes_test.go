package store

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func namesOf(t *testing.T, a *Account) (names []string) {
	t.Helper()
	list, err := a.Mailboxes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		name := m.Name
		if !m.Exists {
			name += " (no mailbox)"
		}
		if m.Subscribed {
			name += " (subscribed)"
		}
		if m.SpecialUse != "" {
			name += " (" + m.SpecialUse + ")"
		}
		names = append(names, name)
	}
	return names
}

func wantNames(t *testing.T, a *Account, want ...string) {
	t.Helper()
	if got := namesOf(t, a); !slices.Equal(got, want) {
		t.Errorf("mailboxes are %q, should be %q", got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestMailboxes(t *testing.T) {
	a := newTestAccount(t)
	ctx := t.Context()
	wantNames(t, a, "INBOX")
	must(t, a.CreateMailbox(ctx, "Sent", "Sent"))
	must(t, a.CreateMailbox(ctx, "Work/2026/März", ""))
	must(t, a.CreateMailbox(ctx, "inbox/Below", ""))
	must(t, a.Subscribe(ctx, "Work/2026/März", true))
	must(t, a.Subscribe(ctx, "Gone", true))
	must(t, a.Subscribe(ctx, "INBOX", true))
	wantNames(t, a, "INBOX (subscribed)", "Gone (no mailbox) (subscribed)", "INBOX/Below", "Sent (Sent)", "Work", "Work/2026", "Work/2026/März (subscribed)")
	if _, err := os.Stat(filepath.Join(a.maildir(), ".Work.2026.M&AOQ-rz", "maildirfolder")); err != nil {
		t.Error(err)
	}
	must(t, a.Subscribe(ctx, "Gone", false))
	must(t, a.Subscribe(ctx, "Gone", false))
	for _, name := range []string{"Sent", "inbox", "Work"} {
		if err := a.CreateMailbox(ctx, name, ""); !errors.Is(err, ErrMailboxExists) {
			t.Errorf("create %q: %v", name, err)
		}
	}
	for _, name := range []string{"", "/", "a//b", "/a", "a/", "a\nb", "a\x00", "\xff", strings.Repeat("ä", 200)} {
		if err := a.CreateMailbox(ctx, name, ""); !errors.Is(err, ErrName) {
			t.Errorf("create %q: %v", name, err)
		}
	}

	must(t, a.RenameMailbox(ctx, "Work", "Old/Work"))
	wantNames(t, a, "INBOX (subscribed)", "INBOX/Below", "Old", "Old/Work", "Old/Work/2026", "Old/Work/2026/März", "Sent (Sent)", "Work/2026/März (no mailbox) (subscribed)")
	for from, to := range map[string]string{"Sent": "Old", "Nowhere": "X", "Old": "Old/Below"} {
		if err := a.RenameMailbox(ctx, from, to); err == nil {
			t.Errorf("%s can be renamed to %s", from, to)
		}
	}
	must(t, a.DeleteMailbox(ctx, "Old/Work"))
	wantNames(t, a, "INBOX (subscribed)", "INBOX/Below", "Old", "Old/Work/2026", "Old/Work/2026/März", "Sent (Sent)", "Work/2026/März (no mailbox) (subscribed)")
	if err := a.DeleteMailbox(ctx, "Old/Work"); !errors.Is(err, ErrNoMailbox) {
		t.Errorf("delete again: %v", err)
	}
	if err := a.DeleteMailbox(ctx, "inbox"); !errors.Is(err, ErrName) {
		t.Errorf("delete INBOX: %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(a.private(), "trash")); err != nil || len(left) != 0 {
		t.Errorf("trash holds %v, %v", left, err)
	}
}

// A mailbox that a client made without a word of what it is for is known by its name,
// unless another was made for that.
func TestUsualNames(t *testing.T) {
	a := newTestAccount(t)
	ctx := t.Context()
	for _, name := range []string{"Sent Items", "Deleted Messages", "Trash", "Work/Drafts", "spam", "Junk", "Archives"} {
		must(t, a.CreateMailbox(ctx, name, ""))
	}
	must(t, a.Subscribe(ctx, "Drafts", true))
	wantNames(t, a, "INBOX", "Archives (Archive)", "Deleted Messages", "Drafts (no mailbox) (subscribed)", "Junk (Junk)", "Sent Items (Sent)", "Trash (Trash)", "Work", "Work/Drafts", "spam")
	must(t, a.CreateMailbox(ctx, "Papierkorb", "Trash"))
	must(t, a.CreateMailbox(ctx, "Sent", ""))
	must(t, a.RenameMailbox(ctx, "Archives", "Old"))
	must(t, a.CreateMailbox(ctx, "Drafts", "Flagged"))
	wantNames(t, a, "INBOX", "Deleted Messages", "Drafts (subscribed) (Flagged)", "Junk (Junk)", "Old", "Papierkorb (Trash)", "Sent (Sent)", "Sent Items", "Trash", "Work", "Work/Drafts", "spam")
}

// D01: what is renamed keeps messages, UIDs and tags.
func TestRenameKeepsAll(t *testing.T) {
	a := newTestAccount(t)
	ctx := t.Context()
	must(t, a.CreateMailbox(ctx, "A/B", ""))
	deliver(t, a, "A/B", hello, Meta{Tag: TagRequire, Origin: OriginESMTP})
	m := openMailbox(t, a, "A/B")
	before := describe(see(t, m))
	id, validity := m.ObjectID(), m.Snapshot().UIDValidity()
	must(t, a.RenameMailbox(ctx, "A", "C"))
	if _, err := m.Sync(ctx); !errors.Is(err, ErrNoMailbox) {
		t.Errorf("mailbox that was renamed: %v", err)
	}
	m = openMailbox(t, a, "C/B")
	if got := describe(see(t, m)); got != before || m.ObjectID() != id || m.Snapshot().UIDValidity() != validity {
		t.Errorf("messages are %s, were %s", got, before)
	}
	// So does what another program has renamed.
	must(t, os.Rename(filepath.Join(a.maildir(), ".C.B"), filepath.Join(a.maildir(), ".D")))
	m = openMailbox(t, openTestAccount(t, a.dir), "D")
	if got := describe(see(t, m)); got != before || m.ObjectID() != id {
		t.Errorf("messages are %s, were %s", got, before)
	}
}

// Two mailboxes cannot have the same UIDs under one identity.
func TestCopiedDirectory(t *testing.T) {
	a := newTestAccount(t)
	must(t, a.CreateMailbox(t.Context(), "A", ""))
	deliver(t, a, "A", hello, Meta{Tag: TagRequire, Origin: OriginESMTP})
	m := openMailbox(t, a, "A")
	see(t, m)
	must(t, os.CopyFS(filepath.Join(a.maildir(), ".B"), os.DirFS(filepath.Join(a.maildir(), ".A"))))
	b := openMailbox(t, a, "B")
	if s := see(t, b); s.Len() != 1 || b.ObjectID() == m.ObjectID() || s.UIDValidity() == m.Snapshot().UIDValidity() || s.At(0).Tag != TagRequire {
		t.Errorf("copy is %s", describe(s))
	}
	if s := see(t, openMailbox(t, openTestAccount(t, a.dir), "A")); s.UIDValidity() != m.Snapshot().UIDValidity() || s.Len() != 1 {
		t.Errorf("original is %s", describe(s))
	}
}

func TestDeletedAndMadeAgain(t *testing.T) {
	a := newTestAccount(t)
	ctx := t.Context()
	must(t, a.CreateMailbox(ctx, "A", ""))
	deliver(t, a, "A", hello, Meta{})
	m := openMailbox(t, a, "A")
	first := see(t, m).UIDValidity()
	must(t, a.DeleteMailbox(ctx, "A"))
	if _, err := m.Sync(ctx); !errors.Is(err, ErrNoMailbox) {
		t.Errorf("Sync of a deleted mailbox: %v", err)
	}
	if _, err := m.SetFlags(ctx, FlagChange{UIDs: []uint32{1}, Flags: Seen}); !errors.Is(err, ErrNoMailbox) {
		t.Errorf("SetFlags in a deleted mailbox: %v", err)
	}
	must(t, a.CreateMailbox(ctx, "A", ""))
	if s := see(t, openMailbox(t, a, "A")); s.UIDValidity() <= first || s.Len() != 0 {
		t.Errorf("UIDVALIDITY %d after %d, %d messages", s.UIDValidity(), first, s.Len())
	}
}

func TestRenameInbox(t *testing.T) {
	a := newTestAccount(t)
	ctx := t.Context()
	must(t, a.CreateMailbox(ctx, "INBOX/Below", ""))
	deliver(t, a, "INBOX", hello, Meta{Tag: TagRequire, Origin: OriginESMTP})
	must(t, a.RenameMailbox(ctx, "INBOX", "Old"))
	wantNames(t, a, "INBOX", "INBOX/Below", "Old")
	if s := see(t, openMailbox(t, a, "Old")); s.Len() != 1 || s.At(0).Tag != TagRequire {
		t.Errorf("Old has %s", describe(s))
	}
	if s := see(t, openMailbox(t, a, "INBOX")); s.Len() != 0 {
		t.Errorf("INBOX has %s", describe(s))
	}
}

// Directories of other programs are no mailboxes, and no link leads out of the
// account.
func TestForeignDirectories(t *testing.T) {
	a := newTestAccount(t)
	must(t, os.MkdirAll(filepath.Join(a.maildir(), ".notmuch", "xapian"), 0o700))
	must(t, os.MkdirAll(filepath.Join(a.maildir(), ".bad&name", "cur"), 0o700))
	must(t, os.MkdirAll(filepath.Join(a.maildir(), ".Entwürfe", "cur"), 0o700))
	must(t, os.MkdirAll(filepath.Join(a.maildir(), "cur", "directory"), 0o700))
	must(t, os.WriteFile(filepath.Join(a.maildir(), "new", ".hidden"), nil, 0o600))
	outside := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(outside, "cur"), 0o700))
	must(t, os.Symlink(outside, filepath.Join(a.maildir(), ".Link")))
	must(t, os.Symlink("/etc/passwd", filepath.Join(a.maildir(), "cur", "link:2,")))
	wantNames(t, a, "INBOX", "Entwürfe")
	if s := see(t, openMailbox(t, a, "INBOX")); s.Len() != 0 {
		t.Errorf("INBOX has %s", describe(s))
	}
	deliver(t, a, "Entwürfe", hello, Meta{})
	if s := see(t, openMailbox(t, a, "Entwürfe")); s.Len() != 1 {
		t.Errorf("Entwürfe has %s", describe(s))
	}
}

// Directories that other programs have written otherwise than this one does are
// mailboxes to every method, not to the listing alone.
func TestForeignSpelling(t *testing.T) {
	a := newTestAccount(t)
	spelt := map[string]string{
		"INBOX/foo":     ".Inbox.foo",
		"INBOX/foo/bar": ".inbox.foo.bar",
		"a":             ".&AGE-",      // needs no encoding
		"ä":             ".&AOT-",      // padding bits that are not zero
		"b&c":           ".b&ACY-c",    // & has a form of its own
		"äö":            ".&AOQ-&APY-", // two shifts in a row
	}
	for name, dir := range spelt {
		if folderDir(name) == dir {
			t.Fatalf("%s is as it should be", dir)
		}
		mustMakeMaildir(t, filepath.Join(a.maildir(), dir))
	}
	var names []string
	for name := range spelt {
		names = append(names, name)
	}
	slices.Sort(names)
	wantNames(t, a, append([]string{inbox}, names...)...)
	for _, name := range names {
		deliver(t, a, name, hello, Meta{})
		if st, err := a.Status(t.Context(), name); err != nil || st.Messages != 1 {
			t.Errorf("%s: Status: %+v, %v", name, st, err)
		}
		if s := see(t, openMailbox(t, a, name)); s.Len() != 1 {
			t.Errorf("%s has %s", name, describe(s))
		}
		if err := a.CreateMailbox(t.Context(), name, ""); !errors.Is(err, ErrMailboxExists) {
			t.Errorf("%s: CreateMailbox: %v", name, err)
		}
		_, err := a.SetMetadata(t.Context(), name, []Annotation{{"/private/comment", []byte("x")}})
		must(t, err)
	}
	must(t, a.CreateMailbox(t.Context(), "INBOX/foo/below", ""))
	if there := a.isMailbox(filepath.Join(a.maildir(), ".INBOX.foo")); there {
		t.Error("INBOX/foo was made a second time")
	}
	wantClean(t, a)
	must(t, a.RenameMailbox(t.Context(), "INBOX/foo", "moved"))
	must(t, a.DeleteMailbox(t.Context(), "ä"))
	wantNames(t, a, inbox, "a", "b&c", "moved", "moved/bar", "moved/below", "äö")
}

func mustMakeMaildir(t *testing.T, dir string) {
	t.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		must(t, os.MkdirAll(filepath.Join(dir, sub), 0o700))
	}
}

// Of two directories with one name, the same is the mailbox to every method.
func TestTwoSpellings(t *testing.T) {
	for _, dirs := range [][]string{
		{".INBOX.foo", ".Inbox.foo", ".inbox.foo"}, // the first is ours
		{".Inbox.foo", ".iNBOX.foo", ".inbox.foo"}, // the first comes first
	} {
		a := newTestAccount(t)
		for _, dir := range dirs {
			mustMakeMaildir(t, filepath.Join(a.maildir(), dir))
		}
		deliver(t, a, "INBOX/foo", hello, Meta{})
		if names, err := os.ReadDir(filepath.Join(a.maildir(), dirs[0], "new")); err != nil || len(names) != 1 {
			t.Errorf("the message did not go to %s: %v", dirs[0], err)
		}
		all, err := a.folders()
		must(t, err)
		if got := filepath.Base(all["INBOX/foo"]); got != dirs[0] {
			t.Errorf("%s is listed, not %s", got, dirs[0])
		}
	}
}

// What leads elsewhere is no mailbox, and takes no mail: nobody would see it.
func TestNoMailBehindLinks(t *testing.T) {
	for _, place := range []string{".Link", ".Link/cur", ".Link/new"} {
		a := newTestAccount(t)
		outside := t.TempDir()
		if sub := filepath.Base(place); sub != place {
			must(t, a.CreateMailbox(t.Context(), "Link", ""))
			must(t, os.Remove(filepath.Join(a.maildir(), place)))
		}
		must(t, os.Symlink(outside, filepath.Join(a.maildir(), place)))
		if _, err := a.Deliver(t.Context(), "Link"); !errors.Is(err, ErrNoMailbox) {
			t.Errorf("%s: Deliver: %v", place, err)
		}
		d, err := a.Deliver(t.Context(), inbox)
		must(t, err)
		if _, err := d.Share(t.Context(), a, "Link"); !errors.Is(err, ErrNoMailbox) {
			t.Errorf("%s: Share: %v", place, err)
		}
		must(t, d.Abort())
		if place != ".Link/new" { // what is in cur/ is shown
			wantNames(t, a, inbox)
			for _, name := range []string{"Link", "Link/Below"} {
				if err := a.CreateMailbox(t.Context(), name, ""); !errors.Is(err, ErrName) {
					t.Errorf("%s: CreateMailbox %s: %v", place, name, err)
				}
			}
		}
		must(t, a.CreateMailbox(t.Context(), "Other", ""))
		if err := a.RenameMailbox(t.Context(), "Other", "Link"); !errors.Is(err, ErrName) && !errors.Is(err, ErrMailboxExists) {
			t.Errorf("%s: RenameMailbox: %v", place, err)
		}
		if left := tree(t, outside); len(left) > 0 {
			t.Errorf("%s: behind the link are %v", place, left)
		}
	}
}

func TestAccountBehindLinks(t *testing.T) {
	for _, place := range []string{".", "cur", "new"} {
		dir := filepath.Join(t.TempDir(), "alice")
		must(t, Create(dir, nil))
		path := filepath.Join(dir, "Maildir", place)
		must(t, os.Rename(path, path+"-"))
		must(t, os.Symlink(path+"-", path))
		if _, err := Open(dir, nil); err == nil || errors.Is(err, ErrNoAccount) || !strings.Contains(err.Error(), "links are not followed") {
			t.Errorf("%s: Open: %v", place, err)
		}
	}
}

func FuzzFolderName(f *testing.F) {
	for _, name := range []string{"INBOX", "inbox/x", "a/b", "Entwürfe", "a&b", "a.b/c.d", "~x", "日本語/台北", "\U0001f600", "a/INBOX", "&", "-", "&-"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		clean, err := cleanName(name)
		if err != nil {
			return
		}
		dir := folderDir(clean)
		if clean == inbox {
			if dir != "" {
				t.Fatalf("INBOX is in %q", dir)
			}
			return
		}
		if strings.ContainsAny(dir, "/\x00") || dir[0] != '.' || dir == ".." {
			t.Fatalf("%q has the directory %q", clean, dir)
		}
		back, err := folderName(dir)
		if err != nil || back != clean {
			t.Fatalf("%q is %q on disk and %q again, %v", clean, dir, back, err)
		}
	})
}
