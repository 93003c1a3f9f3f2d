package server

import (
	"crypto/tls"
	"encoding/base64"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"rtls/internal/auth"
)

// gate is an Authenticator over a file with alice, whose password is secret.
func gate(t *testing.T) *auth.Gate {
	t.Helper()
	g := &auth.Gate{Users: auth.Open(filepath.Join(t.TempDir(), "passwd"))}
	if err := g.Users.Add("alice", "secret"); err != nil {
		t.Fatal(err)
	}
	return g
}

func withGate(g *auth.Gate) func(*Server) { return func(srv *Server) { srv.Auth = g } }

const strong = "AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN AUTH=LOGIN"

// dial connects and expects an offer.
func (s *site) dial(config *tls.Config, offer string) *client {
	s.t.Helper()
	c := s.dialRaw(config)
	c.expect("* OK [CAPABILITY IMAP4rev1 IMAP4rev2 " + offer + " SASL-IR LITERAL+ ID ENABLE] localhost rtls-imapd ready")
	return c
}

// scram runs an exchange and returns the last line. The client's side is another
// implementation's.
func (c *client) scram(mechanism string, conversation *scram.ClientConversation) string {
	c.t.Helper()
	message, err := conversation.Step("")
	if err != nil {
		c.t.Fatal(err)
	}
	c.send("s AUTHENTICATE " + mechanism + " " + base64.StdEncoding.EncodeToString([]byte(message)) + "\r\n")
	for {
		line := strings.TrimSuffix(c.line(), "\r\n")
		text, ok := strings.CutPrefix(line, "+ ")
		if !ok {
			if strings.HasPrefix(line, "s OK") && !conversation.Valid() {
				c.t.Error("the server has not proved that it knows the password")
			}
			return line
		}
		challenge, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			c.t.Fatalf("%q: %v", line, err)
		}
		if message, err = conversation.Step(string(challenge)); err != nil {
			c.t.Fatalf("%q: %v", challenge, err)
		}
		c.send(base64.StdEncoding.EncodeToString([]byte(message)) + "\r\n")
	}
}

func scramClient(t *testing.T, user, password, authzid string) *scram.Client {
	t.Helper()
	client, err := scram.SHA256.NewClient(user, password, authzid)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func binding(t *testing.T, c *client) scram.ChannelBinding {
	t.Helper()
	state := c.conn.ConnectionState()
	b, err := scram.NewTLSExporterBinding(&state)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// I11: SCRAM-SHA-256-PLUS is bound to the exporter of TLS 1.3 (RFC 9266), and the
// binding of another connection is refused.
func TestConformanceI11(t *testing.T) {
	s := newSite(t, withGate(gate(t)))
	alice := scramClient(t, "alice", "secret", "")
	c := s.dial(nil, strong)
	if line := c.scram("SCRAM-SHA-256-PLUS", alice.NewConversationWithChannelBinding(binding(t, c))); !pattern(loggedIn).MatchString(strings.TrimPrefix(line, "s ") + "\r\n") {
		t.Errorf("got %q", line)
	}
	other, c := s.dial(nil, strong), s.dial(nil, strong)
	if line := c.scram("SCRAM-SHA-256-PLUS", alice.NewConversationWithChannelBinding(binding(t, other))); line != "s NO [AUTHENTICATIONFAILED] user name or password is wrong" {
		t.Errorf("the binding of another connection: %q", line)
	}
	s.waitLog("mechanism=SCRAM-SHA-256-PLUS err=\"user name or password is wrong: the channel binding is another connection's\"")
	// The connection goes on.
	if line := c.scram("SCRAM-SHA-256-PLUS", alice.NewConversationWithChannelBinding(binding(t, c))); !strings.HasPrefix(line, "s OK ") {
		t.Errorf("got %q", line)
	}
	s.waitLog("mechanism=SCRAM-SHA-256-PLUS")
}

func TestScram(t *testing.T) {
	s := newSite(t, withGate(gate(t)))
	alice := scramClient(t, "alice", "secret", "")
	login := func(mechanism string, conversation func(*client) *scram.ClientConversation) string {
		t.Helper()
		c := s.dial(nil, strong)
		return c.scram(mechanism, conversation(c))
	}
	simple := func(user, password, authzid string) func(*client) *scram.ClientConversation {
		return func(*client) *scram.ClientConversation {
			return scramClient(t, user, password, authzid).NewConversation()
		}
	}
	for _, tc := range []struct {
		what, mechanism string
		conversation    func(*client) *scram.ClientConversation
		want            string
	}{
		{"right", "SCRAM-SHA-256", simple("alice", "secret", ""), "s OK "},
		{"right, as oneself", "SCRAM-SHA-256", simple("alice", "secret", "alice"), "s OK "},
		{"wrong", "SCRAM-SHA-256", simple("alice", "wrong", ""), "s NO [AUTHENTICATIONFAILED]"},
		{"as somebody else", "SCRAM-SHA-256", simple("alice", "secret", "bob"), "s NO [AUTHORIZATIONFAILED]"},
		{"nobody", "SCRAM-SHA-256", simple("nobody", "secret", ""), "s NO [AUTHENTICATIONFAILED]"},
		{"without the binding that the mechanism is for", "SCRAM-SHA-256-PLUS", simple("alice", "secret", ""), "s BAD "},
		{"with a binding that the mechanism is not for", "SCRAM-SHA-256",
			func(c *client) *scram.ClientConversation {
				return alice.NewConversationWithChannelBinding(binding(t, c))
			}, "s BAD "},
		{"told that there is no binding", "SCRAM-SHA-256", // RFC 5802 section 6
			func(*client) *scram.ClientConversation { return alice.NewConversationAdvertisingChannelBinding() }, "s NO [AUTHENTICATIONFAILED]"},
		{"another kind of binding", "SCRAM-SHA-256-PLUS",
			func(c *client) *scram.ClientConversation {
				return alice.NewConversationWithChannelBinding(scram.NewTLSUniqueBinding([]byte("unique")))
			}, "s BAD the response makes no sense: channel binding tls-unique is not supported, only tls-exporter"},
	} {
		if got := login(tc.mechanism, tc.conversation); !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.what, got, tc.want)
		}
	}
}

// Before TLS 1.3 there is no binding that all clients agree on. A client that could
// bind is then right to say that we cannot.
func TestScramTLS12(t *testing.T) {
	s := newSite(t, withGate(gate(t)))
	c := s.dial(&tls.Config{MaxVersion: tls.VersionTLS12}, "AUTH=SCRAM-SHA-256 AUTH=PLAIN AUTH=LOGIN")
	if line := c.scram("SCRAM-SHA-256", scramClient(t, "alice", "secret", "").NewConversationAdvertisingChannelBinding()); !strings.HasPrefix(line, "s OK ") {
		t.Errorf("got %q", line)
	}
	c = s.dial(&tls.Config{MaxVersion: tls.VersionTLS12}, "AUTH=SCRAM-SHA-256 AUTH=PLAIN AUTH=LOGIN")
	c.script(`
		C: a AUTHENTICATE SCRAM-SHA-256-PLUS
		S: a NO [CANNOT] mechanism is not supported
		C: b AUTHENTICATE SCRAM-SHA-256
		S: + 
		C: bm9uc2Vuc2U=
		S: b BAD the response makes no sense: the message is not one of SCRAM
	`)
}

// What a server with LOGIN and PLAIN off says.
func TestOnlyScram(t *testing.T) {
	g := gate(t)
	g.Only = []string{auth.Scram, auth.ScramPlus}
	s := newSite(t, withGate(g))
	c := s.dial(nil, "AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 LOGINDISABLED")
	c.script(`
		C: a LOGIN alice secret
		S: a NO [CANNOT] LOGIN is disabled, use AUTHENTICATE
		C: b AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==
		S: b NO [CANNOT] mechanism is not supported
	`)
	if line := c.scram("SCRAM-SHA-256", scramClient(t, "alice", "secret", "").NewConversation()); !strings.HasPrefix(line, "s OK ") {
		t.Errorf("got %q", line)
	}
}

// The password in two steps, with the name as an initial response or not.
func TestAuthenticateLogin(t *testing.T) {
	s := newSite(t)
	s.connect().script(`
		C: a AUTHENTICATE LOGIN
		S: + VXNlcm5hbWU6
		C: YWxpY2U=
		S: + UGFzc3dvcmQ6
		C: d3Jvbmc=
		S: a NO [AUTHENTICATIONFAILED] user name or password is wrong
		C: b AUTHENTICATE LOGIN YWxpY2U=
		S: + UGFzc3dvcmQ6
		C: *
		S: b BAD authentication was cancelled
		C: c AUTHENTICATE LOGIN YWxpY2U=
		S: + UGFzc3dvcmQ6
		C: c2VjcmV0
		S: c ` + loggedIn + `
	`)
}
