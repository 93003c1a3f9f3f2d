package auth

import (
	"context"
	"crypto/subtle"
	"fmt"

	"rtls/internal/scram"
	"rtls/internal/users"
)

// credential is what a login is held against.
type credential struct {
	hash
	name  string
	field string // the hash as it stands in the file
	known bool   // a password can be right; else hash is the decoy
	found bool   // there is such a user
	lock  bool   // nobody can log in
	scram *verifier
	apps  []app
}

func (u *Users) credential(name string) (credential, error) {
	text, decoy, err := u.current()
	if err != nil {
		return credential{}, err
	}
	c := credential{hash: decoy, name: name}
	rest, line, ok := users.Find(text, name)
	if !ok {
		return c, nil
	}
	e := parseEntry(name, string(rest))
	c.found, c.lock = true, e.locked()
	if c.lock {
		return c, nil
	}
	if err := c.fill(e); err != nil {
		return credential{}, fmt.Errorf("user database: %s:%d: %w", u.Path(), line, err)
	}
	return c, nil
}

// fill takes what a user who is not locked can log in with.
func (c *credential) fill(e entry) (err error) {
	if c.field = e.hashed(); c.field != "" {
		if c.hash, err = parseHash(c.field); err != nil {
			return err
		}
		c.known = true
		if c.scram, err = e.scram(); err != nil {
			return err
		}
	}
	c.apps, err = e.apps()
	return err
}

// Verify says whether password is the user's, and the name of the app password if it
// is one. For a user that does not exist, or has no password, it takes the time that
// a wrong password takes. The number of computations at one time is bounded, since
// each takes tens of MiB; ctx ends the wait for a turn. The error is for a file that
// Known fails on, and for a line that holds nothing of ours.
func (u *Users) Verify(ctx context.Context, name, password string) (app string, ok bool, err error) {
	c, err := u.credential(name)
	if err != nil {
		return "", false, err
	}
	return u.verify(ctx, c, password)
}

func (u *Users) verify(ctx context.Context, c credential, password string) (string, bool, error) {
	if ValidPassword(password) != nil { // which is nobody's
		return "", false, nil
	}
	if app, ok := u.remembered(c, password); ok {
		return app, true, nil
	}
	select {
	case u.turns <- struct{}{}:
	case <-ctx.Done():
		return "", false, ctx.Err()
	}
	defer func() { <-u.turns }()
	if appForm(password) {
		if a, ok := u.fitsApp(c, password); ok {
			u.settled.add(u.clock(), c.name+"/"+a.name, a.check.String(), password)
			return a.name, true, nil
		}
	}
	if !c.fits(password) || !c.known {
		return "", false, nil
	}
	u.settled.add(u.clock(), c.name, c.field, password)
	return "", true, nil
}

// fitsApp looks for the app password. Where there is none it takes as long.
func (u *Users) fitsApp(c credential, password string) (app, bool) {
	salt := scram.Salting{Salt: string(c.salt), Iterations: u.iterations}
	if len(c.apps) > 0 {
		salt = c.apps[0].check.Salting
	}
	v, err := newVerifier(salt, password)
	for _, a := range c.apps {
		if a.check.Salting != salt { // only where somebody has edited the file
			salt = a.check.Salting
			v, err = newVerifier(salt, password)
		}
		if err == nil && subtle.ConstantTimeCompare(v.StoredKey, a.check.StoredKey) == 1 {
			return a, true
		}
	}
	return app{}, false
}

// remembered says whether the password was right a short while ago, and still is.
func (u *Users) remembered(c credential, password string) (app string, ok bool) {
	now := u.clock()
	if c.known && u.settled.has(now, c.name, c.field, password) {
		return "", true
	}
	for _, a := range c.apps {
		if u.settled.has(now, c.name+"/"+a.name, a.check.String(), password) {
			return a.name, true
		}
	}
	return "", false
}
