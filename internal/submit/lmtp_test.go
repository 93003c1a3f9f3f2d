package submit

import (
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rtls/internal/cli"
	"rtls/internal/requiretls"
)

var (
	lhello = step{"LHLO client.example.org\r\n", full}
	over   = step{data + "QUIT\r\n", ""}
	two    = step{mail + rcpt + rcp2, "250 ok\r\n250 ok\r\n250 ok\r\n"}
	goOn   = step{"DATA\r\n", "354 go\r\n"}
)

// end is the text, and what the server says to it.
func end(replies string) step { return step{over.want, replies} }

func deliveringServer(t *Target) { t.LMTP, t.Login = true, Login{} }

// An LMTP server answers for each recipient, after the text too (RFC 2033 section 4.2).
func TestLMTPOutcomes(t *testing.T) {
	to := []string{"bob@example.net", "carol@example.net"}
	for _, tc := range []struct {
		name, replies      string
		code               int
		done, later, never []string
		maybe              bool
		says               string
	}{
		{name: "both", replies: "250 2.0.0 bob\r\n250 2.0.0 carol\r\n221 bye\r\n"},
		{"one later", "250 2.0.0 bob\r\n452 4.2.2 full\r\n221 bye\r\n", cli.TempFail, to[:1], to[1:], nil, false, "delivered to <bob@example.net>"},
		{"one never", "550 5.1.1 who\r\n250 2.0.0 carol\r\n221 bye\r\n", cli.DataErr, to[1:], nil, to[:1], false, "delivery to <bob@example.net>: the server said 550"},
		{"later and never", "452 4.2.2 full\r\n550 5.1.1 who\r\n221 bye\r\n", cli.DataErr, nil, to[:1], to[1:], false, "550"},
		{"none later", "452 4.2.2 full\r\n452 4.2.2 full\r\n221 bye\r\n", cli.TempFail, nil, nil, nil, false, "452"},
		{"none ever", "550 5.1.1 who\r\n550 5.1.1 who\r\n221 bye\r\n", cli.NoUser, nil, nil, nil, false, "550"},
		{"lost behind one", "250 2.0.0 bob\r\n", cli.TempFail, to[:1], nil, nil, true, "delivered to <bob@example.net>, and may have been to the others"},
		{"lost before any", "", cli.TempFail, nil, nil, nil, true, "may have been taken"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			receipt, err := playAt(t, t.Context(), deliveringServer, message(to...), Options{Hostname: "client.example.org"},
				lhello, two, goOn, end(tc.replies))
			if tc.code == 0 {
				if err != nil || receipt.Reply.String() != "250 2.0.0 carol" {
					t.Fatalf("%+v, %v", receipt, err)
				}
				return
			}
			outcome, mixed := OutcomeOf(err)
			var never []string
			for _, r := range outcome.Never {
				never = append(never, r.To)
			}
			if cli.ExitCode(err) != tc.code || !slices.Equal(outcome.Done, tc.done) || !slices.Equal(outcome.Later, tc.later) || !slices.Equal(never, tc.never) ||
				mixed != (tc.done != nil || tc.never != nil) || MaybeSent(err) != tc.maybe || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("exit %d, %+v, mixed %v, maybe %v: %v", cli.ExitCode(err), outcome, mixed, MaybeSent(err), err)
			}
		})
	}
}

// Without PIPELINING and with a recipient refused beforehand nobody gets it.
func TestLMTPRefusedBefore(t *testing.T) {
	_, err := playAt(t, t.Context(), deliveringServer, message("bob@example.net", "carol@example.net"), Options{Hostname: "client.example.org"},
		lhello, step{mail + rcpt + rcp2, "250 ok\r\n250 ok\r\n550 5.1.1 who\r\n"}, goodbye)
	if _, mixed := OutcomeOf(err); mixed || cli.ExitCode(err) != cli.DataErr {
		t.Errorf("%v", err)
	}
}

// clearServer is one on a Unix socket without TLS.
func clearServer(t *testing.T, steps ...step) *Target {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // waited for below
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		serveSteps(t, conn, steps)
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return &Target{Host: UnixPrefix + path, LMTP: true, Clear: true}
}

// Without TLS, which only a Unix socket can be, goes what does not wish for REQUIRETLS,
// even if the server offers it; and nobody logs in.
func TestClear(t *testing.T) {
	o := Options{Hostname: "client.example.org"}
	lightly := message()
	lightly.Wish = requiretls.Auto
	envelope := "MAIL FROM:<alice@example.org> SIZE=18\r\n" + rcpt + "DATA\r\n"
	target := clearServer(t, lhello, step{envelope, "250 ok\r\n250 ok\r\n354 go\r\n"}, end("250 2.0.0 taken\r\n221 bye\r\n"))
	receipt, err := Send(t.Context(), target, lightly, o)
	if err != nil || receipt.TLSVersion != 0 || receipt.KeyPin != "" || receipt.Target != target.Host {
		t.Errorf("%+v, %v", receipt, err)
	}

	_, err = Send(t.Context(), clearServer(t, lhello, goodbye), message(), o)
	checkError(t, err, cli.Unavailable, requiretls.StatusNoTLS, false)

	target = clearServer(t, lhello, goodbye)
	target.Login = alice()
	_, err = Send(t.Context(), target, lightly, o)
	checkError(t, err, cli.Config, "", false)

	tcp := clearServer(t)
	tcp.Host, tcp.Port = "localhost", 24
	s := &session{target: tcp}
	if s.clear() {
		t.Error("a host can be reached without TLS")
	}
	if _, err := s.guard(requiretls.Auto); err == nil {
		t.Error("the guard lets it pass")
	}
}
