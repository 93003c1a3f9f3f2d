package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"rtls/store/internal/inotify"
)

func newTestWatcher(t *testing.T, poll time.Duration) *Watcher {
	t.Helper()
	w := &Watcher{Poll: poll}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// openWatched opens an account that uses w.
func openWatched(t *testing.T, dir string, w *Watcher) *Account {
	t.Helper()
	a, err := Open(dir, &Options{Watcher: w})
	must(t, err)
	t.Cleanup(func() { must(t, a.Close()) })
	return a
}

// told waits for a value, and looks at the mailbox, until it holds n messages.
func told(t *testing.T, m *Mailbox, changes <-chan struct{}, n int) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for m.Snapshot().Len() != n {
		select {
		case <-changes:
			see(t, m)
		case <-limit:
			t.Fatalf("no word of a message; %d messages, want %d", m.Snapshot().Len(), n)
		}
	}
}

// instances counts the inotify instances of this process.
func instances(t *testing.T) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, fd := range fds {
		target, _ := os.Readlink(filepath.Join("/proc/self/fd", fd.Name())) // some are closed by now
		if strings.Contains(target, "inotify") {
			n++
		}
	}
	return n
}

func TestWatch(t *testing.T) {
	a := newTestAccount(t)
	m := openMailbox(t, a, inbox)
	ctx, cancel := context.WithCancel(t.Context())
	changes := m.Watch(ctx)
	deliver(t, openTestAccount(t, a.dir), inbox, hello, Meta{})
	told(t, m, changes, 1)
	cancel()
	for open := true; open; {
		select {
		case _, open = <-changes:
		case <-time.After(10 * time.Second):
			t.Fatal("channel stays open")
		}
	}
}

// TestWatchMany has more accounts than a user can have inotify instances.
func TestWatchMany(t *testing.T) {
	const accounts = 300
	w := newTestWatcher(t, time.Hour)
	before := instances(t)
	var dirs []string
	var boxes []*Mailbox
	var changes []<-chan struct{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	root := t.TempDir()
	for i := range accounts {
		dir := filepath.Join(root, fmt.Sprint(i))
		must(t, Create(dir, nil))
		m := openMailbox(t, openWatched(t, dir, w), inbox)
		dirs, boxes, changes = append(dirs, dir), append(boxes, m), append(changes, m.Watch(ctx))
	}
	if n := instances(t) - before; n != 1 {
		t.Errorf("%d inotify instances for %d accounts", n, accounts)
	}
	for _, dir := range dirs {
		deliver(t, openTestAccount(t, dir), inbox, hello, Meta{})
	}
	for i, m := range boxes {
		told(t, m, changes[i], 1)
	}
	cancel()
	for _, c := range changes {
		for range c { // until it is closed
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.reports) > 0 {
		t.Errorf("%d directories are watched though nobody watches", len(w.reports))
	}
}

// TestWatchLimit takes from the Watcher what the system does not give.
func TestWatchLimit(t *testing.T) {
	w := newTestWatcher(t, 10*time.Millisecond)
	var full atomic.Bool
	full.Store(true)
	w.start = func() (*inotify.Instance, error) {
		if full.Load() {
			return nil, os.NewSyscallError("inotify_init1", syscall.EMFILE)
		}
		return inotify.New()
	}
	a := newTestAccount(t)
	m := openMailbox(t, openWatched(t, a.dir, w), inbox)
	changes := m.Watch(t.Context())
	deliver(t, a, inbox, hello, Meta{})
	told(t, m, changes, 1)
	// It is asked again.
	full.Store(false)
	reported := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.reports)
	}
	for deadline := time.Now().Add(10 * time.Second); reported() != 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d directories are reported, want 2", reported())
		}
	}
	// A Watcher that is closed leaves polling.
	must(t, w.Close())
	deliver(t, a, inbox, hello, Meta{})
	told(t, m, changes, 2)
}

// TestWatchOverflow makes more changes to one mailbox than the system keeps in
// mind; then there may have been some to others, too.
func TestWatchOverflow(t *testing.T) {
	w := newTestWatcher(t, time.Hour)
	a, b := newTestAccount(t), newTestAccount(t)
	busy := openMailbox(t, openWatched(t, a.dir, w), inbox)
	quiet := openMailbox(t, openWatched(t, b.dir, w), inbox)
	busy.Watch(t.Context())
	changes := quiet.Watch(t.Context())
	raw, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	must(t, err)
	var most int
	_, err = fmt.Sscan(string(raw), &most)
	must(t, err)
	if most > 1<<20 {
		t.Skip("the system keeps more changes in mind than a test can make")
	}
	w.mu.Lock() // nothing is passed on
	for i := range most/2 + 1<<12 {
		path := filepath.Join(a.maildir(), "new", fmt.Sprintf(".%d", i%2))
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Error(err)
			break
		}
		if err := os.Remove(path); err != nil {
			t.Error(err)
			break
		}
	}
	w.mu.Unlock()
	select {
	case <-changes:
	case <-time.After(10 * time.Second):
		t.Error("no word of lost reports")
	}
}

// TestWatchAgain has the directory of a mailbox be another one, and one with two
// names.
func TestWatchAgain(t *testing.T) {
	w := newTestWatcher(t, time.Hour)
	a := newTestAccount(t)
	watched := openWatched(t, a.dir, w)
	old := makeMailbox(t, watched, "Box")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	was := old.Watch(ctx)
	must(t, watched.RenameMailbox(t.Context(), "Box", "Kept"))
	box := makeMailbox(t, watched, "Box")
	changes := box.Watch(t.Context())
	kept := openMailbox(t, watched, "Kept")
	keptChanges := kept.Watch(t.Context())
	for n := range 2 {
		deliver(t, a, "Box", hello, Meta{})
		told(t, box, changes, n+1)
		deliver(t, a, "Kept", hello, Meta{})
		told(t, kept, keptChanges, n+1)
		if n == 0 { // nothing depends on who watched before
			cancel()
			for range was {
			}
			if _, err := old.Sync(t.Context()); !errors.Is(err, ErrNoMailbox) {
				t.Errorf("Sync of a renamed mailbox: %v", err)
			}
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(filepath.Dir(a.dir), link))
	same := openMailbox(t, openWatched(t, filepath.Join(link, filepath.Base(a.dir)), w), "Box")
	sameChanges := same.Watch(t.Context())
	deliver(t, a, "Box", hello, Meta{})
	told(t, same, sameChanges, 3)
	told(t, box, changes, 3)
}
