package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"rtls/internal/testpki"
	"rtls/store"
)

// newIssuer makes an issuer of tokens whose keys are in a file, and returns what a
// server needs to know of it, and a token for its user.
func newIssuer(t *testing.T) (settings []string, token string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k"}}})
	if err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(keys, set, 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"[imapd.oauth]", `issuer = "https://sso.example.org"`, `audience = "imap"`, fmt.Sprintf("keys = %q", keys)}, signToken(t, key, "imap")
}

// signToken makes a token for the user of a server.
func signToken(t *testing.T, key *ecdsa.PrivateKey, audience string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(map[string]any{"iss": "https://sso.example.org", "aud": audience, "email": imapUser, "exp": time.Now().Add(time.Hour).Unix()}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestClientLogins has real clients log in by each mechanism that they know and the
// server has, and read something. Neomutt with GNU SASL prefers PLAIN to it, and takes
// SCRAM-SHA-256-PLUS, where there is no PLAIN, without being able to do it. Mbsync, with
// Cyrus SASL, is in TestClients. Of the others here none knows SCRAM.
func TestClientLogins(t *testing.T) {
	p := newPKI(t)
	settings, token := newIssuer(t)
	for name, login := range map[string]struct {
		mechanism string
		run       func(*loggingIn)
		settings  []string // of the server, beside those of the issuer
	}{
		"curl PLAIN":               {"PLAIN", curlLogin("AUTH=PLAIN"), nil},
		"curl LOGIN":               {"LOGIN", curlLogin("AUTH=LOGIN"), nil},
		"curl XOAUTH2":             {"XOAUTH2", curlTokenLogin, []string{`mechanisms = ["XOAUTH2"]`}},
		"curl OAUTHBEARER":         {"OAUTHBEARER", curlTokenLogin, nil},
		"gsasl SCRAM-SHA-256":      {"SCRAM-SHA-256", gsaslLogin("SCRAM-SHA-256", "--no-cb"), []string{`listen_starttls = ["127.0.0.1:0"]`}},
		"gsasl SCRAM-SHA-256-PLUS": {"SCRAM-SHA-256-PLUS", gsaslLogin("SCRAM-SHA-256-PLUS"), []string{`listen_starttls = ["127.0.0.1:0"]`}},
		"neomutt PLAIN":            {"PLAIN", neomuttLogin(""), nil},
		"neomutt SCRAM-SHA-256":    {"SCRAM-SHA-256", neomuttLogin(""), []string{`mechanisms = ["SCRAM-SHA-256"]`}},
		"neomutt XOAUTH2":          {"XOAUTH2", neomuttLogin("xoauth2"), nil},
		"neomutt OAUTHBEARER":      {"OAUTHBEARER", neomuttLogin("oauthbearer"), nil},
		"imapflow OAUTHBEARER":     {"OAUTHBEARER", imapflowLogin, nil},
		"imapflow XOAUTH2":         {"XOAUTH2", imapflowLogin, []string{`mechanisms = ["XOAUTH2"]`}},
		"imapfilter XOAUTH2":       {"XOAUTH2", imapfilterLogin, nil},
		"offlineimap XOAUTH2":      {"XOAUTH2", offlineimapLogin, nil},
		"aerc OAUTHBEARER":         {"OAUTHBEARER", aercLogin("oauthbearer"), nil},
		"aerc XOAUTH2":             {"XOAUTH2", aercLogin("xoauth2"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := startIMAPDWith(t, p, testpki.Leaf{Names: []string{"localhost"}}, slices.Concat(login.settings, settings)...)
			d.deliver(t, "INBOX", []byte("From: bob@example.com\r\nSubject: found by its subject\r\nDate: Sat, 14 Mar 2026 15:09:26 +0000\r\n\r\nhello\r\n"), store.TagNone, store.OriginESMTP)
			login.run(&loggingIn{T: t, d: d, p: p, token: token, dir: t.TempDir()})
			d.waitLog(t, regexp.MustCompile(`msg=login .*mechanism=`+login.mechanism+`\s`))
		})
	}
}

// loggingIn is what a client needs.
type loggingIn struct {
	*testing.T
	d     *imapd
	p     *pki
	token string
	dir   string
}

// put writes a configuration, see fill.
func (l *loggingIn) put(name, text string) {
	l.Helper()
	putFile(l.T, l.dir, name, strings.ReplaceAll(l.d.fill(l.p, l.dir, text), "%TOKEN", l.token))
}

const loginSubject = "found by its subject"

func (l *loggingIn) curl(args ...string) {
	l.Helper()
	r := client(l.T, l.dir, "curl", append(args, "-sS", "--cacert", l.p.caFile, "imaps://localhost:"+l.d.port()+"/INBOX;UID=1")...)
	if did(l.T, r, "curl"); !strings.Contains(r.stdout, loginSubject) {
		l.Errorf("it got %q", r.stdout)
	}
}

func curlLogin(options string) func(*loggingIn) {
	return func(l *loggingIn) { l.curl("-u", imapUser+":"+imapPassword, "--login-options", options) }
}

func curlTokenLogin(l *loggingIn) { l.curl("-u", imapUser, "--oauth2-bearer", l.token) }

func gsaslLogin(mechanism string, options ...string) func(*loggingIn) {
	return func(l *loggingIn) {
		addr := l.d.waitLog(l.T, regexp.MustCompile(`STARTTLS on (127\.0\.0\.1:\d+)`))[1]
		_, port, _ := strings.Cut(addr, ":")
		options = append(options, "--imap", "--mechanism", mechanism, "--starttls", "--x509-ca-file", l.p.caFile,
			"--authentication-id", imapUser, "--password", imapPassword, "localhost", port)
		r := client(l.T, l.dir, "gsasl", options...)
		did(l.T, r, "gsasl")
	}
}

func neomuttLogin(authenticator string) func(*loggingIn) {
	if authenticator != "" {
		authenticator = "set imap_authenticators = " + authenticator + "\nset imap_oauth_refresh_command = \"cat %DIR/token\""
	}
	return func(l *loggingIn) {
		l.put("token", "%TOKEN\n")
		l.put("rc", `set folder = "imaps://localhost:%PORT/"
set spoolfile = "+INBOX"
set imap_user = "%USER"
set imap_pass = "%PASS"
`+authenticator+`
set ssl_ca_certificates_file = "%CA"
`)
		startTerminal(l.T, l.dir, "neomutt -n -F rc").wait(loginSubject)
	}
}

func imapflowLogin(l *loggingIn) {
	nodeClient(l.T, l.d, l.p, strings.ReplaceAll(`
const { ImapFlow } = require("imapflow"), fs = require("fs"), assert = require("assert");
(async () => {
	const c = new ImapFlow({ host: "localhost", port: %PORT, secure: true, auth: { user: "%USER", accessToken: "%TOKEN" }, tls: { ca: fs.readFileSync("%CA") }, logger: false });
	await c.connect();
	await c.mailboxOpen("INBOX");
	assert.equal((await c.search({ subject: "found by its subject" })).length, 1);
	await c.logout();
})().catch((err) => { console.error(err); process.exit(1); });
`, "%TOKEN", l.token))
}

func imapfilterLogin(l *loggingIn) {
	xoauth2 := base64.StdEncoding.EncodeToString([]byte("user=" + imapUser + "\x01auth=Bearer " + l.token + "\x01\x01"))
	l.put("rc.lua", `
options.timeout = 120
A = IMAP{server='localhost', port=%PORT, username='%USER', oauth2='`+xoauth2+`', ssl='auto'}
print('found', #A.INBOX:contain_subject('found by its subject'))
`)
	r := client(l.T, l.dir, "imapfilter", "-t", l.p.caFile, "-c", "rc.lua")
	if did(l.T, r, "imapfilter"); !strings.Contains(r.stdout, "found\t1\n") {
		l.Errorf("%+v", r)
	}
}

func offlineimapLogin(l *loggingIn) {
	l.put("rc", `[general]
accounts = a
metadata = %DIR/meta
[Account a]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = %DIR/mail
[Repository far]
type = IMAP
remotehost = localhost
remoteport = %PORT
remoteuser = %USER
auth_mechanisms = XOAUTH2
oauth2_access_token = %TOKEN
ssl = yes
sslcacertfile = %CA
`)
	did(l.T, client(l.T, l.dir, "offlineimap", "-o", "-1", "-c", "rc", "-u", "basic"), "offlineimap")
	if n := len(maildirFiles(l.T, filepath.Join(l.dir, "mail/INBOX"))); n != 1 {
		l.Errorf("%d messages", n)
	}
}

func aercLogin(kind string) func(*loggingIn) {
	return func(l *loggingIn) {
		l.put(".config/aerc/accounts.conf", `[a]
source = imaps+`+kind+`://`+strings.ReplaceAll(imapUser, "@", "%40")+`:%TOKEN@localhost:%PORT
default = INBOX
from = Alice <alice@example.org>
`)
		startTerminal(l.T, l.dir, "SSL_CERT_FILE="+l.p.caFile+" aerc").wait(loginSubject)
	}
}
