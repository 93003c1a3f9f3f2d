package e2e

import (
	"fmt"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"rtls/internal/requiretls"
	"rtls/internal/testpki"
)

// tagged has an identifier of its own, and words that a report must not have.
const tagged = "Message-ID: <id@example.org>\n" + canary

// refusing is a server that refuses every message but reports: with a reply, at the
// command that begins with at. The way back lacks REQUIRETLS if lacks is set.
func refusing(at, reply string, lacks bool) *fakesub {
	var report atomic.Bool
	return &fakesub{script: func(line string, _ bool) string {
		if strings.HasPrefix(line, "MAIL") {
			report.Store(strings.HasPrefix(line, "MAIL FROM:<> "))
			if lacks && report.Load() && strings.Contains(line, "REQUIRETLS") {
				return "550 5.7.30 not that way"
			}
		}
		if !report.Load() && strings.HasPrefix(line, at) {
			return reply
		}
		return ""
	}}
}

// giveUp queues a message, tagged, and flushes the queue.
func (f *fakesub) giveUp(t *testing.T, p *pki, args ...string) {
	t.Helper()
	config := f.account(t, p, "[send]", fmt.Sprintf("spool = %q", filepath.Join(t.TempDir(), "spool")))
	args = append([]string{"-C", config, "-odq", yes, "-f", "a@example.org", "-V", "envelope-1"}, append(args, "b@example.net")...)
	if r := runEnv(t, quickExit, strings.NewReader(tagged), "rtls-send", args...); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	if r := runEnv(t, quickExit, nil, "rtls-send", "-C", config, "-q"); !strings.Contains(r.stderr, "given up") {
		t.Fatalf("%+v", r)
	}
}

// TestConformanceB has a subtest for each row about reports.
func TestConformanceB(t *testing.T) {
	p := newPKI(t)
	t.Run("B01_requiretls", func(t *testing.T) { bWithHeader(t, p, ".", "550 5.7.1 refused", "5.7.1") })
	t.Run("B02_whatever_the_cause", func(t *testing.T) {
		bWithHeader(t, p, "RCPT", "550 5.1.1 no such user", "5.1.1")
		bWithHeader(t, p, "RCPT", "552 5.2.2 the mailbox is full", "5.2.2")
		bWithHeader(t, p, "DATA", "554 no", "5.0.0")
	})
	t.Run("B03_header_only", func(t *testing.T) { b03(t, p) })
	t.Run("B04_null_reverse_path", func(t *testing.T) { b04(t, p) })
	t.Run("B05_way_back_lacks_it", func(t *testing.T) { b05(t, p) })
	t.Run("B06_minimal_form", func(t *testing.T) { b06(t, p) })
	t.Run("B07_way_back_in_clear", func(t *testing.T) { b07(t, p) })
	t.Run("B08_none_wanted", func(t *testing.T) { b08(t, p) })
	t.Run("B13_never_delivered", func(t *testing.T) { b13(t, p) })
}

func bWithHeader(t *testing.T, p *pki, at, reply, status string) {
	t.Helper()
	f := refusing(at, reply, false).start(t, p)
	f.giveUp(t, p)
	m := f.one(t)
	text := string(m.raw)
	if !strings.HasSuffix(m.mail, " REQUIRETLS") || !strings.Contains(text, "\r\nStatus: "+status+"\r\n") || !strings.Contains(text, "canary-subject") {
		t.Errorf("%q\n%s", m.mail, text)
	}
}

func b03(t *testing.T, p *pki) {
	f := refusing("RCPT", "550 5.1.1 no", false).start(t, p)
	f.giveUp(t, p, "-R", "full")
	m := f.one(t)
	if strings.Contains(string(m.raw), "canary-body") || !strings.Contains(m.mail, " RET=HDRS ") {
		t.Errorf("%q\n%s", m.mail, m.raw)
	}
}

func b04(t *testing.T, p *pki) {
	for _, lacks := range []bool{false, true} {
		f := refusing("RCPT", "550 5.1.1 no", lacks).start(t, p)
		f.giveUp(t, p)
		m := f.one(t)
		if !strings.HasPrefix(m.mail, "MAIL FROM:<> ") || len(m.rcpts) != 1 || m.rcpts[0] != "RCPT TO:<a@example.org>" ||
			!strings.Contains(m.header(), "\r\nAuto-Submitted: auto-replied\r\n") {
			t.Errorf("%q %q\n%s", m.mail, m.rcpts, m.raw)
		}
	}
}

func b05(t *testing.T, p *pki) {
	f := refusing("RCPT", "550 5.1.1 canary-quoted", true).start(t, p)
	f.giveUp(t, p)
	if m := f.one(t); strings.Contains(m.mail, "REQUIRETLS") {
		t.Errorf("%q", m.mail)
	}
	for _, line := range f.lines() {
		if strings.Contains(line, "canary") {
			t.Errorf("the server heard %q", line)
		}
	}
}

// b06 takes the minimal form apart: nothing may be in it that is not in this list.
func b06(t *testing.T, p *pki) {
	f := refusing("RCPT", "550 5.1.1 canary-quoted", true).start(t, p)
	f.giveUp(t, p)
	m := f.one(t)
	_, status, _ := strings.Cut(string(m.raw), "\r\nContent-Type: message/delivery-status\r\n\r\n")
	status, rest, _ := strings.Cut(status, "\r\n\r\n--")
	const want = "Reporting-MTA: dns; client.example.org\r\nOriginal-Envelope-Id: envelope-1\r\n\r\n" +
		"Final-Recipient: rfc822; b@example.net\r\nAction: failed\r\nStatus: 5.1.1"
	if status != want || strings.Contains(rest, "\r\n--") {
		t.Errorf("%q\nand behind it %q", status, rest)
	}
	parsed, err := mail.ReadMessage(strings.NewReader(string(m.raw)))
	if err != nil {
		t.Fatal(err)
	}
	if h := parsed.Header; h.Get("Subject") != "Undelivered mail" || h.Get("In-Reply-To") != "<id@example.org>" || len(h) != 9 {
		t.Errorf("%q", parsed.Header)
	}
}

// b07: a message is refused inside TLS, and the way back has none: what cannot go by TLS
// does not go. The message is kept, and who runs the queue is told.
func b07(t *testing.T, p *pki) {
	other, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]*fakesub{
		"no STARTTLS":       {starttls: true},
		"unknown authority": {later: leaf(t, other, testpki.Leaf{})},
	} {
		t.Run(name, func(t *testing.T) {
			var refused atomic.Bool
			f.script = func(line string, inTLS bool) string {
				switch {
				case strings.HasPrefix(line, "RCPT"):
					refused.Store(true)
					return "550 5.1.1 no such user"
				case line == "RSET": // what follows needs another connection
					return hangUp
				case strings.HasPrefix(line, "EHLO") && !inTLS && refused.Load():
					return "250 localhost"
				}
				return ""
			}
			f.clear = []string{"STARTTLS"}
			f.start(t, p)
			dir := t.TempDir()
			config := f.account(t, p, "[send]", fmt.Sprintf("spool = %q\nlog = %q", filepath.Join(dir, "spool"), filepath.Join(dir, "log")))
			if r := runEnv(t, quickExit, strings.NewReader(tagged), "rtls-send", "-C", config, "-odq", yes, "b@example.net"); r.code != 0 {
				t.Fatalf("%+v", r)
			}
			r := runEnv(t, quickExit, nil, "rtls-send", "-C", config, "-q")
			if r.code != 0 || !strings.Contains(r.stderr, "its sender cannot be told") || !strings.Contains(r.stderr, requiretls.StatusNoTLS) {
				t.Errorf("%+v", r)
			}
			if r := runEnv(t, quickExit, nil, "rtls-send", "queue", "-C", config, "list"); !strings.Contains(r.stdout, "  failed ") || !strings.Contains(r.stdout, "5.1.1") {
				t.Errorf("%+v", r)
			}
			if log, err := os.ReadFile(filepath.Join(dir, "log")); err != nil || !strings.Contains(string(log), `msg="given up"`) {
				t.Errorf("%s, %v", log, err)
			}
			f.stop()
			if mail := f.commands("MAIL"); len(mail) != 1 || strings.HasPrefix(mail[0], "MAIL FROM:<>") || len(f.messages) > 0 {
				t.Errorf("%q", mail)
			}
			if said := strings.Join(f.lines(), "\n") + f.wire.String(); strings.Contains(said, "canary") {
				t.Errorf("the server heard %q", said)
			}
		})
	}
}

// A login that fails may not tomorrow: the report waits, and is not taken for one that
// cannot go.
func TestReportWaitsForLogin(t *testing.T) {
	p := newPKI(t)
	var refused atomic.Bool
	f := &fakesub{script: func(line string, _ bool) string {
		switch {
		case strings.HasPrefix(line, "RCPT"):
			refused.Store(true)
			return "550 5.1.1 no such user"
		case line == "RSET": // what follows needs another connection, and login
			return hangUp
		case strings.HasPrefix(line, "AUTH") && refused.Load():
			return "535 5.7.8 the password is too old"
		}
		return ""
	}}
	f.start(t, p)
	config := f.account(t, p, "[send]", fmt.Sprintf("spool = %q", filepath.Join(t.TempDir(), "spool")))
	if r := runEnv(t, quickExit, strings.NewReader(tagged), "rtls-send", "-C", config, "-odq", yes, "b@example.net"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	r := runEnv(t, quickExit, nil, "rtls-send", "-C", config, "-q")
	if r.code != 0 || !strings.Contains(r.stderr, "not reported") || strings.Contains(r.stderr, "cannot be told") || strings.Contains(r.stderr, "given up") {
		t.Errorf("%+v", r)
	}
}

func b08(t *testing.T, p *pki) {
	for _, args := range [][]string{{"-f", "<>"}, {"-N", "never"}, {"-N", "success"}} {
		f := refusing("RCPT", "550 5.1.1 no", false).start(t, p)
		if args[0] == "-f" { // what is refused is itself a report, so every RCPT is
			f.script = func(line string, _ bool) string {
				if strings.HasPrefix(line, "RCPT") {
					return "550 5.1.1 no"
				}
				return ""
			}
		}
		f.giveUp(t, p, args...)
		f.stop()
		if heard := f.commands("MAIL"); len(heard) != 1 || len(f.messages) > 0 {
			t.Errorf("%q: %q", args, heard)
		}
	}
}

// b13: rtls-send hands on, so it never says that something was delivered, whatever was
// asked and whatever the server says: to one that has no DSN either. See
// TestConformanceLReports for who delivers.
func b13(t *testing.T, p *pki) {
	for _, offered := range [][]string{everything, without("DSN")} {
		f := (&fakesub{ehlo: offered}).start(t, p)
		config := f.account(t, p, "[send]", fmt.Sprintf("spool = %q", filepath.Join(t.TempDir(), "spool")))
		if r := runEnv(t, quickExit, strings.NewReader(tagged), "rtls-send", "-C", config, "-odq", yes, "-N", "success,failure,delay", "b@example.net"); r.code != 0 {
			t.Fatalf("%+v", r)
		}
		runEnv(t, quickExit, nil, "rtls-send", "-C", config, "-q")
		if m := f.one(t); !strings.HasPrefix(m.mail, "MAIL FROM:<sender@example.org>") {
			t.Errorf("%q", m.mail)
		}
	}

	// Not of those who have it when it reports those who have not.
	f := lmtpRefusing(map[string]string{".<c@example.net>": "550 5.1.1 no such user"}).startOnSocket(t, p)
	config := socketAccount(t, f.socket, clearLMTP...)
	path := filepath.Join(t.TempDir(), "rtls.toml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := runEnv(t, quickExit, strings.NewReader(tagged), "rtls-send", "-C", path, "-odq", "-N", "success,failure", "b@example.net", "c@example.net"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	runEnv(t, quickExit, nil, "rtls-send", "-C", path, "-q")
	f.stop()
	if len(f.messages) != 2 {
		t.Fatalf("%+v", f.messages)
	}
	report := string(f.messages[1].raw)
	if !strings.Contains(report, "\r\nAction: failed\r\nStatus: 5.1.1\r\n") || strings.Count(report, "\r\nAction: ") != 1 || strings.Contains(report, "rfc822; b@example.net") {
		t.Error(report)
	}
}
