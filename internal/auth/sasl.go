package auth

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Peer is who wants to log in, as far as the connection tells.
type Peer struct {
	Addr netip.Addr
	TLS  *tls.ConnectionState // nil without TLS
}

// Login is who has logged in, and how. Of one that failed it is who was claimed.
type Login struct {
	User      string
	Mechanism string // of SASL; "LOGIN" for a command that takes a password, too
	App       string // name of the app password, if it was one
}

// Exchange is the server's side of one SASL exchange (RFC 4422 section 3). It
// belongs to one goroutine.
type Exchange interface {
	// Next takes a response of the client, nil where it sent no initial one. It
	// returns the next challenge, or, with done, nothing: the login has passed. The
	// error ends the exchange: ErrCredentials, ErrAuthorization, ErrMalformed,
	// ErrThrottled, ctx's, or anything else for a failure that is temporary.
	Next(ctx context.Context, response []byte) (challenge []byte, done bool, err error)
	// Login says who logs in. It is proved once Next has said done.
	Login() Login
}

// What a login fails with.
var (
	// ErrCredentials says that a user does not exist or has not proved to be it.
	ErrCredentials = errors.New("user name or password is wrong")
	// ErrAuthorization says that a user wants to be another one.
	ErrAuthorization = errors.New("acting for another user is not allowed")
	// ErrMalformed says that a response is none of the mechanism.
	ErrMalformed = errors.New("the response makes no sense")
)

// The mechanisms, as they are announced.
const (
	External    = "EXTERNAL" // a client's certificate
	ScramPlus   = "SCRAM-SHA-256-PLUS"
	Scram       = "SCRAM-SHA-256"
	OAuthBearer = "OAUTHBEARER"
	XOAuth2     = "XOAUTH2" // the same, as it was before RFC 7628
	Plain       = "PLAIN"
	PlainTwo    = "LOGIN" // the password in two steps, as old clients send it
)

// mechanism is a way to log in through a gate.
type mechanism struct {
	name  string
	able  func(*Gate, Peer) bool // whether the connection can do it
	ready func(*Gate) bool       // whether it is good for all users
	start func(*Gate, Peer) Exchange
}

// mechanisms returns all of them, the strongest first.
func mechanisms() []mechanism {
	return []mechanism{
		{External, func(g *Gate, p Peer) bool { return len(g.certified(p)) > 0 }, always,
			func(g *Gate, p Peer) Exchange {
				return &external{g, g.certified(p), Login{Mechanism: External}}
			}},
		{ScramPlus, func(_ *Gate, p Peer) bool { return canBind(p.TLS) }, (*Gate).scramReady,
			func(g *Gate, p Peer) Exchange { return newScram(g, p, true) }},
		{Scram, anyPeer, (*Gate).scramReady,
			func(g *Gate, p Peer) Exchange { return newScram(g, p, false) }},
		{OAuthBearer, (*Gate).takesTokens, always,
			func(g *Gate, p Peer) Exchange { return &bearer{gate: g, peer: p, login: Login{Mechanism: OAuthBearer}} }},
		{XOAuth2, (*Gate).takesTokens, always,
			func(g *Gate, p Peer) Exchange { return &bearer{gate: g, peer: p, login: Login{Mechanism: XOAuth2}} }},
		{Plain, anyPeer, always, func(g *Gate, p Peer) Exchange { return NewPlain(Plain, g.withPassword(p)) }},
		{PlainTwo, anyPeer, always, func(g *Gate, p Peer) Exchange { return NewPlain(PlainTwo, g.withPassword(p)) }},
	}
}

func always(*Gate) bool        { return true }
func anyPeer(*Gate, Peer) bool { return true }

// KnownMechanism says whether there is a mechanism of that name.
func KnownMechanism(name string) bool {
	return slices.ContainsFunc(mechanisms(), func(m mechanism) bool { return m.name == name })
}

// Mechanisms returns what a peer can log in with, the strongest first. Where
// g.Only names some, they are offered and no others; but for what the connection
// cannot do.
func (g *Gate) Mechanisms(peer Peer) []string {
	var names []string
	for _, m := range mechanisms() {
		if g.offers(m, peer) {
			names = append(names, m.name)
		}
	}
	return names
}

func (g *Gate) offers(m mechanism, peer Peer) bool {
	if len(g.Only) == 0 {
		return m.able(g, peer) && m.ready(g)
	}
	return m.able(g, peer) && slices.Contains(g.Only, m.name)
}

// Start begins an exchange. It returns nil for a mechanism that is not offered.
func (g *Gate) Start(peer Peer, name string) Exchange {
	for _, m := range mechanisms() {
		if m.name == name && g.offers(m, peer) {
			return m.start(g, peer)
		}
	}
	return nil
}

// PasswordFunc says who logs in with a name and a password; its errors are those of
// Exchange.Next.
type PasswordFunc func(ctx context.Context, user, password string) (Login, error)

func (g *Gate) withPassword(p Peer) PasswordFunc {
	return func(ctx context.Context, user, password string) (Login, error) {
		return g.Login(ctx, p, user, password)
	}
}

// NewPlain begins an exchange that hands over a password: PLAIN (RFC 4616) or LOGIN.
func NewPlain(mechanism string, verify PasswordFunc) Exchange {
	p := plain{verify: verify, login: Login{Mechanism: mechanism}}
	if mechanism == PlainTwo {
		return &plainTwo{plain: p}
	}
	return &p
}

type plain struct {
	verify PasswordFunc
	login  Login
}

func (x *plain) Login() Login { return x.login }

// Next reads authzid, authcid and password (RFC 4616 section 2). The first has to
// be empty or the second.
func (x *plain) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte{}, false, nil
	}
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 {
		return nil, false, fmt.Errorf("%w: it is not that of PLAIN", ErrMalformed)
	}
	x.login.User = string(parts[1])
	if len(parts[0]) > 0 && !bytes.Equal(parts[0], parts[1]) {
		return nil, false, ErrAuthorization
	}
	return x.finish(ctx, string(parts[2]))
}

func (x *plain) finish(ctx context.Context, password string) ([]byte, bool, error) {
	login, err := x.verify(ctx, x.login.User, password)
	if err != nil {
		return nil, false, err
	}
	login.Mechanism = x.login.Mechanism
	x.login = login
	return nil, true, nil
}

// plainTwo asks for name and password in turn. An initial response is the name.
type plainTwo struct {
	plain
	named bool
}

func (x *plainTwo) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	switch {
	case response == nil:
		return []byte("Username:"), false, nil
	case !x.named:
		x.named, x.login.User = true, string(response)
		return []byte("Password:"), false, nil
	}
	return x.finish(ctx, string(response))
}
