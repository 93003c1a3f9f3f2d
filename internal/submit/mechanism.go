package submit

import (
	"crypto/tls"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"

	"rtls/internal/scram"
)

// mechanismClient gives an exchange its client. The library has those that are plain
// messages.
func (s *session) mechanismClient(x *exchange, secret string) error {
	var err error
	switch x.name {
	case scramPlus, scram256:
		err = s.scramClient(x, secret)
	case oauthBearer:
		x.client = &tokenClient{
			Client:  sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: x.user, Token: secret, Host: s.target.name(), Port: s.target.Port}),
			goodbye: []byte{1}, // RFC 7628 section 3.2.3
		}
	case xoauth2:
		x.client = &tokenClient{Client: xoauth2Client{x.user, secret}}
	case mechExternal:
		x.client, x.oneTrip = sasl.NewExternalClient(x.user), true
	case mechPlain:
		x.client, x.oneTrip = sasl.NewPlainClient("", x.user, secret), true
	case mechLogin:
		x.client = sasl.NewLoginClient(x.user, secret)
	default:
		err = errors.New("no such mechanism")
	}
	if strings.ContainsRune(x.user+secret, 0) || strings.ContainsRune(x.user, 1) {
		return errors.New("user name or secret holds a character that no mechanism can carry")
	}
	return err
}

// canBind says whether the session has something for SCRAM to be bound to: the
// exporter of TLS 1.3 (RFC 9266). Under TLS 1.2 servers expect other bindings.
func (s *session) canBind() bool {
	conn, ok := s.conn.(*tls.Conn)
	return ok && conn.ConnectionState().Version >= tls.VersionTLS13
}

// scramClient sets up SCRAM-SHA-256 with or without channel binding. Where we could
// bind and the server did not offer it, that is said in the exchange.
func (s *session) scramClient(x *exchange, secret string) error {
	var binding scram.Binding
	offered := strings.Fields(strings.ToUpper(s.extensions["AUTH"]))
	switch {
	case x.name == scramPlus:
		conn, ok := s.conn.(*tls.Conn)
		if !ok {
			return errors.New("no TLS to bind to")
		}
		state := conn.ConnectionState()
		var err error
		if binding, err = scram.Exporter(&state); err != nil {
			return err
		}
	case s.canBind() && !slices.Contains(offered, scramPlus):
		binding = scram.Bindable
	}
	client, err := scram.NewClient(x.user, secret, binding)
	if err != nil {
		return err
	}
	x.client, x.proved = scramClient{x.name, client}, client.Proved
	return nil
}

// scramClient gives package scram the library's interface.
type scramClient struct {
	name string
	*scram.Client
}

func (c scramClient) Start() (string, []byte, error) { return c.name, c.First(), nil }

// tokenClient answers the challenge that tells why a token was refused; the refusal
// itself comes after that.
type tokenClient struct {
	sasl.Client
	goodbye []byte
	refused bool
}

func (c *tokenClient) Next([]byte) ([]byte, error) {
	if c.refused {
		return nil, sasl.ErrUnexpectedServerChallenge
	}
	c.refused = true
	return c.goodbye, nil
}

// xoauth2Client is the mechanism that came before OAUTHBEARER.
type xoauth2Client struct{ user, token string }

func (c xoauth2Client) Start() (string, []byte, error) {
	return xoauth2, []byte("user=" + c.user + "\x01auth=Bearer " + c.token + "\x01\x01"), nil
}

func (c xoauth2Client) Next([]byte) ([]byte, error) { return nil, sasl.ErrUnexpectedServerChallenge }
