package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// twinned has a message with the UID 1 and a second name in cur/, as it is left by a
// program that was ended between giving a file another name and taking the first one
// away, and a message with the UID 2 beside it.
func twinned(t *testing.T, infos ...string) (dir string, names []string) {
	t.Helper()
	a := newTestAccount(t)
	deliver(t, a, inbox, hello, Meta{})
	see(t, openMailbox(t, a, inbox))
	deliver(t, a, inbox, body("other"), Meta{})
	see(t, openMailbox(t, a, inbox))
	cur := filepath.Join(a.maildir(), "cur")
	first := nameOf(t, openMailbox(t, a, inbox), 1)
	names = []string{first}
	for _, info := range infos {
		name := parseName(first).base + ":2," + info
		must(t, os.Link(filepath.Join(cur, first), filepath.Join(cur, name)))
		names = append(names, name)
	}
	return a.dir, names
}

// nameOf is the name that the index has of a message.
func nameOf(t *testing.T, m *Mailbox, uid uint32) string {
	t.Helper()
	s := see(t, m)
	at, ok := s.Find(uid)
	if !ok {
		t.Fatalf("no UID %d: %s", uid, describe(s))
	}
	return m.v.at(s, at).name
}

// wantUIDs looks until all that is to be seen of cur/ was seen.
func wantUIDs(t *testing.T, m *Mailbox, want ...uint32) {
	t.Helper()
	trusted := func(s *Snapshot) bool {
		m.v.mu.Lock()
		defer m.v.mu.Unlock()
		return m.v.look.trusted()
	}
	if s := syncUntil(t, m, "a listing that is proof", trusted); !slices.Equal(uidsOf(s), want) {
		t.Errorf("messages are %v, not %v: %s", uidsOf(s), want, describe(s))
	}
}

// A message that has two names goes with both, also when somebody else has listed them.
func TestExpungeTwin(t *testing.T) {
	for name, remove := range map[string]func(*Mailbox) error{
		"expunge": func(m *Mailbox) error { return m.Expunge(t.Context(), []uint32{1}) },
		"move":    func(m *Mailbox) error { _, _, err := m.Move(t.Context(), []uint32{1}, "Dest"); return err },
	} {
		for _, infos := range [][]string{{"F"}, {"F", "FS"}} {
			t.Run(name, func(t *testing.T) {
				dir, names := twinned(t, infos...)
				a := openTestAccount(t, dir)
				must(t, a.CreateMailbox(t.Context(), "Dest", ""))
				m := openMailbox(t, a, inbox)
				wantUIDs(t, m, 1, 2)
				must(t, m.Close())

				a = openTestAccount(t, dir) // as another process would
				m = openMailbox(t, a, inbox)
				must(t, remove(m))
				wantUIDs(t, m, 2)
				for _, name := range curNames(t, a.maildir()) {
					if slices.Contains(names, name) {
						t.Errorf("%s is still there", name)
					}
				}
			})
		}
	}
}

// Two names of one file do not have cur/ listed for ever.
func TestTwinsAreNoMotion(t *testing.T) {
	dir, _ := twinned(t, "F")
	m := openMailbox(t, openTestAccount(t, dir), inbox)
	wantUIDs(t, m, 1, 2)
	m.v.mu.Lock()
	before := m.v.look.curAt
	m.v.mu.Unlock()
	wantUIDs(t, m, 1, 2)
	m.v.mu.Lock()
	defer m.v.mu.Unlock()
	if !m.v.look.curAt.Equal(before) {
		t.Error("cur/ was listed again, although nothing had changed")
	}
}

// A change of flags that leads to the other name takes that for the message's, and
// leaves both: who gave it may be about to take the first one away.
func TestFlagsOfTwin(t *testing.T) {
	for _, listed := range []bool{true, false} {
		dir, names := twinned(t)
		m := openMailbox(t, openTestAccount(t, dir), inbox)
		wantUIDs(t, m, 1, 2)
		cur := filepath.Join(m.v.dir, "cur")
		other := names[0] + "F"
		must(t, os.Link(filepath.Join(cur, names[0]), filepath.Join(cur, other)))
		if listed {
			wantUIDs(t, m, 1, 2)
		}
		_, err := m.SetFlags(t.Context(), FlagChange{UIDs: []uint32{1, 2}, Flags: Flagged})
		must(t, err)
		if name := nameOf(t, m, 1); name != other {
			t.Errorf("the message is %s, not %s", name, other)
		}
		s := see(t, m)
		for i := range s.Len() {
			if s.At(i).Flags != Flagged {
				t.Errorf("a flag is not set: %s", describe(s))
			}
		}
		for _, name := range []string{names[0], other} {
			if _, err := os.Stat(filepath.Join(cur, name)); err != nil {
				t.Error(err)
			}
		}
		must(t, m.Expunge(t.Context(), []uint32{1}))
		wantUIDs(t, m, 2)
	}
}

// Whoever gave the second name may go on and take either away.
func TestTwinEnds(t *testing.T) {
	for i, left := range []Flags{Flagged, 0} {
		dir, names := twinned(t, "F")
		m := openMailbox(t, openTestAccount(t, dir), inbox)
		wantUIDs(t, m, 1, 2)
		must(t, os.Remove(filepath.Join(m.v.dir, "cur", names[i])))
		wantUIDs(t, m, 1, 2)
		if s := see(t, m); s.At(0).Flags != left {
			t.Errorf("left is %s", describe(s))
		}
		if m.v.mu.Lock(); len(m.v.twins) > 0 {
			t.Errorf("still known: %v", m.v.twins)
		}
		m.v.mu.Unlock()
	}
}

// A second name that has become another file is another message.
func TestTwinBecomesAnother(t *testing.T) {
	for i := range 2 {
		dir, names := twinned(t, "F")
		m := openMailbox(t, openTestAccount(t, dir), inbox)
		wantUIDs(t, m, 1, 2)
		path := filepath.Join(m.v.dir, "cur", names[i])
		must(t, os.WriteFile(path+"-", []byte(body("third")), 0o600))
		must(t, os.Rename(path+"-", path))
		syncUntil(t, m, "three messages", func(s *Snapshot) bool { return s.Len() == 3 })
	}
}

// A name of another file is not taken for the message's.
func TestFlagsOfStranger(t *testing.T) {
	dir, names := twinned(t)
	m := openMailbox(t, openTestAccount(t, dir), inbox)
	wantUIDs(t, m, 1, 2)
	must(t, os.WriteFile(filepath.Join(m.v.dir, "cur", names[0]+"F"), []byte(body("third")), 0o600))
	if _, err := m.SetFlags(t.Context(), FlagChange{UIDs: []uint32{1}, Flags: Flagged}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("SetFlags: %v", err)
	}
	syncUntil(t, m, "three messages", func(s *Snapshot) bool { return s.Len() == 3 })
	_, err := m.SetFlags(t.Context(), FlagChange{UIDs: []uint32{1}, Flags: Flagged})
	must(t, err)
}
