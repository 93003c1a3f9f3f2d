package submit

import (
	"crypto/tls"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"
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
			Client:  sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: x.user, Token: secret, Host: s.target.Host, Port: s.target.Port}),
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

// scramClient sets up SCRAM-SHA-256 (RFC 7677) with or without channel binding.
// Where we could bind and the server did not offer it, that is said in the exchange,
// so that a server whose offer was tampered with finds out (RFC 5802 section 6). The
// library refuses a server that wants fewer than 4096 iterations (RFC 7677 section 4).
func (s *session) scramClient(x *exchange, secret string) error {
	client, err := scram.SHA256.NewClient(x.user, secret, "")
	if err != nil {
		return errors.New("user name or password cannot be prepared as RFC 4013 says")
	}
	offered := strings.Fields(strings.ToUpper(s.extensions["AUTH"]))
	var conversation *scram.ClientConversation
	switch {
	case x.name == scramPlus:
		conn, ok := s.conn.(*tls.Conn)
		if !ok {
			return errors.New("no TLS to bind to")
		}
		state := conn.ConnectionState()
		binding, err := scram.NewTLSExporterBinding(&state)
		if err != nil {
			return err
		}
		conversation = client.NewConversationWithChannelBinding(binding)
	case s.canBind() && !slices.Contains(offered, scramPlus):
		conversation = client.NewConversationAdvertisingChannelBinding()
	default:
		conversation = client.NewConversation()
	}
	x.client, x.proved = scramMessages{x.name, conversation}, conversation.Valid
	return nil
}

// scramMessages is a SCRAM conversation in the library's terms.
type scramMessages struct {
	name         string
	conversation *scram.ClientConversation
}

func (c scramMessages) Start() (string, []byte, error) {
	first, err := c.conversation.Step("")
	return c.name, []byte(first), err
}

func (c scramMessages) Next(challenge []byte) ([]byte, error) {
	answer, err := c.conversation.Step(string(challenge))
	return []byte(answer), err
}

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
