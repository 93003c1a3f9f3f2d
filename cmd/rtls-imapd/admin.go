package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"rtls/internal/auth"
	"rtls/internal/cli"
	"rtls/internal/config"
)

// manageUsers does what stands behind user.
func manageUsers(ctx context.Context, env cli.Env, o *options) error {
	if o.action == "add" {
		return addUser(ctx, env, o)
	}
	f, err := loadConfig(o, (*config.File).CheckStore)
	if err != nil {
		return err
	}
	a := admin{f: f, users: auth.Open(f.Store.Users), out: env.Stdout, o: o}
	a.users.NoScram = o.noScram
	switch o.action {
	case "list":
		err = a.list()
	case "passwd":
		err = a.passwd(ctx, env)
	case "disable":
		err = a.users.Disable(o.user)
	case "enable":
		err = a.users.Enable(o.user)
	case "rm":
		err = errors.Join(a.users.Remove(o.user), a.forget())
	case "app-password list":
		err = a.listApps()
	case "app-password add":
		err = a.addApp()
	case "app-password revoke":
		err = errors.Join(a.users.RevokeApp(o.user, o.app), a.forget())
	}
	return a.explain(err)
}

// admin is a command on the file of users.
type admin struct {
	f     *config.File
	users *auth.Users
	out   io.Writer
	o     *options
}

// explain gives an error its exit code.
func (a *admin) explain(err error) error {
	if _, ok := errors.AsType[*cli.Error](err); ok || err == nil {
		return err
	}
	switch {
	case errors.Is(err, auth.ErrNoUser):
		return cli.Errorf(cli.NoUser, "there is no user %s in %s", a.o.user, a.f.Store.Users)
	case a.o.app != "" && errors.Is(err, fs.ErrExist):
		return cli.Errorf(cli.CantCreate, "%s has an app password %s already", a.o.user, a.o.app)
	case a.o.action == "app-password revoke" && errors.Is(err, fs.ErrNotExist):
		return cli.Errorf(cli.NoUser, "%s has no app password %s", a.o.user, a.o.app)
	}
	return cli.Errorf(cli.Config, "%w", err)
}

func (a *admin) passwd(ctx context.Context, env cli.Env) error {
	known, err := a.users.Known(a.o.user)
	if err != nil {
		return err
	}
	if !known { // before anybody types
		return auth.ErrNoUser
	}
	password, err := newPassword(ctx, env, a.o)
	if err != nil {
		return err
	}
	return a.users.SetPassword(a.o.user, password)
}

func (a *admin) addApp() error {
	password, err := a.users.AddApp(a.o.user, a.o.app)
	if err != nil {
		return err
	}
	return say(a.out, password+"\n")
}

// state is the server's state directory, nil if it has none yet.
func (a *admin) state() (*auth.State, error) {
	s, err := auth.OpenState(a.f.StateDir(), slog.New(slog.DiscardHandler))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return s, err
}

// forget takes out what the server has noted of the user or app password, so that a
// later one of the same name begins with nothing.
func (a *admin) forget() error {
	s, err := a.state()
	if s == nil || err != nil {
		return err
	}
	return s.Forget(a.o.user, a.o.app)
}

// read returns the users, with the last uses of their app passwords.
func (a *admin) read() ([]auth.User, error) {
	users, err := a.users.List()
	if err != nil {
		return nil, err
	}
	s, err := a.state()
	if s == nil || err != nil {
		return users, err
	}
	for _, u := range users {
		for i := range u.Apps {
			if at, ok := s.Used(u.Name, u.Apps[i].Name); ok {
				u.Apps[i].Used = &at
			}
		}
	}
	return users, nil
}

func (a *admin) list() error {
	users, err := a.read()
	if err != nil {
		return err
	}
	if a.o.json {
		return sayJSON(a.out, users)
	}
	return table(a.out, func(w io.Writer) {
		for _, u := range users {
			words := []string{"enabled"}
			if !u.Enabled {
				words[0] = "disabled"
			}
			if u.Password {
				words = append(words, "password")
			}
			if u.Scram {
				words = append(words, "scram")
			}
			if n := len(u.Apps); n > 0 {
				words = append(words, fmt.Sprintf("app-passwords=%d", n))
			}
			fmt.Fprintf(w, "%s\t%s\n", cli.Printable(u.Name), strings.Join(words, " "))
		}
	})
}

func (a *admin) listApps() error {
	users, err := a.read()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(users, func(u auth.User) bool { return u.Name == a.o.user })
	if i < 0 {
		return auth.ErrNoUser
	}
	if a.o.json {
		return sayJSON(a.out, users[i].Apps)
	}
	return table(a.out, func(w io.Writer) {
		for _, app := range users[i].Apps {
			used := "never used"
			if app.Used != nil {
				used = "used " + app.Used.Format(time.DateTime)
			}
			fmt.Fprintf(w, "%s\tmade %s\t%s\n", app.Name, app.Made.Format(time.DateTime), used)
		}
	})
}

// manageBans does what stands behind ban.
func manageBans(env cli.Env, o *options) error {
	f, err := loadConfig(o, (*config.File).CheckStore)
	if err != nil {
		return err
	}
	a := admin{f: f, out: env.Stdout, o: o}
	s, err := a.state()
	if err != nil {
		return cli.Errorf(cli.Config, "%w", err)
	}
	if o.action == "lift" {
		if s != nil {
			err = s.Lift(o.user)
		}
		switch {
		case s == nil || errors.Is(err, fs.ErrNotExist):
			return cli.Errorf(cli.NoUser, "nothing is held against %s", o.user)
		case err != nil:
			return cli.Errorf(cli.Config, "%w", err)
		}
		return nil
	}
	bans := []auth.Ban{}
	if s != nil {
		if bans, err = s.Bans(time.Now()); err != nil {
			return cli.Errorf(cli.Config, "%w", err)
		}
	}
	if o.json {
		return sayJSON(env.Stdout, bans)
	}
	return table(env.Stdout, func(w io.Writer) {
		for _, b := range bans {
			what := "slowed down"
			if b.Banned != nil {
				what = "banned until " + b.Banned.Format(time.DateTime)
			}
			kind, who := "address", b.Address
			if b.User != "" {
				kind, who = "user", b.User
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", kind, cli.Printable(who), what)
		}
	})
}

func sayJSON(w io.Writer, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return say(w, string(text)+"\n")
}

// table writes lines with tabs in columns.
func table(w io.Writer, write func(io.Writer)) error {
	var b strings.Builder
	columns := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	write(columns)
	if err := columns.Flush(); err != nil {
		return err
	}
	return say(w, b.String())
}
