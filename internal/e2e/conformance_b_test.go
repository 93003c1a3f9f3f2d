package e2e

import (
	"context"
	"io"
	"net/mail"
	"strconv"
	"strings"
	"testing"
	"time"

	"rtls/internal/dsn"
	"rtls/internal/requiretls"
	"rtls/internal/submit"
	"rtls/internal/tlsconf"
)

// message is one that writes itself.
type message string

func (m message) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, string(m))
	return int64(n), err
}

// undelivered is canary, tagged, and given up for a reason.
func undelivered(status, reply string) *dsn.Failed {
	return &dsn.Failed{
		From: "a@example.org", Wish: requiretls.Yes, EnvelopeID: "envelope-1", MessageID: "<id@example.org>", Arrived: time.Now(),
		Content: message(strings.ReplaceAll(canary, "\n", "\r\n")),
		Recipients: []dsn.Recipient{{
			Address: "b@example.net", Action: dsn.ActionFailed, Status: status,
			Remote: "mx.example.net", Reply: reply, LastAttempt: time.Now(),
		}},
	}
}

// report sends a report to f as the queue does.
func (f *fakesub) report(t *testing.T, p *pki, what *dsn.Failed) error {
	t.Helper()
	config, err := tlsconf.Client(p.caFile, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(f.port())
	if err != nil {
		t.Fatal(err)
	}
	target := &submit.Target{Host: "localhost", Port: port, StartTLS: f.starttls, TLS: config}
	return dsn.Send(t.Context(), what, dsn.Options{Hostname: "client.example.org"}, func(ctx context.Context, m *submit.Mail) error {
		s := submit.NewSession([]*submit.Target{target}, submit.Options{Hostname: "client.example.org"})
		defer s.Close()
		_, err := s.Send(ctx, m)
		return err
	})
}

// TestConformanceB has a subtest for each row about reports.
func TestConformanceB(t *testing.T) {
	p := newPKI(t)
	t.Run("B01_requiretls", func(t *testing.T) { bWithHeader(t, p, "5.7.1", "550 5.7.1 refused") })
	t.Run("B02_whatever_the_cause", func(t *testing.T) {
		bWithHeader(t, p, "5.1.1", "550 5.1.1 no such user")
		bWithHeader(t, p, "5.2.2", "552 5.2.2 the mailbox is full")
		bWithHeader(t, p, "4.4.7", "")
	})
	t.Run("B03_header_only", func(t *testing.T) { b03(t, p) })
	t.Run("B04_null_reverse_path", func(t *testing.T) { b04(t, p) })
	t.Run("B05_way_back_lacks_it", func(t *testing.T) { b05(t, p) })
	t.Run("B06_minimal_form", func(t *testing.T) { b06(t, p) })
	t.Run("B07_way_back_in_clear", func(t *testing.T) { b07(t, p) })
	t.Run("B08_none_wanted", func(t *testing.T) { b08(t, p) })
	t.Run("B13_never_delivered", func(t *testing.T) { b13(t, p) })
}

func bWithHeader(t *testing.T, p *pki, status, reply string) {
	t.Helper()
	f := (&fakesub{}).start(t, p)
	if err := f.report(t, p, undelivered(status, reply)); err != nil {
		t.Fatal(err)
	}
	m := f.one(t)
	text := string(m.raw)
	if !strings.HasSuffix(m.mail, " REQUIRETLS") || !strings.Contains(text, "\r\nStatus: "+status+"\r\n") || !strings.Contains(text, "canary-subject") {
		t.Errorf("%q\n%s", m.mail, text)
	}
}

func b03(t *testing.T, p *pki) {
	f := (&fakesub{}).start(t, p)
	if err := f.report(t, p, undelivered("5.1.1", "550 no")); err != nil {
		t.Fatal(err)
	}
	m := f.one(t)
	if strings.Contains(string(m.raw), "canary-body") || !strings.Contains(m.mail, " RET=HDRS ") {
		t.Errorf("%q\n%s", m.mail, m.raw)
	}
}

func b04(t *testing.T, p *pki) {
	for _, ehlo := range [][]string{everything, without("REQUIRETLS")} {
		f := (&fakesub{ehlo: ehlo}).start(t, p)
		if err := f.report(t, p, undelivered("5.1.1", "550 no")); err != nil {
			t.Fatal(err)
		}
		m := f.one(t)
		if !strings.HasPrefix(m.mail, "MAIL FROM:<>") || len(m.rcpts) != 1 || m.rcpts[0] != "RCPT TO:<a@example.org>" ||
			!strings.Contains(m.header(), "\r\nAuto-Submitted: auto-replied\r\n") {
			t.Errorf("%q %q\n%s", m.mail, m.rcpts, m.raw)
		}
	}
}

func b05(t *testing.T, p *pki) {
	f := (&fakesub{ehlo: without("REQUIRETLS")}).start(t, p)
	if err := f.report(t, p, undelivered("5.1.1", "550 canary-quoted")); err != nil {
		t.Fatal(err)
	}
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
	f := (&fakesub{ehlo: without("REQUIRETLS")}).start(t, p)
	if err := f.report(t, p, undelivered("5.1.1", "550 5.1.1 canary-quoted")); err != nil {
		t.Fatal(err)
	}
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

// b07: what cannot go by TLS does not go, and who asked for it is told.
func b07(t *testing.T, p *pki) {
	other := newPKI(t)
	for _, tc := range []struct {
		name string
		f    *fakesub
		pki  *pki
	}{
		{"no STARTTLS", &fakesub{starttls: true, clear: without("STARTTLS")}, p},
		{"unknown authority", &fakesub{}, other},
	} {
		f := tc.f.start(t, p)
		err := f.report(t, tc.pki, undelivered("5.1.1", "550 no"))
		if err == nil || !strings.Contains(err.Error(), requiretls.StatusNoTLS) {
			t.Errorf("%s: %v", tc.name, err)
		}
		f.nothingCrossed(t)
	}
}

func b08(t *testing.T, p *pki) {
	aboutReport := undelivered("5.1.1", "550 no")
	aboutReport.From = ""
	never := undelivered("5.1.1", "550 no")
	never.Recipients[0].Notify = []string{"NEVER"}
	success := undelivered("5.1.1", "550 no")
	success.Recipients[0].Notify = []string{"SUCCESS"}
	for _, what := range []*dsn.Failed{aboutReport, never, success} {
		f := (&fakesub{}).start(t, p)
		if err := f.report(t, p, what); err != nil {
			t.Error(err)
		}
		f.stop()
		if heard := f.lines(); len(heard) > 0 {
			t.Errorf("%q %q: %q", what.From, what.Recipients[0].Notify, heard)
		}
	}
}

// b13: we hand on and do not deliver, so "relayed" is all that we can say.
func b13(t *testing.T, p *pki) {
	relayed := undelivered("2.6.0", "250 taken")
	relayed.Recipients[0].Action = dsn.ActionRelayed
	relayed.Recipients[0].Notify = []string{"SUCCESS"}
	f := (&fakesub{}).start(t, p)
	if err := f.report(t, p, relayed); err != nil {
		t.Fatal(err)
	}
	if text := string(f.one(t).raw); !strings.Contains(text, "\r\nAction: relayed\r\nStatus: 2.6.0\r\n") {
		t.Error(text)
	}
	relayed.Recipients[0].Action = "delivered"
	f = (&fakesub{}).start(t, p)
	if err := f.report(t, p, relayed); err != nil {
		t.Error(err)
	}
	f.stop()
	if heard := f.lines(); len(heard) > 0 {
		t.Errorf("%q", heard)
	}
}
