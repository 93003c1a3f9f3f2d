package auth

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"

	"rtls/internal/scram"
)

// canBind says whether SCRAM can be bound to a connection: TLS 1.3, of which every
// client that knows RFC 9266 takes the exporter.
func canBind(state *tls.ConnectionState) bool {
	return state != nil && state.Version >= tls.VersionTLS13
}

// scramExchange is SCRAM-SHA-256 (RFC 5802, RFC 7677). A user's password and app
// passwords share a salt, so each of them can be what the client knows.
type scramExchange struct {
	gate  *Gate
	peer  Peer
	plus  bool
	login Login

	binding scram.Binding
	server  *scram.Server // nil before the first message
	names   []string      // of app passwords, beside all; empty for the password
	all     []scram.Verifier
	proved  bool
}

func newScram(g *Gate, p Peer, plus bool) Exchange {
	x := &scramExchange{gate: g, peer: p, plus: plus, login: Login{Mechanism: Scram}}
	if plus {
		x.login.Mechanism = ScramPlus
	}
	return x
}

func (x *scramExchange) Login() Login { return x.login }

func (x *scramExchange) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	switch {
	case response == nil && x.server == nil:
		return []byte{}, false, nil
	case x.server == nil:
		challenge, err := x.first(string(response))
		return challenge, false, err
	case !x.proved:
		challenge, err := x.final(ctx, string(response))
		return challenge, false, err
	case len(response) > 0:
		return nil, false, fmt.Errorf("%w: SCRAM is over", ErrMalformed)
	}
	return nil, true, nil
}

// first answers the client's first message.
func (x *scramExchange) first(message string) ([]byte, error) {
	var err error
	if x.gate.binds(x.peer) {
		if x.binding, err = scram.Exporter(x.peer.TLS); err != nil {
			return nil, err
		}
	}
	server, err := scram.NewServer(message, x.binding, x.plus)
	if err != nil {
		return nil, explainScram(err)
	}
	x.server, x.login.User = server, server.User
	if server.AuthzID != "" && server.AuthzID != server.User {
		return nil, ErrAuthorization
	}
	if x.names, x.all, err = x.gate.scramOf(server.User); err != nil {
		return nil, err
	}
	return []byte(server.Challenge(x.all[0].Salting)), nil
}

// final looks for the verifier that the client's proof fits.
func (x *scramExchange) final(ctx context.Context, message string) ([]byte, error) {
	at, reply, err := x.server.Verify(message, x.binding, x.all)
	if err != nil {
		refusal := explainScram(err)
		if errors.Is(refusal, ErrMalformed) {
			return nil, refusal
		}
		if err := x.gate.settle(ctx, x.peer, x.login, false); !errors.Is(err, ErrCredentials) {
			return nil, err
		}
		return nil, refusal
	}
	x.login.App = x.names[at]
	if err := x.gate.settle(ctx, x.peer, x.login, true); err != nil {
		return nil, err
	}
	x.proved = true
	return []byte(reply), nil
}

func explainScram(err error) error {
	switch {
	case errors.Is(err, scram.ErrProof):
		return ErrCredentials
	case errors.Is(err, scram.ErrBinding), errors.Is(err, scram.ErrDowngrade):
		return fmt.Errorf("%w: %w", ErrCredentials, err)
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}

// binds says whether SCRAM-SHA-256-PLUS is offered to a peer.
func (g *Gate) binds(p Peer) bool { return slices.Contains(g.Mechanisms(p), ScramPlus) }

// scramReady says whether SCRAM is good for all: no checker can do it.
func (g *Gate) scramReady() bool { return g.Checker == nil && g.Users.scramReady() }

// scramOf returns what a user can prove to know, all with one salt, and the names of
// those that are app passwords. For others it returns one that nothing fits, whose salt
// is the same at each attempt, so that names are not told.
func (g *Gate) scramOf(name string) (names []string, all []scram.Verifier, err error) {
	c, err := g.credential(name)
	if err != nil {
		return nil, nil, err
	}
	add := func(name string, v verifier) {
		if len(all) == 0 || v.Salting == all[0].Salting {
			names, all = append(names, name), append(all, v.Verifier)
		}
	}
	if c.scram != nil {
		add("", *c.scram)
	}
	for _, a := range c.apps {
		add(a.name, a.check)
	}
	if len(all) == 0 {
		add("", g.decoy(name))
	}
	return names, all, nil
}

// decoy makes a verifier for a user who has none.
func (g *Gate) decoy(name string) verifier {
	var v verifier
	mac := hmac.New(sha256.New, g.saltKey())
	mac.Write([]byte(name))
	v.Salt, v.Iterations = string(mac.Sum(nil)[:saltSize]), g.Users.iterations
	v.StoredKey, v.ServerKey = make([]byte, sha256.Size), make([]byte, sha256.Size)
	rand.Read(v.StoredKey)
	rand.Read(v.ServerKey)
	return v
}

// scramReady says whether SCRAM is good for all: who has a password, and nothing for
// SCRAM beside it, would fail with a client that takes the strongest mechanism.
func (u *Users) scramReady() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	text, err := u.refreshLocked()
	if err != nil {
		return false
	}
	if u.ready == nil {
		ready := allScram(text)
		u.ready = &ready
	}
	return *u.ready
}

func allScram(text []byte) bool {
	some := false
	for line := range bytes.Lines(text) {
		name, rest, ok := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		if !ok || len(name) == 0 || name[0] == '#' {
			continue
		}
		e := parseEntry(string(name), string(rest))
		if e.locked() || e.hashed() == "" {
			continue
		}
		if v, err := e.scram(); v == nil || err != nil {
			return false
		}
		some = true
	}
	return some
}
