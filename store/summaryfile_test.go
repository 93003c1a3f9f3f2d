package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"rtls/store/internal/faultfs"
	"rtls/store/internal/vfs"
)

// withMessages opens an INBOX of n messages.
func withMessages(t *testing.T, n int) (*Account, *Mailbox) {
	t.Helper()
	a := newTestAccount(t)
	for i := range n {
		deliver(t, a, inbox, fmt.Sprintf("message %d\n", i), Meta{})
	}
	return a, openMailbox(t, a, inbox)
}

// Whatever becomes of the file, what is read is what was put or nothing, and what is
// put next is kept.
func TestDamagedSummaryFile(t *testing.T) {
	_, m := withMessages(t, 4)
	path := m.v.summaryPath()
	putSummaries(t, m, 1, 2)
	putSummaries(t, m, 3)
	whole, err := os.ReadFile(path)
	must(t, err)
	all := []string{"1 INBOX/1", "2 INBOX/2", "3 INBOX/3"}
	look := func(what string, raw []byte) {
		t.Helper()
		must(t, os.Remove(path))
		must(t, os.WriteFile(path, raw, 0o600))
		for _, s := range kept(t, m, upTo(9)...) {
			// The octets are the reader's to check: their damage is not seen here.
			if !slices.Contains(all, s) && !bytes.Contains(whole, []byte(s[2:])) && len(s) != len(all[0]) {
				t.Errorf("%s: there is %q", what, s)
			}
		}
		putSummaries(t, m, 4)
		if got := kept(t, m, 4); len(got) != 1 {
			t.Errorf("%s: nothing is kept any more: %q", what, got)
		}
	}
	for i := range whole {
		look(fmt.Sprintf("cut off at %d", i), whole[:i])
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0x40
		look(fmt.Sprintf("octet %d", i), damaged)
	}
	look("longer", append(bytes.Clone(whole), whole[:20]...))
	if got := kept(t, m, 1, 2, 3); !slices.Equal(got, all) {
		t.Errorf("what was before the damage is lost: %q", got)
	}
	must(t, os.Remove(path))
	wantKept(t, m, upTo(9))
	must(t, os.Mkdir(path, 0o700))
	if err := m.PutSummaries(t.Context(), []Summary{summaryOf(t, m, 1, "x")}); err == nil {
		t.Error("a directory was written to")
	}
}

// A file that is of another time of the mailbox is not used.
func TestSummariesOfOtherUIDValidity(t *testing.T) {
	_, m := withMessages(t, 1)
	path := m.v.summaryPath()
	putSummaries(t, m, 1)
	raw, err := os.ReadFile(path)
	must(t, err)
	var b block
	b.add(summaryOf(t, m, 1, "other"))
	must(t, os.Remove(path))
	must(t, os.WriteFile(path, append(b.bytes(m.Snapshot().UIDValidity()+1), raw...), 0o600))
	wantKept(t, m, upTo(9), "1 INBOX/1")
}

// Summaries of what a message was before it was altered are not found any more, nor
// kept when they come late.
func TestSummariesOfAlteredMessage(t *testing.T) {
	for what, to := range map[string]string{"of the same size": "MESSAGE\n", "longer": "message, and more\n"} {
		a := newTestAccount(t)
		deliver(t, a, inbox, "message\n", Meta{Tag: TagRequire})
		deliver(t, a, inbox, "message\n", Meta{})
		m := openMailbox(t, a, inbox)
		putSummaries(t, m, 1, 2)
		late := summaryOf(t, m, 1, "late")
		named := m.v.at(m.Snapshot(), 0)
		must(t, os.WriteFile(m.v.path(named.inNew, named.name), []byte(to), 0o600))
		must(t, os.Chtimes(m.v.path(named.inNew, named.name), time.Time{}, time.Now().Add(time.Hour)))
		c, err := m.Open(t.Context(), 1)
		must(t, err)
		if c.Stamp() == late.Stamp {
			t.Errorf("%s: an altered file has the stamp that it had", what)
		}
		must(t, c.Close())
		must(t, m.PutSummaries(t.Context(), []Summary{late}))
		wantKept(t, m, upTo(9), "2 INBOX/2")
		putSummaries(t, m, 1)
		wantKept(t, m, upTo(9), "1 INBOX/1", "2 INBOX/2")
	}
}

// The file does not grow for ever, and shrinks when its messages go.
func TestSummaryFileIsRenewed(t *testing.T) {
	_, m := withMessages(t, 8)
	long := func(uid uint32) Summary {
		return summaryOf(t, m, uid, string(bytes.Repeat([]byte{byte('a' + uid)}, 100_000)))
	}
	size := func() int64 {
		info, err := os.Stat(m.v.summaryPath())
		must(t, err)
		return info.Size()
	}
	for range 10 {
		for uid := uint32(1); uid <= 8; uid++ {
			must(t, m.PutSummaries(t.Context(), []Summary{long(uid)}))
		}
	}
	if size() > 2*800_000+2*deadOctets {
		t.Errorf("it has %d octets", size())
	}
	must(t, m.Expunge(t.Context(), []uint32{1, 2, 3, 5, 6, 7, 8}))
	must(t, m.PutSummaries(t.Context(), []Summary{long(4)}))
	if got := kept(t, m, upTo(9)...); size() > 400_000 || len(got) != 1 || got[0] != "4 "+string(long(4).Octets) {
		t.Errorf("%d octets, summaries of %d messages", size(), len(got))
	}
}

// Two processes add to one file, and each finds what the other has.
func TestSummariesOfTwoProcesses(t *testing.T) {
	a, m := withMessages(t, 40)
	b, err := Open(a.dir, nil)
	must(t, err)
	t.Cleanup(func() { b.Close() })
	other := openMailbox(t, b, inbox)
	done := make(chan error, 2)
	for i, m := range []*Mailbox{m, other} {
		var list []Summary
		for uid := uint32(i + 1); uid <= 40; uid += 2 {
			list = append(list, summaryOf(t, m, uid, fmt.Sprintf("INBOX/%d", uid)))
		}
		go func() { // waited for below
			var err error
			for _, s := range list {
				err = errors.Join(err, m.PutSummaries(t.Context(), []Summary{s}))
			}
			done <- err
		}()
	}
	must(t, errors.Join(<-done, <-done))
	// Both may have made the file: then it has what came after.
	if got := kept(t, m, upTo(40)...); len(got) < 20 || !slices.Equal(got, kept(t, other, upTo(40)...)) {
		t.Errorf("%d summaries are left", len(got))
	}
	must(t, os.Remove(filepath.Join(a.private(), "summaries", m.v.id.object)))
	wantKept(t, other, upTo(40))
}

// A call that fails, or a crash at any, costs summaries and nothing else.
func TestSummaryFileFaults(t *testing.T) {
	from := template(t)
	before := examine(t, duplicate(t, from))
	run := func(ctx context.Context, a *Account) error {
		return within(ctx, a, func(m *Mailbox) error {
			for range 2 {
				for uid := uint32(1); uid <= 2; uid++ {
					f, err := m.OpenFile(ctx, uid)
					if err != nil {
						return err
					}
					s := Summary{uid, f.Stamp(), fmt.Appendf(nil, "INBOX/%d", uid)}
					if err := errors.Join(m.PutSummaries(ctx, []Summary{s}), f.Close()); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	verify := func(dir string, _ error) {
		after := examine(t, duplicate(t, dir))
		if len(after.messages) != len(before.messages) {
			t.Errorf("there were %d messages and are %d", len(before.messages), len(after.messages))
		}
		a, err := Open(dir, nil)
		must(t, err)
		defer a.Close()
		m, err := a.Mailbox(t.Context(), inbox)
		must(t, err)
		defer m.Close()
		for _, s := range kept(t, m, 1, 2) {
			if s != "1 INBOX/1" && s != "2 INBOX/2" {
				t.Errorf("there is %q", s)
			}
		}
		putSummaries(t, m, 1, 2)
		wantKept(t, m, []uint32{1, 2}, "1 INBOX/1", "2 INBOX/2")
	}
	for what, broken := range map[string]breaker{
		"error":       failing(syscall.EIO),
		"short write": func(grave string, n int) *faultfs.FS { return faultfs.ShortWrite(vfs.OS{}, grave, n) },
	} {
		t.Run(what, func(t *testing.T) { walkFrom(t, from, run, broken, nil, verify) })
	}
	for what, keep := range map[string]func(string, int) int{
		"all is lost":     func(string, int) int { return 0 },
		"nothing is lost": func(_ string, n int) int { return n },
		"some is lost":    func(_ string, n int) int { return n / 2 },
	} {
		t.Run(what, func(t *testing.T) {
			after := func(ffs *faultfs.FS) error { return ffs.Lose(keep) }
			walkFrom(t, from, run, failing(faultfs.ErrCrash), after, verify)
		})
	}
}
