package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"rtls/internal/testpki"
)

// presents is the serial number of the certificate that the server presents for a
// name, which it has to be good for.
func (d *imapd) presents(t *testing.T, p *pki, name string) string {
	t.Helper()
	dialer := &net.Dialer{Timeout: imapTimeout}
	conn, err := tls.DialWithDialer(dialer, "tcp", d.addr, &tls.Config{RootCAs: p.Pool(), ServerName: name})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// i17Domains: each domain has its certificate, and all are renewed without a restart,
// by themselves and at SIGHUP.
func i17Domains(t *testing.T, p *pki) {
	domains := map[string]string{"one": "mail.example.net", "two": "*.example.com"}
	var settings []string
	for file, name := range domains {
		settings = append(settings, fmt.Sprintf("[[imapd.domain]]\nnames = [%q]\ncert = \"DIR/%s.pem\"\nkey = \"DIR/%[2]s.key\"", name, file))
	}
	d := makeIMAPD(t, p, testpki.Leaf{Names: []string{"localhost"}}, settings...)
	renew := func() {
		t.Helper()
		for file, name := range domains {
			certPEM, keyPEM, err := p.Issue(testpki.Leaf{Names: []string{name}})
			if err != nil {
				t.Fatal(err)
			}
			swap(t, d.path(file+".pem"), certPEM)
			swap(t, d.path(file+".key"), keyPEM)
		}
	}
	renew()
	d.start(t)
	old := d.login(t, p, "INBOX")
	names := []string{"mail.example.net", "imap.example.com", "localhost"}
	before := make(map[string]string)
	for _, name := range names {
		before[name] = d.presents(t, p, name)
	}
	renew()
	for _, name := range names[:2] {
		for deadline := time.Now().Add(imapTimeout); d.presents(t, p, name) == before[name]; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the new certificate for %s is not presented", name)
			}
		}
		before[name] = d.presents(t, p, name)
	}
	renew()
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	d.waitLog(t, regexp.MustCompile("certificates are read anew"))
	for _, name := range names[:2] {
		if d.presents(t, p, name) == before[name] {
			t.Errorf("after SIGHUP the certificate for %s is the old one", name)
		}
	}
	if d.presents(t, p, "localhost") != before["localhost"] {
		t.Error("the default's certificate has changed")
	}
	// What cannot be used is passed over, and said.
	if err := os.WriteFile(d.path("one.key"), []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	d.waitLog(t, regexp.MustCompile(`certificates stay as they were.*one\.key`))
	d.presents(t, p, "mail.example.net")
	old.ok("NOOP") // no drop
}

// i18: who has let a certificate expire hears of it from the check and in the log.
func i18(t *testing.T, p *pki) {
	const day = 24 * time.Hour
	d := startIMAPDWith(t, p, testpki.Leaf{Names: []string{"localhost"}, NotBefore: time.Now().Add(-2 * day), NotAfter: time.Now().Add(-day)})
	r := run(t, nil, "rtls-imapd", "--config", d.path("rtls.toml"), "--check-config")
	if r.code != 78 || !strings.Contains(r.stderr, "has expired on ") || r.stdout != "" {
		t.Errorf("--check-config: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	d.waitLog(t, regexp.MustCompile(`level=ERROR msg="clients cannot connect" err=.*has expired on`))
}

// i19: of a message whose connection ends inside it nothing is stored, whether the
// end is said (close_notify, RFC 8314 section 3.4) or just comes.
func i19(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	message := "Subject: whole\r\n\r\n" + strings.Repeat("0123456789\r\n", 20_000)
	ends := map[string]func(*tls.Conn){
		"reset": func(c *tls.Conn) { _ = c.NetConn().(*net.TCPConn).SetLinger(0); c.NetConn().Close() },
		"FIN":   func(c *tls.Conn) { c.NetConn().Close() },
		"close_notify": func(c *tls.Conn) {
			c.Close()
		},
	}
	for how, end := range ends {
		for _, upTo := range []int{1, len(message) / 2, len(message) - 1, len(message)} {
			c := d.login(t, p, "INBOX")
			c.write(fmt.Sprintf("x APPEND INBOX {%d+}\r\n%s", len(message), message[:upTo]))
			end(c.conn.(*tls.Conn))
			d.waitLog(t, regexp.MustCompile(fmt.Sprintf(`disconnect.*remote=%s .*reason=`, regexp.QuoteMeta(c.conn.LocalAddr().String()))))
			if n := len(d.stored(t, "INBOX")); n != 0 {
				t.Fatalf("%s after %d octets of %d: %d messages are stored", how, upTo, len(message), n)
			}
		}
	}
	// A record that was changed on the way ends it as well.
	c := d.login(t, p, "INBOX")
	c.write(fmt.Sprintf("x APPEND INBOX {%d+}\r\n%s", len(message), message[:1000]))
	raw := c.conn.(*tls.Conn).NetConn()
	if _, err := io.WriteString(raw, "\x17\x03\x03\x00\x20"+strings.Repeat("x", 32)); err != nil {
		t.Fatal(err)
	}
	d.waitLog(t, regexp.MustCompile(fmt.Sprintf(`disconnect.*remote=%s .*reason=.*bad record`, regexp.QuoteMeta(c.conn.LocalAddr().String()))))
	if n := len(d.stored(t, "INBOX")); n != 0 {
		t.Errorf("after a forged record %d messages are stored", n)
	}
	entries, err := filepath.Glob(d.path("mail/" + imapUser + "/Maildir/tmp/*"))
	if err != nil || len(entries) > 0 {
		t.Errorf("left in tmp: %q, %v", entries, err)
	}
	if r := d.login(t, p, "INBOX").append("INBOX", "", []byte(message)); r.status != "OK" || len(d.stored(t, "INBOX")) != 1 {
		t.Errorf("a whole message: %s %s", r.status, r.text)
	}
}
