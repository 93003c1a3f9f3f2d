package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"io/fs"
	"sync"
)

// Gate is what a server asks at login: the users, behind the throttle. Users is
// required. It is safe for concurrent use.
type Gate struct {
	Users    *Users
	Throttle Throttle
	// Only are the mechanisms to offer. Empty: those that are good for all users.
	Only []string
	// CertificateUsers returns the users that a client's certificate stands for. nil:
	// a certificate is no way to log in.
	CertificateUsers func(*x509.Certificate) []string
	// Checker knows the passwords of users who have none in the file. Optional.
	Checker Checker
	// Tokens verifies OAuth tokens, which are a way to log in where it is set.
	Tokens Tokens
	// Elsewhere says whether there is a user who is not in the file, for those whom
	// Checker or Tokens have let in. nil: there are none.
	Elsewhere func(user string) (bool, error)
	// SaltKey makes the salts of users who do not exist, see NewSaltKey. Without it
	// there is one for as long as the process lives, and names can be told by salts
	// that change.
	SaltKey []byte
	// State notes when app passwords are used. nil: it is not noted.
	State *State

	salts sync.Once
}

func (g *Gate) saltKey() []byte {
	g.salts.Do(func() {
		if len(g.SaltKey) == 0 {
			g.SaltKey = make([]byte, sha256.Size)
			rand.Read(g.SaltKey)
		}
	})
	return g.SaltKey
}

// Login says who logs in with a name and a password, and takes its time over it
// where there were failures. The error is that of Exchange.Next.
func (g *Gate) Login(ctx context.Context, peer Peer, user, password string) (Login, error) {
	login := Login{User: user, Mechanism: PlainTwo}
	trusted := g.Throttle.trusts(peer.Addr, user)
	if !trusted {
		if err := g.Throttle.Wait(ctx, peer.Addr, user); err != nil {
			return login, err
		}
	}
	app, ok, err := g.verify(ctx, peer, user, password)
	if err != nil {
		return login, err
	}
	login.App = app
	return login, g.count(peer, login, ok, trusted)
}

// settle is Login for those whose proof did not take long: whoever guesses hears of
// it when its time has come, right or wrong.
func (g *Gate) settle(ctx context.Context, peer Peer, login Login, ok bool) error {
	trusted := g.Throttle.trusts(peer.Addr, login.User)
	if !trusted {
		if err := g.Throttle.Wait(ctx, peer.Addr, login.User); err != nil {
			return err
		}
	}
	return g.count(peer, login, ok, trusted)
}

// count notes what has come of an attempt.
func (g *Gate) count(peer Peer, login Login, ok, trusted bool) error {
	if !ok {
		g.Throttle.Fail(peer.Addr, login.User)
		return ErrCredentials
	}
	if login.App != "" && g.State != nil {
		g.State.Use(login.User, login.App)
	}
	if !trusted {
		g.Throttle.OK(peer.Addr, login.User)
	}
	return nil
}

// verify asks the file, and for users that it has no password of, the checker.
func (g *Gate) verify(ctx context.Context, peer Peer, user, password string) (app string, ok bool, err error) {
	c, err := g.credential(user)
	if err != nil {
		return "", false, err
	}
	if g.Checker == nil || c.known || c.lock {
		return g.Users.verify(ctx, c, password)
	}
	if appForm(password) {
		if app, ok, err := g.Users.verify(ctx, c, password); ok || err != nil {
			return app, ok, err
		}
	}
	if ValidName(user) != nil || ValidPassword(password) != nil {
		return "", false, nil
	}
	ok, err = g.Checker.Check(ctx, peer, user, password)
	if !ok || err != nil {
		return "", false, err
	}
	ok, err = g.Admits(user)
	return "", ok, err
}

// credential is what the file has of a user. Where users are elsewhere, too, there need
// not be a file.
func (g *Gate) credential(user string) (credential, error) {
	c, err := g.Users.credential(user)
	if g.Elsewhere != nil && errors.Is(err, fs.ErrNotExist) {
		return credential{hash: decoyFor(nil, g.Users.cost), name: user}, nil
	}
	return c, err
}

// Admits says whether a user may log in, and who has logged in may still be here: who
// is disabled or unknown may not.
func (g *Gate) Admits(user string) (bool, error) {
	c, err := g.credential(user)
	if err != nil || c.found || g.Elsewhere == nil {
		return c.found && !c.lock, err
	}
	return g.Elsewhere(user)
}
