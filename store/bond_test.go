package store

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// sumOfText is what the name of a file with that text says of it.
func sumOfText(text string) contentSum {
	s := newSummer()
	_, _ = io.WriteString(&s, text)
	return s.sum()
}

// logged is an account that is open with a log, and what is in that.
func logged(t *testing.T, dir string) (*Account, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	a, err := Open(dir, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a, &log
}

// onlyFile is the one file in cur/ or new/ of INBOX.
func onlyFile(t *testing.T, a *Account) string {
	t.Helper()
	names := slices.Concat(tree(t, a.dir).in("cur"), tree(t, a.dir).in("new"))
	if len(names) != 1 {
		t.Fatalf("files are %v", names)
	}
	return names[0]
}

// A message whose file is altered by others is shown as it is, and its tag is
// unknown from then on (D04). G6 is ours alone to keep.
func TestAlteredMessage_D04(t *testing.T) {
	for what, text := range map[string]string{
		"one octet":     strings.Replace(hello, "hi", "ho", 1),
		"longer":        hello + "more\r\n",
		"bare":          strings.ReplaceAll(hello, "\r\n", "\n"),
		"nothing":       "",
		"same size, LF": strings.ReplaceAll(hello, "\r\n", "\n") + strings.Repeat("x", strings.Count(hello, "\n")),
	} {
		t.Run(what, func(t *testing.T) {
			a, log := logged(t, newTestAccount(t).dir)
			deliver(t, a, inbox, hello, Meta{Tag: TagRequire, Origin: OriginESMTP})
			m := openMailbox(t, a, inbox)
			if _, err := m.SetFlags(t.Context(), FlagChange{UIDs: []uint32{1}, Flags: Seen, Keywords: []string{"work"}}); err != nil {
				t.Fatal(err)
			}
			before := see(t, m)
			name := onlyFile(t, a)
			must(t, os.WriteFile(name, []byte(text), 0o600))
			must(t, os.Chtimes(name, time.Time{}, time.Unix(2_000_000_000, 0)))

			want := strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
			if got := content(t, m, 1); got != want {
				t.Errorf("content is %q, should be %q", got, want)
			}
			after := see(t, m)
			msg, was := after.At(0), before.At(0)
			if msg.Tag != TagUnknown || msg.Origin != OriginUnknown || msg.Size != int64(len(want)) || msg.ModSeq <= was.ModSeq {
				t.Errorf("message is %+v", msg)
			}
			if msg.UID != was.UID || msg.Key != was.Key || msg.Flags != was.Flags || !slices.Equal(msg.Keywords, was.Keywords) || !msg.InternalDate().Equal(was.InternalDate()) {
				t.Errorf("message was %+v and is %+v", was, msg)
			}
			if alarms := strings.Count(log.String(), "level=ERROR"); alarms != 1 || !strings.Contains(log.String(), "message has been altered") {
				t.Errorf("log: %s", log.String())
			}
			name = onlyFile(t, a)
			if strings.Contains(name, ",T=") || strings.Contains(name, ",H=") {
				t.Errorf("file is still called %s", name)
			}
			// It is not found out a second time, nor forgotten with the index.
			if got := content(t, m, 1); got != want {
				t.Errorf("content is %q then", got)
			}
			must(t, os.RemoveAll(a.private()))
			a = openTestAccount(t, a.dir)
			if s := openMailbox(t, a, inbox).Snapshot(); s.Len() != 1 || s.At(0).Tag != TagUnknown || s.At(0).Size != int64(len(want)) {
				t.Errorf("without index: %s", describe(s))
			}
		})
	}
}

// A file of another size is found out when it comes into the index.
func TestAlteredBeforeIndexed_D04(t *testing.T) {
	a, log := logged(t, newTestAccount(t).dir)
	deliver(t, a, inbox, hello, Meta{Tag: TagRequire, Origin: OriginESMTP})
	must(t, os.WriteFile(onlyFile(t, a), []byte(hello+"more\n"), 0o600))
	m := openMailbox(t, a, inbox)
	if s := see(t, m); s.Len() != 1 || s.At(0).Tag != TagUnknown || s.At(0).Size != int64(len(hello)+6) {
		t.Errorf("%s", describe(s))
	}
	if got := content(t, m, 1); got != hello+"more\r\n" {
		t.Errorf("content is %q", got)
	}
	if !strings.Contains(log.String(), "message has been altered") || len(tree(t, a.dir).in("new")) != 0 {
		t.Errorf("log: %s; files: %v", log.String(), tree(t, a.dir))
	}
}

// Files that a backup has put back under each other's names lose their tags.
func TestExchangedNames_D04(t *testing.T) {
	a := newTestAccount(t)
	deliver(t, a, inbox, hello, Meta{Tag: TagRequire, Origin: OriginESMTP})
	deliver(t, a, inbox, hello+"two\r\n", Meta{Tag: TagNone, Origin: OriginESMTP})
	m := openMailbox(t, a, inbox)
	names := tree(t, a.dir).in("cur")
	must(t, os.Rename(names[0], names[0]+"x"))
	must(t, os.Rename(names[1], names[0]))
	must(t, os.Rename(names[0]+"x", names[1]))
	for uid := range uint32(2) {
		content(t, m, uid+1)
	}
	if s := see(t, m); s.Len() != 2 || s.At(0).Tag != TagUnknown || s.At(1).Tag != TagUnknown {
		t.Errorf("%s", describe(s))
	}
}

// A file that only has another time is what it was; it is read once to see that.
func TestTouchedMessage(t *testing.T) {
	a, log := logged(t, newTestAccount(t).dir)
	deliver(t, a, inbox, hello, Meta{Tag: TagRequire, Origin: OriginESMTP})
	m := openMailbox(t, a, inbox)
	before := see(t, m).At(0)
	must(t, os.Chtimes(onlyFile(t, a), time.Time{}, time.Unix(2_000_000_000, 0)))
	for range 2 {
		if got := content(t, m, 1); got != hello {
			t.Errorf("content is %q", got)
		}
	}
	if after := see(t, m).At(0); after.Tag != TagRequire || after.ModSeq != before.ModSeq || log.Len() > 0 && strings.Contains(log.String(), "ERROR") {
		t.Errorf("message was %+v and is %+v; log: %s", before, after, log)
	}
	if len(m.v.seen) != 1 {
		t.Errorf("it is remembered as %v", m.v.seen)
	}
}

// The bond goes with copies, also to other accounts, and is looked at on the way.
func TestBondOfCopies_D04(t *testing.T) {
	a := newTestAccount(t)
	deliver(t, a, inbox, hello, Meta{Tag: TagRequire, Origin: OriginESMTP})
	deliver(t, a, inbox, hello+"x", Meta{Tag: TagRequire, Origin: OriginMDA})
	must(t, a.CreateMailbox(t.Context(), "Copy", ""))
	m := openMailbox(t, a, inbox)
	if _, _, err := m.Copy(t.Context(), []uint32{1}, "Copy"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"cur", ".Copy/cur"} {
		for _, name := range tree(t, a.dir).in(dir) {
			if c, err := a.sumOfFile(name); err != nil || !bound(c, name) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	out := filepath.Join(t.TempDir(), "out")
	must(t, a.ExportMaildir(t.Context(), inbox, out, nil))
	entries, err := os.ReadDir(filepath.Join(out, "cur"))
	if err != nil || len(entries) != 2 {
		t.Fatalf("exported %v, %v", entries, err)
	}
	must(t, os.WriteFile(filepath.Join(out, "cur", entries[0].Name()), []byte("Subject: other\r\n\r\n"), 0o600))
	b, log := logged(t, newTestAccount(t).dir)
	if n, err := b.ImportMaildir(t.Context(), inbox, out, ImportReport{}); n.Added != 2 || err != nil {
		t.Fatalf("imported %+v, %v", n, err)
	}
	tags := make(map[Tag]int)
	for i, s := 0, openMailbox(t, b, inbox).Snapshot(); i < s.Len(); i++ {
		tags[s.At(i).Tag]++
	}
	if tags[TagRequire] != 1 || tags[TagUnknown] != 1 || !strings.Contains(log.String(), "message has been altered") {
		t.Errorf("tags are %v; log: %s", tags, log)
	}
}

func bound(c contentSum, path string) bool {
	p := parseName(filepath.Base(path))
	return c.binds(&p)
}
