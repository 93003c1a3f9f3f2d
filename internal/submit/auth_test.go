package submit

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"rtls/internal/cli"
	"rtls/internal/testpki"
	"rtls/internal/tlsconf"
)

// authServer is a server whose authentication is real.
type authServer struct {
	offers     string // behind AUTH in the EHLO reply
	maxVersion uint16
	scram      func(r *bufio.Reader, w io.Writer, first string, state *tls.ConnectionState) bool

	mu    sync.Mutex // guards what follows
	heard []string
}

func (a *authServer) start(t *testing.T) *Target {
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
	var wait sync.WaitGroup
	wait.Go(func() { // ended by the cleanup
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		a.serve(tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: a.maxVersion}))
	})
	t.Cleanup(func() { l.Close(); wait.Wait() })
	return &Target{Host: "localhost", Port: l.Addr().(*net.TCPAddr).Port, TLS: config}
}

func (a *authServer) serve(conn *tls.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	fmt.Fprint(conn, "220 localhost\r\n")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		a.mu.Lock()
		a.heard = append(a.heard, line)
		a.mu.Unlock()
		verb, rest, _ := strings.Cut(line, " ")
		switch verb {
		case "EHLO":
			fmt.Fprintf(conn, "250-localhost\r\n250-REQUIRETLS\r\n250 AUTH %s\r\n", a.offers)
		case "AUTH":
			state := conn.ConnectionState()
			mechanism, first, _ := strings.Cut(rest, " ")
			if !strings.HasPrefix(mechanism, "SCRAM") || a.scram(r, conn, first, &state) {
				fmt.Fprint(conn, "235 2.7.0 ok\r\n")
			} else {
				fmt.Fprint(conn, "535 5.7.8 no\r\n")
			}
		case "DATA":
			fmt.Fprint(conn, "354 go\r\n")
			for line != ".\r\n" {
				if line, err = r.ReadString('\n'); err != nil {
					return
				}
			}
			fmt.Fprint(conn, "250 taken\r\n")
		default:
			fmt.Fprint(conn, "250 ok\r\n")
		}
	}
}

func (a *authServer) auth() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.heard, func(s string) bool { return strings.HasPrefix(s, "AUTH ") })
	if i < 0 {
		return ""
	}
	words := strings.Fields(a.heard[i])
	return words[1]
}

// realSCRAM is the server's side, by the library.
func realSCRAM(password string, plus bool) func(*bufio.Reader, io.Writer, string, *tls.ConnectionState) bool {
	return func(r *bufio.Reader, w io.Writer, first string, state *tls.ConnectionState) bool {
		client, _ := scram.SHA256.NewClient("alice", password, "")
		server, _ := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) {
			return client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "0123456789", Iters: 4096})
		})
		conversation := server.NewConversation()
		if plus {
			binding, err := scram.NewTLSExporterBinding(state)
			if err != nil {
				return false
			}
			conversation = server.NewConversationWithChannelBinding(binding)
		}
		message := first
		for {
			raw, err := base64.StdEncoding.DecodeString(message)
			if err != nil {
				return false
			}
			answer, err := conversation.Step(string(raw))
			if err != nil {
				return false
			}
			fmt.Fprintf(w, "334 %s\r\n", base64.StdEncoding.EncodeToString([]byte(answer)))
			line, err := r.ReadString('\n')
			if err != nil {
				return false
			}
			if message = strings.TrimRight(line, "\r\n"); message == "" {
				return conversation.Valid()
			}
		}
	}
}

func TestSCRAM(t *testing.T) {
	for _, tc := range []struct {
		name      string
		server    *authServer
		mechanism string // configured
		want      string // used
		code      int
	}{
		{"strongest", &authServer{offers: "PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS", scram: realSCRAM("secret", true)}, "", scramPlus, 0},
		{"no PLUS", &authServer{offers: "PLAIN SCRAM-SHA-256", scram: realSCRAM("secret", false)}, "", scram256, 0},
		{"TLS 1.2", &authServer{offers: "PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS", maxVersion: tls.VersionTLS12, scram: realSCRAM("secret", false)}, "", scram256, 0},
		{"configured", &authServer{offers: "PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS", scram: realSCRAM("secret", false)}, scram256, scram256, 0},
		{"weakest configured", &authServer{offers: "PLAIN LOGIN SCRAM-SHA-256-PLUS"}, "PLAIN", "PLAIN", 0},
		{"configured, not offered", &authServer{offers: "PLAIN LOGIN SCRAM-SHA-256"}, scramPlus, "", cli.NoPerm},
		{"wrong password", &authServer{offers: "SCRAM-SHA-256-PLUS", scram: realSCRAM("other", true)}, "", scramPlus, cli.NoPerm},
		{"the server did not expect PLUS to be gone", &authServer{offers: "SCRAM-SHA-256", scram: realSCRAM("secret", true)}, "", scram256, cli.NoPerm},
		{"the server proves nothing", &authServer{offers: "SCRAM-SHA-256", scram: func(*bufio.Reader, io.Writer, string, *tls.ConnectionState) bool { return true }}, "", scram256, cli.NoPerm},
		{"a cheap guess", &authServer{offers: "SCRAM-SHA-256", scram: fewIterations}, "", scram256, cli.NoPerm},
	} {
		t.Run(tc.name, func(t *testing.T) {
			target := tc.server.start(t)
			target.Login = alice()
			target.Login.Mechanism = tc.mechanism
			receipt, err := Send(t.Context(), target, message(), client)
			if cli.ExitCode(err) != tc.code || tc.server.auth() != tc.want {
				t.Fatalf("%v, with %q; want %d, %q", err, tc.server.auth(), tc.code, tc.want)
			}
			if err == nil && receipt.Mechanism != tc.want {
				t.Errorf("%+v", receipt)
			}
			if err != nil && slices.ContainsFunc(tc.server.heard, func(s string) bool { return strings.HasPrefix(s, "MAIL") }) {
				t.Errorf("the server heard %q", tc.server.heard)
			}
		})
	}
}

// fewIterations asks for an answer that is quickly guessed.
func fewIterations(r *bufio.Reader, w io.Writer, first string, _ *tls.ConnectionState) bool {
	raw, _ := base64.StdEncoding.DecodeString(first)
	_, nonce, _ := strings.Cut(string(raw), ",r=")
	fmt.Fprintf(w, "334 %s\r\n", base64.StdEncoding.EncodeToString([]byte("r="+nonce+"x,s=MDEyMw==,i=1")))
	line, err := r.ReadString('\n')
	return err == nil && line != "*\r\n"
}

func withAuth(mechanisms string) step {
	return step{hello.want, strings.Replace(full, "AUTH PLAIN LOGIN", "AUTH "+mechanisms, 1)}
}

func TestTokens(t *testing.T) {
	encode := base64.StdEncoding.EncodeToString
	rest := []step{{mail + rcpt + "DATA\r\n", "250 ok\r\n250 ok\r\n354 go\r\n"}, {data + "QUIT\r\n", "250 taken\r\n221 bye\r\n"}, theEnd}
	long := strings.Repeat("t", 600)
	forgotten := 0
	for _, tc := range []struct {
		name  string
		token string
		code  int
		steps func(port int) []step
	}{
		{"OAUTHBEARER", "tok", 0, func(port int) []step {
			first := encode(fmt.Appendf(nil, "n,a=alice,\x01host=localhost\x01port=%d\x01auth=Bearer tok\x01\x01", port))
			return append([]step{withAuth("PLAIN XOAUTH2 OAUTHBEARER"), {"AUTH OAUTHBEARER " + first + "\r\n", "235 ok\r\n"}}, rest...)
		}},
		{"XOAUTH2", "tok", 0, func(int) []step {
			return append([]step{withAuth("PLAIN XOAUTH2"), {"AUTH XOAUTH2 " + encode([]byte("user=alice\x01auth=Bearer tok\x01\x01")) + "\r\n", "235 ok\r\n"}}, rest...)
		}},
		{"too long for a command", long, 0, func(int) []step { // RFC 4954 section 4
			return append([]step{withAuth("XOAUTH2"), {"AUTH XOAUTH2\r\n", "334 \r\n"}, {encode([]byte("user=alice\x01auth=Bearer "+long+"\x01\x01")) + "\r\n", "235 ok\r\n"}}, rest...)
		}},
		{"refused", "tok", cli.NoPerm, func(port int) []step {
			first := encode(fmt.Appendf(nil, "n,a=alice,\x01host=localhost\x01port=%d\x01auth=Bearer tok\x01\x01", port))
			return []step{withAuth("OAUTHBEARER"), {"AUTH OAUTHBEARER " + first + "\r\n", "334 " + encode([]byte(`{"status":"invalid_token"}`)) + "\r\n"}, {"AQ==\r\n", "535 5.7.8 no\r\n"}, goodbye, theEnd}
		}},
		{"a password's mechanisms only", "tok", cli.NoPerm, func(int) []step { return []step{withAuth("PLAIN LOGIN SCRAM-SHA-256"), goodbye, theEnd} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			target := serveLater(t, tc.steps)
			target.Login = Login{User: "alice", Token: true, Forget: func() bool { forgotten++; return false }, Secret: func(context.Context) (string, error) { return tc.token, nil }}
			var trace []string
			o := client
			o.Trace = func(line string) { trace = append(trace, line) }
			if _, err := Send(t.Context(), target, message(), o); cli.ExitCode(err) != tc.code {
				t.Errorf("%v, want %d", err, tc.code)
			}
			for _, line := range trace {
				if len(line) > 200 || strings.Contains(line, encode([]byte("auth=Bearer"))[:12]) {
					t.Errorf("the trace shows %q", line)
				}
			}
		})
	}
	if forgotten != 1 {
		t.Errorf("%d tokens were forgotten, want the refused one", forgotten)
	}
}

// serveLater is serveDialogues for one dialogue that has the port in it.
func serveLater(t *testing.T, steps func(port int) []step) *Target {
	t.Helper()
	return serveDialoguesOf(t, func(port int) [][]step { return [][]step{steps(port)} })
}

func TestExternal(t *testing.T) {
	target := serveDialogues(t, []step{withAuth("PLAIN EXTERNAL"),
		{"AUTH EXTERNAL =\r\n" + mail + rcpt + "DATA\r\n", "235 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"}, {data + "QUIT\r\n", "250 taken\r\n221 bye\r\n"}, theEnd})
	target.Login = Login{Mechanism: "EXTERNAL"}
	if _, err := Send(t.Context(), target, message(), client); err != nil {
		t.Error(err)
	}
}

// A secret that is not to be had is asked for after the guard and before AUTH.
func TestSecretFails(t *testing.T) {
	target := serveDialogues(t, []step{hello, goodbye, theEnd})
	target.Login = alice()
	target.Login.Secret = func(context.Context) (string, error) { return "", fmt.Errorf("the key ring is locked") }
	_, err := Send(t.Context(), target, message(), client)
	checkError(t, err, cli.TempFail, "", false)

	target = serveDialogues(t, []step{noRequire, goodbye, theEnd})
	target.Login = alice()
	target.Login.Secret = func(context.Context) (string, error) {
		t.Error("the secret was asked for")
		return "", nil
	}
	_, err = Send(t.Context(), target, message(), client)
	checkError(t, err, cli.Unavailable, "5.7.30", false)
}

func TestPinAndDANE(t *testing.T) {
	refusal := []step{} // not even EHLO
	pinned := serveDialogues(t, refusal)
	if err := tlsconf.Pin(pinned.TLS, []string{base64.StdEncoding.EncodeToString(make([]byte, 32))}); err != nil {
		t.Fatal(err)
	}
	_, err := Send(t.Context(), pinned, message(), client)
	checkError(t, err, cli.Unavailable, "5.7.10", false)

	matching := func(_ *Target, cert *tls.Certificate) []tlsconf.TLSA {
		key := sha256.Sum256(leafOf(t, cert).RawSubjectPublicKeyInfo)
		return []tlsconf.TLSA{{Usage: 3, Selector: 1, Matching: 1, Data: key[:]}}
	}
	wrong := []tlsconf.TLSA{{Usage: 3, Selector: 1, Matching: 1, Data: make([]byte, 32)}}
	unusable := []tlsconf.TLSA{{Usage: 1, Selector: 1, Matching: 1, Data: make([]byte, 32)}}
	for _, tc := range []struct {
		name    string
		trusted bool // the server's authority is known
		records func(*Target, *tls.Certificate) []tlsconf.TLSA
		proven  bool
		err     error
		code    int
		dane    bool
	}{
		{"in place of an authority", false, matching, true, nil, 0, true},
		{"not proven", false, matching, false, nil, cli.Unavailable, false},
		{"not proven, authority known", true, func(*Target, *tls.Certificate) []tlsconf.TLSA { return wrong }, false, nil, 0, false},
		{"another key, authority known", true, func(*Target, *tls.Certificate) []tlsconf.TLSA { return wrong }, true, nil, cli.Unavailable, false},
		{"no records", true, func(*Target, *tls.Certificate) []tlsconf.TLSA { return nil }, true, nil, 0, false},
		{"unusable records", true, func(*Target, *tls.Certificate) []tlsconf.TLSA { return unusable }, true, nil, 0, false},
		{"unusable records, authority unknown", false, func(*Target, *tls.Certificate) []tlsconf.TLSA { return unusable }, true, nil, cli.Unavailable, false},
		{"no answer", true, matching, false, &net.DNSError{Err: "SERVFAIL", IsTemporary: true}, cli.TempFail, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			steps := whole
			if tc.code != 0 {
				steps = refusal
			}
			target, cert := serveStranger(t, tc.trusted, tc.code == cli.TempFail, steps)
			target.Login = alice()
			target.DANE = true
			o := client
			o.Resolver = answers{tlsa: tc.records(target, cert), proven: tc.proven, err: tc.err}
			receipt, err := Send(t.Context(), target, message(), o)
			if cli.ExitCode(err) != tc.code {
				t.Errorf("%v, want %d", err, tc.code)
			}
			if err == nil && receipt.DANE != tc.dane {
				t.Errorf("%+v", receipt)
			}
		})
	}
}

func leafOf(t *testing.T, cert *tls.Certificate) *x509.Certificate {
	t.Helper()
	own, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return own
}

// A token that was kept and is refused is replaced, once.
func TestTokenAgain(t *testing.T) {
	encode := func(token string) string {
		return "AUTH XOAUTH2 " + base64.StdEncoding.EncodeToString([]byte("user=alice\x01auth=Bearer "+token+"\x01\x01")) + "\r\n"
	}
	bad := func(token string) []step {
		return []step{withAuth("XOAUTH2"), {encode(token), "535 5.7.8 no\r\n"}, goodbye, theEnd}
	}
	good := []step{withAuth("XOAUTH2"), {encode("t2"), "235 ok\r\n"}, {mail + rcpt + "DATA\r\n", "250 ok\r\n250 ok\r\n354 go\r\n"}, {data + "QUIT\r\n", "250 taken\r\n221 bye\r\n"}, theEnd}
	for code, dialogues := range map[int][][]step{0: {bad("t1"), good}, cli.NoPerm: {bad("t1"), bad("t2")}} {
		target := serveDialogues(t, dialogues...)
		n := 0
		target.Login = Login{User: "alice", Token: true, Forget: func() bool { return true }, Secret: func(context.Context) (string, error) {
			n++
			return fmt.Sprintf("t%d", n), nil
		}}
		if _, err := Send(t.Context(), target, message(), client); cli.ExitCode(err) != code || n != 2 {
			t.Errorf("%v after %d tokens, want %d", err, n, code)
		}
	}
}
