package e2e

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
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
	t.Run("tokens", func(t *testing.T) { sendWithToken(t, p) })
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

// bearer lets log in who shows a token (RFC 7628). Others are told why, which they have to
// answer before the refusal comes.
func bearer(good func() string) func(*talk, string) bool {
	return func(t *talk, line string) bool {
		words := strings.Fields(line)
		response, err := base64.StdEncoding.DecodeString(words[len(words)-1])
		if err == nil && words[1] == "OAUTHBEARER" && strings.Contains(string(response), "\x01auth=Bearer "+good()+"\x01") {
			return true
		}
		if t.say("334 " + base64.StdEncoding.EncodeToString([]byte(`{"status":"invalid_token"}`))) {
			_, _ = t.r.ReadString('\n')
		}
		return false
	}
}

// sendWithToken keeps a token as long as it is good, and gets another where it is refused
// before its time.
func sendWithToken(t *testing.T, p *pki) {
	dir := t.TempDir()
	var good atomic.Value
	good.Store("token-1")
	f := (&fakesub{ehlo: append(without("AUTH"), "AUTH OAUTHBEARER PLAIN"), auth: bearer(func() string { return good.Load().(string) })}).start(t, p)
	command := filepath.Join(dir, "token")
	script := fmt.Sprintf("#!/bin/sh\ncd %s && echo >>asked\nprintf '{\"access_token\":\"token-%%d\",\"expires_in\":3600}' $(wc -l <asked)\n", dir)
	if err := os.WriteFile(command, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	config := regexp.MustCompile(`(?m)^password_file = .*$`).ReplaceAllString(account(t, p, "", f), fmt.Sprintf("token_command = [%q]", command))
	config = strings.Replace(config, "[send.account.test]", fmt.Sprintf("[send]\nstate = %q\n[send.account.test]", filepath.Join(dir, "state")), 1)
	send := func(asked int) {
		t.Helper()
		if r := sends(t, config, canary, yes, "b@example.net"); r.code != 0 || strings.Contains(r.stderr, "token") {
			t.Errorf("%+v", r)
		}
		if all, err := os.ReadFile(filepath.Join(dir, "asked")); err != nil || len(all) != asked {
			t.Errorf("asked %d times, want %d; %v", len(all), asked, err)
		}
	}
	send(1)
	send(1)
	good.Store("token-2")
	send(2)
	good.Store("none")
	if r := sends(t, config, canary, yes, "b@example.net"); r.code != 77 || strings.Contains(r.stderr, "token-") {
		t.Errorf("%+v", r)
	}
	kept, err := filepath.Glob(filepath.Join(dir, "state", "token-*"))
	if err != nil || len(kept) > 1 {
		t.Errorf("%q, %v", kept, err)
	}
	for _, path := range kept {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
	f.stop()
	if len(f.messages) != 3 {
		t.Errorf("%d messages", len(f.messages))
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
