package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestConformanceSFront has a subtest for each row about what happens before a
// server is asked.
func TestConformanceSFront(t *testing.T) {
	p := newPKI(t)
	t.Run("S39_smtp_on_stdio", func(t *testing.T) { s39(t, p) })
	t.Run("S49_rules", func(t *testing.T) { s49(t, p) })
	t.Run("S50_plus_address", func(t *testing.T) { s50(t, p) })
	t.Run("S24_script_header", func(t *testing.T) { s24script(t, p) })
}

// frontAccount is the server's account with more lines under [send].
func frontAccount(t *testing.T, f *fakesub, p *pki, send, rest string) string {
	t.Helper()
	text, err := os.ReadFile(f.account(t, p))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "front.toml")
	head, accounts, _ := strings.Cut(string(text), "[send")
	if err := os.WriteFile(path, []byte(head+"[send]\n"+send+"[send"+accounts+"\n"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// s39: -bs offers no REQUIRETLS, since it has no TLS; the wish comes by flag, by
// configuration, or by the parameter of a client that knows what it is talking to.
func s39(t *testing.T, p *pki) {
	const dialogue = "EHLO c\r\nMAIL FROM:<sender@example.org>%\r\nRCPT TO:<b@example.net>\r\nDATA\r\nSubject: canary\r\n\r\ncanary-body\r\n.\r\nQUIT\r\n"
	for _, tc := range []struct {
		param string
		args  []string
		want  string // wish; empty: refused
	}{
		{"", nil, "yes"},
		{"", []string{no}, "no"},
		{"", []string{"-O", "requiretls=no"}, "no"},
		{"", []string{auto}, "auto"},
		{" REQUIRETLS", nil, "yes"},
		{" requiretls", []string{yes}, "yes"},
		{" REQUIRETLS", []string{no}, ""},
		{" REQUIRETLS", []string{auto}, ""},
		{" REQUIRETLS=yes", nil, "yes or refused"},
	} {
		f := (&fakesub{}).start(t, p)
		r := f.send(t, p, strings.Replace(dialogue, "%", tc.param, 1), append([]string{"-bs"}, tc.args...)...)
		if strings.Contains(strings.SplitN(r.stdout, "250 2.0.0", 2)[0], "REQUIRETLS\r\n") || r.code != 0 {
			t.Errorf("%q %q: exit %d, %q", tc.param, tc.args, r.code, r.stdout)
		}
		f.stop()
		switch {
		case tc.want == "yes or refused" && len(f.messages) == 0:
		case tc.want == "":
			if len(f.messages) > 0 || !strings.Contains(r.stdout, "554 5.5.4") {
				t.Errorf("%q %q: %q", tc.param, tc.args, r.stdout)
			}
			f.nothingCrossed(t)
		default:
			m := f.one(t)
			checkWish(t, m, strings.TrimSuffix(tc.want, " or refused"))
		}
	}
}

// TestSMTPOneLogin: the messages of one -bs session share a connection and a login,
// also where one of them is refused.
func TestSMTPOneLogin(t *testing.T) {
	p := newPKI(t)
	f := &fakesub{script: func(line string, _ bool) string {
		if strings.HasPrefix(line, "RCPT TO:<nobody@") {
			return "550 5.1.1 nobody"
		}
		return ""
	}}
	f.start(t, p)
	var dialogue strings.Builder
	dialogue.WriteString("EHLO c\r\n")
	for _, to := range []string{"b@example.net", "nobody@example.net", "c@example.net"} {
		dialogue.WriteString("MAIL FROM:<sender@example.org>\r\nRCPT TO:<" + to + ">\r\nDATA\r\nSubject: canary\r\n\r\nx\r\n.\r\n")
	}
	r := f.send(t, p, dialogue.String()+"QUIT\r\n", "-bs")
	f.stop()
	if r.code != 0 || len(f.messages) != 2 || len(f.commands("AUTH")) != 1 || len(f.commands("MAIL")) != 3 || !strings.Contains(r.stdout, "\r\n550 5.1.1 ") {
		t.Errorf("exit %d: %q, the server heard %q", r.code, r.stdout, f.lines())
	}
}

// checkWish looks at parameter and header.
func checkWish(t *testing.T, m submitted, want string) {
	t.Helper()
	got := "auto"
	switch parameter, fields := strings.HasSuffix(m.mail, " REQUIRETLS"), required(m.header()); {
	case parameter && fields == 0:
		got = "yes"
	case !parameter && fields == 1:
		got = "no"
	case parameter || fields > 0:
		got = "both"
	}
	if got != want {
		t.Errorf("the wish is %s, want %s: %q, header %q", got, want, m.mail, m.header())
	}
}

// s49: rules choose the wish by sender, recipient and header; a flag counts more.
func s49(t *testing.T, p *pki) {
	const rules = "[[send.rule]]\nrecipient = \"@secret.example\"\n" +
		"[[send.rule]]\nsender = \"news@example.org\"\nrequiretls = \"auto\"\n" +
		"[[send.rule]]\nheader = \"X-Class: public\"\nrequiretls = \"no\"\n" +
		"[[send.rule]]\nrecipient = \"*@*.example\"\nrequiretls = \"no\"\n"
	for _, tc := range []struct {
		message string
		args    []string
		want    string
	}{
		{canary, []string{"b@example.net"}, "auto"}, // the account's
		{canary, []string{"b@Secret.Example"}, "yes"},
		{canary, []string{"b@example.net", "c@secret.example"}, "yes"},
		{canary, []string{"-f", "news@example.org", "b@example.net"}, "auto"},
		{canary, []string{"-f", "news@example.org", "b@secret.example"}, "yes"},
		{"X-Class: Public\n" + canary, []string{"b@example.net"}, "no"},
		{"X-Class: private\n" + canary, []string{"b@example.net"}, "auto"},
		{canary, []string{"b@open.example"}, "no"},
		{canary, []string{"b@open.example", "b@example.net"}, "auto"}, // not for all of them
		{canary, []string{auto, "b@secret.example"}, "auto"},
		{canary, []string{yes, "b@open.example"}, "yes"},
	} {
		f := (&fakesub{}).start(t, p)
		config := frontAccount(t, f, p, "", "requiretls = \"auto\"\n"+rules)
		r := runEnv(t, quickExit, strings.NewReader(tc.message), "rtls-send", append([]string{"--config", config}, tc.args...)...)
		if r.code != 0 {
			t.Errorf("%q: exit %d: %s", tc.args, r.code, r.stderr)
			continue
		}
		checkWish(t, f.one(t), tc.want)
	}
	// What a rule demands and the server does not have is not sent.
	f := (&fakesub{ehlo: without("REQUIRETLS")}).start(t, p)
	config := frontAccount(t, f, p, "", "requiretls = \"auto\"\n"+rules)
	if r := runEnv(t, quickExit, strings.NewReader(canary), "rtls-send", "--config", config, "b@secret.example"); r.code != 69 || !strings.Contains(r.stderr, "5.7.30") {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	f.nothingCrossed(t)
}

// s50: the tag of a plus-address is a wish where that is enabled, and never leaves.
func s50(t *testing.T, p *pki) {
	for _, tc := range []struct {
		send string
		to   string
		want string
		rcpt string
	}{
		{"plus_requiretls = true\n", "b+requiretls@example.net", "yes", "b@example.net"},
		{"plus_requiretls = true\n", "b@example.net", "auto", "b@example.net"},
		{"", "b+requiretls@example.net", "auto", "b+requiretls@example.net"},
	} {
		f := (&fakesub{}).start(t, p)
		config := frontAccount(t, f, p, tc.send, "requiretls = \"auto\"\n")
		r := runEnv(t, quickExit, strings.NewReader("To: "+tc.to+"\n"+canary), "rtls-send", "--config", config, tc.to)
		if r.code != 0 {
			t.Fatalf("exit %d: %s", r.code, r.stderr)
		}
		m := f.one(t)
		checkWish(t, m, tc.want)
		if !slices.ContainsFunc(m.rcpts, func(s string) bool { return strings.HasPrefix(s, "RCPT TO:<"+tc.rcpt+">") }) {
			t.Errorf("%q", m.rcpts)
		}
		if !strings.Contains(m.header(), "To: "+tc.rcpt+"\r\n") {
			t.Errorf("%q", m.header())
		}
	}
}

// s24script: a script that cannot pass flags wishes by a field, which does not leave.
func s24script(t *testing.T, p *pki) {
	for value, want := range map[string]string{"yes": "yes", "No": "no", "auto": "auto", "maybe": ""} {
		f := (&fakesub{}).start(t, p)
		config := frontAccount(t, f, p, "wish_header = \"X-Require-TLS\"\n", "")
		r := runEnv(t, quickExit, strings.NewReader("X-Require-TLS: "+value+"\n"+canary), "rtls-send", "--config", config, "b@example.net")
		if want == "" {
			if r.code != 65 {
				t.Errorf("exit %d: %s", r.code, r.stderr)
			}
			f.nothingCrossed(t)
			continue
		}
		m := f.one(t)
		checkWish(t, m, want)
		if strings.Contains(m.header(), "X-Require") {
			t.Errorf("%q", m.header())
		}
	}
	f := (&fakesub{}).start(t, p)
	config := frontAccount(t, f, p, "wish_header = \"X-Require-TLS\"\n", "")
	if r := runEnv(t, quickExit, strings.NewReader("X-Require-TLS: yes\n"+canary), "rtls-send", "--config", config, no, "b@example.net"); r.code != 65 || !strings.Contains(r.stderr, "requiretls=yes and the flags for requiretls=no") {
		t.Errorf("a contradiction: exit %d: %s", r.code, r.stderr)
	}
	f.nothingCrossed(t)
}
