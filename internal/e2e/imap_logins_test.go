package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"rtls/internal/testpki"
)

// What rtls-imapd(8) promises of users and their ways to log in.

var localhost = testpki.Leaf{Names: []string{"localhost"}}

// admin runs a command of the administrator and returns what it writes.
func (d *imapd) admin(t *testing.T, words ...string) string {
	t.Helper()
	r := run(t, nil, "rtls-imapd", append([]string{"--config", d.path("rtls.toml")}, words...)...)
	if r.code != 0 {
		t.Fatalf("%s: exit code %d\n%s", strings.Join(words, " "), r.code, r.stderr)
	}
	return r.stdout
}

func TestIMAPDAppPasswords(t *testing.T) {
	p := newPKI(t)
	d := startIMAPD(t, p)
	password := strings.TrimSpace(d.admin(t, "user", "app-password", "add", imapUser, "phone"))
	if list := d.admin(t, "user", "app-password", "list", imapUser); !strings.Contains(list, "never used") {
		t.Error(list)
	}
	c := d.dial(t, p, nil)
	c.ok("LOGIN %s %s", imapUser, password)
	if list := d.admin(t, "user", "app-password", "list", imapUser); strings.Contains(list, "never used") || !strings.HasPrefix(list, "phone ") {
		t.Error(list)
	}
	if text, _ := d.log.now(); !strings.Contains(text, "app=phone") || strings.Contains(text, password) {
		t.Errorf("the log:\n%s", text)
	}
	d.admin(t, "user", "app-password", "revoke", imapUser, "phone")
	d.dial(t, p, nil).fails("NO", "[AUTHENTICATIONFAILED]", "LOGIN %s %s", imapUser, password)

	d.admin(t, "user", "disable", imapUser)
	if line := c.read(); !strings.HasPrefix(line, "* BYE ") {
		t.Errorf("instead of BYE: %s", line)
	}
	d.dial(t, p, nil).fails("NO", "[AUTHENTICATIONFAILED]", "LOGIN %s %q", imapUser, imapPassword)
	d.admin(t, "user", "enable", imapUser)
	d.dial(t, p, nil).ok("LOGIN %s %q", imapUser, imapPassword)
}

// Failed logins outlive the process, however it ends, and what is lifted is lifted in
// one that runs.
func TestIMAPDBans(t *testing.T) {
	p := newPKI(t)
	d := startIMAPD(t, p)
	c := d.dial(t, p, nil)
	for range 2 {
		c.fails("NO", "[AUTHENTICATIONFAILED]", "LOGIN nobody wrong")
	}
	file := d.path("mail/.imapd/throttle")
	written := func(want string) func() bool {
		return func() bool {
			text, _ := os.ReadFile(file)
			return strings.Contains(string(text), want)
		}
	}
	eventually(t, "failures are written down", written("address 127.0.0.1\t2\t"))
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-d.ended
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Hour)
	banned := bytes.Replace(text, []byte("\t0\t0\nuser"), fmt.Appendf(nil, "\t%d\t1\nuser", until.Unix()), 1)
	if bytes.Equal(banned, text) {
		t.Fatalf("the file:\n%s", text)
	}
	if err := os.WriteFile(file, banned, 0o600); err != nil {
		t.Fatal(err)
	}

	d.start(t)
	d.dial(t, p, nil).fails("NO", "[LIMIT]", "LOGIN %s %q", imapUser, imapPassword)
	if list := d.admin(t, "ban", "list"); !strings.HasPrefix(list, "address  127.0.0.1  banned until "+until.Format(time.DateTime)) {
		t.Error(list)
	}
	d.admin(t, "ban", "lift", "127.0.0.1")
	eventually(t, "the server knows of it", func() bool {
		c := d.dial(t, p, nil)
		defer c.conn.Close()
		return c.do("LOGIN %s %q", imapUser, imapPassword).status == "OK"
	})
	if list := d.admin(t, "ban", "list"); list != "" {
		t.Error(list)
	}
}

func TestIMAPDAsksAProgram(t *testing.T) {
	p := newPKI(t)
	d := makeIMAPD(t, p, localhost, `checkpassword = ["DIR/checker", "DIR/known"]`)
	// The first argument is a file with name and password. It may be away.
	const checker = `#!/bin/sh
known=$(cat "$1") || exit 111
shift
[ "$(tr '\0' ' ' <&3 | cut -d' ' -f1,2)" = "$known" ] || exit 1
exec "$@"
`
	if err := os.WriteFile(d.path("checker"), []byte(checker), 0o700); err != nil {
		t.Fatal(err)
	}
	d.admin(t, "user", "add", "--no-password", "bob")
	d.start(t)
	c := d.dial(t, p, nil)
	if line := strings.Join(c.ok("CAPABILITY"), "\n"); strings.Contains(line, "SCRAM") {
		t.Errorf("SCRAM is offered: %s", line)
	}
	c.fails("NO", "[UNAVAILABLE]", "LOGIN bob elsewhere")
	if err := os.WriteFile(d.path("known"), []byte("bob elsewhere"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.fails("NO", "[AUTHENTICATIONFAILED]", "LOGIN bob wrong")
	c.ok("LOGIN bob elsewhere")
	c.ok("SELECT INBOX")
	d.login(t, p, "INBOX") // by the file
}

func TestIMAPDTakesTokens(t *testing.T) {
	p := newPKI(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k"}}})
	if err != nil {
		t.Fatal(err)
	}
	site := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(set) }))
	cert, err := p.TLS(testpki.Leaf{Names: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	site.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	site.StartTLS()
	defer site.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, p.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	d := startIMAPDWith(t, p, localhost, "[imapd.oauth]", `issuer = "https://sso.example.org"`, `audience = "imap"`, `keys = "`+site.URL+`"`, `ca = "`+ca+`"`)
	token := func(key *ecdsa.PrivateKey, audience string) string {
		return base64.StdEncoding.EncodeToString([]byte("n,a=" + imapUser + ",\x01auth=Bearer " + signToken(t, key, audience) + "\x01\x01"))
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{token(other, "imap"), token(key, "smtp")} {
		c := d.dial(t, p, nil)
		c.write("x AUTHENTICATE OAUTHBEARER " + bad + "\r\n")
		if line := c.read(); !strings.HasPrefix(line, "+ ") {
			t.Errorf("instead of an explanation: %s", line)
		}
		c.write("AQ==\r\n")
		if r := c.tagged("x"); r.status != "NO" {
			t.Errorf("a bad token: %s %s", r.status, r.text)
		}
	}
	d.dial(t, p, nil).ok("AUTHENTICATE OAUTHBEARER %s", token(key, "imap"))
}
