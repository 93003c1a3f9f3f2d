package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/resolve"
	"rtls/internal/submit"
	"rtls/internal/testdns"
	"rtls/internal/testpki"
)

func TestEncrypted(t *testing.T) {
	for message, want := range map[string]bool{
		"Subject: x\r\n\r\nhello\r\n":                              false,
		"Subject: x\r\n\r\n":                                       false,
		"Subject: x\r\n\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n":    true,
		"Subject: x\r\n\r\nsee\r\n-----BEGIN PGP MESSAGE-----\r\n": false,
		"Content-Type: multipart/encrypted;\r\n protocol=\"application/pgp-encrypted\"; boundary=x\r\n\r\n":                        true,
		"Content-Type: multipart/signed; boundary=x\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n":                                        false,
		"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\n":                                                  true,
		"Content-Type: application/x-pkcs7-mime; smime-type=authEnveloped-data\r\n\r\n":                                            true,
		"Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n\r\n":                                                     false,
		"Content-Type: application/pkcs7-mime\r\n\r\n":                                                                             false,
		"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n": false,
	} {
		if got := encrypted(strings.NewReader(message)); got != want {
			t.Errorf("%q: %v", message, got)
		}
	}
}

func TestNetrc(t *testing.T) {
	const text = `# machine smtp.example.org login alice password commented
default login alice password anybody
machine other.example.org login alice password no
macdef init
machine smtp.example.org login alice password macro

machine SMTP.example.org
	login bob
	password bobs
machine smtp.example.org login alice account x password login
`
	for key, want := range map[string]string{
		"smtp.example.org alice": "login", "smtp.example.org bob": "bobs", "smtp.example.org carol": "",
		"other.example.org alice": "no", "unknown.example.org alice": "", " alice": "",
	} {
		host, user, _ := strings.Cut(key, " ")
		if got, ok := findNetrc(text, host, user); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v; want %q", key, got, ok, want)
		}
	}
}

// source is a secretSource with an environment of its own.
func source(t *testing.T, server config.Target, env map[string]string) (secretSource, *bytes.Buffer) {
	var stderr bytes.Buffer
	return secretSource{env: cli.Env{Stderr: &stderr, Getenv: func(key string) string { return env[key] }}, server: &server}, &stderr
}

func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPasswords(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"HOME": dir, "CREDENTIALS_DIRECTORY": dir}
	write(t, filepath.Join(dir, ".netrc"), "machine h login u password from-netrc\n", 0o600)
	write(t, filepath.Join(dir, "credential"), "from-systemd\n", 0o440)
	file := write(t, filepath.Join(dir, "file"), "from-file\r\nmore\n", 0o600)
	open := write(t, filepath.Join(dir, "open"), "hunter2\n", 0o644)
	empty := write(t, filepath.Join(dir, "empty"), "\nhunter2\n", 0o600)
	for _, tc := range []struct {
		server config.Target
		want   string
		code   int
	}{
		{config.Target{PasswordFile: file}, "from-file", 0},
		{config.Target{PasswordFile: open}, "", cli.Config},
		{config.Target{PasswordFile: empty}, "", cli.Config},
		{config.Target{PasswordFile: dir + "/none"}, "", cli.Config},
		{config.Target{PasswordCredential: "credential"}, "from-systemd", 0},
		{config.Target{PasswordCredential: "none"}, "", cli.Config},
		{config.Target{Netrc: "~/.netrc"}, "from-netrc", 0},
		{config.Target{Netrc: open}, "", cli.Config},
		{config.Target{PasswordCommand: []string{"/bin/echo", "$HOME; x"}}, "$HOME; x", 0}, // no shell
		{config.Target{PasswordCommand: []string{"/bin/false"}}, "", cli.TempFail},
		{config.Target{PasswordCommand: []string{"/nonexistent"}}, "", cli.Config},
	} {
		tc.server.Host, tc.server.User = "h", "u"
		s, _ := source(t, tc.server, env)
		got, err := s.password(t.Context())
		if got != tc.want || cli.ExitCode(err) != tc.code || err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%+v: %q, %v", tc.server, got, err)
		}
	}
	s, _ := source(t, config.Target{PasswordCredential: "credential"}, nil)
	if _, err := s.password(t.Context()); cli.ExitCode(err) != cli.Config {
		t.Errorf("no credentials directory: %v", err)
	}
}

func TestTokenCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	count := filepath.Join(t.TempDir(), "count")
	answer := func(seconds int) []string {
		return []string{"/bin/sh", "-c", fmt.Sprintf(`echo x >>%s; echo '{"access_token":"token'$(wc -l <%s)'","token_type":"Bearer","expires_in":%d}'`, count, count, seconds)}
	}
	s, _ := source(t, config.Target{Host: "h", User: "u", TokenCommand: answer(3600)}, nil)
	s.cache = filepath.Join(dir, "token-"+tokenName(s.server))
	expect := func(want string) {
		t.Helper()
		if got, err := s.token(context.Background()); got != want || err != nil {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	expect("token1")
	expect("token1")
	if info, err := os.Stat(s.cache); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	s.forget()
	expect("token2")
	s.save(savedToken{"old", time.Now().Add(30 * time.Second)}) // about to expire
	expect("token3")
	s.forget()
	s.server.TokenCommand = answer(10)
	expect("token4")
	expect("token5") // too short-lived to keep
	if err := os.Chmod(s.cache, 0o644); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a token of ten seconds was kept: %v", err)
	}
	s.save(savedToken{"exposed", time.Now().Add(time.Hour)})
	if err := os.Chmod(s.cache, 0o644); err != nil {
		t.Fatal(err)
	}
	expect("token6") // others may have written it
	s.server.TokenCommand = []string{"/bin/echo", "bare"}
	s.forget()
	expect("bare")
	for _, argv := range [][]string{{"/bin/echo", `{"error":"invalid_grant"}`}, {"/bin/echo", `{"access_token":"a\u0001b"}`}, {"/bin/true"}} {
		s.server.TokenCommand = argv
		if got, err := s.token(context.Background()); cli.ExitCode(err) != cli.Config {
			t.Errorf("%q: %q, %v", argv, got, err)
		}
	}
}

// A domain without DNSSEC can say by MTA-STS which mail exchangers are its own.
func TestCheckMTASTS(t *testing.T) {
	ca, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	names := testpki.Leaf{Names: []string{"mta-sts.sts.example", "mx.sts.example", "other.sts.example"}}
	cert, err := ca.TLS(names)
	if err != nil {
		t.Fatal(err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{cert}}
	var mode atomic.Value
	web, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Go(func() { // ended by the cleanup
		for {
			conn, err := web.Accept()
			if err != nil {
				return
			}
			if _, err := conn.Read(make([]byte, 1000)); err == nil {
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nversion: STSv1\nmode: %s\nmx: mx.sts.example\nmax_age: 86400\n", mode.Load())
			}
			conn.Close()
		}
	})
	t.Cleanup(func() { web.Close(); wait.Wait() })
	mail, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &mailbox{}, nil }))
	server.Domain, server.TLSConfig, server.EnableREQUIRETLS, server.ErrorLog = "localhost", conf, true, quiet{}
	wait.Go(func() { _ = server.Serve(mail) })
	t.Cleanup(func() { server.Close() })

	dns := testdns.New(t)
	dns.Add(t, "sts.example. 60 IN MX 10 mx.sts.example.")
	dns.Add(t, "sts.example. 60 IN MX 20 other.sts.example.")
	dns.Add(t, `_mta-sts.sts.example. 60 IN TXT "v=STSv1; id=7"`)
	client, err := resolve.New(dns.Addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &mxChecker{resolver: client, port: 25, trust: func(name string) (*tls.Config, error) {
		return &tls.Config{RootCAs: ca.Pool(), ServerName: name}, nil
	}}
	c.options = submit.Options{Resolver: client, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		to := mail.Addr().String()
		if strings.HasSuffix(addr, ":443") {
			to = web.Addr().String()
		}
		return new(net.Dialer).DialContext(ctx, network, to)
	}}
	for _, tc := range []struct {
		mode  string
		takes bool
	}{{"enforce", true}, {"testing", false}} {
		mode.Store(tc.mode)
		e := c.domain(t.Context(), "sts.example")
		if e.Proven || e.Mode != tc.mode || e.PolicyID != "7" || len(e.Hosts) != 2 {
			t.Fatalf("%+v", e)
		}
		if h := e.Hosts[0]; !h.Listed || h.Takes != tc.takes || !h.RequireTLS || h.Verified != "authority" {
			t.Errorf("%s: %+v", tc.mode, h)
		}
		if h := e.Hosts[1]; h.Listed || h.Takes || !h.RequireTLS {
			t.Errorf("%s: %+v", tc.mode, h)
		}
	}
	// A policy that is enforced rules out the others, whatever DNSSEC proves.
	dns.Secure("sts.example")
	for policy, takes := range map[string]bool{"enforce": false, "testing": true, "none": true} {
		mode.Store(policy)
		e := c.domain(t.Context(), "sts.example")
		if !e.Proven || len(e.Hosts) != 2 || !e.Hosts[0].Takes || e.Hosts[1].Takes != takes {
			t.Errorf("%s: %+v", policy, e)
		}
	}
	// What cannot be read is said, and proves nothing.
	mode.Store("enfor")
	if e := c.domain(t.Context(), "sts.example"); e.Mode != "" || !strings.Contains(e.STSError, "mode is not known") || e.Hosts[0].Listed {
		t.Errorf("%+v", e)
	}
}

// A file for other programs, too: whatever is in it, no host but the one that is
// written gets a password, and none gets that of the default entry.
func FuzzNetrc(f *testing.F) {
	f.Add("machine h login u password p\n")
	f.Add("default login u password p\nmacdef x\nmachine h\n\n# c\n")
	f.Fuzz(func(t *testing.T, text string) {
		if password, ok := findNetrc(text, "h", "u"); ok && (!strings.Contains(text, password) || !strings.Contains(strings.ToLower(text), "machine") || password == "") {
			t.Errorf("%q from %q", password, text)
		}
		if password, ok := findNetrc(text, "", "u"); ok {
			t.Errorf("%q for no host from %q", password, text)
		}
	})
}
