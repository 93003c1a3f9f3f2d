package lda

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"rtls/store"
)

// textLogger writes lines without time.
func textLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func TestResolve(t *testing.T) {
	a, _ := newAgent(t, nil)
	for _, tc := range []struct{ address, user, folder string }{
		{"u1", "u1", ""},
		{"u1@anything.example", "u1", ""},
		{"alice@example.org", "alice@example.org", ""},
		{"alice@EXAMPLE.org", "alice@example.org", ""},
		{`"alice"@example.org`, "alice@example.org", ""},
		{"alice+lists@example.org", "alice@example.org", "lists"},
		{"alice+lists+go@example.org", "alice@example.org", "lists+go"},
		{"alice+@example.org", "alice@example.org", ""},
		{"u+plus", "u+plus", ""}, // a user's name may hold the delimiter
		{"U1", "u1", ""},
		{"+x@example.org", "", ""},
		{"alice", "", ""},
		{"alice@example.net", "", ""},
		{`"u/../x"@example.net`, "", ""},
		{`"u x"@example.net`, "", ""},
		{"", "", ""},
		{"@", "", ""},
	} {
		r, err := a.Resolve(t.Context(), tc.address)
		if tc.user == "" {
			if e, ok := errors.AsType[*Error](err); !ok || e.Code != 550 || e.Status != "5.1.1" {
				t.Errorf("%q: %+v, %v", tc.address, r, err)
			}
			continue
		}
		if want := (Recipient{Address: tc.address, User: tc.user, Folder: tc.folder, Also: []Target{}}); err != nil || !reflect.DeepEqual(r, want) {
			t.Errorf("%q: %+v, %v", tc.address, r, err)
		}
	}
	if _, err := a.Resolve(t.Context(), "broken@example.org"); !Classify(err).Temporary() {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Resolve(ctx, "u1"); err == nil || !Classify(err).Temporary() {
		t.Error(err)
	}
	none, _ := newAgent(t, func(c *Config) { c.Delimiter = "" })
	if _, err := none.Resolve(t.Context(), "alice+lists@example.org"); err == nil {
		t.Error("a detail was split off without a delimiter")
	}
	if got := a.Detail(`"a+b c"@example.org`); got != "b c" {
		t.Errorf("detail %q", got)
	}
}

func TestCheckAddress(t *testing.T) {
	for address, ok := range map[string]bool{
		"":                             true,
		"a@example.org":                true,
		"-oops@example.org":            true,
		"ä@ö.example":                  true,
		`"a b<>\"c"@example.org`:       true,
		"a b@example.org":              false,
		"a>@example.org":               false,
		"a\n@example.org":              false,
		"a\x00@example.org":            false,
		`"a` + "\n" + `"@example.org`:  false,
		`"a\` + "\n" + `"@example.org`: false,
		`"a@example.org`:               false,
		`"a\`:                          false,
		"\xff@example.org":             false,
		strings.Repeat("a", 513):       false,
	} {
		if err := CheckAddress(address); (err == nil) != ok {
			t.Errorf("%.40q: %v", address, err)
		}
	}
}

func TestQuote(t *testing.T) {
	for address, want := range map[string]string{
		"":                  "",
		"a@example.org":     "a@example.org",
		`"a b"@example.org`: `"a b"@example.org`,
		"a b@example.org":   `"a b"@example.org`,
		`a"b\c@example.org`: `"a\"b\\c"@example.org`,
		"a b":               `"a b"`,
		"<a@b>@example.org": `"<a@b>"@example.org`,
	} {
		got := Quote(address)
		if got != want {
			t.Errorf("%s became %s, want %s", address, got, want)
		}
		if err := CheckAddress(got); err != nil {
			t.Errorf("%s became %s: %v", address, got, err)
		}
	}
	if CheckAddress(Quote("a\n@example.org")) == nil {
		t.Error("a line feed was quoted away")
	}
}

// Into a real store: the account is made on first delivery, the tag is there for
// others to read, a folder that does not exist gives way to INBOX.
func TestRealStore(t *testing.T) {
	root := t.TempDir()
	a := New(Config{
		Lookup: func(user string) (User, bool, error) {
			return User{Name: user, Dir: filepath.Join(root, user)}, true, nil
		},
		Delimiter: "+",
	})
	var rcpts []Recipient
	for _, address := range []string{"u1@x", "u2@x", "u1+new@x"} {
		r, err := a.Resolve(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		r.User = strings.TrimSuffix(r.User, "@x")
		rcpts = append(rcpts, r)
	}
	rcpts[2].User, rcpts[2].Folder = "u1", "new"
	for round := range 2 {
		for i, err := range a.Deliver(t.Context(), Envelope{ID: "id", RequireTLS: true}, rcpts, strings.NewReader("Subject: x\n\nbody\n")) {
			if err != nil {
				t.Fatal(i, err)
			}
		}
		if round == 0 {
			account, err := store.Open(filepath.Join(root, "u1"), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := account.CreateMailbox(t.Context(), "new", ""); err != nil {
				t.Fatal(err)
			}
			if err := account.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, want := range []struct {
		user, mailbox string
		n             int
	}{{"u1", "INBOX", 2}, {"u1", "new", 1}, {"u2", "INBOX", 2}} {
		messages := readMailbox(t, filepath.Join(root, want.user), want.mailbox)
		if len(messages) != want.n {
			t.Errorf("%s of %s has %d messages", want.mailbox, want.user, len(messages))
		}
		for _, m := range messages {
			if m.Tag != store.TagRequire || m.Origin != store.OriginMDA {
				t.Errorf("%s of %s: tag %s/%s", want.mailbox, want.user, m.Tag, m.Origin)
			}
		}
	}
}

func readMailbox(t *testing.T, dir, mailbox string) []store.Message {
	t.Helper()
	account, err := store.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer account.Close()
	box, err := account.Mailbox(t.Context(), mailbox)
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	snapshot, err := box.Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []store.Message
	for i := range snapshot.Len() {
		all = append(all, snapshot.At(i))
	}
	return all
}
