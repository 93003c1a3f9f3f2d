package e2e

import (
	"context"
	"fmt"
	"io"
	"net/mail"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
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

// report sends a report to f as the queue does, in cases that take the queue days.
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
	return dsn.Send(t.Context(), what, dsn.Options{Hostname: "client.example.org"}, func(ctx context.Context, r *dsn.Report) error {
		s := submit.NewSession([]*submit.Target{target}, submit.Options{Hostname: "client.example.org"})
		defer s.Close()
		_, err := s.Send(ctx, &submit.Mail{To: []string{r.To()}, Wish: r.Wish(), Content: r, Size: r.Size(), MessageID: r.MessageID()})
		return err
	})
}

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

// b13: rtls-send hands on and does not deliver, so "relayed" is all that it can say. See
// TestConformanceLReports for who delivers.
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
}
