package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dovecotAccount makes an account of a Maildir that Dovecot has kept: files by path
// below Maildir/, a path that ends in a slash being a directory.
func dovecotAccount(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "alice")
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, "Maildir", sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		path := filepath.Join(dir, "Maildir", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o700); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// uidsByKey writes "KEY=UID ..." in the order of UIDs.
func uidsByKey(s *Snapshot) string {
	var list []string
	for i := range s.Len() {
		list = append(list, fmt.Sprintf("%s=%d", s.At(i).Key, s.At(i).UID))
	}
	return strings.Join(list, " ")
}

const dovecotGUID = "3085f01b7f11094c501100008c4a11c1"

var dovecotFiles = map[string]string{
	"dovecot-uidlist": "3 V1275660208 N25022 G" + dovecotGUID + "\n" +
		"5 W9 S9 :100.a,S=9,W=9\n" +
		"25006 W46 S46 :30.c,S=46,W=46\n" +
		"25010 :20.b\n" +
		"25011 :25.gone\n" +
		"25012 P7 O2 Gabc :40.new\n",
	"cur/100.a,S=9,W=9:2,S":   "A: b\r\n\r\n",
	"cur/30.c,S=46,W=46:2,FR": hello,
	"cur/20.b,U=7:2,":         hello,
	"cur/10.unlisted:2,T":     hello,
	"new/40.new":              hello,
	"new/50.later":            hello,
	".Work.Old/cur/":          "",
	".Work.Old/new/":          "",
	".Work.Old/tmp/":          "",
}

func TestTakeOverFromDovecot(t *testing.T) {
	dir := dovecotAccount(t, dovecotFiles)
	const want = "100.a=5 30.c=25006 20.b=25010 40.new=25012 10.unlisted=25022 50.later=25023"
	validity := func() uint32 {
		a := openTestAccount(t, dir)
		m := openMailbox(t, a, "INBOX")
		s := see(t, m)
		if got := uidsByKey(s); got != want {
			t.Errorf("UIDs are %s, want %s", got, want)
		}
		if s.UIDNext() != 25024 {
			t.Errorf("UIDNEXT is %d", s.UIDNext())
		}
		if s.At(1).Flags != Answered|Flagged || s.At(0).Flags != Seen || s.At(4).Flags != Deleted {
			t.Errorf("flags are wrong: %s", describe(s))
		}
		if m.ObjectID() != dovecotGUID {
			t.Errorf("identifier is %s", m.ObjectID())
		}
		checkCounters(t, a, "INBOX")
		return s.UIDValidity()
	}
	if got := validity(); got != 1275660208 {
		t.Errorf("UIDVALIDITY is %d", got)
	}
	if names := tree(t, dir).in("Maildir/new"); len(names) != 0 {
		t.Errorf("left in new/: %v", names)
	}
	if got := validity(); got != 1275660208 {
		t.Errorf("UIDVALIDITY became %d", got)
	}
}

// What was taken over survives the loss of the index; what Dovecot gives after that
// is not ours.
func TestIndexLostAfterDovecot(t *testing.T) {
	dir := dovecotAccount(t, dovecotFiles)
	a := openTestAccount(t, dir)
	m := openMailbox(t, a, "INBOX")
	see(t, m)
	must(t, m.Close())
	must(t, a.Close())
	removeIndex(t, dir)
	path := filepath.Join(dir, "Maildir", "dovecot-uidlist")
	list, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, append(list, "25022 :50.later\n25023 :10.unlisted\n"...), 0o600))
	s := see(t, openMailbox(t, openTestAccount(t, dir), "INBOX"))
	if s.UIDValidity() != 1275660208 {
		t.Errorf("UIDVALIDITY became %d", s.UIDValidity())
	}
	if got, want := uidsByKey(s), "100.a=5 30.c=25006 20.b=25010 40.new=25012 10.unlisted="; !strings.HasPrefix(got, want) {
		t.Errorf("UIDs are %s, want %s...", got, want)
	}
	for i := 4; i < s.Len(); i++ {
		if uid := s.At(i).UID; uid < 25024 {
			t.Errorf("UID %d is given again", uid)
		}
	}
}

func TestCopyIntoDovecotMailbox(t *testing.T) {
	files := map[string]string{
		"cur/1.x:2,":                hello,
		".Old/cur/7.y:2,":           hello,
		".Old/new/":                 "",
		".Old/tmp/":                 "",
		".Old/dovecot-uidlist":      "3 V77 N9\n4 :7.y\n",
		".Copy/cur/7.y:2,":          hello,
		".Copy/new/":                "",
		".Copy/tmp/":                "",
		".Copy/dovecot-uidlist":     "3 V78 N9 G" + dovecotGUID + "\n4 :7.y\n",
		"dovecot-uidlist":           "3 V79 N9 G" + dovecotGUID + "\n4 :1.x\n",
		"subscriptions":             "V\t2\n\nOld\nA\tB\n",
		".Strange/dovecot-uidlist/": "",
		".Strange/cur/8.z:2,":       hello,
	}
	a := openTestAccount(t, dovecotAccount(t, files))
	m := openMailbox(t, a, "INBOX")
	validity, pairs, err := m.Copy(t.Context(), []uint32{4}, "Old")
	must(t, err)
	if validity != 77 || len(pairs) != 1 || pairs[0] != (UIDPair{4, 9}) {
		t.Errorf("copied to %d %v", validity, pairs)
	}
	if got := uidsOf(see(t, openMailbox(t, a, "Old"))); len(got) != 2 || got[0] != 4 || got[1] != 9 {
		t.Errorf("UIDs are %v", got)
	}
	copied := openMailbox(t, a, "Copy")
	if copied.ObjectID() == dovecotGUID || m.ObjectID() != dovecotGUID {
		t.Error("two mailboxes have one identifier")
	}
	if s := see(t, openMailbox(t, a, "Strange")); s.Len() != 1 {
		t.Errorf("strange mailbox: %s", describe(s))
	}
}

func TestDovecotSubscriptions(t *testing.T) {
	for _, text := range []string{
		"V\t2\n\nOld\nA\tB\nv&AC4-1\nx.y\n&-\tA&APY-\n",
		"Old\nA.B\nv&AC4-1\nx&AC4-y\n&-.A&APY-\n",
	} {
		a := openTestAccount(t, dovecotAccount(t, map[string]string{"subscriptions": text}))
		const want = "Old A/B v.1 x.y &/Aö"
		if got, err := a.subscriptions(); err != nil || strings.Join(got, " ") != want {
			t.Errorf("got %q, %v", got, err)
		}
		must(t, a.Subscribe(t.Context(), "More", true))
		if got, err := a.subscriptions(); err != nil || strings.Join(got, " ") != want+" More" {
			t.Errorf("then got %q, %v", got, err)
		}
	}
}

func TestParseUIDList(t *testing.T) {
	for _, test := range []struct {
		name, text, want string // UIDVALIDITY UIDNEXT object, keys and UIDs; empty for an error
	}{
		{"no file", "", ""},
		{"version 1", "1 5 9\n1 x\n", ""},
		{"no UIDVALIDITY", "3 N5\n1 :x\n", ""},
		{"UIDVALIDITY 0", "3 V0 N5\n1 :x\n", ""},
		{"UIDVALIDITY too large", "3 V4294967296 N5\n1 :x\n", ""},
		{"used up", "3 V1 N4294967295\n", ""},
		{"used up by a line", "3 V1 N1\n4294967290 :x\n", ""},
		{"header only", "3 V1 N7", "1 7 "},
		{"no UIDNEXT", "3 V1\n6 :x\n", "1 7  x=6"},
		{"UIDNEXT too low", "3 V1 N2\n6 :x\n", "1 7  x=6"},
		{"unknown field of the header", "3 V1 N7 Zx Q\n6 :x\n", "1 7  x=6"},
		{"identifier that does not fit", "3 V1 N7 Gxyz\n", "1 7 "},
		{"identifier", "3 V1 N7 G" + dovecotGUID + "\n", "1 7 " + dovecotGUID},
		{"falling", "3 V1 N9\n6 :x\n5 :y\n7 :z\n", "1 9  x=6 z=7"},
		{"twice one UID", "3 V1 N9\n6 :x\n6 :y\n", "1 9  x=6"},
		{"twice one file", "3 V1 N9\n6 :x\n8 :x,S=1\n", "1 9  x=8"},
		{"no name", "3 V1 N9\n6 :\n7 W5\n8\n\n", "1 9 "},
		{"colon within", "3 V1 N9\n6 W1 :x,y :z\n", "1 9  x=6"},
		{"cut off", "3 V1 N9\n6 :x\n7 :yyy", "1 9  x=6"},
		{"UID 0", "3 V1 N9\n0 :x\n-1 :y\n+2 :z\n", "1 9 "},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, err := parseUIDList(test.text)
			got := ""
			if err == nil {
				got = fmt.Sprintf("%d %d %s", l.uidValidity, l.uidNext, l.object)
				for _, key := range []Key{"x", "y", "z"} {
					if uid := l.uids[key]; uid != 0 {
						got += fmt.Sprintf(" %s=%d", key, uid)
					}
				}
			}
			if got != test.want {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

// Whatever a list says, all messages are there, and no UID is given twice.
func FuzzUIDList(f *testing.F) {
	f.Add("3 V1275660208 N25022 G" + dovecotGUID + "\n5 W9 :1.a,S=9\n25006 :2.b\n")
	f.Add("3 V1 N1\n1 :1.a\n1 :2.b\n")
	f.Add("3 V1 N3\n2 :1.a\n4294967294 :2.b\n")
	f.Fuzz(func(t *testing.T, text string) {
		if l, err := parseUIDList(text); err == nil {
			seen := make(map[uint32]Key)
			for key, uid := range l.uids {
				if seen[uid] != "" || uid == 0 || uid >= l.uidNext {
					t.Fatalf("UID %d of %q", uid, key)
				}
				seen[uid] = key
			}
		}
		a := openTestAccount(t, dovecotAccount(t, map[string]string{
			"dovecot-uidlist": text, "cur/1.a,S=9:2,": "A: b\r\n\r\n", "cur/2.b:2,": hello, "new/3.c": hello,
		}))
		m := openMailbox(t, a, "INBOX")
		if s := see(t, m); s.Len() != 3 {
			t.Fatalf("%d messages: %s", s.Len(), describe(s))
		}
	})
}
