package compose

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rtls/internal/cli"
	"rtls/internal/requiretls"
)

func TestWishInMessage(t *testing.T) {
	const header = "X-Require-TLS"
	for _, tc := range []struct {
		in   string
		to   string
		want string // wish, or the error's text
	}{
		{"", "b@example.net", "auto"},
		{"X-Require-TLS: yes\n", "b@example.net", "yes"},
		{"x-require-tls:\n No\n", "b@example.net", "no"},
		{"X-Require-TLS: yes\nX-Require-TLS: Yes\n", "b@example.net", "yes"},
		{"X-Require-TLS: yes\nX-Require-TLS: no\n", "b@example.net", "requiretls=yes and for requiretls=no"},
		{"X-Require-TLS: maybe\n", "b@example.net", "not \"maybe\""},
		{"", "b+RequireTLS@example.net", "yes"},
		{"X-Require-TLS: no\n", "b+requiretls@example.net", "requiretls=no and for requiretls=yes"},
		{"", `"b x+requiretls"@example.net`, "auto"},
		{"", "+requiretls@example.net", "auto"},
		{"", "b+x+requiretls@example.net", "yes"},
	} {
		o := options(tc.to)
		o.WishHeader, o.PlusWish = header, true
		m, err := Read(strings.NewReader(complete+tc.in+"\nx\n"), o)
		if err != nil {
			if e := cli.ExitCode(err); e != cli.DataErr || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%q to %s: %v", tc.in, tc.to, err)
			}
			continue
		}
		got := text(t, m)
		want := complete
		if tc.want == "no" {
			want += "TLS-Required: No\r\n"
		}
		if m.Wish.String() != tc.want || got != want+"\r\nx\r\n" {
			t.Errorf("%q to %s: %s, %q", tc.in, tc.to, m.Wish, got)
		}
		if strings.Contains(m.To[0], "+RequireTLS") || m.To[0] == "b+x+requiretls@example.net" {
			t.Errorf("to %s: %q", tc.to, m.To)
		}
	}
	m := mustRead(t, complete+"X-Require-TLS: whatever\n\n", options("b+requiretls@example.net")) // not configured
	if m.To[0] != "b+requiretls@example.net" || !strings.Contains(text(t, m), "X-Require-TLS: whatever") || m.Wish != requiretls.Auto {
		t.Errorf("%q, %s", m.To, m.Wish)
	}
}

func TestChoose(t *testing.T) {
	o := options("b+requiretls@example.net")
	o.PlusWish = true
	o.Choose = func(f Facts) (Choice, error) {
		if f.Sender != "a@example.org" || !slices.Equal(f.To, []string{"b@example.net"}) || f.Asked == nil || *f.Asked != requiretls.Yes ||
			!slices.Equal(f.Header("subject"), []string{"folded  text"}) || f.Header("X") != nil {
			t.Errorf("%+v", f)
		}
		return Choice{Identity: "work@example.com", Force: true, Wish: requiretls.No}, nil
	}
	m := mustRead(t, "Subject: folded\n  text\n"+complete+"\n", o)
	if m.From != "work@example.com" || m.Wish != requiretls.No || !strings.Contains(text(t, m), "\r\nFrom: work@example.com\r\n") || !strings.Contains(text(t, m), "\r\nTLS-Required: No\r\n") {
		t.Errorf("%q, %q", m.From, text(t, m))
	}
	o.Choose = func(Facts) (Choice, error) { return Choice{}, cli.Errorf(cli.Config, "no") }
	if _, err := Read(strings.NewReader(complete+"\n"), o); cli.ExitCode(err) != cli.Config {
		t.Error(err)
	}
}

// The address in the From field, and what becomes of the one that was there.
func TestAuthorship(t *testing.T) {
	for _, tc := range []struct {
		in, want string
		force    bool
	}{
		{"From: root (Cron Daemon)\n", "From: Cron Daemon <me@example.org>\r\n", false},
		{"From: \"Cron, D.\" <root>\n", "From: \"Cron, D.\" <me@example.org>\r\n", false},
		{"From: root\n", "From: me@example.org\r\n", false},
		{"From: Group: Name <root>;\n", "From: me@example.org\r\n", false},
		{"From: a@example.com\n", "From: a@example.com\r\n", false},
		{"From: a@example.com, root\n", "From: a@example.com, root\r\n", false},
		{"From: A <a@example.com>\nSender: b@example.com\n", "From: A <me@example.org>\r\nReply-To: A <a@example.com>\r\n", true},
		{"From: a@example.com\nReply-To: c@example.com\n", "From: me@example.org\r\nReply-To: c@example.com\r\nX-Original-From: a@example.com\r\n", true},
		{"From: Me <me@EXAMPLE.org>\n", "From: Me <me@EXAMPLE.org>\r\n", true},
		{"From: root\n", "From: me@example.org\r\n", true},
	} {
		o := options("b@example.net")
		o.Force = tc.force
		got := text(t, mustRead(t, tc.in+"Date: x\nMessage-ID: <y@z>\n\n", o))
		if got = strings.NewReplacer("Date: x\r\n", "", "Message-ID: <y@z>\r\n", "").Replace(got); got != tc.want+"\r\n" {
			t.Errorf("%q (force %v): %q", tc.in, tc.force, got)
		}
	}
	null, other := "", "x@example.com"
	for _, tc := range []struct {
		sender *string
		want   string
	}{{nil, "me@example.org"}, {&null, ""}, {&other, "me@example.org"}} {
		o := options("b@example.net")
		o.Force, o.Sender = true, tc.sender
		if m := mustRead(t, complete+"\n", o); m.From != tc.want {
			t.Errorf("%v: %q", tc.sender, m.From)
		}
	}
}

func TestResent(t *testing.T) {
	const block = "Resent-From: a@example.org\nResent-To: b@example.net\n"
	for in, want := range map[string]string{
		block: "Received: x\r\nResent-Date: Tue, 24 Nov 2026 09:30:00 +0100\r\nResent-Message-ID: <>\r\n" + crlf(block),
		"Resent-Date: y\nResent-Message-ID: <1>\n" + block: "Received: x\r\n" + crlf("Resent-Date: y\nResent-Message-ID: <1>\n"+block),
		"Resent-Bcc: b@example.net\n":                      "Received: x\r\n",
	} {
		o := options()
		o.FromHeader = true
		got := text(t, mustRead(t, "Received: x\n"+in+complete+"\n", o))
		if before, id, ok := strings.Cut(got, "Resent-Message-ID: <2"); ok {
			_, after, _ := strings.Cut(id, ">")
			got = before + "Resent-Message-ID: <>" + after
		}
		if got != want+complete+"\r\n" {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestAliases(t *testing.T) {
	file := filepath.Join(t.TempDir(), "aliases")
	const lines = "# comment\nroot: ann, bob@example.net\nann:\n  ann@example.org,\n\tA <ann@example.com>\n\"quoted\": q@example.org\nself: self, x@example.org\nloop: pool\npool: loop\nprog: \"|/bin/cat\"\nincl: :include:/x\nRoot: never@example.org\n more@example.org\npostmaster: root\n"
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := LoadAliases(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		to   string
		code int
		want []string
	}{
		{"root", 0, []string{"ann@example.org", "ann@example.com", "bob@example.net"}},
		{"ROOT@localhost", 0, []string{"ann@example.org", "ann@example.com", "bob@example.net"}},
		{"root@HOST.example.net", 0, []string{"ann@example.org", "ann@example.com", "bob@example.net"}},
		{"root@example.org", 0, []string{"root@example.org"}},
		{"joe@localhost", 0, []string{"joe@localhost"}},
		{"quoted", 0, []string{"q@example.org"}},
		{"postmaster", 0, []string{"ann@example.org", "ann@example.com", "bob@example.net"}},
		{"joe", cli.NoUser, nil},
		{"self", cli.NoUser, nil}, // a copy here cannot be kept
		{"loop", cli.Config, nil},
		{"prog", cli.Config, nil},
		{"incl", cli.Config, nil},
	} {
		o := options(tc.to)
		o.Aliases = a
		m, err := Read(strings.NewReader(complete+"\n"), o)
		if cli.ExitCode(err) != tc.code || err == nil && !slices.Equal(m.To, tc.want) {
			t.Errorf("%s: %v, %v", tc.to, m, err)
		}
	}
	if err := a.Check(); err == nil {
		t.Error("Check finds nothing wrong")
	}
	for _, bad := range []string{" x", "no colon", ": x"} {
		if err := os.WriteFile(file, []byte(bad+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadAliases(file); err == nil || !strings.Contains(err.Error(), "aliases:1: ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := os.WriteFile(file, []byte("*: all@example.org\nx: y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err = LoadAliases(file)
	if err != nil || a.Check() != nil || a.Len() != 2 {
		t.Fatal(err, a.Check())
	}
	if got, err := a.Expand("anybody"); err != nil || !slices.Equal(got, []string{"all@example.org"}) {
		t.Errorf("%q, %v", got, err)
	}
}

// A wish behind a plus counts in what an alias leads to as well.
func TestPlusWishOfAlias(t *testing.T) {
	o := options("team@localhost")
	o.PlusWish = true
	o.Aliases = &Aliases{entries: map[string]alias{"team": {1, "ann@example.org, b+requiretls@example.net"}}}
	m := mustRead(t, complete+"\nx\n", o)
	if strings.Join(m.To, " ") != "ann@example.org b@example.net" || m.Wish != requiretls.Yes {
		t.Errorf("%q, %s", m.To, m.Wish)
	}
}

// The tag of a wish leaves in no field: neither one that was written, nor one that
// comes of an alias.
func TestTagLeavesInNoField(t *testing.T) {
	const to = "To: Bob <b+RequireTLS@example.net>,\n \"c+requiretls@example.net\" <c+requiretls@example.net>\nCc: \"x+requiretls@y\"@example.net\nCc: +requiretls@example.net\nCc: broken+requiretls@example.net <\n"
	o := options("a+requiretls@example.net")
	o.PlusWish = true
	want := complete + "To: Bob <b@example.net>,\r\n \"c@example.net\" <c@example.net>\r\nCc: \"x+requiretls@y\"@example.net\r\nCc: +requiretls@example.net\r\nCc: broken+requiretls@example.net <\r\n"
	if got := text(t, mustRead(t, complete+to+"\nx\n", o)); got != want+"\r\nx\r\n" {
		t.Errorf("%q, want %q", got, want)
	}
	o = options()
	o.FromHeader, o.PlusWish, o.AliasHeader = true, true, true
	o.Aliases = &Aliases{entries: map[string]alias{"team": {1, "ann@example.org, b+requiretls@example.net"}}}
	for _, name := range []string{"team", "team+requiretls@localhost"} {
		m := mustRead(t, complete+"To: "+name+"\n\nx\n", o)
		if got := text(t, m); !strings.Contains(got, "\r\nTo: ann@example.org,\r\n b@example.net\r\n") || m.Wish != requiretls.Yes {
			t.Errorf("%s: %q, %s", name, got, m.Wish)
		}
	}
	o = options("b+requiretls@example.net") // not configured
	if got := text(t, mustRead(t, complete+"To: b+requiretls@example.net\n\n", o)); !strings.Contains(got, "To: b+requiretls@") {
		t.Errorf("%q", got)
	}
}
