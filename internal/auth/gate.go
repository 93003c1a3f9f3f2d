package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"sync"
)

// Gate is what a server asks at login: the users, behind the throttle. Users is
// required. It is safe for concurrent use.
type Gate struct {
	Users    *Users
	Throttle Throttle
	// Only are the mechanisms to offer. Empty: those that are good for all users.
	Only []string
	// SaltKey makes the salts of users who do not exist, see NewSaltKey. Without it
	// there is one for as long as the process lives, and names can be told by salts
	// that change.
	SaltKey []byte

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
// where there were failures. A password that was right a short while ago passes at
// once where it came from an address that the throttle trusts with the user, so that
// a mail client with many connections is served while somebody guesses. The error is
// that of Exchange.Next.
func (g *Gate) Login(ctx context.Context, peer Peer, user, password string) (Login, error) {
	login := Login{User: user, Mechanism: PlainTwo}
	if g.Throttle.trusts(peer.Addr, user) {
		app, ok, err := g.Users.recall(user, password)
		if err != nil {
			return login, err
		}
		if ok {
			login.App = app
			return login, nil
		}
	}
	if err := g.Throttle.Wait(ctx, peer.Addr, user); err != nil {
		return login, err
	}
	app, ok, err := g.Users.Verify(ctx, user, password)
	if err != nil {
		return login, err
	}
	login.App = app
	return login, g.count(peer, user, ok)
}

// settle is Login for those whose proof did not take long: whoever guesses hears of
// it when its time has come, right or wrong.
func (g *Gate) settle(ctx context.Context, peer Peer, login Login, ok bool) error {
	if ok && g.Throttle.trusts(peer.Addr, login.User) {
		return nil
	}
	if err := g.Throttle.Wait(ctx, peer.Addr, login.User); err != nil {
		return err
	}
	return g.count(peer, login.User, ok)
}

func (g *Gate) count(peer Peer, user string, ok bool) error {
	if !ok {
		g.Throttle.Fail(peer.Addr, user)
		return ErrCredentials
	}
	g.Throttle.OK(peer.Addr, user)
	return nil
}
