package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rtls/store/internal/vfs"
)

// foreign puts a file of another program into cur/.
func foreign(t *testing.T, a *Account, name, text string, date time.Time) string {
	t.Helper()
	path := filepath.Join(a.maildir(), "cur", name)
	must(t, os.WriteFile(path, []byte(text), 0o600))
	must(t, os.Chtimes(path, date, date))
	return path
}

// shy has no Stat of what is in a cur/.
type shy struct{ vfs.OS }

func (s shy) Stat(name string) (vfs.Info, error) {
	if filepath.Base(filepath.Dir(name)) == "cur" {
		return vfs.Info{}, fmt.Errorf("somebody looks at %s", name)
	}
	return s.OS.Stat(name)
}

// A name that says the sizes is enough to give a message its UID; nobody looks at its
// file before its date is wanted.
func TestDateWhenWanted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "alice")
	must(t, Create(dir, nil))
	a := openTestAccount(t, dir)
	date := time.Unix(1_234_567_890, 0)
	for i := range 3 {
		foreign(t, a, fmt.Sprintf("%d.x,S=3,W=4:2,S", i), "ab\n", date)
	}
	blindly, err := Open(dir, &Options{fs: shy{}})
	must(t, err)
	m, err := blindly.Mailbox(t.Context(), inbox)
	must(t, err)
	s := m.Snapshot()
	if s.Len() != 3 {
		t.Fatalf("%d messages", s.Len())
	}
	if msg := s.At(0); msg.Size != 4 || !msg.Date.IsZero() || msg.Flags != Seen {
		t.Errorf("%+v", msg)
	}
	must(t, m.Close())
	must(t, blindly.Close())
	m = openMailbox(t, a, inbox)
	if got := m.Snapshot().At(1).InternalDate(); !got.Equal(date) {
		t.Errorf("date %v, want %v", got, date)
	}
}

// What is no regular file is no message, whatever its name says.
func TestOddFilesWithSizes(t *testing.T) {
	a := newTestAccount(t)
	cur := filepath.Join(a.maildir(), "cur")
	must(t, os.Mkdir(filepath.Join(cur, "5.directory,S=3,W=4:2,"), 0o700))
	must(t, os.Symlink("/dev/null", filepath.Join(cur, "6.link,S=3,W=4:2,")))
	foreign(t, a, "7.file,S=3,W=4:2,", "ab\n", time.Unix(1, 0))
	must(t, os.Mkdir(filepath.Join(cur, "7.file,S=3,W=4:2,S"), 0o700)) // of one key with the file
	m := openMailbox(t, a, inbox)
	if s := see(t, m); s.Len() != 1 || content(t, m, s.At(0).UID) != "ab\r\n" {
		t.Errorf("%d messages", s.Len())
	}
}

// A date that was told once stays, whatever becomes of the file's name and time: in
// this session and in those to come, with and without a packed
// view.
func TestDateStays(t *testing.T) {
	for _, messages := range []int{3, cacheAfter + 1} {
		a := newTestAccount(t)
		date := time.Unix(1_234_567_890, 0)
		for i := range messages {
			foreign(t, a, fmt.Sprintf("%d.x,S=3,W=4:2,S", i), "ab\n", date)
		}
		m := openMailbox(t, a, inbox)
		if got := m.Snapshot().At(1).InternalDate(); !got.Equal(date) {
			t.Fatalf("date %v, want %v", got, date)
		}
		from := filepath.Join(a.maildir(), "cur", "1.x,S=3,W=4:2,S")
		to := strings.TrimSuffix(from, "S") + "FS"
		must(t, os.Rename(from, to))
		must(t, os.Chtimes(to, time.Now(), time.Now()))
		wantDate := func(when string, m *Mailbox, at int) {
			t.Helper()
			if got := m.Snapshot().At(at).InternalDate(); !got.Equal(date) {
				t.Errorf("%d messages, %s: date %v, want %v", messages, when, got, date)
			}
		}
		wantDate("renamed", m, 1)
		_, err := m.Sync(t.Context())
		must(t, err)
		wantDate("known as renamed", m, 1)
		// One that nobody has asked about is found under another name.
		from = filepath.Join(a.maildir(), "cur", "2.x,S=3,W=4:2,S")
		must(t, os.Rename(from, strings.TrimSuffix(from, "S")+"FS"))
		wantDate("renamed before", m, 2)
		must(t, m.Close())
		for range 3 {
			again, err := Open(a.dir, nil)
			must(t, err)
			m, err := again.Mailbox(t.Context(), inbox)
			must(t, err)
			wantDate("opened again", m, 1)
			must(t, m.Close())
			must(t, again.Close())
		}
	}
}

// A name that says another size than the file has is believed until the message is
// opened.
func TestWrongSizeInName(t *testing.T) {
	a := newTestAccount(t)
	foreign(t, a, "1.x,S=30,W=40:2,", "ab\n", time.Unix(1_234_567_890, 0))
	m := openMailbox(t, a, inbox)
	uid := m.Snapshot().At(0).UID
	if got := content(t, m, uid); got != "ab\r\n" {
		t.Errorf("%q", got)
	}
	if msg := m.Snapshot().At(0); msg.Size != 4 || !msg.InternalDate().Equal(time.Unix(1_234_567_890, 0)) {
		t.Errorf("%d octets of %v", msg.Size, msg.InternalDate())
	}
}
