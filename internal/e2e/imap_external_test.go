package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rtls/internal/testpki"
)

// certified connects with a client's certificate and reads the greeting; nil: without.
func (d *imapd) certified(t *testing.T, p *pki, cert *tls.Certificate) *imapConn {
	t.Helper()
	config := &tls.Config{}
	if cert != nil {
		config.Certificates = []tls.Certificate{*cert}
	}
	return d.dial(t, p, config)
}

func clientCert(t *testing.T, ca *testpki.CA, leaf testpki.Leaf) *tls.Certificate {
	t.Helper()
	leaf.Client = true
	if leaf.Names == nil {
		leaf.Names = []string{"laptop"}
	}
	cert, err := ca.TLS(leaf)
	if err != nil {
		t.Fatal(err)
	}
	return &cert
}

// What rtls-imapd(8) promises of certificates: AUTHENTICATE EXTERNAL.
func TestIMAPDExternal(t *testing.T) {
	p := newPKI(t)
	users, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	d := makeIMAPD(t, p, testpki.Leaf{Names: []string{"localhost"}}, `client_ca = "DIR/users.pem"`)
	if err := os.WriteFile(d.path("users.pem"), users.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	d.addUser(t, "bob@example.org")
	d.start(t)
	offers := func(c *imapConn) bool {
		return slices.Contains(capabilityWords(t, strings.Join(c.ok("CAPABILITY"), "\n")), "AUTH=EXTERNAL")
	}
	alice := clientCert(t, users, testpki.Leaf{Emails: []string{imapUser}})
	both := clientCert(t, users, testpki.Leaf{Emails: []string{imapUser, "bob@example.org", "carol@example.org"}})
	const (
		asAlice = "YWxpY2VAZXhhbXBsZS5vcmc="
		asBob   = "Ym9iQGV4YW1wbGUub3Jn"
		asCarol = "Y2Fyb2xAZXhhbXBsZS5vcmc="
	)

	c := d.certified(t, p, nil)
	if offers(c) {
		t.Error("EXTERNAL is offered to a client without a certificate")
	}
	c.fails("NO", "", "AUTHENTICATE EXTERNAL =")
	c.fails("NO", "", "AUTHENTICATE EXTERNAL %s", asAlice)
	c.ok("LOGIN %s %q", imapUser, imapPassword) // as ever

	c = d.certified(t, p, alice)
	if !offers(c) {
		t.Error("EXTERNAL is not offered to a client with a certificate")
	}
	c.fails("NO", "[AUTHORIZATIONFAILED]", "AUTHENTICATE EXTERNAL %s", asBob)
	c.fails("BAD", "", "AUTHENTICATE EXTERNAL !")
	c.ok("AUTHENTICATE EXTERNAL =")
	c.ok("SELECT INBOX")
	d.waitLog(t, regexp.MustCompile(`msg=login .*user=alice@example.org mechanism=EXTERNAL`))
	c = d.certified(t, p, alice)
	c.write("x AUTHENTICATE EXTERNAL\r\n")
	if line := c.read(); line != "+ " {
		t.Errorf("the server goes on with %q", line)
	}
	c.write(asAlice + "\r\n")
	if r := c.tagged("x"); r.status != "OK" {
		t.Errorf("in two steps: %s %s", r.status, r.text)
	}

	// A certificate for several has to be told for whom, and helps nobody who is no user.
	c = d.certified(t, p, both)
	c.fails("NO", "[AUTHORIZATIONFAILED]", "AUTHENTICATE EXTERNAL =")
	c.fails("NO", "[AUTHENTICATIONFAILED]", "AUTHENTICATE EXTERNAL %s", asCarol)
	c.ok("AUTHENTICATE EXTERNAL %s", asBob)

	// One without an address is none, and one for a name is no one for an address.
	if offers(d.certified(t, p, clientCert(t, users, testpki.Leaf{Names: []string{imapUser}}))) {
		t.Error("EXTERNAL is offered by a subject")
	}

	// A user who is locked out stays out.
	text, err := os.ReadFile(d.path("passwd"))
	if err != nil {
		t.Fatal(err)
	}
	swap(t, d.path("passwd"), []byte(strings.Replace(string(text), imapUser+":", imapUser+":!", 1)))
	d.certified(t, p, alice).fails("NO", "[AUTHENTICATIONFAILED]", "AUTHENTICATE EXTERNAL =")

	// These do not get through the handshake.
	day := 24 * time.Hour
	for name, bad := range map[string]*tls.Certificate{
		"of another authority": clientCert(t, p.CA, testpki.Leaf{Emails: []string{imapUser}}),
		"expired":              clientCert(t, users, testpki.Leaf{Emails: []string{imapUser}, NotBefore: time.Now().Add(-2 * day), NotAfter: time.Now().Add(-day)}),
		"of a server":          serverCert(t, users),
	} {
		if err := d.handshake(t, p.Pool(), bad); err == nil {
			t.Errorf("a certificate %s is taken", name)
		}
	}
}

func serverCert(t *testing.T, ca *testpki.CA) *tls.Certificate {
	t.Helper()
	cert, err := ca.TLS(testpki.Leaf{Names: []string{"laptop"}, Emails: []string{imapUser}})
	if err != nil {
		t.Fatal(err)
	}
	return &cert
}

// handshake shows a certificate, whatever the server asks for, and says what reading
// the greeting fails with.
func (d *imapd) handshake(t *testing.T, roots *x509.CertPool, cert *tls.Certificate) error {
	t.Helper()
	dialer := &net.Dialer{Timeout: imapTimeout}
	conn, err := tls.DialWithDialer(dialer, "tcp", d.addr, &tls.Config{
		RootCAs: roots, ServerName: "localhost",
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil },
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(imapTimeout))
	_, err = conn.Read(make([]byte, 1))
	return err
}

// The authority is followed as certificates are: by itself, and all at once at SIGHUP.
// Who has a session of TLS from before cannot take it up again.
func TestIMAPDExternalReload(t *testing.T) {
	p := newPKI(t)
	var before, after *testpki.CA
	for _, ca := range []**testpki.CA{&before, &after} {
		var err error
		if *ca, err = testpki.New(); err != nil {
			t.Fatal(err)
		}
	}
	d := makeIMAPD(t, p, testpki.Leaf{Names: []string{"localhost"}}, `client_ca = "DIR/users.pem"`)
	swap(t, d.path("users.pem"), before.PEM())
	d.start(t)
	leaf := testpki.Leaf{Emails: []string{imapUser}}
	old, fresh := clientCert(t, before, leaf), clientCert(t, after, leaf)
	resumes := &tls.Config{Certificates: []tls.Certificate{*old}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for _, want := range []bool{false, true} {
		c := d.dial(t, p, resumes)
		if got := c.conn.(*tls.Conn).ConnectionState().DidResume; got != want {
			t.Fatalf("resumed: %t, want %t", got, want)
		}
		c.ok("AUTHENTICATE EXTERNAL =")
		defer c.ok("NOOP") // it stays
	}
	if d.handshake(t, p.Pool(), fresh) == nil {
		t.Fatal("the new authority is known before its time")
	}

	swap(t, d.path("users.pem"), after.PEM())
	for deadline := time.Now().Add(imapTimeout); d.handshake(t, p.Pool(), fresh) != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the new authority is not known")
		}
	}
	if d.handshake(t, p.Pool(), old) == nil {
		t.Error("the old authority is still known")
	}
	if conn, err := tls.Dial("tcp", d.addr, resumes); err == nil {
		_ = conn.SetDeadline(time.Now().Add(imapTimeout))
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("a session of the old authority goes on, resumed: %t", conn.ConnectionState().DidResume)
		}
		conn.Close()
	}
	d.certified(t, p, fresh).ok("AUTHENTICATE EXTERNAL =")
	d.login(t, p, "INBOX") // without any

	reload := func(text []byte, log string) {
		t.Helper()
		swap(t, d.path("users.pem"), text)
		if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		d.waitLog(t, regexp.MustCompile(log))
	}
	reload([]byte("half a file"), `certificates stay as they were.*authority of clients.*users\.pem`)
	d.certified(t, p, fresh).ok("AUTHENTICATE EXTERNAL =")
	reload(append(before.PEM(), after.PEM()...), "certificates are read anew")
	for _, cert := range []*tls.Certificate{old, fresh} {
		d.certified(t, p, cert).ok("AUTHENTICATE EXTERNAL =")
	}
}

// client_name chooses what on a certificate is the user, and with nothing but EXTERNAL
// there are no passwords.
func TestIMAPDExternalOnly(t *testing.T) {
	p := newPKI(t)
	d := makeIMAPD(t, p, testpki.Leaf{Names: []string{"localhost"}}, `client_ca = "DIR/users.pem"`, `client_name = "subject"`, `mechanisms = ["EXTERNAL"]`)
	if err := os.WriteFile(d.path("users.pem"), p.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	d.start(t)
	c := d.certified(t, p, nil)
	if words := capabilityWords(t, strings.Join(c.ok("CAPABILITY"), "\n")); !slices.Contains(words, "LOGINDISABLED") || strings.Contains(strings.Join(words, " "), "AUTH=") {
		t.Errorf("without a certificate: %q", words)
	}
	c.fails("NO", "", "LOGIN %s %q", imapUser, imapPassword)
	c = d.certified(t, p, clientCert(t, p.CA, testpki.Leaf{Names: []string{imapUser}}))
	c.ok("AUTHENTICATE EXTERNAL =")
	c.ok("SELECT INBOX")
}

func TestIMAPDExternalConfig(t *testing.T) {
	p := newPKI(t)
	for want, lines := range map[string][]string{
		`client_name is "email" or "subject", not "cn"`: {`client_ca = "DIR/users.pem"`, `client_name = "cn"`},
		`client_name takes client_ca`:                   {`client_name = "email"`},
		`the mechanism EXTERNAL takes client_ca`:        {`mechanisms = ["EXTERNAL", "PLAIN"]`},
		`client_ca under [imapd] names a PEM file`:      {`client_ca = "DIR/nothere.pem"`},
	} {
		d := makeIMAPD(t, p, testpki.Leaf{Names: []string{"localhost"}}, lines...)
		r := run(t, nil, "rtls-imapd", "--config", d.path("rtls.toml"), "--check-config")
		if r.code != 78 || !strings.Contains(r.stderr, want) {
			t.Errorf("%q: exit code %d, %s", lines, r.code, r.stderr)
		}
	}
}
