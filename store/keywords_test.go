package store

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func setFlags(t *testing.T, m *Mailbox, op FlagOp, flags Flags, keywords []string, uids ...uint32) {
	t.Helper()
	if _, err := m.SetFlags(t.Context(), FlagChange{UIDs: uids, Op: op, Flags: flags, Keywords: keywords}); err != nil {
		t.Fatal(err)
	}
}

// infosOf are the flags and letters of the files in cur/, by UID.
func infosOf(t *testing.T, m *Mailbox) string {
	t.Helper()
	s := m.Snapshot()
	var list []string
	for i := range s.Len() {
		name := m.v.at(s, i).name
		if _, err := os.Stat(m.v.path(false, name)); err != nil {
			t.Error(err)
		}
		list = append(list, strings.TrimPrefix(name[strings.IndexByte(name, ':'):], ":2,"))
	}
	return strings.Join(list, " ")
}

func keywordsOf(s *Snapshot) string {
	var list []string
	for i := range s.Len() {
		list = append(list, strings.Join(s.At(i).Keywords, "+"))
	}
	return strings.Join(list, " ")
}

func keywordsFileOf(t *testing.T, m *Mailbox) string {
	t.Helper()
	raw, err := os.ReadFile(m.v.sub(keywordsFile))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func wantKeywords(t *testing.T, m *Mailbox, infos, keywords string) {
	t.Helper()
	s := see(t, m)
	if got := infosOf(t, m); got != infos {
		t.Errorf("files say %q, want %q", got, infos)
	}
	if got := keywordsOf(s); got != keywords {
		t.Errorf("keywords are %q, want %q", got, keywords)
	}
}

func TestKeywordsAreLetters(t *testing.T) {
	a := newTestAccount(t)
	m := openMailbox(t, a, "INBOX")
	appendText(t, m, hello, Meta{Flags: Seen, Keywords: []string{"work", "$Junk"}})
	appendText(t, m, hello, Meta{})
	wantKeywords(t, m, "Sab ", "$Junk+work ")
	setFlags(t, m, FlagsAdd, Flagged, []string{"later"}, 1, 2)
	wantKeywords(t, m, "FSabc Fc", "$Junk+later+work later")
	setFlags(t, m, FlagsRemove, 0, []string{"$Junk", "unknown"}, 1, 2)
	wantKeywords(t, m, "FSbc Fc", "later+work later")
	setFlags(t, m, FlagsReplace, 0, []string{"$Junk"}, 2)
	wantKeywords(t, m, "FSbc a", "later+work $Junk")
	if got := keywordsFileOf(t, m); got != "0 $Junk\n1 work\n2 later\n" {
		t.Errorf("file is %q", got)
	}
	checkCounters(t, a, "INBOX")
}

func TestKeywordsSurviveTheIndex(t *testing.T) {
	dir := newTestAccount(t).dir
	a := openTestAccount(t, dir)
	m := openMailbox(t, a, "INBOX")
	many := []string{}
	for i := range 30 {
		many = append(many, fmt.Sprintf("k%02d", i))
	}
	appendText(t, m, hello, Meta{Keywords: many})
	if got := see(t, m).At(0).Keywords; !slices.Equal(got, many) {
		t.Errorf("keywords are %v", got)
	}
	must(t, m.Close())
	must(t, a.Close())
	a = openTestAccount(t, dir)
	m = openMailbox(t, a, "INBOX")
	if got := see(t, m).At(0).Keywords; !slices.Equal(got, many) {
		t.Errorf("keywords became %v", got)
	}
	must(t, m.Close())
	must(t, a.Close())
	removeIndex(t, dir)
	m = openMailbox(t, openTestAccount(t, dir), "INBOX")
	if got := see(t, m).At(0).Keywords; !slices.Equal(got, many[:26]) {
		t.Errorf("without the index, keywords are %v", got)
	}
}

func TestForeignLetters(t *testing.T) {
	a := openTestAccount(t, dovecotAccount(t, map[string]string{
		"dovecot-keywords": "0 $Forwarded\n1 work\n5 far\n5 twice\n26 high\nx y\n2 $RequireTLS\n3 bad(\n4 work\n",
		"cur/1.a:2,Sbc":    hello,
		"cur/2.b:2,dfz":    hello,
		"cur/3.c:2,":       hello,
		"cur/4.d:2,Xg":     hello,
	}))
	m := openMailbox(t, a, "INBOX")
	wantKeywords(t, m, "Sbc dfz  Xg", "work far  ")
	for i := range 4 {
		if s := m.Snapshot(); s.At(i).Tag != TagUnknown {
			t.Errorf("message %d has the tag %s", i, s.At(i).Tag)
		}
	}
	mod := m.Snapshot().HighestModSeq()
	rename := func(from, to string) {
		t.Helper()
		must(t, os.Rename(filepath.Join(a.maildir(), "cur", from), filepath.Join(a.maildir(), "cur", to)))
	}
	rename("1.a:2,Sbc", "1.a:2,Scf")
	rename("3.c:2,", "3.c:2,Fb")
	s := syncUntil(t, m, "letters are seen", func(s *Snapshot) bool { return keywordsOf(s) == "far far work " })
	if s.At(0).ModSeq <= mod || s.At(2).ModSeq <= mod || s.At(1).ModSeq > mod || s.At(2).Flags != Flagged {
		t.Errorf("after the change: %s", describe(s))
	}
	// Letters without a keyword stay, and are not given to another keyword: c, d, g,
	// X and z are in use.
	setFlags(t, m, FlagsAdd, 0, []string{"n1", "n2", "n3"}, 1, 4)
	wantKeywords(t, m, "Scefhi dfz Fb Xeghi", "far+n1+n2+n3 far work n1+n2+n3")
	if got := keywordsFileOf(t, m); got != "0 $Forwarded\n1 work\n2 $RequireTLS\n3 bad(\n4 n1\n5 far\n7 n2\n8 n3\n" {
		t.Errorf("file is %q", got)
	}
	setFlags(t, m, FlagsReplace, Seen, nil, 1, 2, 3, 4)
	wantKeywords(t, m, "Sc Sdz S SXg", "   ")
}

func TestCopiesHaveLettersOfTheirMailbox(t *testing.T) {
	a := openTestAccount(t, dovecotAccount(t, map[string]string{
		"dovecot-keywords":       "0 x\n1 y\n",
		"cur/1.a:2,Sabq":         hello,
		".To/dovecot-keywords":   "0 y\n",
		".To/cur/9.old:2,Xbz":    hello,
		".To/new/":               "",
		".To/tmp/":               "",
		".Bad/dovecot-keywords/": "",
		".Bad/cur/":              "",
		".Bad/new/":              "",
		".Bad/tmp/":              "",
	}))
	m := openMailbox(t, a, "INBOX")
	to := openMailbox(t, a, "To")
	wantKeywords(t, to, "Xbz", "")
	for _, dest := range []string{"To", "INBOX", "Bad"} {
		if _, _, err := m.Copy(t.Context(), []uint32{1}, dest); err != nil {
			t.Fatal(err)
		}
	}
	wantKeywords(t, to, "Xbz Sac", " x+y")
	wantKeywords(t, m, "Sabq Sabq", "x+y x+y")
	wantKeywords(t, openMailbox(t, a, "Bad"), "S", "x+y")
}

func FuzzLetterTable(f *testing.F) {
	f.Add("0 a\n1 b\n", "Xab", "a b")
	f.Add("25 $RequireTLS\n300 x\n", "z", "$RequireTLS")
	f.Fuzz(func(t *testing.T, file, extra, words string) {
		table := parseLetterTable(file)
		if again := parseLetterTable(table.String()); again != table {
			t.Fatalf("%q became %q", table, again)
		}
		keywords := strings.Fields(words)
		next := table.letters(extra, keywords)
		for _, k := range table.keywords(next) {
			if !slices.Contains(keywords, k) {
				t.Fatalf("letters %q mean %q, which is not in %q", next, k, keywords)
			}
		}
		for _, k := range keywords {
			if validKeyword(k) && slices.Contains(table[:], k) && !slices.Contains(table.keywords(next), k) {
				t.Fatalf("letters %q do not mean %q", next, k)
			}
		}
		for i := range len(extra) {
			if table.of(extra[i]) == "" && strings.Count(next, extra[i:i+1]) != strings.Count(extra, extra[i:i+1]) {
				t.Fatalf("letter %q of %q is not kept in %q", extra[i], extra, next)
			}
		}
	})
}
