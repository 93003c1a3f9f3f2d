package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// newTestAccount makes an account and opens it.
func newTestAccount(t *testing.T) *Account {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "alice")
	if err := Create(dir, nil); err != nil {
		t.Fatal(err)
	}
	return openTestAccount(t, dir)
}

func openTestAccount(t *testing.T, dir string) *Account {
	t.Helper()
	a, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func openMailbox(t *testing.T, a *Account, name string) *Mailbox {
	t.Helper()
	m, err := a.Mailbox(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func deliver(t *testing.T, a *Account, mailbox, text string, meta Meta) Key {
	t.Helper()
	d, err := a.Deliver(t.Context(), mailbox)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	if _, err := io.WriteString(d, text); err != nil {
		t.Fatal(err)
	}
	key, err := d.Commit(meta)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func see(t *testing.T, m *Mailbox) *Snapshot {
	t.Helper()
	s, err := m.Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// syncUntil looks again until a condition holds: what other programs remove is
// taken for gone only after a while.
func syncUntil(t *testing.T, m *Mailbox, what string, ok func(*Snapshot) bool) *Snapshot {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		s := see(t, m)
		if ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s; %s", what, describe(s))
		}
	}
}

func describe(s *Snapshot) string {
	var b strings.Builder
	for i := range s.Len() {
		m := s.At(i)
		fmt.Fprintf(&b, "[%d %s flags=%06b %v %s/%s mod=%d]", m.UID, m.Key, m.Flags, m.Keywords, m.Tag, m.Origin, m.ModSeq)
	}
	return b.String()
}

func uidsOf(s *Snapshot) []uint32 {
	uids := []uint32{}
	for i := range s.Len() {
		uids = append(uids, s.At(i).UID)
	}
	return uids
}

func content(t *testing.T, m *Mailbox, uid uint32) string {
	t.Helper()
	c, err := m.Open(t.Context(), uid)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

const hello = "From: bob@example.com\r\nSubject: hi\r\n\r\nhello\r\n"

func TestDeliverAndRead(t *testing.T) {
	a := newTestAccount(t)
	key := deliver(t, a, "INBOX", hello, Meta{Tag: TagRequire, Origin: OriginESMTP})
	m := openMailbox(t, a, "inbox")
	s := see(t, m)
	if s.Len() != 1 {
		t.Fatalf("%d messages: %s", s.Len(), describe(s))
	}
	got := s.At(0)
	if got.Key != key || got.UID != 1 || got.Tag != TagRequire || got.Origin != OriginESMTP || got.Size != int64(len(hello)) || got.Flags != 0 {
		t.Errorf("message is %+v", got)
	}
	if text := content(t, m, 1); text != hello {
		t.Errorf("content is %q", text)
	}
	if names := tree(t, a.dir); len(names.in("new")) != 0 || len(names.in("tmp")) != 0 || len(names.in("cur")) != 1 {
		t.Errorf("files are %v", names)
	}
}

// files are the names below an account.
type files []string

func (f files) in(dir string) (names []string) {
	for _, name := range f {
		if filepath.Base(filepath.Dir(name)) == dir {
			names = append(names, name)
		}
	}
	return names
}

func tree(t *testing.T, dir string) (names files) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// D06
func TestPermissions(t *testing.T) {
	a := newTestAccount(t)
	deliver(t, a, "INBOX", hello, Meta{})
	openMailbox(t, a, "INBOX")
	err := filepath.WalkDir(a.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o750, 0o705, 0o777} {
		if err := os.Chmod(a.dir, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(a.dir, nil); !errors.Is(err, ErrPermissions) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if err := os.Chmod(a.dir, 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestAccountErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "nobody"), nil); !errors.Is(err, ErrNoAccount) {
		t.Errorf("Open: %v", err)
	}
	if err := Create(filepath.Join(dir, "x", "y"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Create without a parent: %v", err)
	}
	if err := Create(filepath.Join(dir, "x"), nil); err != nil {
		t.Fatal(err)
	}
	if err := Create(filepath.Join(dir, "x"), nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create again: %v", err)
	}
	a := openTestAccount(t, filepath.Join(dir, "x"))
	if _, err := a.Deliver(t.Context(), "Nowhere"); !errors.Is(err, ErrNoMailbox) {
		t.Errorf("Deliver: %v", err)
	}
	if _, err := a.Mailbox(t.Context(), "Nowhere"); !errors.Is(err, ErrNoMailbox) {
		t.Errorf("Mailbox: %v", err)
	}
	if _, err := a.Status(t.Context(), "Nowhere"); !errors.Is(err, ErrNoMailbox) {
		t.Errorf("Status: %v", err)
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	a := newTestAccount(t)
	before := tree(t, a.dir)
	d, err := a.Deliver(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Write(bytes.Repeat([]byte("x"), 200_000)); err != nil {
		t.Fatal(err)
	}
	if err := d.Abort(); err != nil {
		t.Fatal(err)
	}
	if err := d.Abort(); err != nil {
		t.Errorf("second Abort: %v", err)
	}
	if _, err := d.Write([]byte("x")); err == nil {
		t.Error("Write after Abort succeeds")
	}
	if _, err := d.Commit(Meta{}); err == nil {
		t.Error("Commit after Abort succeeds")
	}
	if after := tree(t, a.dir); !slices.Equal(before, after) {
		t.Errorf("files are %v, were %v", after, before)
	}
}

func TestFlags(t *testing.T) {
	a := newTestAccount(t)
	for range 3 {
		deliver(t, a, "INBOX", hello, Meta{Tag: TagRequire, Origin: OriginESMTP})
	}
	m := openMailbox(t, a, "INBOX")
	first := see(t, m)
	set := func(c FlagChange) []uint32 {
		t.Helper()
		modified, err := m.SetFlags(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return modified
	}
	set(FlagChange{UIDs: []uint32{3, 1, 99}, Op: FlagsAdd, Flags: Seen | Flagged, Keywords: []string{"work", "$Junk"}})
	s := m.Snapshot()
	if got := s.At(0); got.Flags != Seen|Flagged || !slices.Equal(got.Keywords, []string{"$Junk", "work"}) || got.ModSeq <= first.HighestModSeq() {
		t.Errorf("message is %+v", got)
	}
	if got := s.At(1); got.Flags != 0 || got.ModSeq != first.At(1).ModSeq {
		t.Errorf("message that was not named is %+v", got)
	}
	if got := first.At(0); got.Flags != 0 || got.Keywords != nil {
		t.Errorf("earlier snapshot has changed: %+v", got)
	}
	set(FlagChange{UIDs: []uint32{1}, Op: FlagsRemove, Flags: Seen, Keywords: []string{"work"}})
	if got := m.Snapshot().At(0); got.Flags != Flagged || !slices.Equal(got.Keywords, []string{"$Junk"}) {
		t.Errorf("after removal: %+v", got)
	}
	high := m.Snapshot().HighestModSeq()
	set(FlagChange{UIDs: []uint32{1}, Op: FlagsRemove, Flags: Seen})
	if m.Snapshot().HighestModSeq() != high {
		t.Error("a change of nothing has a number")
	}
	modified := set(FlagChange{UIDs: []uint32{1, 2, 3}, Op: FlagsReplace, Flags: Answered, Conditional: true, UnchangedSince: first.HighestModSeq()})
	if !slices.Equal(modified, []uint32{1, 3}) {
		t.Errorf("modified: %v", modified)
	}
	if got := m.Snapshot().At(1); got.Flags != Answered {
		t.Errorf("message 2: %+v", got)
	}
	// Another process sees the same, and after losing the index all but keywords.
	want := describe(m.Snapshot())
	other := openMailbox(t, openTestAccount(t, a.dir), "INBOX")
	if got := describe(see(t, other)); got != want {
		t.Errorf("another process sees %s, not %s", got, want)
	}
	for i := range s.Len() {
		if got := m.Snapshot().At(i); got.Tag != TagRequire || got.Origin != OriginESMTP {
			t.Errorf("tag is %v %v", got.Tag, got.Origin)
		}
	}
	if _, err := m.SetFlags(t.Context(), FlagChange{UIDs: []uint32{1}, Keywords: []string{"two words"}}); err == nil {
		t.Error("a keyword with a space is taken")
	}
}

func TestExpungeAndVanished(t *testing.T) {
	a := newTestAccount(t)
	for range 5 {
		deliver(t, a, "INBOX", hello, Meta{})
	}
	m := openMailbox(t, a, "INBOX")
	s := see(t, m)
	before := s.HighestModSeq()
	if err := m.Expunge(t.Context(), []uint32{4, 2, 77}); err != nil {
		t.Fatal(err)
	}
	if got := uidsOf(m.Snapshot()); !slices.Equal(got, []uint32{1, 3, 5}) {
		t.Errorf("UIDs are %v", got)
	}
	uids, complete, err := m.Vanished(t.Context(), before)
	if err != nil || !complete || !slices.Equal(uids, []uint32{2, 4}) {
		t.Errorf("vanished %v %v %v", uids, complete, err)
	}
	if uids, complete, err := m.Vanished(t.Context(), m.Snapshot().HighestModSeq()); err != nil || !complete || len(uids) != 0 {
		t.Errorf("vanished since now: %v %v %v", uids, complete, err)
	}
	if _, err := m.Open(t.Context(), 2); !errors.Is(err, ErrNoMessage) {
		t.Errorf("Open: %v", err)
	}
	deliver(t, a, "INBOX", hello, Meta{})
	if got := uidsOf(see(t, m)); !slices.Equal(got, []uint32{1, 3, 5, 6}) {
		t.Errorf("UIDs are %v", got)
	}
}

func TestAppend(t *testing.T) {
	a := newTestAccount(t)
	m := openMailbox(t, a, "INBOX")
	d, err := a.Deliver(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(d, hello); err != nil {
		t.Fatal(err)
	}
	date := time.Date(1999, 12, 31, 23, 59, 58, 0, time.UTC)
	uid, err := m.Append(t.Context(), d, Meta{Tag: TagNone, Flags: Seen | Draft, Keywords: []string{"b", "a", "b"}, Date: date})
	if err != nil {
		t.Fatal(err)
	}
	check := func(s *Snapshot) {
		t.Helper()
		if s.Len() != 1 {
			t.Fatal(describe(s))
		}
		got := s.At(0)
		if got.UID != uid || got.Flags != Seen|Draft || !slices.Equal(got.Keywords, []string{"a", "b"}) || !got.InternalDate().Equal(date) || got.Tag != TagNone {
			t.Errorf("message is %+v", got)
		}
	}
	check(m.Snapshot())
	check(see(t, m))
	// The date is in the file, too.
	removeIndex(t, a.dir)
	s := see(t, openMailbox(t, openTestAccount(t, a.dir), "INBOX"))
	if s.Len() != 1 || !s.At(0).InternalDate().Equal(date) {
		t.Errorf("after losing the index: %s", describe(s))
	}
}

func removeIndex(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, ".rtls")); err != nil {
		t.Fatal(err)
	}
}

// D09, G9
func TestCopyAndMove(t *testing.T) {
	a := newTestAccount(t)
	ctx := t.Context()
	if err := a.CreateMailbox(ctx, "Archive/2026", "Archive"); err != nil {
		t.Fatal(err)
	}
	deliver(t, a, "INBOX", hello, Meta{Tag: TagRequire, Origin: OriginESMTP})
	deliver(t, a, "INBOX", "Subject: 2\n\nLF\n", Meta{Tag: TagOptional, Origin: OriginHeader})
	m := openMailbox(t, a, "INBOX")
	see(t, m)
	if _, err := m.SetFlags(ctx, FlagChange{UIDs: []uint32{1}, Flags: Flagged, Keywords: []string{"k"}}); err != nil {
		t.Fatal(err)
	}
	dest := openMailbox(t, a, "Archive/2026")
	validity, pairs, err := m.Copy(ctx, []uint32{1, 2, 3}, "Archive/2026")
	if err != nil || validity != dest.Snapshot().UIDValidity() || !slices.Equal(pairs, []UIDPair{{1, 1}, {2, 2}}) {
		t.Fatalf("Copy: %v %v %v", validity, pairs, err)
	}
	s := see(t, dest)
	if s.Len() != 2 || m.Snapshot().Len() != 2 {
		t.Fatalf("%s, %s", describe(m.Snapshot()), describe(s))
	}
	got, was := s.At(0), m.Snapshot().At(0)
	if got.Key == was.Key || got.Flags != was.Flags || !slices.Equal(got.Keywords, was.Keywords) || got.Tag != was.Tag || got.Origin != was.Origin || !got.InternalDate().Equal(was.InternalDate()) || got.Size != was.Size {
		t.Errorf("copy is %+v, was %+v", got, was)
	}
	if got.ObjectID() != was.ObjectID() || got.ObjectID() == s.At(1).ObjectID() {
		t.Errorf("identities are %s, %s and another's %s", was.ObjectID(), got.ObjectID(), s.At(1).ObjectID())
	}
	if got := content(t, dest, 2); got != "Subject: 2\r\n\r\nLF\r\n" {
		t.Errorf("content is %q", got)
	}
	_, pairs, err = m.Move(ctx, []uint32{2}, "Archive/2026")
	if err != nil || !slices.Equal(pairs, []UIDPair{{2, 3}}) {
		t.Fatalf("Move: %v %v", pairs, err)
	}
	if got := uidsOf(see(t, m)); !slices.Equal(got, []uint32{1}) {
		t.Errorf("source has %v", got)
	}
	s = see(t, dest)
	if got := s.At(s.Len() - 1); got.UID != 3 || got.Tag != TagOptional || got.Origin != OriginHeader {
		t.Errorf("moved message is %+v", got)
	}
	// Onto itself.
	if _, pairs, err = m.Copy(ctx, []uint32{1}, "INBOX"); err != nil || !slices.Equal(pairs, []UIDPair{{1, 3}}) {
		t.Fatalf("Copy onto itself: %v %v", pairs, err)
	}
	if got := uidsOf(see(t, m)); !slices.Equal(got, []uint32{1, 3}) {
		t.Errorf("UIDs are %v", got)
	}
	if _, _, err := m.Copy(ctx, []uint32{1}, "Nowhere"); !errors.Is(err, ErrNoMailbox) {
		t.Errorf("Copy to nowhere: %v", err)
	}
	checkCounters(t, a, "INBOX")
	checkCounters(t, a, "Archive/2026")
}

// checkCounters compares the counters with a count.
func checkCounters(t *testing.T, a *Account, name string) {
	t.Helper()
	got, err := a.Status(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	m, err := a.Mailbox(t.Context(), name)
	must(t, err)
	s := see(t, m)
	must(t, m.Close()) // now: the account may not live as long as the test
	want := Status{Messages: uint32(s.Len()), UIDValidity: s.UIDValidity(), UIDNext: s.UIDNext(), HighestModSeq: s.HighestModSeq()}
	for i := range s.Len() {
		m := s.At(i)
		want.Size += m.Size
		if m.Flags&Seen == 0 {
			want.Unseen++
		}
		if m.Flags&Deleted != 0 {
			want.Deleted++
			want.DeletedSize += m.Size
		}
	}
	got.Recent, got.ObjectID = 0, ""
	if got != want {
		t.Errorf("counters of %s are %+v, should be %+v", name, got, want)
	}
}

// D02
func TestForeignPrograms(t *testing.T) {
	a := newTestAccount(t)
	deliver(t, a, "INBOX", hello, Meta{Tag: TagRequire, Origin: OriginESMTP})
	deliver(t, a, "INBOX", hello, Meta{Tag: TagNone, Origin: OriginMDA})
	m := openMailbox(t, a, "INBOX")
	s := see(t, m)
	cur := filepath.Join(a.maildir(), "cur")
	name := func(i int) string { return m.v.at(m.Snapshot(), i).name }

	// mutt sets a flag, and mbsync adds its UID.
	if err := os.Rename(filepath.Join(cur, name(0)), filepath.Join(cur, strings.Replace(name(0), ":2,", ",U=7:2,S", 1))); err != nil {
		t.Fatal(err)
	}
	s = syncUntil(t, m, "flag is seen", func(s *Snapshot) bool { return s.At(0).Flags == Seen })
	if got := s.At(0); got.UID != 1 || got.Tag != TagRequire || got.Origin != OriginESMTP || got.Size != int64(len(hello)) {
		t.Errorf("message is %+v", got)
	}
	// Our own change keeps what others wrote.
	if _, err := m.SetFlags(t.Context(), FlagChange{UIDs: []uint32{1}, Flags: Answered}); err != nil {
		t.Fatal(err)
	}
	if got := name(0); !strings.HasSuffix(got, ",U=7:2,RS") {
		t.Errorf("name is %s", got)
	}
	// Another program delivers, by its own rules.
	if err := os.WriteFile(filepath.Join(a.maildir(), "new", "1700000000.42_0.host"), []byte("Subject: x\n\ny\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = syncUntil(t, m, "foreign message is listed", func(s *Snapshot) bool { return s.Len() == 3 })
	if got := s.At(2); got.Tag != TagUnknown || got.Origin != OriginUnknown || got.Size != int64(len("Subject: x\r\n\r\ny\r\n")) {
		t.Errorf("message is %+v", got)
	}
	// Something removes one while we look at it by its old name.
	if err := os.Remove(filepath.Join(cur, name(1))); err != nil {
		t.Fatal(err)
	}
	s = syncUntil(t, m, "message is gone", func(s *Snapshot) bool { return s.Len() == 2 })
	if got := uidsOf(s); !slices.Equal(got, []uint32{1, 3}) {
		t.Errorf("UIDs are %v", got)
	}
	// A copy made with cp has the same key and is a message of its own.
	raw, err := os.ReadFile(filepath.Join(cur, name(0)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cur, strings.Replace(name(0), ":2,RS", ":2,", 1)), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	s = syncUntil(t, m, "copy is listed", func(s *Snapshot) bool { return s.Len() == 3 })
	if a, b := s.At(0), s.At(2); a.Key == b.Key || a.Tag != b.Tag {
		t.Errorf("messages are %+v and %+v", a, b)
	}
	for i := range s.Len() {
		content(t, m, s.At(i).UID)
	}
	checkCounters(t, a, "INBOX")
}

// A file whose name changes between our look and our act is found.
func TestRenamedUnderOurFeet(t *testing.T) {
	a := newTestAccount(t)
	for range 3 {
		deliver(t, a, "INBOX", hello, Meta{})
	}
	if err := a.CreateMailbox(t.Context(), "Else", ""); err != nil {
		t.Fatal(err)
	}
	m := openMailbox(t, a, "INBOX")
	s := see(t, m)
	cur := filepath.Join(a.maildir(), "cur")
	for i := range s.Len() {
		name := m.v.at(s, i).name
		if err := os.Rename(filepath.Join(cur, name), filepath.Join(cur, name+"F")); err != nil {
			t.Fatal(err)
		}
	}
	if got := content(t, m, 1); got != hello {
		t.Errorf("content is %q", got)
	}
	if _, err := m.SetFlags(t.Context(), FlagChange{UIDs: []uint32{1}, Flags: Seen}); err != nil {
		t.Error(err)
	}
	if err := m.Expunge(t.Context(), []uint32{2}); err != nil {
		t.Error(err)
	}
	if _, _, err := m.Move(t.Context(), []uint32{3}, "Else"); err != nil {
		t.Error(err)
	}
	if got := uidsOf(see(t, m)); !slices.Equal(got, []uint32{1}) {
		t.Errorf("UIDs are %v", got)
	}
	if left := tree(t, a.dir).in("cur"); len(left) != 2 {
		t.Errorf("files are %v", left)
	}
}

// G5
func TestIndexLost(t *testing.T) {
	a := newTestAccount(t)
	for range 3 {
		deliver(t, a, "INBOX", hello, Meta{Tag: TagRequire, Origin: OriginESMTP})
	}
	m, err := a.Mailbox(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	s := m.Snapshot()
	if err := errors.Join(m.Close(), a.Close()); err != nil {
		t.Fatal(err)
	}
	removeIndex(t, a.dir)
	m = openMailbox(t, openTestAccount(t, a.dir), "INBOX")
	after := see(t, m)
	if after.UIDValidity() != s.UIDValidity() || after.Len() != 3 || after.HighestModSeq() <= s.HighestModSeq() {
		t.Fatalf("validity %d, was %d; %s", after.UIDValidity(), s.UIDValidity(), describe(after))
	}
	for i := range after.Len() {
		if got := after.At(i); got.UID < s.UIDNext() || got.Tag != TagRequire {
			t.Errorf("message is %+v; UIDs below %d were given", got, s.UIDNext())
		}
	}
	if _, complete, err := m.Vanished(t.Context(), 1); err != nil || complete {
		t.Errorf("the log claims to be complete: %v %v", complete, err)
	}
	// Without the identity file as well, nothing may look as it did.
	if err := os.Remove(filepath.Join(a.maildir(), identityFile)); err != nil {
		t.Fatal(err)
	}
	removeIndex(t, a.dir)
	later, err := Open(a.dir, &Options{Clock: func() time.Time { return time.Now().Add(time.Second) }})
	if err != nil {
		t.Fatal(err)
	}
	defer later.Close()
	m, err = later.Mailbox(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if last := m.Snapshot(); last.Len() != 3 || last.UIDValidity() <= s.UIDValidity() {
		t.Errorf("UIDVALIDITY is %d, was %d", last.UIDValidity(), s.UIDValidity())
	}
}

func TestDamagedIndex(t *testing.T) {
	a := newTestAccount(t)
	deliver(t, a, "INBOX", hello, Meta{})
	path := filepath.Join(a.private(), "index.db")
	if err := os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := see(t, openMailbox(t, a, "INBOX")); s.Len() != 1 {
		t.Errorf("messages: %s", describe(s))
	}
	aside, err := filepath.Glob(path + ".damaged-*")
	if err != nil || len(aside) != 1 {
		t.Errorf("put aside: %v %v", aside, err)
	}
}

func TestRecent(t *testing.T) {
	a := newTestAccount(t)
	deliver(t, a, "INBOX", hello, Meta{})
	m := openMailbox(t, a, "INBOX")
	claim := func() uint32 {
		t.Helper()
		from, err := m.ClaimRecent(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return from
	}
	if st, err := a.Status(t.Context(), "INBOX"); err != nil || st.Recent != 1 {
		t.Errorf("status %+v %v", st, err)
	}
	if from := claim(); from != 1 {
		t.Errorf("first claim from %d", from)
	}
	if from := claim(); from != 2 {
		t.Errorf("second claim from %d", from)
	}
	deliver(t, a, "INBOX", hello, Meta{})
	see(t, m)
	if from := claim(); from != 2 {
		t.Errorf("third claim from %d", from)
	}
}
