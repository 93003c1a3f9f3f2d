package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rtls/internal/lmtptest"
)

// filterHost is a mail host whose user alice has a script, which sends through f. lda
// are further lines of the section lda.
func filterHost(t *testing.T, p *pki, f *fakesub, script string, lda ...string) *mailHost {
	t.Helper()
	dir := t.TempDir()
	secret, authority := filepath.Join(dir, "password"), filepath.Join(dir, "submission-ca.pem")
	for path, text := range map[string]string{filepath.Join(dir, "alice.sieve"): script, secret: "secret\n", authority: string(p.PEM())} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return newMailHost(t, dir, slices.Concat(lda, []string{
		fmt.Sprintf("sieve = %q", filepath.Join(dir, "%u.sieve")),
		fmt.Sprintf("send = %q", bin("rtls-send")),
		"[send.account.test]", `from = "postmaster@example.org"`, `host = "localhost"`, "port = " + f.port(),
		fmt.Sprintf("ca_file = %q", authority), `user = "sender"`, fmt.Sprintf("password_file = %q", secret),
	})...)
}

// deliverFiltered hands canary to alice.
func (h *mailHost) deliverFiltered(t *testing.T, message string, args ...string) {
	t.Helper()
	r := h.lda(t, message, append([]string{"-d", "alice", "-a", "alice@example.org", "-f", "a@example.org"}, args...)...)
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
}

// What a user's filter sends has the tag of the message that it is made of.
func TestConformanceBFilters(t *testing.T) {
	p := newPKI(t)
	const redirect = `redirect "b@example.net";`
	const away = `require ["vacation", "variables"]; vacation :addresses "alice@example.org" "I am away.";`
	toAlice := strings.Replace(canary, "b@example.net", "alice@example.org", 1)

	t.Run("B09_answer_to_tagged", func(t *testing.T) {
		f := (&fakesub{}).start(t, p)
		h := filterHost(t, p, f, away)
		h.deliverFiltered(t, toAlice, "--requiretls")
		m := f.one(t)
		if !strings.HasPrefix(m.mail, "MAIL FROM:<> ") || !strings.Contains(m.mail, " REQUIRETLS") || !strings.Contains(m.rcpts[0], "<a@example.org>") {
			t.Errorf("%q %q", m.mail, m.rcpts)
		}
		if strings.Contains(string(m.raw), "canary") || !strings.Contains(string(m.raw), "I am away.") {
			t.Errorf("%s", m.raw)
		}
		if h.delivered("alice") != 1 {
			t.Error("the message is not there")
		}
	})
	t.Run("B09_answer_that_cannot_go", func(t *testing.T) {
		f := (&fakesub{ehlo: without("REQUIRETLS")}).start(t, p)
		h := filterHost(t, p, f, away)
		h.deliverFiltered(t, toAlice, "--requiretls")
		f.nothingCrossed(t)
		if h.delivered("alice") != 1 {
			t.Error("the message is not there")
		}
	})
	t.Run("B10_redirect_of_tagged", func(t *testing.T) {
		f := (&fakesub{}).start(t, p)
		h := filterHost(t, p, f, redirect)
		h.deliverFiltered(t, canary, "--requiretls")
		m := f.one(t)
		if !strings.HasPrefix(m.mail, "MAIL FROM:<a@example.org> ") || !strings.Contains(m.mail, " REQUIRETLS") || !strings.HasSuffix(string(m.raw), "\r\n\r\ncanary-body\r\n") {
			t.Errorf("%q\n%s", m.mail, m.raw)
		}
		if h.delivered("alice") != 0 {
			t.Error("the message is here as well")
		}
	})
	t.Run("B10_redirect_that_cannot_go", func(t *testing.T) {
		f := (&fakesub{ehlo: without("REQUIRETLS")}).start(t, p)
		h := filterHost(t, p, f, redirect)
		h.deliverFiltered(t, canary, "--requiretls")
		f.nothingCrossed(t)
		if got := h.one(t, "alice"); got.tag != "require/mda" || !strings.Contains(got.raw, "canary-body") {
			t.Errorf("%s\n%s", got.tag, got.raw)
		}
	})
	t.Run("B11_redirect_without_TLS", func(t *testing.T) {
		f := (&fakesub{}).start(t, p)
		h := filterHost(t, p, f, redirect)
		h.deliverFiltered(t, "TLS-Required: No\n"+canary)
		m := f.one(t)
		if strings.Contains(m.mail, "REQUIRETLS") || strings.Count(m.header(), "TLS-Required: No\r\n") != 1 {
			t.Errorf("%q\n%s", m.mail, m.raw)
		}
	})
	t.Run("B11_answer_without_TLS", func(t *testing.T) {
		f := (&fakesub{}).start(t, p)
		h := filterHost(t, p, f, away)
		h.deliverFiltered(t, "TLS-Required: No\n"+toAlice)
		m := f.one(t)
		if strings.Contains(m.mail, "REQUIRETLS") || strings.Count(m.header(), "TLS-Required: No\r\n") != 1 {
			t.Errorf("%q\n%s", m.mail, m.raw)
		}
	})
	t.Run("B12_filter_sees_the_tag", func(t *testing.T) {
		f := (&fakesub{}).start(t, p)
		h := filterHost(t, p, f, `require ["fileinto", "mailbox", "vnd.rtls.tag"]; if tlstag "require" { fileinto :create "Tagged"; }`)
		h.deliverFiltered(t, canary)
		h.deliverFiltered(t, canary, "--requiretls")
		if got := h.mail(t, "alice", "Tagged"); len(got) != 1 || got[0].tag != "require/mda" || h.delivered("alice") != 1 {
			t.Errorf("%d in Tagged, %d in INBOX", len(got), h.delivered("alice"))
		}
	})
}

// Who offers DSN in LMTP sends the reports of success; they go the message's way.
func TestConformanceLReports(t *testing.T) {
	p := newPKI(t)
	open := func(t *testing.T, f *fakesub, lda ...string) (*mailHost, *lmtptest.Client, bool) {
		h := filterHost(t, p, f, "keep;", lda...)
		h.serve(t)
		m := h.mta(t)
		m.LHLO()
		m.StartTLS()
		return h, m, slices.Contains(m.LHLO(), "DSN")
	}
	deliver := func(m *lmtptest.Client) {
		m.Say("MAIL FROM:<a@example.org> REQUIRETLS RET=FULL ENVID=q1", "250")
		m.Say("RCPT TO:<alice> NOTIFY=SUCCESS", "250")
		m.Say("RCPT TO:<bob> NOTIFY=NEVER", "250")
		m.Say("DATA", "354")
		m.Say(strings.ReplaceAll(canary, "\n", "\r\n")+".", "250 2.0.0 ", "250 2.0.0 ")
	}
	t.Run("L35_B13_report_of_success", func(t *testing.T) {
		var h *mailHost
		stored := make(chan int, 1)
		f := (&fakesub{script: func(line string, _ bool) string {
			if strings.HasPrefix(line, "MAIL") {
				stored <- h.delivered("alice")
			}
			return ""
		}}).start(t, p)
		var m *lmtptest.Client
		var offered bool
		h, m, offered = open(t, f, "success_reports = true")
		deliver(m)
		if n := <-stored; n != 1 {
			t.Errorf("the report goes before the message is stored")
		}
		r := f.one(t)
		text := string(r.raw)
		if !offered || !strings.HasPrefix(r.mail, "MAIL FROM:<> ") || !strings.Contains(r.mail, " REQUIRETLS") || !strings.Contains(r.rcpts[0], "<a@example.org>") {
			t.Errorf("offered %v; %q %q", offered, r.mail, r.rcpts)
		}
		if !strings.Contains(text, "Action: delivered\r\n") || !strings.Contains(text, "Original-Envelope-Id: q1\r\n") || strings.Contains(text, "bob") || strings.Contains(text, "canary-body") {
			t.Error(text)
		}
	})
	t.Run("L35_report_where_the_way_back_lacks_REQUIRETLS", func(t *testing.T) {
		f := (&fakesub{ehlo: without("REQUIRETLS")}).start(t, p)
		_, m, _ := open(t, f, "success_reports = true")
		deliver(m)
		if r := f.one(t); strings.Contains(r.mail, "REQUIRETLS") || strings.Contains(string(r.raw), "canary") || !strings.Contains(string(r.raw), "Action: delivered\r\n") {
			t.Errorf("%q\n%s", r.mail, r.raw)
		}
	})
	t.Run("L35_not_offered", func(t *testing.T) {
		f := (&fakesub{}).start(t, p)
		h, m, offered := open(t, f)
		deliver(m)
		f.nothingCrossed(t)
		if offered || h.delivered("alice") != 1 {
			t.Errorf("offered %v, %d delivered", offered, h.delivered("alice"))
		}
	})
}
