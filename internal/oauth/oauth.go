// Package oauth verifies OAuth tokens.
package oauth

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"rtls/internal/auth"
)

// Verifier verifies access tokens that are JWTs (RFC 7519, RFC 9068). All fields but
// Clock are required. It is safe for concurrent use.
type Verifier struct {
	Iss      string // what has to stand in iss
	Audience string // what has to be among aud
	Claim    string // which claim names the user
	Keys     *Keys
	Clock    func() time.Time // default: time.Now
}

var _ auth.Tokens = (*Verifier)(nil)

// Issuer is who makes the tokens.
func (t *Verifier) Issuer() string { return t.Iss }

// tokenAlgorithms are those that a token may be signed with: no others, and above all
// not none and not those where our key would be the secret (RFC 8725 section 3.1).
var tokenAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA}

const (
	tokenLeeway = time.Minute // between the clocks
	maxToken    = 16 << 10
	minRSA      = 2048 // bits
)

// User returns the user of a token. The error wraps auth.ErrCredentials for a token that is
// not good, and says why; else it is that the keys are not to be had, which is
// temporary.
func (t *Verifier) User(ctx context.Context, token string) (string, error) {
	refuse := func(err error) (string, error) { return "", fmt.Errorf("%w: token: %w", auth.ErrCredentials, err) }
	if len(token) > maxToken {
		return refuse(errors.New("it is too long"))
	}
	parsed, err := jwt.ParseSigned(token, tokenAlgorithms)
	if err != nil {
		return refuse(errors.New("it is not a JWT signed with RS256, ES256 or EdDSA"))
	}
	header := parsed.Headers[0]
	keys, err := t.Keys.find(ctx, header.KeyID)
	if err != nil {
		return "", err
	}
	var claims jwt.Claims
	all := make(map[string]any)
	verified := false
	for _, key := range keys {
		if usable(key, header.Algorithm) && parsed.Claims(key.Key, &claims, &all) == nil {
			verified = true
			break
		}
	}
	if !verified {
		return refuse(fmt.Errorf("no key of %s has signed it", t.Iss))
	}
	if err := t.check(claims); err != nil {
		return refuse(err)
	}
	user, _ := all[t.Claim].(string)
	if user == "" || auth.ValidName(user) != nil {
		return refuse(fmt.Errorf("its claim %q names no user", t.Claim))
	}
	if verified, ok := all["email_verified"]; t.Claim == "email" && ok && verified != true {
		return refuse(errors.New("the issuer has not verified the address in it"))
	}
	return user, nil
}

// check looks at issuer, audience and times. A token without an end is none.
func (t *Verifier) check(claims jwt.Claims) error {
	now := time.Now
	if t.Clock != nil {
		now = t.Clock
	}
	if claims.Expiry == nil {
		return errors.New("it does not say when it ends")
	}
	return claims.ValidateWithLeeway(jwt.Expected{Issuer: t.Iss, AnyAudience: jwt.Audience{t.Audience}, Time: now()}, tokenLeeway)
}

// usable says whether a key is for signatures of that algorithm.
func usable(key jose.JSONWebKey, algorithm string) bool {
	if !key.IsPublic() || !key.Valid() || key.Use != "" && key.Use != "sig" || key.Algorithm != "" && key.Algorithm != algorithm {
		return false
	}
	if r, ok := key.Key.(*rsa.PublicKey); ok {
		return r.N.BitLen() >= minRSA
	}
	return true
}
