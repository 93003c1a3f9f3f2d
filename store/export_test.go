package store

import (
	"errors"
	"path/filepath"
	"testing"
	"time"
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
