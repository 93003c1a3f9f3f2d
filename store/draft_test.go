package store

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"rtls/store/internal/vfs"
)

// waitingInode returns the inode of the only message that waits in a new/.
func waitingInode(t *testing.T, a *Account, mailbox string) uint64 {
	t.Helper()
	dir, err := a.mailboxDir(mailbox)
	must(t, err)
	names, err := os.ReadDir(filepath.Join(dir, "new"))
	must(t, err)
	if len(names) != 1 {
		t.Fatalf("%d messages wait in %s", len(names), mailbox)
	}
	info, err := vfs.OS{}.Stat(filepath.Join(dir, "new", names[0].Name()))
	must(t, err)
	return info.Inode
}

func TestShare(t *testing.T) {
	a, b := newTestAccount(t), newTestAccount(t)
	must(t, b.CreateMailbox(t.Context(), "Lists", ""))
	first, err := a.Deliver(t.Context(), inbox)
	must(t, err)
	second, err := first.Share(t.Context(), b, inbox)
	must(t, err)
	third, err := second.Share(t.Context(), b, "Lists")
	must(t, err)
	if _, err := first.Share(t.Context(), b, "Nowhere"); !errors.Is(err, ErrNoMailbox) {
		t.Errorf("sharing with a mailbox that is not there: %v", err)
	}
	_, err = io.WriteString(first, body("shared")[:20])
	must(t, err)
	must(t, first.Abort()) // hurts nobody
	_, err = io.WriteString(second, body("shared")[20:])
	must(t, err)

	var wg sync.WaitGroup
	for _, d := range []*Delivery{second, third} {
		wg.Go(func() {
			if _, err := d.Commit(Meta{Tag: TagRequire, Origin: OriginESMTP}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := first.Commit(Meta{}); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Commit after Abort: %v", err)
	}
	if waitingInode(t, b, inbox) != waitingInode(t, b, "Lists") {
		t.Error("the content was written twice")
	}
	for _, mailbox := range []string{inbox, "Lists"} {
		m := openMailbox(t, b, mailbox)
		if s := see(t, m); s.Len() != 1 || content(t, m, s.At(0).UID) != body("shared") || s.At(0).Tag != TagRequire {
			t.Errorf("%s: %s", mailbox, describe(s))
		}
	}
	if s := see(t, openMailbox(t, a, inbox)); s.Len() != 0 {
		t.Errorf("the aborted delivery is there: %s", describe(s))
	}
}

func TestShareClosedByCommit(t *testing.T) {
	a := newTestAccount(t)
	d, err := a.Deliver(t.Context(), inbox)
	must(t, err)
	other, err := d.Share(t.Context(), a, inbox)
	must(t, err)
	defer other.Abort()
	_, err = d.Commit(Meta{})
	must(t, err)
	if _, err := other.Write([]byte("late")); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Write after a Commit: %v", err)
	}
	if _, err := d.Share(t.Context(), a, inbox); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Share after Commit: %v", err)
	}
}

// lonely is a file system on which a file gets one name, and the second is refused.
type lonely struct {
	vfs.OS
	err error
}

type lonelyTemp struct {
	vfs.Temp
	err   error
	links int
}

func (l lonely) Temp(dir, name string) (vfs.Temp, error) {
	t, err := l.OS.Temp(dir, name)
	return &lonelyTemp{Temp: t, err: l.err}, err
}

func (t *lonelyTemp) Link(name string) error {
	if t.links++; t.links > 1 {
		return &os.LinkError{Op: "link", New: name, Err: t.err}
	}
	return t.Temp.Link(name)
}

func TestShareCopies(t *testing.T) {
	past := time.Unix(1_000_000_000, 0)
	for _, c := range []struct {
		name  string
		fs    vfs.FS
		dates [2]time.Time
	}{
		{"another file system", lonely{err: syscall.EXDEV}, [2]time.Time{}},
		{"too many names", lonely{err: syscall.EMLINK}, [2]time.Time{past, past}},
		{"another date", vfs.OS{}, [2]time.Time{past, past.Add(time.Hour)}},
		{"a date and none", vfs.OS{}, [2]time.Time{{}, past}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "alice")
			must(t, Create(dir, nil))
			a, err := Open(dir, &Options{fs: c.fs})
			must(t, err)
			defer a.Close()
			must(t, a.CreateMailbox(t.Context(), "Other", ""))
			first, err := a.Deliver(t.Context(), inbox)
			must(t, err)
			second, err := first.Share(t.Context(), a, "Other")
			must(t, err)
			_, err = io.WriteString(first, body("shared"))
			must(t, err)
			for i, d := range []*Delivery{first, second} {
				_, err := d.Commit(Meta{Date: c.dates[i]})
				must(t, err)
			}
			if waitingInode(t, a, inbox) == waitingInode(t, a, "Other") {
				t.Error("the content was not copied")
			}
			for i, mailbox := range []string{inbox, "Other"} {
				m := openMailbox(t, a, mailbox)
				s := see(t, m)
				if s.Len() != 1 || content(t, m, s.At(0).UID) != body("shared") {
					t.Errorf("%s: %s", mailbox, describe(s))
				}
				if want := c.dates[i]; !want.IsZero() && !s.At(0).InternalDate().Equal(want) {
					t.Errorf("%s: the date is %v, not %v", mailbox, s.At(0).InternalDate(), want)
				}
				must(t, m.Close())
			}
		})
	}
}

// TestShareAfterFailure: the first Commit takes its name back, which was the only
// one that the file had; the second is not to suffer.
func TestShareAfterFailure(t *testing.T) {
	a := newTestAccount(t)
	must(t, a.CreateMailbox(t.Context(), "Other", ""))
	first, err := a.Deliver(t.Context(), inbox)
	must(t, err)
	second, err := first.Share(t.Context(), a, "Other")
	must(t, err)
	_, err = io.WriteString(first, body("shared"))
	must(t, err)
	must(t, first.finish(Meta{}))
	_, path, err := first.name(Meta{}, false)
	must(t, err)
	must(t, os.Remove(path))
	_, err = second.Commit(Meta{})
	must(t, err)
	m := openMailbox(t, a, "Other")
	if s := see(t, m); s.Len() != 1 || content(t, m, 1) != body("shared") {
		t.Error(describe(s))
	}
}
