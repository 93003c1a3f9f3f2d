package store

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rtls/store/internal/vfs"
)

func TestMaildirRoundTrip(t *testing.T) {
	a := newTestAccount(t)
	from := openMailbox(t, a, "INBOX")
	for i, text := range mboxTexts {
		meta := Meta{Flags: Flags(i*5) & 63, Date: time.Unix(1_000_000_000+int64(i)*86_399, 0), Tag: Tag(i % 4), Origin: Origin(i % 5)}
		if i%2 == 0 {
			meta.Keywords = []string{"$Junk", "work"}
		}
		appendText(t, from, text, meta)
	}
	dir := filepath.Join(t.TempDir(), "out")
	for range 2 { // the second adds nothing
		must(t, a.ExportMaildir(t.Context(), "INBOX", dir, nil))
	}
	to := makeMailbox(t, a, "In")
	var last Step
	for _, want := range []Imported{{Added: len(mboxTexts)}, {Known: len(mboxTexts)}} {
		n, err := a.ImportMaildir(t.Context(), "In", dir, ImportReport{Progress: func(s Step) { last = s }})
		must(t, err)
		n.Octets = 0
		if n != want || last.Octets != last.AllOctets || last.AllOctets == 0 || last.Messages != last.AllMessages {
			t.Errorf("imported %+v, want %+v; progress ended with %+v", n, want, last)
		}
	}
	compareMailboxes(t, from, to, TagRequire)
}

func TestImportFolders(t *testing.T) {
	tagged := baseName("3.c", sumOfText(hello), TagRequire, OriginESMTP)
	source := filepath.Join(dovecotAccount(t, map[string]string{
		"cur/1.a:2,S": hello, "new/2.b": hello, ".A.B&APY-/cur/" + tagged + ":2,Fa": hello,
		".A.B&APY-/new/": "", ".A.B&APY-/tmp/": "", ".A.B&APY-/dovecot-keywords": "0 work\n", ".notmuch/x": "",
	}), "Maildir")
	for into, want := range map[string]string{"INBOX": "A/Bö", "Old": "Old/A/Bö"} {
		a := newTestAccount(t)
		if into != "INBOX" {
			if _, err := a.ImportMaildir(t.Context(), into, source, ImportReport{}); !errors.Is(err, ErrNoMailbox) {
				t.Errorf("import into nothing: %v", err)
			}
			makeMailbox(t, a, into)
		}
		n, err := a.ImportMaildir(t.Context(), into, source, ImportReport{})
		must(t, err)
		if s := see(t, openMailbox(t, a, into)); n.Added != 3 || s.Len() != 2 || s.At(0).Flags != Seen {
			t.Errorf("%s: %+v, %s", into, n, describe(s))
		}
		s := see(t, openMailbox(t, a, want))
		if s.Len() != 1 || s.At(0).Tag != TagRequire || keywordsOf(s) != "work" || s.At(0).Flags != Flagged {
			t.Errorf("%s: %s", want, describe(s))
		}
	}
}

// listings counts how often a directory is listed.
type listings struct {
	vfs.FS
	n int
}

func (l *listings) Names(dir string) ([]string, error) {
	l.n++
	return l.FS.Names(dir)
}

// Many messages that go while an export runs are not looked for one by one, whoever
// removes them.
func TestExportOfWhatIsExpunged(t *testing.T) {
	const messages = 60
	remove := map[string]func(dir string){
		"files": func(dir string) {
			for _, name := range curNames(t, filepath.Join(dir, "Maildir"))[2:] {
				must(t, os.Remove(filepath.Join(dir, "Maildir", "cur", name)))
			}
		},
		"expunged": func(dir string) {
			must(t, within(t.Context(), openTestAccount(t, dir), func(m *Mailbox) error {
				var uids []uint32
				for uid := range uint32(messages - 2) {
					uids = append(uids, uid+3)
				}
				return m.Expunge(t.Context(), uids)
			}))
		},
	}
	export := map[string]func(a *Account, p Progress) error{
		"maildir": func(a *Account, p Progress) error {
			return a.ExportMaildir(t.Context(), inbox, filepath.Join(t.TempDir(), "out"), p)
		},
		"mbox": func(a *Account, p Progress) error { return a.ExportMbox(t.Context(), inbox, io.Discard, p) },
	}
	for _, test := range []struct{ export, remove string }{{"maildir", "files"}, {"maildir", "expunged"}, {"mbox", "expunged"}} {
		t.Run(test.export+" "+test.remove, func(t *testing.T) {
			counted := &listings{FS: vfs.OS{}}
			dir := newTestAccount(t).dir
			a, err := Open(dir, &Options{fs: counted})
			must(t, err)
			t.Cleanup(func() { must(t, a.Close()) })
			m := openMailbox(t, a, inbox)
			for range messages {
				appendText(t, m, hello, Meta{})
			}
			seen := 0
			must(t, export[test.export](a, func(s Step) {
				if seen++; seen == 1 {
					remove[test.remove](dir)
					counted.n = 0
				}
			}))
			if seen != messages || counted.n > 4*messages { // 10 for each to be looked for
				t.Errorf("%d of %d messages seen, directories listed %d times", seen, messages, counted.n)
			}
		})
	}
}
