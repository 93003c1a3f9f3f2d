package e2e

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rtls/internal/testpki"
)

// TestConformanceIStartTLS has a subtest for each row about a port in clear.
func TestConformanceIStartTLS(t *testing.T) {
	p := newPKI(t)
	d := startIMAPDWith(t, p, testpki.Leaf{Names: []string{"localhost"}, RSA: true}, `listen_starttls = ["127.0.0.1:0"]`)
	addr := d.waitLog(t, regexp.MustCompile(`IMAP with STARTTLS on (127\.0\.0\.1:\d+)`))[1]
	for _, row := range []struct {
		name string
		test func(t *testing.T, d *imapd, p *pki, addr string)
	}{
		{"I03_offered_in_clear", i03},
		{"I04_no_login_in_clear", i04},
		{"I05_injection", i05},
		{"I07_no_preauth", i07},
		{"I08_other_capabilities_inside", i08},
		{"I09_tls_versions", i09Clear},
	} {
		t.Run(row.name, func(t *testing.T) { row.test(t, d, p, addr) })
	}
}

// dialClear connects without TLS and reads the greeting.
func dialClear(t *testing.T, addr string) (c *imapConn, greeting string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, imapTimeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c = &imapConn{t: t, conn: conn, r: bufio.NewReader(conn)}
	return c, c.read()
}

// startTLS says STARTTLS and begins with TLS.
func (c *imapConn) startTLS(p *pki, config *tls.Config) error {
	c.t.Helper()
	c.ok("STARTTLS")
	if n := c.r.Buffered(); n > 0 {
		c.t.Errorf("%d octets in clear behind the answer to STARTTLS", n)
	}
	config = config.Clone()
	config.RootCAs, config.ServerName = p.Pool(), "localhost"
	conn := tls.Client(c.conn, config)
	_ = conn.SetDeadline(time.Now().Add(imapTimeout))
	c.conn, c.r = conn, bufio.NewReader(conn)
	return conn.Handshake()
}

// capabilityWords are those of a CAPABILITY response or code.
func capabilityWords(t *testing.T, text string) []string {
	t.Helper()
	_, text, ok := strings.Cut(text, "CAPABILITY ")
	if !ok {
		t.Fatalf("no capabilities in %q", text)
	}
	text, _, _ = strings.Cut(text, "]")
	return strings.Fields(text)
}

func i03(t *testing.T, _ *imapd, _ *pki, addr string) {
	c, greeting := dialClear(t, addr)
	for _, text := range []string{greeting, strings.Join(c.ok("CAPABILITY"), "\n")} {
		words := capabilityWords(t, text)
		if !slices.Contains(words, "STARTTLS") || !slices.Contains(words, "LOGINDISABLED") {
			t.Errorf("STARTTLS or LOGINDISABLED is missing: %q", text)
		}
		if strings.Contains(text, "AUTH=") || strings.Contains(text, "SASL-IR") {
			t.Errorf("a login in clear is offered: %q", text)
		}
	}
}

func i04(t *testing.T, _ *imapd, _ *pki, addr string) {
	c, _ := dialClear(t, addr)
	c.fails("NO", "[PRIVACYREQUIRED]", "LOGIN %s %q", imapUser, imapPassword)
	c.fails("NO", "[PRIVACYREQUIRED]", "LOGIN %s {28}", imapUser) // the password is not asked for
	c.fails("NO", "[PRIVACYREQUIRED]", "AUTHENTICATE PLAIN")
	c.fails("NO", "[PRIVACYREQUIRED]", "AUTHENTICATE PLAIN AGEAYg==")
	c.ok("LOGOUT")
	c.closed()
	commands := []string{
		"SELECT INBOX", "EXAMINE INBOX", "STATUS INBOX (MESSAGES)", `LIST "" *`, "CREATE x", "DELETE x", "RENAME x y", "SUBSCRIBE INBOX",
		"APPEND INBOX {3+}\r\nabc", "ENABLE IMAP4rev2", "IDLE", "FETCH 1 BODY[]", "UID SEARCH ALL", "COPY 1 x", "UNAUTHENTICATE", "GETQUOTAROOT INBOX", "NAMESPACE",
	}
	for part := range slices.Chunk(commands, 9) { // so many commands are answered in clear
		c, _ = dialClear(t, addr)
		for _, command := range part {
			c.fails("BAD", "", "%s", command)
		}
	}
}

func i05(t *testing.T, d *imapd, p *pki, addr string) {
	for _, injected := range []string{
		fmt.Sprintf("b LOGIN %s %q\r\n", imapUser, imapPassword),
		"b NOOP\r\n",
		"\x16\x03\x01\x00\x05", // what TLS begins with
	} {
		if answer := inClear(t, addr, "a STARTTLS\r\n"+injected); strings.Contains(answer, "\r\na OK") || strings.Contains(answer, "\r\nb ") {
			t.Errorf("%q behind STARTTLS: %q", injected, answer)
		}
	}
	// Sent after the answer, they are not TLS.
	c, _ := dialClear(t, addr)
	c.ok("STARTTLS")
	c.write("b NOOP\r\n")
	if s, err := c.tryRead(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) || strings.Contains(s, "b OK") {
		t.Errorf("in clear after STARTTLS: %q, %v", s, err)
	}
	// What was said before is forgotten, tags and half a line included.
	c, _ = dialClear(t, addr)
	c.write("x NOOP\r\n")
	c.tagged("x")
	if err := c.startTLS(p, &tls.Config{}); err != nil {
		t.Fatal(err)
	}
	c.ok("LOGIN %s %q", imapUser, imapPassword)
	d.waitLog(t, regexp.MustCompile(`octets behind STARTTLS`))
}

func i07(t *testing.T, d *imapd, p *pki, addr string) {
	if _, greeting := dialClear(t, addr); !strings.HasPrefix(greeting, "* OK ") {
		t.Errorf("in clear: %s", greeting)
	}
	d.dial(t, p, nil) // wants OK
}

func i08(t *testing.T, d *imapd, p *pki, addr string) {
	c, greeting := dialClear(t, addr)
	before := capabilityWords(t, greeting)
	if err := c.startTLS(p, &tls.Config{}); err != nil {
		t.Fatal(err)
	}
	// There is no second greeting (RFC 9051, section 6.2.1): this is the first line.
	inside := capabilityWords(t, strings.Join(c.ok("CAPABILITY"), "\n"))
	direct := capabilityWords(t, strings.Join(d.dial(t, p, nil).ok("CAPABILITY"), "\n"))
	if slices.Equal(before, inside) || !slices.Equal(inside, direct) {
		t.Errorf("before %q, inside %q, with implicit TLS %q", before, inside, direct)
	}
	if !slices.Contains(inside, "AUTH=PLAIN") || slices.Contains(inside, "LOGINDISABLED") || slices.Contains(inside, "STARTTLS") {
		t.Errorf("inside TLS: %q", inside)
	}
	r := c.do("LOGIN %s %q", imapUser, imapPassword)
	if after := capabilityWords(t, r.text); r.status != "OK" || slices.Equal(after, inside) {
		t.Errorf("after login: %s %s", r.status, r.text)
	}
	c.fails("BAD", "", "STARTTLS")
	c.ok("SELECT INBOX")
}

// tlsConfigs are what has to work (RFC 9051, section 11.1).
var tlsConfigs = []*tls.Config{
	{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}},
	{MaxVersion: tls.VersionTLS12},
	{MinVersion: tls.VersionTLS13},
}

// oldTLS must not.
var oldTLS = []*tls.Config{
	{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10},
	{MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11},
	{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}}, // no forward secrecy
	{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}},
	{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}},
	{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA}},
}

func i09(t *testing.T, p *pki) {
	d := startIMAPDWith(t, p, testpki.Leaf{Names: []string{"localhost"}, RSA: true})
	for _, config := range oldTLS {
		raw, err := net.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.SetDeadline(time.Now().Add(imapTimeout))
		config = config.Clone()
		config.RootCAs, config.ServerName = p.Pool(), "localhost"
		if err := tls.Client(raw, config).Handshake(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s to %s, %x: %v", tls.VersionName(config.MinVersion), tls.VersionName(config.MaxVersion), config.CipherSuites, err)
		}
		raw.Close()
	}
	for _, config := range tlsConfigs {
		d.dial(t, p, config.Clone()).ok("NOOP")
	}
}

func i09Clear(t *testing.T, _ *imapd, p *pki, addr string) {
	for _, config := range oldTLS {
		c, _ := dialClear(t, addr)
		if err := c.startTLS(p, config); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s to %s, %x: %v", tls.VersionName(config.MinVersion), tls.VersionName(config.MaxVersion), config.CipherSuites, err)
		}
	}
	for _, config := range tlsConfigs {
		c, _ := dialClear(t, addr)
		if err := c.startTLS(p, config); err != nil {
			t.Error(err)
			continue
		}
		c.ok("NOOP")
	}
	cmd := exec.CommandContext(t.Context(), "openssl", "s_client", "-quiet", "-starttls", "imap", "-verify_return_error",
		"-CAfile", p.caFile, "-verify_hostname", "localhost", "-connect", addr)
	cmd.Stdin = strings.NewReader("a LOGOUT\r\n")
	if out, err := cmd.Output(); err != nil || !strings.Contains(string(out), "a OK ") {
		t.Errorf("openssl: %v\n%s", err, out)
	}
}
