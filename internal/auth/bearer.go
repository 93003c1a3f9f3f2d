package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Tokens verifies OAuth tokens. It is used by many goroutines at once.
type Tokens interface {
	// User returns the user of a token. The error wraps ErrCredentials for a token that
	// is not good; any other is temporary.
	User(ctx context.Context, token string) (string, error)
	// Issuer is the URL of who makes the tokens.
	Issuer() string
}

// bearer is OAUTHBEARER (RFC 7628), or XOAUTH2, which says the same in another form.
type bearer struct {
	gate    *Gate
	peer    Peer
	login   Login
	refused error // told to the client; what it says to that ends the exchange
}

func (g *Gate) takesTokens(Peer) bool { return g.Tokens != nil }

func (x *bearer) Login() Login { return x.login }

// Next reads the token. A client whose token is refused is told why in JSON, answers
// that it has heard, and only then the exchange fails (RFC 7628 section 3.2.3).
func (x *bearer) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	if x.refused != nil {
		return nil, false, x.refused
	}
	if response == nil {
		return []byte{}, false, nil
	}
	parse := parseBearer
	if x.login.Mechanism == XOAuth2 {
		parse = parseXOAuth2
	}
	user, token, ok := parse(string(response))
	if !ok {
		return nil, false, fmt.Errorf("%w: it is not that of %s", ErrMalformed, x.login.Mechanism)
	}
	x.login.User = user
	err := x.verify(ctx, token)
	if settled := x.settle(ctx, err); !errors.Is(settled, ErrCredentials) {
		return nil, settled == nil, settled
	}
	x.refused = err
	return x.explanation(), false, nil
}

// verify says whether the token is one, and the user's.
func (x *bearer) verify(ctx context.Context, token string) error {
	user, err := x.gate.Tokens.User(ctx, token)
	if err != nil {
		return err
	}
	if x.login.User != "" && x.login.User != user {
		return fmt.Errorf("%w: the token is that of %q", ErrCredentials, user)
	}
	x.login.User = user
	ok, err := x.gate.Admits(user)
	if err != nil {
		return err
	}
	if !ok {
		return ErrCredentials
	}
	return nil
}

func (x *bearer) settle(ctx context.Context, err error) error {
	if err != nil && !errors.Is(err, ErrCredentials) {
		return err
	}
	return x.gate.settle(ctx, x.peer, x.login, err == nil)
}

// explanation is what a client is told of a token that was refused.
func (x *bearer) explanation() []byte {
	told := map[string]string{"status": "invalid_token", "openid-configuration": strings.TrimSuffix(x.gate.Tokens.Issuer(), "/") + "/.well-known/openid-configuration"}
	if x.login.Mechanism == XOAuth2 {
		told = map[string]string{"status": "401", "schemes": "bearer", "scope": ""}
	}
	text, err := json.Marshal(told)
	if err != nil {
		return []byte("{}") // cannot be: a map of strings
	}
	return text
}

// parseBearer reads the client's message (RFC 7628 section 3.1). The name in it may be
// missing: the token has one.
func parseBearer(message string) (user, token string, ok bool) {
	header, rest, _ := strings.Cut(message, "\x01")
	parts := strings.Split(header, ",")
	if len(parts) != 3 || parts[0] != "n" && parts[0] != "y" || parts[2] != "" || !strings.HasSuffix(rest, "\x01\x01") {
		return "", "", false
	}
	if name, named := strings.CutPrefix(parts[1], "a="); named {
		user = strings.NewReplacer("=2C", ",", "=3D", "=").Replace(name)
	} else if parts[1] != "" {
		return "", "", false
	}
	for pair := range strings.SplitSeq(strings.TrimSuffix(rest, "\x01\x01"), "\x01") {
		key, value, _ := strings.Cut(pair, "=")
		if key == "auth" && token == "" {
			token, ok = cutBearer(value)
		}
	}
	return user, token, ok
}

func parseXOAuth2(message string) (user, token string, ok bool) {
	parts := strings.Split(message, "\x01")
	if len(parts) != 4 || parts[2] != "" || parts[3] != "" {
		return "", "", false
	}
	user, named := strings.CutPrefix(parts[0], "user=")
	value, has := strings.CutPrefix(parts[1], "auth=")
	token, ok = cutBearer(value)
	return user, token, ok && named && has && user != ""
}

// cutBearer takes the scheme off, which is in either case (RFC 9110 section 11.1).
func cutBearer(value string) (token string, ok bool) {
	scheme, token, _ := strings.Cut(value, " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}
