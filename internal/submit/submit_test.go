package submit

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"rtls/internal/cli"
	"rtls/internal/requiretls"
	"rtls/internal/testpki"
)

func writeCA(t *testing.T, ca *testpki.CA) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDialErrors(t *testing.T) {
	for _, tc := range []struct {
		err    error
		code   int
		status string
	}{
		{&net.DNSError{Err: "no such host", IsNotFound: true}, cli.NoHost, "5.1.2"},
		{&net.DNSError{Err: "server misbehaving", IsTemporary: true}, cli.TempFail, "4.4.3"},
		{&net.DNSError{Err: "timeout", IsTimeout: true}, cli.TempFail, "4.4.3"},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, cli.TempFail, "4.4.2"},
		{errors.New("who knows"), cli.TempFail, "4.4.2"},
	} {
		o := Options{Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: tc.err}
		}}
		_, err := Send(t.Context(), &Target{Host: "smtp.example.org", Port: 465}, message(), o)
		checkError(t, err, tc.code, tc.status, false)
	}
}

// The guard looks for itself, whatever the code before it meant to do.
func TestGuard(t *testing.T) {
	ca, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.TLS(testpki.Leaf{Names: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		tls    *tls.Config // nil: no TLS
		host   string
		offers string
		wish   requiretls.Wish
		status string
	}{
		{"in clear", nil, "localhost", "REQUIRETLS", requiretls.Yes, "5.7.10"},
		{"in clear, no wish", nil, "localhost", "", requiretls.Auto, "5.7.10"},
		{"chain not verified", &tls.Config{InsecureSkipVerify: true}, "localhost", "REQUIRETLS", requiretls.Yes, "5.7.10"},
		{"chain not verified, no wish", &tls.Config{InsecureSkipVerify: true}, "localhost", "REQUIRETLS", requiretls.Auto, "5.7.10"},
		{"verified for another name", &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}, "smtp.example.org", "REQUIRETLS", requiretls.Auto, "5.7.10"},
		{"no REQUIRETLS", &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}, "localhost", "STARTTLS", requiretls.Yes, "5.7.30"},
		{"no REQUIRETLS, no wish", &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}, "localhost", "STARTTLS", requiretls.No, ""},
		{"good", &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}, "localhost", "REQUIRETLS", requiretls.Yes, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client, server := net.Pipe()
			defer client.Close()
			defer server.Close()
			s := &session{target: &Target{Host: tc.host}, o: &Options{}, conn: client, extensions: map[string]string{tc.offers: ""}}
			if tc.tls != nil {
				var wait sync.WaitGroup
				wait.Go(func() {
					_ = tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true}).Handshake()
				})
				conn := tls.Client(client, tc.tls)
				if _, err := s.guard(tc.wish); err == nil {
					t.Error("passed before the handshake")
				}
				s.conn = conn
				if _, err := s.guard(tc.wish); err == nil {
					t.Error("passed during the handshake")
				}
				if err := conn.Handshake(); err != nil {
					t.Fatal(err)
				}
				wait.Wait()
			}
			_, err := s.guard(tc.wish)
			e, _ := errors.AsType[*cli.Error](err)
			if (err == nil) != (tc.status == "") || e != nil && (e.Status != tc.status || e.Code != cli.Unavailable) {
				t.Errorf("%v, want %q", err, tc.status)
			}
		})
	}
}

// rudeConn closes without a farewell.
type rudeConn struct {
	net.Conn
	under net.Conn
}

func (r rudeConn) Close() error { return r.under.Close() }

// A server that has had enough says so and stops reading. Its words count, not the
// error of the write.
func TestRefusedDuringText(t *testing.T) {
	ca, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.TLS(testpki.Leaf{Names: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	client, server := net.Pipe()
	var wait sync.WaitGroup
	wait.Go(func() {
		conn := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true})
		serveSteps(t, rudeConn{conn, server}, []step{hello, {auth + mail + rcpt + "DATA\r\n", "235 2.7.0 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n552 5.3.4 enough\r\n"}})
	})
	m := message()
	m.Content = stringContent(strings.Repeat("0123456789\r\n", 1<<16))
	_, err = Send(t.Context(), &Target{Host: "localhost", Port: 1, TLS: &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}, Login: alice()}, m, Options{
		Hostname: "client.example.org",
		Timeouts: Timeouts{Write: 50 * time.Millisecond},
		Dial:     func(context.Context, string, string) (net.Conn, error) { return client, nil },
	})
	wait.Wait()
	checkError(t, err, cli.DataErr, "5.3.4", false)
}

func TestDotWriter(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "",
		".\r\n":                   "..\r\n",
		"a\r\n.b\r\n..\r\n":       "a\r\n..b\r\n...\r\n",
		"\r\n.\r\n.\r\n":          "\r\n..\r\n..\r\n",
		"a.b.\r\nc.\r\n":          "a.b.\r\nc.\r\n",
		".\r\nMAIL FROM:<x>\r\n.": "..\r\nMAIL FROM:<x>\r\n..",
	} {
		for cut := range len(in) + 1 {
			var b bytes.Buffer
			d := &dotWriter{w: &b, lineStart: true}
			for _, piece := range []string{in[:cut], in[cut:]} {
				if n, err := io.WriteString(d, piece); err != nil || n != len(piece) {
					t.Errorf("%q: %d, %v", piece, n, err)
				}
			}
			if b.String() != want || d.lineStart != (in == "" || strings.HasSuffix(in, "\n")) {
				t.Errorf("%q cut at %d: %q, want %q", in, cut, b.String(), want)
			}
		}
	}
}

func TestReadReply(t *testing.T) {
	for _, tc := range []struct {
		in     string
		code   int // 0: an error
		status string
		text   string
	}{
		{"250 ok\r\n", 250, "", "250 ok"},
		{"250\r\n", 250, "", "250"},
		{"250-a\r\n250-\r\n250 c\r\n", 250, "", "250 a /  / c"},
		{"550 5.1.1 nobody\r\n", 550, "5.1.1", "550 5.1.1 nobody"},
		{"550 5.7.30\r\n", 550, "5.7.30", "550 5.7.30"},
		{"550 4.1.1 class does not fit\r\n", 550, "", "550 4.1.1 class does not fit"},
		{"550 5.1 short\r\n", 550, "", "550 5.1 short"},
		{"550 5.1.1111 long\r\n", 550, "", "550 5.1.1111 long"},
		{"550 5.x.1 odd\r\n", 550, "", "550 5.x.1 odd"},
		{"220 LF only\n", 220, "", "220 LF only"},
		{"500 \x1b[31mred\x07\r\n", 500, "", "500 ?[31mred?"},
		{"250-a\r\n251 b\r\n", 0, "", ""},
		{"150 x\r\n", 0, "", ""},
		{"600 x\r\n", 0, "", ""},
		{"25 x\r\n", 0, "", ""},
		{"2500 x\r\n", 0, "", ""},
		{"SSH-2.0-x\r\n", 0, "", ""},
		{"\r\n", 0, "", ""},
		{"250 no end", 0, "", ""},
		{"250 " + strings.Repeat("x", maxReplyLine) + "\r\n", 0, "", ""},
		{strings.Repeat("250-x\r\n", maxReplyLines) + "250 x\r\n", 0, "", ""},
	} {
		r, err := readReply(bufio.NewReaderSize(strings.NewReader(tc.in), maxReplyLine))
		if tc.code == 0 {
			if err == nil {
				t.Errorf("%.40q: %+v", tc.in, r)
			}
			continue
		}
		if err != nil || r.Code != tc.code || r.Status != tc.status || r.String() != tc.text {
			t.Errorf("%.40q: %+v, %v", tc.in, r, err)
		}
	}
	long := Reply{Code: 550, Lines: []string{strings.Repeat("é", 1000)}}
	if s := long.String(); len(s) > 520 || !utf8.ValidString(s) {
		t.Errorf("%d octets: %q", len(s), s)
	}
}

// A server's reply is shown to people and decides about mail.
func FuzzReadReply(f *testing.F) {
	for _, s := range []string{"250 ok\r\n", "250-a\r\n250 b\r\n", "550 5.1.1 no\r\n", "\x00", "250-\r\n", "421\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := readReply(bufio.NewReaderSize(strings.NewReader(s), maxReplyLine))
		if err != nil {
			return
		}
		if r.Code < 200 || r.Code > 599 || len(r.Lines) == 0 || len(r.Lines) > maxReplyLines {
			t.Errorf("%+v", r)
		}
		if text := r.String(); !utf8.ValidString(text) || cli.Printable(text) != text || len(text) > 520 {
			t.Errorf("%q is not fit to be shown", text)
		}
		if r.Status != "" && r.Status[0] != byte('0'+r.Code/100) {
			t.Errorf("status %s in a reply %d", r.Status, r.Code)
		}
		for at := stageHello; at <= stageData; at++ {
			if code := exitCode(at, r); (code == cli.TempFail) != (r.Code/100 == 4) {
				t.Errorf("exit code %d for %d", code, r.Code)
			}
		}
	})
}

func TestXtext(t *testing.T) {
	if got, want := xtext("a+b=c d~é!"), "a+2Bb+3Dc+20d~+C3+A9!"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for id, ok := range map[string]bool{"x": true, "": false, "a\n": false, "é": false, strings.Repeat("x", 100): true, strings.Repeat("x", 101): false, strings.Repeat("+", 34): false} {
		if err := ValidEnvelopeID(id); (err == nil) != ok {
			t.Errorf("%q: %v", id, err)
		}
	}
}
