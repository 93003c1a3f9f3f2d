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
	"strings"

	"github.com/xdg-go/scram"
)

// canBind says whether SCRAM can be bound to a connection: TLS 1.3, of which every
// client that knows RFC 9266 takes the exporter.
func canBind(state *tls.ConnectionState) bool {
	return state != nil && state.Version >= tls.VersionTLS13
}

// scramExchange is SCRAM-SHA-256 (RFC 5802, RFC 7677). A user's password and app
// passwords share a salt, so each of them can be what the client knows: candidates
// has a conversation for each, which differ in nothing but the keys.
type scramExchange struct {
	gate  *Gate
	peer  Peer
	plus  bool
	login Login

	binding    scram.ChannelBinding
	names      []string // of app passwords, beside candidates
	candidates []*scram.ServerConversation
	err        error // of the user database
	proved     bool
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
	case response == nil && x.candidates == nil:
		return []byte{}, false, nil
	case x.candidates == nil:
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
	// A client that binds says so with the mechanism, and one that takes the
	// mechanism binds (RFC 5802 section 6).
	if strings.HasPrefix(message, "p=") != x.plus {
		return nil, fmt.Errorf("%w: channel binding and mechanism do not go together", ErrMalformed)
	}
	if canBind(x.peer.TLS) {
		var err error
		if x.binding, err = scram.NewTLSExporterBinding(x.peer.TLS); err != nil {
			return nil, fmt.Errorf("channel binding: %w", err)
		}
	}
	var all []verifier
	lookup := func(name string) (scram.StoredCredentials, error) {
		x.login.User = name
		x.names, all, x.err = x.gate.scramOf(name)
		if x.err != nil {
			return scram.StoredCredentials{}, x.err
		}
		return all[0].StoredCredentials, nil
	}
	nonce := rand.Text()
	reply, err := x.begin(message, nonce, lookup)
	if x.err != nil {
		return nil, x.err
	}
	if err != nil {
		return nil, explainScram(reply)
	}
	if authzid := x.candidates[0].AuthzID(); authzid != "" && authzid != x.login.User {
		return nil, ErrAuthorization
	}
	for _, v := range all[1:] {
		if _, err := x.begin(message, nonce, func(string) (scram.StoredCredentials, error) { return v.StoredCredentials, nil }); err != nil {
			return nil, err
		}
	}
	return []byte(reply), nil
}

// begin adds a candidate.
func (x *scramExchange) begin(message, nonce string, lookup scram.CredentialLookup) (string, error) {
	server, err := scram.SHA256.NewServer(lookup)
	if err != nil {
		return "", err
	}
	server.WithNonceGenerator(func() string { return nonce })
	conversation := server.NewConversation()
	switch {
	case x.plus:
		conversation = server.NewConversationWithChannelBindingRequired(x.binding)
	case x.gate.binds(x.peer): // to refuse who was told that we cannot
		conversation = server.NewConversationWithChannelBinding(x.binding)
	}
	x.candidates = append(x.candidates, conversation)
	return conversation.Step(message)
}

// final looks for the candidate that the client's proof fits.
func (x *scramExchange) final(ctx context.Context, message string) ([]byte, error) {
	reason := ""
	for i, candidate := range x.candidates {
		reply, err := candidate.Step(message)
		if err != nil {
			reason = reply
			continue
		}
		x.proved, x.login.App = true, x.names[i]
		if err := x.gate.settle(ctx, x.peer, x.login, true); err != nil {
			return nil, err
		}
		return []byte(reply), nil
	}
	refusal := explainScram(reason)
	if errors.Is(refusal, ErrMalformed) {
		return nil, refusal
	}
	if err := x.gate.settle(ctx, x.peer, x.login, false); !errors.Is(err, ErrCredentials) {
		return nil, err
	}
	return nil, refusal
}

// explainScram turns a server error of RFC 5802 section 7 into one of ours. The
// library's own errors say what the binding should have been.
func explainScram(serverError string) error {
	switch serverError {
	case scram.ErrInvalidProof:
		return ErrCredentials
	case scram.ErrChannelBindingsDontMatch:
		return fmt.Errorf("%w: the channel binding is another connection's", ErrCredentials)
	case scram.ErrServerDoesSupportChannelBinding:
		return fmt.Errorf("%w: somebody has taken the channel binding out of the offer", ErrCredentials)
	case scram.ErrUnsupportedChannelBindingType:
		return fmt.Errorf("%w: only tls-exporter binds", ErrMalformed)
	}
	return fmt.Errorf("%w: it is not that of SCRAM", ErrMalformed)
}

// binds says whether SCRAM-SHA-256-PLUS is offered to a peer.
func (g *Gate) binds(p Peer) bool { return g.offers(mechanisms()[0], p) }

func (g *Gate) scramReady() bool {
	return g.Users.scramReady()
}

// scramOf returns what a user can prove to know, all with one salt, and the names of
// those that are app passwords. For others it returns one that nothing fits, whose salt
// is the same at each attempt, so that names are not told.
func (g *Gate) scramOf(name string) (names []string, all []verifier, err error) {
	c, err := g.Users.credential(name)
	if err != nil {
		return nil, nil, err
	}
	add := func(name string, v verifier) {
		if len(all) == 0 || v.KeyFactors == all[0].KeyFactors {
			names, all = append(names, name), append(all, v)
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
	v.Salt, v.Iters = string(mac.Sum(nil)[:saltSize]), g.Users.iterations
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
	if u.refreshLocked() != nil {
		return false
	}
	if u.ready == nil {
		ready := allScram(u.text)
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
