package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rtls/store/internal/vfs"
)

// TestSeenAtOnce commits messages with flags, which go to cur/, and expects each in
// the next view of somebody else.
func TestSeenAtOnce(t *testing.T) {
	a := newTestAccount(t)
	m := openMailbox(t, openTestAccount(t, a.dir), inbox)
	for i := range 200 {
		deliver(t, a, inbox, hello, Meta{Flags: Seen})
		if n := see(t, m).Len(); n != i+1 {
			t.Fatalf("%d messages after %d", n, i+1)
		}
		// Our own changes hide nothing.
		_, err := m.SetFlags(t.Context(), FlagChange{UIDs: []uint32{1}, Op: FlagOp(i % 2), Flags: Flagged})
		must(t, err)
	}
}

// waitSettled waits until a later change of cur/ must show in its stamp.
func waitSettled(t *testing.T, m *Mailbox) {
	t.Helper()
	syncUntil(t, m, "listing that is proof", func(*Snapshot) bool {
		m.v.mu.Lock()
		defer m.v.mu.Unlock()
		_, cur, err := m.v.stamps()
		must(t, err)
		return settled(cur, time.Now()) && m.v.look.own == cur
	})
}

// TestDueCur has listings of cur/ that take long.
func TestDueCur(t *testing.T) {
	a := newTestAccount(t)
	fillMailbox(t, a, curFew+1)
	m := openMailbox(t, openTestAccount(t, a.dir), inbox)
	// ended says how long ago the last listing ended, and how long it took.
	ended := func(cost, ago time.Duration) {
		m.v.mu.Lock()
		defer m.v.mu.Unlock()
		m.v.look.cost = cost
		m.v.look.curAt = time.Now().Add(-ago - cost)
	}
	flag := func() {
		t.Helper()
		op := FlagsAdd
		if m.Snapshot().At(0).Flags&Flagged != 0 {
			op = FlagsRemove
		}
		_, err := m.SetFlags(t.Context(), FlagChange{UIDs: []uint32{1}, Flags: Flagged, Op: op})
		must(t, err)
	}
	n := curFew + 1
	expect := func(what string, more int) {
		t.Helper()
		if got := see(t, m).Len(); got != n+more {
			t.Errorf("%s: %d messages, want %d", what, got, n+more)
		}
		ended(0, time.Hour)
		n = syncUntil(t, m, "all of them", func(s *Snapshot) bool { return s.Len() > n }).Len()
		waitSettled(t, m)
	}
	waitSettled(t, m)
	for _, c := range []struct {
		what      string
		cost, ago time.Duration
		seen      int
	}{
		{"others' change, soon", time.Second, 0, 0},
		{"others' change, later", time.Second, 5 * time.Second, 1},
		{"others' change, slow listing, soon", time.Minute, time.Minute, 0},
		{"others' change, slow listing, later", time.Minute, 3 * time.Minute, 1},
	} {
		ended(c.cost, c.ago)
		deliver(t, a, inbox, hello, Meta{Flags: Seen})
		expect(c.what, c.seen)
	}
	// After our own change others' shows as such.
	ended(time.Second, 5*time.Second)
	flag()
	see(t, m)
	waitSettled(t, m)
	deliver(t, a, inbox, hello, Meta{Flags: Seen})
	expect("others' change after our own", 1)

	listed := func() time.Time {
		m.v.mu.Lock()
		defer m.v.mu.Unlock()
		return m.v.look.curAt
	}
	for _, c := range []struct {
		what string
		ago  time.Duration
		due  bool
	}{
		{"our change, soon", time.Second, false},
		{"our change, later", 11 * time.Second, true},
	} {
		flag()
		ended(time.Second, c.ago)
		before := listed()
		see(t, m)
		if due := !listed().Equal(before); due != c.due {
			t.Errorf("%s: listed %v", c.what, due)
		}
	}
}

// TestToldWhenDue has watchers told of a message that could not be seen at once.
func TestToldWhenDue(t *testing.T) {
	a := newTestAccount(t)
	fillMailbox(t, a, curFew+1)
	w := newTestWatcher(t, time.Hour)
	m := openMailbox(t, openWatched(t, a.dir, w), inbox)
	waitSettled(t, m)
	changes := m.Watch(t.Context())
	m.v.mu.Lock()
	m.v.look.cost, m.v.look.curAt = 200*time.Millisecond, time.Now()
	m.v.mu.Unlock()
	deliver(t, a, inbox, hello, Meta{Flags: Seen})
	if see(t, m).Len() > curFew+1 {
		t.Fatal("it was seen at once")
	}
	told(t, m, changes, curFew+2)
}

// TestScanFails has what a failed scan saw be seen again.
func TestScanFails(t *testing.T) {
	a := newTestAccount(t)
	fillMailbox(t, a, curFew+1)
	broken := &brokenStat{FS: vfs.OS{}}
	b, err := Open(a.dir, &Options{fs: broken})
	must(t, err)
	defer b.Close()
	m, err := b.Mailbox(t.Context(), inbox)
	must(t, err)
	defer m.Close()
	waitSettled(t, m)
	m.v.mu.Lock()
	m.v.look.curAt = time.Now().Add(-time.Hour)
	m.v.mu.Unlock()
	key := deliver(t, a, inbox, hello, Meta{Flags: Seen})
	broken.key = string(key)
	if _, err := m.Sync(t.Context()); !errors.Is(err, os.ErrPermission) {
		t.Fatalf("Sync: %v", err)
	}
	broken.key = ""
	m.v.mu.Lock()
	m.v.look.cost, m.v.look.curAt = time.Minute, time.Now()
	m.v.mu.Unlock()
	if n := see(t, m).Len(); n != curFew+2 {
		t.Errorf("%d messages", n)
	}
}

// brokenStat cannot look at the file of a key.
type brokenStat struct {
	vfs.FS
	key string
}

func (b *brokenStat) Stat(name string) (vfs.Info, error) {
	if b.key != "" && keyOf(filepath.Base(name)) == Key(b.key) {
		return vfs.Info{}, os.ErrPermission
	}
	return b.FS.Stat(name)
}
