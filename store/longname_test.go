package store

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// longNames are names that leave no room for more: by the part that makes them unique,
// by fields of another program, by letters that nobody knows.
func longNames() []string {
	base := func(key Key) string { return baseName(key, sumOfText(hello), TagRequire, OriginESMTP) }
	return []string{
		base("1.unique"+Key(strings.Repeat("x", nameMax-len(base("1.unique:2,"))))) + ":2,",
		padded(base("2.unique")+",V=", ":2,"),
		padded(base("3.unique")+":2,", ""),
	}
}

// padded is a name as long as one can be.
func padded(name, rest string) string {
	return name + strings.Repeat("x", nameMax-len(name)-len(rest)) + rest
}

// A name without room does not keep flags, keywords and copies away: the file gets a
// shorter one, with UID, tag and identity of the message.
func TestNameWithoutRoom(t *testing.T) {
	a := newTestAccount(t)
	must(t, a.CreateMailbox(t.Context(), "Dest", ""))
	for _, name := range longNames() {
		must(t, os.WriteFile(filepath.Join(a.maildir(), "cur", name), []byte(hello), 0o600))
	}
	// Two files of one key: the second has to get a name of its own.
	for _, name := range []string{padded("4.unique,U=", ":2,"), padded("4.unique,U=", "y:2,")} {
		must(t, os.WriteFile(filepath.Join(a.maildir(), "cur", name), []byte(hello), 0o600))
	}
	m := openMailbox(t, a, inbox)
	wantUIDs(t, m, 1, 2, 3, 4, 5)
	before := see(t, m)
	change := FlagChange{UIDs: []uint32{1, 2, 3, 4, 5}, Op: FlagsReplace, Flags: Seen | Flagged | Answered | Deleted | Draft | Passed, Keywords: []string{"walked"}}
	_, err := m.SetFlags(t.Context(), change)
	must(t, err)
	_, pairs, err := m.Copy(t.Context(), change.UIDs, "Dest")
	must(t, err)
	if len(pairs) != before.Len() {
		t.Errorf("copied: %v", pairs)
	}
	wantUIDs(t, m, 1, 2, 3, 4, 5)
	for _, m := range []*Mailbox{m, openMailbox(t, openTestAccount(t, a.dir), inbox), openMailbox(t, a, "Dest")} {
		s := see(t, m)
		for i := range s.Len() {
			was, is := before.At(i), s.At(i)
			if is.Flags != change.Flags || !slices.Equal(is.Keywords, change.Keywords) || is.Tag != was.Tag || is.Origin != was.Origin || is.ObjectID() != was.ObjectID() {
				t.Errorf("%s: %+v is %+v", m.Name(), was, is)
			}
			if text := content(t, m, is.UID); text != hello {
				t.Errorf("%s: content of %d is %q", m.Name(), is.UID, text)
			}
		}
	}
	wantClean(t, a)
}

// A copy has the tag of a message whose name leaves no room for another key.
func TestCopyOfLongName(t *testing.T) {
	a := newTestAccount(t)
	must(t, a.CreateMailbox(t.Context(), "Dest", ""))
	names := longNames()
	for _, name := range names {
		must(t, os.WriteFile(filepath.Join(a.maildir(), "cur", name), []byte(hello), 0o600))
	}
	m := openMailbox(t, a, inbox)
	_, _, err := m.Copy(t.Context(), []uint32{1, 2, 3}, "Dest")
	must(t, err)
	s := see(t, openMailbox(t, a, "Dest"))
	for i := range s.Len() {
		if got, was := s.At(i), m.Snapshot().At(i); got.Tag != TagRequire || got.ObjectID() != was.ObjectID() {
			t.Errorf("the copy is %+v", got)
		}
	}
	if got := curNames(t, a.maildir()); !slices.Equal(got, slices.Sorted(slices.Values(names))) {
		t.Errorf("names are %v", got)
	}
}

// What waits in new/ with a name that has no room in cur/ is shown there, and goes to
// cur/ when it gets flags.
func TestLongNameInNew(t *testing.T) {
	a := newTestAccount(t)
	name := strings.Repeat("z", nameMax)
	must(t, os.WriteFile(filepath.Join(a.maildir(), "new", name), []byte(hello), 0o600))
	m := openMailbox(t, a, inbox)
	wantUIDs(t, m, 1)
	_, err := m.SetFlags(t.Context(), FlagChange{UIDs: []uint32{1}, Flags: Seen})
	must(t, err)
	wantUIDs(t, m, 1)
	if s := see(t, m); s.At(0).Flags != Seen {
		t.Errorf("%s", describe(s))
	}
	if names := tree(t, a.maildir()); len(names.in("cur")) != 1 || len(names.in("new")) != 0 {
		t.Errorf("files are %v", names)
	}
}

// The longest name of a host that DNS knows is no reason to refuse mail.
func TestLongHostname(t *testing.T) {
	dir := newTestAccount(t).dir
	a, err := Open(dir, &Options{Hostname: strings.Repeat("a:b.", 63) + "c"})
	must(t, err)
	t.Cleanup(func() { must(t, a.Close()) })
	deliver(t, a, inbox, hello, Meta{Tag: TagRequire, Origin: OriginESMTP, Flags: Seen | Flagged | Answered | Deleted | Draft | Passed})
	m := openMailbox(t, a, inbox)
	if s := see(t, m); s.Len() != 1 {
		t.Errorf("%s", describe(s))
	}
}
