package submit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rtls/internal/cli"
	"rtls/internal/requiretls"
	"rtls/internal/testpki"
	"rtls/internal/tlsconf"
)

// step is one flight of a client, which arrives in one TLS record and thus in one
// Read, and the answer to it. A step that wants nothing waits for the end.
type step struct {
	want string
	say  string
}

const full = "250-localhost\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250-AUTH PLAIN LOGIN\r\n250 REQUIRETLS\r\n"

var (
	hello   = step{"EHLO client.example.org\r\n", full}
	slow    = step{"EHLO client.example.org\r\n", strings.Replace(full, "250-PIPELINING\r\n", "", 1)}
	login   = step{auth, "235 2.7.0 ok\r\n"}
	theEnd  = step{}
	goodbye = step{"QUIT\r\n", "221 bye\r\n"}
)

const (
	auth = "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n"
	mail = "MAIL FROM:<alice@example.org> SIZE=18 REQUIRETLS\r\n"
	rcpt = "RCPT TO:<bob@example.net>\r\n"
	rcp2 = "RCPT TO:<carol@example.net>\r\n"
	data = "Subject: s\r\n\r\n..x\r\n.\r\n"
)

type stringContent string

func (s stringContent) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, string(s))
	return int64(n), err
}

func message(to ...string) *Mail {
	if len(to) == 0 {
		to = []string{"bob@example.net"}
	}
	return &Mail{From: "alice@example.org", To: to, Wish: requiretls.Yes, Content: stringContent("Subject: s\r\n\r\n.x\r\n"), Size: 18}
}

// playWith runs a dialogue over TLS, against a Send of m. All that the client
// sends is compared, flight by flight.
func playWith(t *testing.T, ctx context.Context, m *Mail, o Options, steps ...step) (*Receipt, error) {
	t.Helper()
	return playAt(t, ctx, func(*Target) {}, m, o, steps...)
}

// playAt is playWith for a target that has more to it.
func playAt(t *testing.T, ctx context.Context, change func(*Target), m *Mail, o Options, steps ...step) (*Receipt, error) {
	t.Helper()
	ca, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.TLS(testpki.Leaf{Names: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	config, err := tlsconf.Client(writeCA(t, ca), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var wait sync.WaitGroup
	wait.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		serveSteps(t, tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}}), steps)
	})
	defer wait.Wait()
	if o.Hostname == "" {
		o.Hostname = "client.example.org"
	}
	target := &Target{Host: "localhost", Port: l.Addr().(*net.TCPAddr).Port, TLS: config, Login: alice()}
	change(target)
	return Send(ctx, target, m, o)
}

func play(t *testing.T, m *Mail, steps ...step) (*Receipt, error) {
	t.Helper()
	return playWith(t, t.Context(), m, Options{}, steps...)
}

func serveSteps(t *testing.T, conn net.Conn, steps []step) {
	defer conn.Close()
	if _, err := io.WriteString(conn, "220 localhost\r\n"); err != nil {
		t.Error(err)
		return
	}
	buf := make([]byte, 64<<10)
	for _, s := range steps {
		n, err := conn.Read(buf)
		if got := string(buf[:n]); got != s.want || err != nil && s.want != "" {
			t.Errorf("the client sent %q, %v; want %q", got, err, s.want)
			return
		}
		if s.want == "" && !errors.Is(err, io.EOF) {
			t.Errorf("the session ended with %v, want close_notify", err)
		}
		if _, err := io.WriteString(conn, s.say); err != nil {
			return
		}
	}
}

func TestFlights(t *testing.T) {
	both := []string{"bob@example.net", "carol@example.net"}
	for _, tc := range []struct {
		name  string
		to    []string
		steps []step
	}{
		{"one recipient", both[:1], []step{hello,
			{auth + mail + rcpt + "DATA\r\n", "235 2.7.0 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"},
			{data + "QUIT\r\n", "250 2.0.0 taken\r\n221 bye\r\n"}, theEnd}},
		{"two recipients", both, []step{hello,
			{auth + mail + rcpt + rcp2, "235 2.7.0 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n"},
			{"DATA\r\n", "354 go\r\n"},
			{data + "QUIT\r\n", "250 2.0.0 taken\r\n221 bye\r\n"}, theEnd}},
		{"no PIPELINING", both, []step{slow, login,
			{mail, "250 ok\r\n"}, {rcpt, "250-o\r\n250 k\r\n"}, {rcp2, "251 elsewhere\r\n"}, {"DATA\r\n", "354\r\n"},
			{data, "250 2.0.0 taken\r\n"}, goodbye, theEnd}},
		{"AUTH LOGIN", both[:1], []step{
			{hello.want, strings.Replace(full, "AUTH PLAIN LOGIN", "AUTH CRAM-MD5 login", 1)},
			{"AUTH LOGIN YWxpY2U=\r\n", "334 UGFzc3dvcmQ6\r\n"}, {"c2VjcmV0\r\n", "235 ok\r\n"},
			{mail + rcpt + "DATA\r\n", "250 ok\r\n250 ok\r\n354 go\r\n"},
			{data + "QUIT\r\n", "250 2.0.0 taken\r\n221 bye\r\n"}, theEnd}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			receipt, err := play(t, message(tc.to...), tc.steps...)
			if err != nil {
				t.Fatal(err)
			}
			if !receipt.RequireTLS || receipt.TLSVersion != tls.VersionTLS13 || receipt.Reply.Code != 250 || receipt.Reply.Status != "2.0.0" {
				t.Errorf("%+v", receipt)
			}
		})
	}
}

// Refused before the text: nothing may be delivered, to nobody.
func TestRefusedEnvelope(t *testing.T) {
	both := []string{"bob@example.net", "carol@example.net"}
	for _, tc := range []struct {
		name   string
		to     []string
		code   int
		status string
		texts  []string
		steps  []step
	}{
		{"the recipient, and DATA too", both[:1], cli.NoUser, "5.1.1", []string{"RCPT TO:<bob@example.net>: the server said 550 5.1.1 nobody"}, []step{hello,
			{auth + mail + rcpt + "DATA\r\n", "235 2.7.0 ok\r\n250 ok\r\n550 5.1.1 nobody\r\n503 5.5.1 whom to?\r\n"}, goodbye, theEnd}},
		{"the recipient, but not DATA", both[:1], cli.NoUser, "5.1.1", nil, []step{hello, // no final dot, no QUIT
			{auth + mail + rcpt + "DATA\r\n", "235 2.7.0 ok\r\n250 ok\r\n550 5.1.1 nobody\r\n354 go\r\n"}, theEnd}},
		{"MAIL", both[:1], cli.Unavailable, "5.7.30", []string{"MAIL FROM:<alice@example.org>"}, []step{hello,
			{auth + mail + rcpt + "DATA\r\n", "235 2.7.0 ok\r\n550 5.7.30 no\r\n503 no\r\n503 no\r\n"}, goodbye, theEnd}},
		{"MAIL, but not DATA", both[:1], cli.TempFail, "4.3.0", nil, []step{hello,
			{auth + mail + rcpt + "DATA\r\n", "235 2.7.0 ok\r\n451 4.3.0 later\r\n250 ok\r\n354 go\r\n"}, theEnd}},
		{"one of two", both, cli.DataErr, "5.1.1", []string{"carol@example.net", "none of the other recipients"}, []step{hello,
			{auth + mail + rcpt + rcp2, "235 2.7.0 ok\r\n250 ok\r\n250 ok\r\n550 5.1.1 nobody\r\n"}, goodbye, theEnd}},
		{"both, unknown", both, cli.NoUser, "5.1.1", []string{"bob@example.net", "carol@example.net"}, []step{hello,
			{auth + mail + rcpt + rcp2, "235 2.7.0 ok\r\n250 ok\r\n550 5.1.1 nobody\r\n550 5.1.1 nobody\r\n"}, goodbye, theEnd}},
		{"both, one for now", both, cli.DataErr, "5.1.1", nil, []step{hello,
			{auth + mail + rcpt + rcp2, "235 2.7.0 ok\r\n250 ok\r\n450 4.2.0 later\r\n550 5.1.1 nobody\r\n"}, goodbye, theEnd}},
		{"both, for now", both, cli.TempFail, "4.2.0", nil, []step{hello,
			{auth + mail + rcpt + rcp2, "235 2.7.0 ok\r\n250 ok\r\n450 4.2.0 later\r\n452 4.5.3 later\r\n"}, goodbye, theEnd}},
		{"first of two, no PIPELINING", both, cli.DataErr, "5.7.1", nil, []step{slow, login,
			{mail, "250 ok\r\n"}, {rcpt, "554 5.7.1 no\r\n"}, goodbye, theEnd}},
		{"password", both, cli.NoPerm, "5.7.8", []string{"authentication as alice"}, []step{hello,
			{auth + mail + rcpt + rcp2, "535 5.7.8 wrong\r\n530 no\r\n530 no\r\n530 no\r\n"}, goodbye, theEnd}},
		{"password, but not the envelope", both[:1], cli.NoPerm, "5.7.8", nil, []step{hello, // no final dot
			{auth + mail + rcpt + "DATA\r\n", "535 5.7.8 wrong\r\n250 ok\r\n250 ok\r\n354 go\r\n"}, theEnd}},
		{"password, no PIPELINING", both, cli.NoPerm, "5.7.8", nil, []step{slow,
			{login.want, "535 5.7.8 wrong\r\n"}, goodbye, theEnd}},
		{"challenge to PLAIN", both, cli.NoPerm, "", []string{"makes no sense"}, []step{hello,
			{auth + mail + rcpt + rcp2, "334 more\r\n501 what\r\n"}, theEnd}},
		{"challenge to PLAIN, no PIPELINING", both, cli.NoPerm, "", []string{"makes no sense"}, []step{slow,
			{login.want, "334 more\r\n"}, {"*\r\n", "501 5.7.0 cancelled\r\n"}, goodbye, theEnd}},
		{"no mechanism", both, cli.NoPerm, "", []string{"GSSAPI"}, []step{
			{hello.want, strings.Replace(full, "AUTH PLAIN LOGIN", "AUTH GSSAPI", 1)}, goodbye, theEnd}},
		{"no authentication", both, cli.NoPerm, "", nil, []step{
			{hello.want, strings.Replace(full, "250-AUTH PLAIN LOGIN\r\n", "", 1)}, goodbye, theEnd}},
		{"size", both, cli.DataErr, "5.3.4", nil, []step{
			{hello.want, strings.Replace(full, "SIZE", "SIZE 17", 1)}, goodbye, theEnd}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			receipt, err := play(t, message(tc.to...), tc.steps...)
			if err == nil {
				t.Fatalf("sent: %+v", receipt)
			}
			checkError(t, err, tc.code, tc.status, false)
			for _, text := range tc.texts {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q lacks %q", err, text)
				}
			}
		})
	}
}

func checkError(t *testing.T, err error, code int, status string, maybe bool) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("%T: %v", err, err)
	}
	inner, _ := errors.AsType[*cli.Error](err)
	if inner.Code != code || inner.Status != status || e.MaybeSent != maybe || e.Temporary() != (code == cli.TempFail) {
		t.Errorf("exit code %d, status %q, maybe sent %v: %v; want %d, %q, %v", inner.Code, inner.Status, e.MaybeSent, err, code, status, maybe)
	}
	if !strings.Contains(err.Error(), e.Target+": ") {
		t.Errorf("%q does not name %s", err, e.Target)
	}
}

// More recipients than a group has.
func TestManyRecipients(t *testing.T) {
	var to []string
	var first, second strings.Builder
	first.WriteString(mail)
	for i := range maxGroup + 20 {
		addr := fmt.Sprintf("user%d@example.net", i)
		to = append(to, addr)
		b := &first
		if i >= maxGroup-1 {
			b = &second
		}
		fmt.Fprintf(b, "RCPT TO:<%s>\r\n", addr)
	}
	_, err := play(t, message(to...), hello,
		step{auth + first.String(), "235 ok\r\n" + strings.Repeat("250 ok\r\n", maxGroup)},
		step{second.String(), strings.Repeat("250 ok\r\n", 21)},
		step{"DATA\r\n", "354 go\r\n"},
		step{data + "QUIT\r\n", "250 taken\r\n221 bye\r\n"}, theEnd)
	if err != nil {
		t.Error(err)
	}
	_, err = play(t, message(to...), hello,
		step{auth + first.String(), "235 ok\r\n" + "250 ok\r\n" + strings.Repeat("550 5.1.1 no\r\n", maxGroup-1)},
		step{second.String(), strings.Repeat("550 5.1.1 no\r\n", 21)}, goodbye, theEnd)
	checkError(t, err, cli.NoUser, "5.1.1", false)
	if n := strings.Count(err.Error(), "RCPT TO"); n != 10 || !strings.Contains(err.Error(), "and 110 more") {
		t.Errorf("%d recipients named: %v", n, err)
	}
}

type brokenContent struct{}

func (brokenContent) WriteTo(w io.Writer) (int64, error) {
	n, _ := io.WriteString(w, "Subject: s\r\n\r\n")
	return int64(n), errors.New("disk gone")
}

// A text that cannot be read to its end must not be taken for a whole one.
func TestContentBreaksOff(t *testing.T) {
	m := message()
	m.Content = brokenContent{}
	_, err := play(t, m, hello,
		step{auth + mail + rcpt + "DATA\r\n", "235 2.7.0 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"}, theEnd)
	checkError(t, err, cli.TempFail, "", false)
}

func TestContentWithoutLineEnd(t *testing.T) {
	m := message()
	m.Content = stringContent("Subject: s\r\n\r\nx")
	_, err := play(t, m, hello,
		step{auth + mail + rcpt + "DATA\r\n", "235 2.7.0 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"}, theEnd)
	checkError(t, err, cli.Software, "", false)
}

// The last line of defence: no command holds a line end, whatever the caller did.
func TestInjection(t *testing.T) {
	for _, m := range []*Mail{
		{From: "a@b>\r\nRCPT TO:<c@d", To: []string{"e@f"}},
		{From: "a@b", To: []string{"e@f>\nDATA"}},
	} {
		m.Content = stringContent("\r\n")
		_, err := play(t, m, hello, theEnd)
		checkError(t, err, cli.Software, "", false)
	}
}

func TestCancel(t *testing.T) {
	for _, tc := range []struct {
		name  string
		maybe bool
		at    string // the trace line at which the context ends
		steps []step
	}{
		{"before the message", false, "> MAIL", []step{hello}},
		{"after the message", true, "> (18 octets)", []step{hello,
			{auth + mail + rcpt + "DATA\r\n", "235 2.7.0 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			stop := errors.New("told to stop")
			o := Options{Trace: func(line string) {
				if strings.HasPrefix(line, tc.at) {
					cancel(stop)
				}
			}}
			_, err := playWith(t, ctx, message(), o, tc.steps...)
			checkError(t, err, cli.TempFail, "4.4.2", tc.maybe)
			if !errors.Is(err, stop) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestSilentServer(t *testing.T) {
	o := Options{Timeouts: Timeouts{Command: 20 * time.Millisecond}}
	_, err := playWith(t, t.Context(), message(), o, hello, step{auth + mail + rcpt + "DATA\r\n", ""}, theEnd)
	checkError(t, err, cli.TempFail, "4.4.2", false)
	o = Options{Timeouts: Timeouts{Final: 20 * time.Millisecond}}
	_, err = playWith(t, t.Context(), message(), o, hello,
		step{auth + mail + rcpt + "DATA\r\n", "235 2.7.0 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"},
		step{data + "QUIT\r\n", ""}, theEnd)
	checkError(t, err, cli.TempFail, "4.4.2", true)
}

// No trace shows a password, in any of its forms.
func TestTraceIsSafe(t *testing.T) {
	for _, mechanisms := range []string{"AUTH PLAIN", "AUTH LOGIN"} {
		var lines []string
		o := Options{Trace: func(line string) { lines = append(lines, line) }}
		steps := []step{{hello.want, strings.Replace(full, "AUTH PLAIN LOGIN", mechanisms, 1)}}
		if mechanisms == "AUTH LOGIN" {
			steps = append(steps, step{"AUTH LOGIN YWxpY2U=\r\n", "334 UGFzc3dvcmQ6\r\n"}, step{"c2VjcmV0\r\n", "535 5.7.8 no\r\n"})
		} else {
			steps = append(steps, step{auth + mail + rcpt + "DATA\r\n", "535 5.7.8 no\r\n530 no\r\n530 no\r\n503 no\r\n"})
		}
		_, err := playWith(t, t.Context(), message(), o, append(steps, goodbye, theEnd)...)
		checkError(t, err, cli.NoPerm, "5.7.8", false)
		all := strings.Join(lines, "\n")
		for _, secret := range []string{"c2VjcmV0", "secret", "AGFsaWNl", "UGFzc3dvcmQ6"} {
			if strings.Contains(all, secret) {
				t.Errorf("%s: the trace shows %q:\n%s", mechanisms, secret, all)
			}
		}
		if !slices.Contains(lines, "< 535 5.7.8 no") {
			t.Errorf("%s: the trace lacks the reply:\n%s", mechanisms, all)
		}
	}
}

// alice logs in with her password.
func alice() Login {
	return Login{User: "alice", Secret: func(context.Context) (string, error) { return "secret", nil }}
}
