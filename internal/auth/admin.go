package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"rtls/internal/config"
	"rtls/internal/users"
)

// ErrNoUser says that there is no user of that name in the file.
var ErrNoUser = errors.New("there is no such user")

// User is what the file says of a user.
type User struct {
	Name     string    `json:"name"`
	Enabled  bool      `json:"enabled"`
	Password bool      `json:"password"` // there is one
	Scram    bool      `json:"scram"`    // and what SCRAM takes of it
	Apps     []UserApp `json:"app_passwords"`
}

// UserApp is an app password.
type UserApp struct {
	Name string     `json:"name"`
	Made time.Time  `json:"made"`
	Used *time.Time `json:"used"` // to the hour; nil: never, or not known
}

// List returns the users in the order of the file. It takes no lock: a file is
// replaced as a whole.
func (u *Users) List() ([]User, error) {
	text, _, err := u.current()
	if err != nil {
		return nil, err
	}
	all, seen := []User{}, make(map[string]bool)
	number := 0
	for line := range bytes.Lines(text) {
		number++
		name, rest, ok := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		if !ok || config.ValidUser(string(name)) != nil || name[0] == '#' || seen[string(name)] {
			continue
		}
		seen[string(name)] = true
		user, err := parseEntry(string(name), string(rest)).user()
		if err != nil {
			return nil, fmt.Errorf("user database: %s:%d: %w", u.Path(), number, err)
		}
		all = append(all, user)
	}
	return all, nil
}

func (e entry) user() (User, error) {
	u := User{Name: e.name, Enabled: !e.locked(), Apps: []UserApp{}}
	e.set(fieldHash, strings.TrimPrefix(e.field(fieldHash), "!"))
	u.Password = e.hashed() != ""
	v, err := e.scram()
	if err != nil {
		return u, err
	}
	u.Scram = v != nil
	apps, err := e.apps()
	for _, a := range apps {
		u.Apps = append(u.Apps, UserApp{Name: a.name, Made: a.made})
	}
	return u, err
}

// SetPassword gives a user another password. It fails with ErrNoUser, like the
// methods below. App passwords stay.
func (u *Users) SetPassword(name, password string) error {
	if err := ValidPassword(password); err != nil {
		return err
	}
	return u.change(name, func(e *entry) error {
		locked := e.locked()
		if err := u.setPassword(e, password); err != nil {
			return err
		}
		if locked { // a password does not let anybody in again
			e.set(fieldHash, "!"+e.field(fieldHash))
		}
		return nil
	})
}

// Disable keeps a user from logging in by whatever means. Mail still comes.
func (u *Users) Disable(name string) error {
	return u.change(name, func(e *entry) error {
		if !e.locked() {
			e.set(fieldHash, "!"+e.field(fieldHash))
		}
		return nil
	})
}

// Enable undoes Disable.
func (u *Users) Enable(name string) error {
	return u.change(name, func(e *entry) error {
		e.set(fieldHash, strings.TrimLeft(e.field(fieldHash), "!"))
		return nil
	})
}

// Remove takes a user out of the file, and all lines of that name with it.
func (u *Users) Remove(name string) error {
	return u.edit(func(text []byte) ([]byte, error) {
		if _, _, ok := users.Find(text, name); !ok {
			return nil, ErrNoUser
		}
		var kept []byte
		for line := range bytes.Lines(text) {
			if !bytes.HasPrefix(line, []byte(name+":")) {
				kept = append(kept, line...)
			}
		}
		return kept, nil
	})
}

// maxApps bounds the work of a login.
const maxApps = 32

// AddApp makes an app password and returns it. It fails with fs.ErrExist if the user
// has one of that name.
func (u *Users) AddApp(name, appName string) (password string, err error) {
	if err := ValidAppName(appName); err != nil {
		return "", err
	}
	password = newAppPassword()
	err = u.change(name, func(e *entry) error {
		apps, err := e.apps()
		switch {
		case err != nil:
			return err
		case len(apps) >= maxApps:
			return fmt.Errorf("%s has %d app passwords, and no more are allowed; revoke one", name, maxApps)
		case slices.ContainsFunc(apps, func(a app) bool { return a.name == appName }):
			return fmt.Errorf("app password %s: %w", appName, fs.ErrExist)
		}
		salt, err := u.saltOf(*e)
		if err != nil {
			return err
		}
		v, err := newVerifier(salt, password)
		if err != nil {
			return err
		}
		word := app{appName, u.clock(), v}.String()
		e.setExtra(word, none, word)
		return nil
	})
	return password, err
}

// RevokeApp makes an app password void. It fails with fs.ErrNotExist if there is none
// of that name.
func (u *Users) RevokeApp(name, appName string) error {
	return u.change(name, func(e *entry) error {
		found := false
		e.setExtra(keyApp, func(value string) bool {
			gone := strings.HasPrefix(value, appName+",")
			found = found || gone
			return !gone
		})
		if !found {
			return fmt.Errorf("app password %s: %w", appName, fs.ErrNotExist)
		}
		return nil
	})
}

// change rewrites a user's line.
func (u *Users) change(name string, change func(*entry) error) error {
	return u.edit(func(text []byte) ([]byte, error) {
		rest, line, ok := users.Find(text, name)
		if !ok {
			return nil, ErrNoUser
		}
		e := parseEntry(name, string(rest))
		if err := change(&e); err != nil {
			return nil, err
		}
		var changed []byte
		number := 0
		for old := range bytes.Lines(text) {
			if number++; number == line {
				old = append([]byte(e.String()), old[len(bytes.TrimRight(old, "\r\n")):]...)
			}
			changed = append(changed, old...)
		}
		return changed, nil
	})
}
