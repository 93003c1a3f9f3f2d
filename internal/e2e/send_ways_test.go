package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"rtls/internal/testpki"
)

// sendBy sends canary with further keys of the account, and wants it taken or refused
// before anything of it has crossed.
func (f *fakesub) sendBy(t *testing.T, p *pki, code int, reason string, keys ...string) {
	t.Helper()
	r := sends(t, account(t, p, strings.Join(keys, "\n"), f), canary, yes, "b@example.net")
	if r.code != code || !strings.Contains(r.stderr, reason) {
		t.Errorf("%q: %+v", keys, r)
	}
	if code == 0 {
		f.one(t)
		return
	}
	f.nothingCrossed(t)
}

// TestSendWays: how a server is reached, and what is shown to it.
func TestSendWays(t *testing.T) {
	p := newPKI(t)
	t.Run("min_tls", func(t *testing.T) {
		(&fakesub{maxVersion: tls.VersionTLS12}).start(t, p).sendBy(t, p, 0, "")
		(&fakesub{maxVersion: tls.VersionTLS12}).start(t, p).sendBy(t, p, 69, "5.7.10", `min_tls = "1.3"`)
		(&fakesub{}).start(t, p).sendBy(t, p, 0, "", `min_tls = "1.3"`)
	})
	t.Run("source", func(t *testing.T) {
		f := (&fakesub{}).start(t, p)
		f.sendBy(t, p, 0, "", `source = "127.0.0.77"`)
		if len(f.peers) != 1 || !strings.HasPrefix(f.peers[0], "127.0.0.77:") {
			t.Errorf("it came from %q", f.peers)
		}
	})
	t.Run("client_certificate", func(t *testing.T) { sendWithCertificate(t, p) })
	t.Run("proxy", func(t *testing.T) { sendByProxy(t, p) })
}

// sendWithCertificate logs in by what TLS has shown (EXTERNAL, RFC 4422 appendix A), and
// shows it as well where a password logs in.
func sendWithCertificate(t *testing.T, p *pki) {
	dir := t.TempDir()
	cert, key, err := p.WriteFiles(dir, "client", testpki.Leaf{Names: []string{"client.example.org"}, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	keys := fmt.Sprintf("client_cert = %q\nclient_key = %q\n", cert, key)
	start := func(ehlo ...string) *fakesub {
		f := &fakesub{clients: p.Pool()}
		if len(ehlo) > 0 {
			f.ehlo = append(without("AUTH"), ehlo...)
		}
		return f.start(t, p)
	}
	f := start()
	r := sends(t, account(t, p, "", f), canary, yes, "b@example.net")
	if r.code == 0 {
		t.Errorf("without a certificate: %+v", r)
	}
	f.nothingCrossed(t)

	start().sendBy(t, p, 0, "", keys)

	f = start("AUTH EXTERNAL PLAIN")
	config := regexp.MustCompile(`(?m)^password_file = .*$`).ReplaceAllString(account(t, p, keys, f), `auth = "EXTERNAL"`)
	if r := sends(t, config, canary, yes, "b@example.net"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	f.one(t)
	if auth := f.commands("AUTH"); len(auth) != 1 || auth[0] != "AUTH EXTERNAL c2VuZGVy" {
		t.Errorf("%q", auth)
	}
}

// sendByProxy goes by way of microsocks, which wants a password.
func sendByProxy(t *testing.T, p *pki) {
	free := freeAddress(t)
	_, port, _ := net.SplitHostPort(free)
	cmd := exec.Command("microsocks", "-i", "127.0.0.1", "-p", port, "-u", "ann", "-P", "pass")
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: make setup installs it", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, "the proxy listens", func() bool {
		conn, err := net.Dial("tcp", free)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	(&fakesub{}).start(t, p).sendBy(t, p, 0, "", fmt.Sprintf(`proxy = "socks5://ann:pass@%s"`, free))
	(&fakesub{}).start(t, p).sendBy(t, p, 75, "it refuses our password", fmt.Sprintf(`proxy = "socks5://ann:wrong@%s"`, free))
}
