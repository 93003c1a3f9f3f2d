package store

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"
)

// heard waits until f has told of a mailbox, or of the list if name is empty.
func heard(t *testing.T, f *Following, name string) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		names, list := f.Changed()
		if slices.Contains(names, name) || list && name == "" {
			return
		}
		select {
		case <-f.C:
		case <-limit:
			t.Fatalf("no word of %q", name)
		}
	}
}

func newFollowing(t *testing.T, a *Account, names ...string) *Following {
	f := a.Follow()
	t.Cleanup(f.Close)
	f.Set(names)
	return f
}

// TestFollow hears of changes made here, by other processes and by other programs.
func TestFollow(t *testing.T) {
	dir := newTestAccount(t).dir
	a := openWatched(t, dir, newTestWatcher(t, time.Hour))
	other := openTestAccount(t, dir)
	must(t, a.CreateMailbox(t.Context(), "Box", ""))
	f := newFollowing(t, a, inbox, "Box", "none")
	deliver(t, other, "Box", hello, Meta{})
	heard(t, f, "Box")
	deliver(t, a, inbox, hello, Meta{})
	heard(t, f, inbox)
	m := openMailbox(t, other, "Box")
	_, err := m.SetFlags(t.Context(), FlagChange{UIDs: []uint32{1}, Flags: Seen})
	must(t, err)
	heard(t, f, "Box")
	// Keywords beyond those that letters stand for change no file.
	own := openMailbox(t, a, inbox)
	for i := range 40 {
		heardNothing(t, f)
		_, err := own.SetFlags(t.Context(), FlagChange{UIDs: []uint32{1}, Keywords: []string{fmt.Sprintf("k%d", i)}})
		must(t, err)
		heard(t, f, inbox)
	}
	heardNothing(t, f)
	f.Set([]string{inbox})
	deliver(t, other, "Box", hello, Meta{})
	deliver(t, other, inbox, hello, Meta{})
	heard(t, f, inbox)
	if names, _ := f.Changed(); slices.Contains(names, "Box") {
		t.Error("word of a mailbox that is not followed any more")
	}
}

// heardNothing takes what was told already.
func heardNothing(t *testing.T, f *Following) {
	t.Helper()
	for told := true; told; {
		select {
		case <-f.C:
		case <-time.After(20 * time.Millisecond):
			told = false
		}
		f.Changed()
	}
}

// TestFollowList hears of mailboxes that come and go, and of subscriptions.
func TestFollowList(t *testing.T) {
	dir := newTestAccount(t).dir
	a := openWatched(t, dir, newTestWatcher(t, time.Hour))
	other := openTestAccount(t, dir)
	f := newFollowing(t, a)
	for i, change := range []func() error{
		func() error { return other.CreateMailbox(t.Context(), "New", "") },
		func() error { return other.RenameMailbox(t.Context(), "New", "Newer") },
		func() error { return other.Subscribe(t.Context(), "Newer", true) },
		func() error { return other.DeleteMailbox(t.Context(), "Newer") },
		func() error { return a.CreateMailbox(t.Context(), "Own", "") },
	} {
		t.Log(i)
		must(t, change())
		heard(t, f, "")
	}
	// A directory that becomes a mailbox after it was reported.
	slow := filepath.Join(a.maildir(), ".Slow")
	must(t, os.Mkdir(slow, 0o700))
	heard(t, f, "")
	must(t, os.Mkdir(filepath.Join(slow, "cur"), 0o700))
	limit := time.Now().Add(20 * time.Second)
	for {
		heard(t, f, "")
		infos, err := a.Mailboxes(t.Context())
		must(t, err)
		if slices.ContainsFunc(infos, func(i MailboxInfo) bool { return i.Name == "Slow" }) {
			break
		}
		if time.Now().After(limit) {
			t.Fatal("no word of the mailbox")
		}
	}
}

// TestFollowListOnly: what changes beside the mailboxes is no reason to list them.
func TestFollowListOnly(t *testing.T) {
	dir := newTestAccount(t).dir
	a := openWatched(t, dir, newTestWatcher(t, time.Hour))
	other := openTestAccount(t, dir)
	must(t, a.CreateMailbox(t.Context(), "Box", ""))
	f := newFollowing(t, a)
	// The last word of the mailbox comes a second later.
	for end := time.Now().Add(lookAgain + time.Second/2); time.Now().Before(end); {
		heardNothing(t, f)
	}
	for _, account := range []*Account{a, other} {
		_, err := account.SetMetadata(t.Context(), inbox, []Annotation{{Name: "/private/comment", Value: []byte("x")}})
		must(t, err)
	}
	must(t, os.WriteFile(filepath.Join(a.maildir(), "maildirsize"), []byte("1000S\n"), 0o600))
	_, _, err := a.Usage(t.Context())
	must(t, err)
	deliver(t, other, "Box", hello, Meta{})
	select {
	case <-f.C:
		if _, list := f.Changed(); list {
			t.Error("the list is told to have changed")
		}
	case <-time.After(100 * time.Millisecond):
	}
	must(t, other.Subscribe(t.Context(), "Box", true))
	heard(t, f, "")
}

// TestFollowReplaced follows the mailbox that has the name, not the one that had it.
func TestFollowReplaced(t *testing.T) {
	a := openWatched(t, newTestAccount(t).dir, newTestWatcher(t, time.Hour))
	must(t, a.CreateMailbox(t.Context(), "Box", ""))
	f := newFollowing(t, a, "Box")
	must(t, a.RenameMailbox(t.Context(), "Box", "Kept"))
	must(t, a.CreateMailbox(t.Context(), "Box", ""))
	f.Set([]string{"Box"})
	heardNothing(t, f)
	deliver(t, openTestAccount(t, a.dir), "Box", hello, Meta{})
	heard(t, f, "Box")
}

// TestFollowPolls looks where nothing is reported.
func TestFollowPolls(t *testing.T) {
	w := newTestWatcher(t, 10*time.Millisecond)
	must(t, w.Close())
	a := openWatched(t, newTestAccount(t).dir, w)
	f := newFollowing(t, a, inbox)
	heard(t, f, inbox)
	heard(t, f, "")
	f.Again([]string{inbox, "none"}, false)
	heard(t, f, inbox)
}

// TestFollowMany follows more mailboxes than could be open, for little memory, and
// leaves nothing behind.
func TestFollowMany(t *testing.T) {
	const boxes, most = 1000, 1500 // octets for each
	w := newTestWatcher(t, time.Hour)
	a := openWatched(t, newTestAccount(t).dir, w)
	var names []string
	for i := range boxes {
		name := fmt.Sprintf("Box%d", i)
		names = append(names, name)
		must(t, os.MkdirAll(filepath.Join(a.maildir(), "."+name, "cur"), 0o700))
		must(t, os.MkdirAll(filepath.Join(a.maildir(), "."+name, "new"), 0o700))
	}
	f := a.Follow()
	before := heap()
	f.Set(names)
	if each := (heap() - before) / boxes; each > most {
		t.Errorf("%d octets for each mailbox, want at most %d", each, most)
	} else {
		t.Logf("%d octets for each mailbox", each)
	}
	if len(a.views) > 0 {
		t.Errorf("%d mailboxes are open", len(a.views))
	}
	f.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.reports) > 0 || len(a.followers) > 0 {
		t.Errorf("%d directories are watched though nobody follows them", len(w.reports))
	}
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
