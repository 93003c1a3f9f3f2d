package e2e

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rtls/internal/testpki"
)

// TestSubmissionServers submits to servers that others have written.
func TestSubmissionServers(t *testing.T) {
	t.Run("smtp-server", testNodeServer)
	t.Run("postfix", testPostfixSubmission)
	t.Run("exim", testEximSubmission)
	t.Run("opensmtpd", testOpenSMTPDSubmission)
}

// submitTo pipes canary into rtls-send for a server on loopback that needs no login.
func submitTo(t *testing.T, port, mode, caFile string, args ...string) result {
	t.Helper()
	config := filepath.Join(t.TempDir(), "rtls.toml")
	text := fmt.Sprintf("hostname = \"client.example.org\"\n[send.account.test]\nfrom = \"sender@example.org\"\nhost = \"localhost\"\nport = %s\ntls = %q\nca_file = %q\n", port, mode, caFile)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return runEnv(t, quickExit, strings.NewReader(canary), "rtls-send", append([]string{"-C", config}, append(args, "alice@example.org")...)...)
}

// nodeServer is the server of npm's package smtp-server. It prints its port, then a
// line of JSON for each MAIL and for each message.
const nodeServer = `
const { SMTPServer } = require("smtp-server");
const fs = require("fs");
const [cert, key, secure, hide] = process.argv.slice(1);
const say = (what) => console.log(JSON.stringify(what));
const server = new SMTPServer({
	cert: fs.readFileSync(cert), key: fs.readFileSync(key),
	secure: secure === "implicit", hideREQUIRETLS: hide === "hide", authOptional: true,
	onMailFrom(address, session, done) { say({ mail: address.address }); done(); },
	onData(stream, session, done) {
		let text = "";
		stream.on("data", (d) => { text += d; });
		stream.on("end", () => { say({ required: session.envelope.requireTLS, secure: session.secure, text }); done(); });
	},
});
server.on("error", (err) => console.error(err.message));
server.listen(0, "127.0.0.1", () => say({ port: server.server.address().port }));
`

// startNode starts it, and returns its port and what gives its next line.
func startNode(t *testing.T, p *pki, args ...string) (port string, next func() map[string]any) {
	t.Helper()
	node, err := exec.LookPath("node")
	modules, abs := filepath.Abs("../../.peers/smtp-server/node_modules")
	if _, missing := os.Stat(modules); err != nil || abs != nil || missing != nil {
		t.Skip("no Node.js, or no smtp-server: make setup installs it where npm is there")
	}
	cmd := exec.Command(node, append([]string{"-e", nodeServer, "--", p.cert, p.key}, args...)...)
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }) // a test that hangs fails
	t.Cleanup(func() {
		stop.Stop()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	next = func() map[string]any {
		t.Helper()
		var said map[string]any
		if !lines.Scan() {
			t.Fatalf("smtp-server ended: %v", lines.Err())
		}
		if err := json.Unmarshal(lines.Bytes(), &said); err != nil {
			t.Fatal(err)
		}
		return said
	}
	return fmt.Sprint(next()["port"]), next
}

func testNodeServer(t *testing.T) {
	p := newPKI(t)
	for _, mode := range []string{"implicit", "starttls"} {
		for _, wish := range []string{yes, auto} {
			port, next := startNode(t, p, mode, "show")
			if r := submitTo(t, port, mode, p.caFile, wish); r.code != 0 {
				t.Fatalf("%s %s: %+v", mode, wish, r)
			}
			if got := next(); got["mail"] != "sender@example.org" {
				t.Errorf("%s %s: %v", mode, wish, got)
			}
			if got := next(); got["required"] != (wish == yes) || got["secure"] != true || !strings.HasSuffix(got["text"].(string), "\r\n\r\ncanary-body\r\n") {
				t.Errorf("%s %s: %v", mode, wish, got)
			}
		}
		port, next := startNode(t, p, mode, "hide")
		if r := submitTo(t, port, mode, p.caFile, yes); r.code != 69 || !strings.Contains(r.stderr, "5.7.30") {
			t.Errorf("%s: %+v", mode, r)
		}
		// The first that it hears of is this, so of the other it heard nothing.
		if r := submitTo(t, port, mode, p.caFile, auto, "-f", "second@example.org"); r.code != 0 {
			t.Errorf("%s: %+v", mode, r)
		}
		if got := next(); got["mail"] != "second@example.org" {
			t.Errorf("%s: %v", mode, got)
		}
	}
}

// refusesAndTakes makes sure that nothing with REQUIRETLS goes to a server without,
// and that without it the server would have taken it. quiet and taken are what the
// server's log says of the two.
func (m *mta) refusesAndTakes(t *testing.T, mode, quiet, taken string) {
	t.Helper()
	ca := filepath.Join(m.host.dir, "ca.pem")
	if r := submitTo(t, m.port, mode, ca, yes); r.code != 69 || !strings.Contains(r.stderr, "5.7.30") {
		t.Errorf("%+v", r)
	}
	eventually(t, "the server says goodbye", func() bool { return strings.Contains(m.log(), quiet) })
	if log := m.log(); strings.Contains(log, "sender@example.org") || strings.Contains(log, "alice") {
		t.Error(log)
	}
	if r := submitTo(t, m.port, mode, ca, auto); r.code != 0 {
		t.Errorf("%+v", r)
	}
	eventually(t, "the server takes a message", func() bool { return strings.Contains(m.log(), taken) })
}

func testPostfixSubmission(t *testing.T) {
	h := newMTAHost(t)
	p := newPostfix(t, h)
	p.start(t, "", "smtpd_tls_security_level = may",
		"smtpd_tls_cert_file = "+filepath.Join(h.dir, "mx.pem"), "smtpd_tls_key_file = "+filepath.Join(h.dir, "mx.key"))
	p.refusesAndTakes(t, "starttls", " ehlo=2 starttls=1 quit=1 commands=4\n", "from=<sender@example.org>")
}

func testEximSubmission(t *testing.T) {
	h := newMTAHost(t)
	key, err := os.ReadFile(filepath.Join(h.dir, "mx.key"))
	if err != nil {
		t.Fatal(err)
	}
	readable := filepath.Join(h.dir, "exim.key") // by Exim's user
	if err := os.WriteFile(readable, key, 0o644); err != nil {
		t.Fatal(err)
	}
	m := startExim(t, h, fmt.Sprintf(`tls_advertise_hosts = *
tls_certificate = %s
tls_privatekey = %s
log_selector = +smtp_no_mail

begin routers
hole:
  driver = redirect
  data = :blackhole:
`, filepath.Join(h.dir, "mx.pem"), readable))
	m.refusesAndTakes(t, "starttls", "no MAIL in SMTP connection", "<= sender@example.org")
}

// The OpenSMTPD of Debian 12 cannot do TLS with us: with the OpenSSL there the handshake
// ends in "missing private key", RSA or ECDSA. So the TLS in front of it is the test's,
// and what the server says comes through it.
func testOpenSMTPDSubmission(t *testing.T) {
	h := newMTAHost(t)
	m := startOpenSMTPD(t, h, fmt.Sprintf(`action "hole" mda "/bin/true" virtual { "@" = %s }
match from any for any action "hole"
`, mailUser), "-v", "-T", "smtp") // it logs each command that it hears
	m.port = unwrapTLS(t, h.ca, m.port)
	m.refusesAndTakes(t, "implicit", "smtp disconnected reason=quit", "from=<sender@example.org> to=<alice@example.org>")
	if !strings.Contains(m.log(), "<<< MAIL FROM:<sender@example.org>") {
		t.Error("the log does not tell of commands, so its silence says nothing")
	}
}

// unwrapTLS listens for TLS on loopback and hands what is inside to another port. It
// takes connections until the test ends, one at a time.
func unwrapTLS(t *testing.T, ca *testpki.CA, inner string) (port string) {
	t.Helper()
	cert, err := ca.TLS(testpki.Leaf{Names: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // the cleanup waits for it
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			unwrap(c, inner)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// unwrap returns when both ends of a connection are closed. An error shows at the client.
func unwrap(c net.Conn, inner string) {
	defer c.Close()
	s, err := net.Dial("tcp", "127.0.0.1:"+inner)
	if err != nil {
		return
	}
	defer s.Close()
	limit := time.Now().Add(time.Minute)
	_, _ = c.SetDeadline(limit), s.SetDeadline(limit)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(c, s)
		_ = c.Close()
	}()
	_, _ = io.Copy(s, c)
	_ = s.Close()
	<-done
}
