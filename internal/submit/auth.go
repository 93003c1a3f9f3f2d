package submit

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"

	"rtls/internal/cli"
)

// authenticate logs in if the target has a user. The guard has passed: passwords
// travel only inside verified TLS (RFC 4954 section 4).
func (s *session) authenticate() error {
	t := s.target
	if t.User == "" {
		return nil
	}
	client, err := s.mechanism()
	if err != nil {
		return err
	}
	mech, initial, err := client.Start()
	if err != nil {
		return cli.Errorf(cli.NoPerm, "authentication: %w", err)
	}
	r, err := s.command("AUTH " + mech + " " + base64.StdEncoding.EncodeToString(initial))
	for err == nil && r.Code == 334 {
		r, err = s.respond(client, r)
	}
	if err != nil {
		return err
	}
	if !r.positive() {
		return refused(stageAuth, "authentication as "+t.User, r)
	}
	return nil
}

// mechanism chooses how to log in.
func (s *session) mechanism() (sasl.Client, error) {
	offered := strings.Fields(strings.ToUpper(s.extensions["AUTH"]))
	switch {
	case slices.Contains(offered, sasl.Plain):
		return sasl.NewPlainClient("", s.target.User, s.target.Password), nil
	case slices.Contains(offered, sasl.Login):
		return sasl.NewLoginClient(s.target.User, s.target.Password), nil
	case len(offered) == 0:
		return nil, cli.Errorf(cli.NoPerm, "the server offers no authentication, and the account has a user")
	}
	return nil, cli.Errorf(cli.NoPerm, "the server offers none of PLAIN and LOGIN, only %s", strings.Join(offered, ", "))
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
