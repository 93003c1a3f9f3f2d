package server

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rtls/internal/auth"
)

// tokens is an auth.Tokens.
type tokens map[string]string

func (tokens) Issuer() string { return "https://sso.example.org/realm/" }

func (u tokens) User(_ context.Context, token string) (string, error) {
	if token == "down" {
		return "", errors.New("the issuer cannot be reached")
	}
	user, ok := u[token]
	if !ok {
		return "", fmt.Errorf("%w: token: it has ended", auth.ErrCredentials)
	}
	return user, nil
}

const withTokens = "AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=OAUTHBEARER AUTH=XOAUTH2 AUTH=PLAIN AUTH=LOGIN"

func tokenSite(t *testing.T) *site {
	g := gate(t)
	g.Tokens = tokens{"good": "alice", "nobodys": "nobody"}
	return newSite(t, withGate(g))
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestOAuthBearer(t *testing.T) {
	s := tokenSite(t)
	// RFC 7628 section 4.1, in the form of section 3.1.
	message := func(user, token string) string {
		return b64("n," + user + ",\x01host=server.example.com\x01port=993\x01auth=Bearer " + token + "\x01\x01")
	}
	refused := b64(`{"openid-configuration":"https://sso.example.org/realm/.well-known/openid-configuration","status":"invalid_token"}`)
	failed := "NO [AUTHENTICATIONFAILED] user name or password is wrong"
	c := s.dial(nil, withTokens)
	c.script("C: a AUTHENTICATE OAUTHBEARER " + message("a=alice", "old") + "\nS: + " + refused + "\nC: AQ==\nS: a " + failed)
	c.script("C: b AUTHENTICATE OAUTHBEARER " + message("a=bob", "good") + "\nS: + " + refused + "\nC: AQ==\nS: b " + failed)
	c.script("C: c AUTHENTICATE OAUTHBEARER " + message("a=alice", "down") + "\nS: c NO [UNAVAILABLE] temporary failure, try again later")
	c.script("C: d AUTHENTICATE OAUTHBEARER " + b64("n,a=alice,\x01auth=Basic good\x01\x01") + "\nS: d BAD the response makes no sense: it is not that of OAUTHBEARER")
	c.script("C: e AUTHENTICATE OAUTHBEARER " + message("a=alice", "good") + "\nS: e " + loggedIn)
	s.waitLog("user=alice mechanism=OAUTHBEARER")
	s.waitLog("token: it has ended")
	if strings.Contains(s.log.String(), "down\"") || strings.Contains(s.log.String(), "good") {
		t.Errorf("a token is in the log:\n%s", s.log)
	}
	s.dial(nil, withTokens).script("C: a AUTHENTICATE OAUTHBEARER\nS: + \nC: " + message("", "good") + "\nS: a " + loggedIn)
	s.dial(nil, withTokens).script("C: a AUTHENTICATE OAUTHBEARER " + message("", "nobodys") + "\nS: + " + refused + "\nC: AQ==\nS: a " + failed)
}

func TestXOAuth2(t *testing.T) {
	s := tokenSite(t)
	c := s.dial(nil, withTokens)
	c.script("C: a AUTHENTICATE XOAUTH2 " + b64("user=alice\x01auth=Bearer old\x01\x01") + "\nS: + " + b64(`{"schemes":"bearer","scope":"","status":"401"}`) + "\nC:\nS: a NO [AUTHENTICATIONFAILED] user name or password is wrong")
	c.script("C: b AUTHENTICATE XOAUTH2 " + b64("user=\x01auth=Bearer good\x01\x01") + "\nS: b BAD the response makes no sense: it is not that of XOAUTH2")
	c.script("C: c AUTHENTICATE XOAUTH2 " + b64("user=alice\x01auth=Bearer good\x01\x01") + "\nS: c " + loggedIn)
}

// curl is a client of others.
func TestCurlLogsIn(t *testing.T) {
	s := tokenSite(t)
	s.deliverN(1)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, s.ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	for mechanism, how := range map[string][]string{
		"OAUTHBEARER": {"--user", "alice", "--oauth2-bearer", "good"},
		"PLAIN":       {"--user", "alice:secret", "--login-options", "AUTH=PLAIN"},
		"LOGIN":       {"--user", "alice:secret", "--login-options", "AUTH=LOGIN"},
	} {
		args := append([]string{"--silent", "--show-error", "--disable", "--max-time", "20", "--cacert", ca, "imaps://localhost:" + port + "/INBOX;UID=1;SECTION=TEXT"}, how...)
		out, err := exec.Command("curl", args...).CombinedOutput()
		if err != nil || string(out) != "body 1\r\n" {
			t.Errorf("%s: %q, %v; make setup installs curl", mechanism, out, err)
		}
		s.waitLog("user=alice mechanism=" + mechanism)
	}
}

// down is an auth.Checker that cannot say.
type down struct{}

func (down) Check(context.Context, auth.Peer, string, string) (bool, error) {
	return false, errors.New("the directory server is down")
}

// Who cannot be asked is no reason to refuse a password, and none to take it.
func TestCheckerIsDown(t *testing.T) {
	g := gate(t)
	g.Checker = down{}
	s := newSite(t, withGate(g))
	s.dial(nil, "AUTH=PLAIN AUTH=LOGIN").script(`
		C: a LOGIN bob secret
		S: a NO [UNAVAILABLE] temporary failure, try again later
		C: b AUTHENTICATE PLAIN AGJvYgBzZWNyZXQ=
		S: b NO [UNAVAILABLE] temporary failure, try again later
		C: c LOGIN bob secret
		S: c NO [UNAVAILABLE] temporary failure, try again later
		C: d LOGIN bob secret
		S: d NO [UNAVAILABLE] temporary failure, try again later
		C: e LOGIN alice secret
		S: e ` + loggedIn + `
	`)
	s.waitLog("the directory server is down")
}
