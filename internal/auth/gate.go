package auth

import (
	"context"
	"net/netip"
)

// Gate is what a server asks at login: the users, behind the throttle. It is safe
// for concurrent use.
type Gate struct {
	Users    *Users
	Throttle Throttle
}

// Login says whether the password is the user's, and takes its time over it where
// there were failures. A password that was right a short while ago passes at once,
// so that a mail client with many connections is served while somebody guesses. The
// error is that of Verify, or ErrThrottled.
func (g *Gate) Login(ctx context.Context, peer netip.Addr, user, password string) (bool, error) {
	if ok, err := g.Users.recall(user, password); ok || err != nil {
		return ok, err
	}
	if err := g.Throttle.Wait(ctx, peer, user); err != nil {
		return false, err
	}
	ok, err := g.Users.Verify(ctx, user, password)
	switch {
	case err != nil:
		return false, err
	case ok:
		g.Throttle.OK(user)
	default:
		g.Throttle.Fail(peer, user)
	}
	return ok, nil
}
