package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rtls/internal/cli"
	"rtls/internal/config"
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
