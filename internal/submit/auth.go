package submit

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"

	"rtls/internal/cli"
)

// Login says how to authenticate at a target. The zero value means not at all.
type Login struct {
	User string
	// Mechanism is the only one to use. If it is empty, the strongest is taken that
	// the server offers and that the secret is good for.
	Mechanism string
	// Secret gets the password or token. It is asked only when the target has been
	// verified, at most once a session. nil: the client certificate is all there is.
	Secret func(context.Context) (string, error)
	Token  bool // Secret gets an OAuth token
	// Forget is called when the token was refused. If it returns true, Secret may get
	// another one now, and the login is tried once more. Optional.
	Forget func() bool
}

func (l *Login) wanted() bool { return l.User != "" || l.Secret != nil || l.Mechanism != "" }

// The mechanisms, in upper case as they are offered.
const (
	scramPlus    = "SCRAM-SHA-256-PLUS"
	scram256     = "SCRAM-SHA-256"
	oauthBearer  = sasl.OAuthBearer
	xoauth2      = "XOAUTH2"
	mechExternal = sasl.External
	mechPlain    = sasl.Plain
	mechLogin    = sasl.Login
)

// strength is all mechanisms, the strongest first.
var strength = []string{scramPlus, scram256, oauthBearer, xoauth2, mechExternal, mechPlain, mechLogin}

// suits says whether a mechanism has a use for what we have.
func (l *Login) suits(mechanism string) bool {
	switch mechanism {
	case mechExternal:
		return l.Secret == nil
	case oauthBearer, xoauth2:
		return l.Secret != nil && l.Token
	}
	return l.Secret != nil && !l.Token
}

// exchange is an authentication under way.
type exchange struct {
	name    string
	user    string
	client  sasl.Client
	initial []byte
	proved  func() bool // the server has proved itself; nil: it need not
	oneTrip bool        // the mechanism is over with the reply to AUTH
	forget  func() bool
}

// maxCommand is the longest command with an initial response (RFC 4954 section 4,
// RFC 5321 section 4.5.3.1.4), without its line end.
const maxCommand = 510

// command is AUTH with the initial response.
func (x *exchange) command() string {
	response := "=" // empty (RFC 4954 section 4)
	if len(x.initial) > 0 {
		response = base64.StdEncoding.EncodeToString(x.initial)
	}
	return "AUTH " + x.name + " " + response
}

// authenticate logs in, once a session. The guard has passed: passwords travel only
// inside verified TLS (RFC 4954 section 4). A login that may be followed by more
// commands in its group is left for the envelope to take along.
func (s *session) authenticate(ctx context.Context) error {
	l := &s.target.Login
	if !l.wanted() || s.mechanism != "" {
		return nil
	}
	if s.clear() {
		return cli.Errorf(cli.Config, "there is no login without TLS, nothing was sent")
	}
	name, err := s.choose()
	if err != nil {
		return err
	}
	x, err := s.begin(ctx, name)
	if err != nil {
		return err
	}
	if x.oneTrip && s.offers("PIPELINING") && len(x.command()) <= maxCommand {
		s.lead = x
		return nil
	}
	if err := s.converse(x); err != nil {
		return err
	}
	s.mechanism = name
	return nil
}

// login logs in, with nothing behind it.
func (s *session) login(ctx context.Context, name string) error {
	s.at = stageAuth
	x, err := s.begin(ctx, name)
	if err == nil {
		err = s.converse(x)
	}
	return err
}

// choose picks the mechanism. The one that is configured is never exchanged for
// another: whoever strips it from the server's offer must gain nothing.
func (s *session) choose() (string, error) {
	offered := strings.Fields(strings.ToUpper(s.extensions["AUTH"]))
	l := &s.target.Login
	if l.Mechanism != "" {
		if !slices.Contains(offered, l.Mechanism) {
			return "", cli.Errorf(cli.NoPerm, "the server does not offer %s, and no other mechanism is allowed", l.Mechanism)
		}
		return l.Mechanism, nil
	}
	for _, name := range strength {
		if slices.Contains(offered, name) && l.suits(name) && (name != scramPlus || s.canBind()) {
			return name, nil
		}
	}
	if len(offered) == 0 {
		return "", cli.Errorf(cli.NoPerm, "the server offers no authentication, and the account has a user")
	}
	var usable []string
	for _, name := range strength {
		if l.suits(name) {
			usable = append(usable, name)
		}
	}
	return "", cli.Errorf(cli.NoPerm, "the server offers none of %s, only %s", strings.Join(usable, ", "), strings.Join(offered, ", "))
}

// begin gets the secret and makes the first message of a mechanism.
func (s *session) begin(ctx context.Context, name string) (*exchange, error) {
	l := &s.target.Login
	secret := ""
	if l.Secret != nil {
		var err error
		if secret, err = l.Secret(ctx); err != nil {
			return nil, secretError(err)
		}
	}
	x := &exchange{name: name, user: l.User, forget: l.Forget}
	if err := s.mechanismClient(x, secret); err != nil {
		return nil, cli.Errorf(cli.NoPerm, "authentication: %w", err)
	}
	var err error
	if _, x.initial, err = x.client.Start(); err != nil {
		return nil, cli.Errorf(cli.NoPerm, "authentication: %w", err)
	}
	return x, nil
}

// secretError gives a class to an error that has none: a secret that is not to be
// had now may be later.
func secretError(err error) error {
	if _, ok := errors.AsType[*cli.Error](err); ok {
		return err
	}
	return cli.Errorf(cli.TempFail, "%w", err)
}

// converse is an authentication from AUTH to the verdict.
func (s *session) converse(x *exchange) error {
	command := x.command()
	early := len(command) <= maxCommand
	if !early {
		command = "AUTH " + x.name
	}
	r, err := s.command(command)
	if err == nil && r.Code == 334 && !early {
		r, err = s.secret(base64.StdEncoding.EncodeToString(x.initial))
	}
	for err == nil && r.Code == 334 {
		r, err = s.respond(x.client, r)
	}
	if err != nil {
		return err
	}
	return x.finish(r)
}

// finish judges the reply that ends an authentication. A success does not count if
// the server should have proved that it knows the password, and has not.
func (x *exchange) finish(r Reply) error {
	switch {
	case r.Code/100 == 3:
		return cli.Errorf(cli.NoPerm, "authentication: the server's challenge makes no sense")
	case !r.positive():
		err := refused(stageAuth, "authentication as "+x.user, r)
		err.again = x.forget != nil && r.Code/100 == 5 && x.forget()
		return err
	case x.proved != nil && !x.proved():
		return cli.Errorf(cli.NoPerm, "authentication: the server has not proved that it knows the password")
	}
	return nil
}

// respond answers a challenge. A challenge without an answer cancels the exchange.
func (s *session) respond(client sasl.Client, r Reply) (Reply, error) {
	challenge, err := base64.StdEncoding.DecodeString(strings.Join(r.Lines, ""))
	var response []byte
	if err == nil {
		response, err = client.Next(challenge)
	}
	if err != nil {
		if _, cerr := s.secret("*"); cerr != nil {
			return Reply{}, cerr
		}
		return Reply{}, cli.Errorf(cli.NoPerm, "authentication: the server's challenge makes no sense: %w", err)
	}
	return s.secret(base64.StdEncoding.EncodeToString(response))
}

// secret sends a line that no trace shows.
func (s *session) secret(line string) (Reply, error) {
	s.trace("> ", "***")
	if err := s.put(line); err != nil {
		return Reply{}, err
	}
	return s.read()
}
