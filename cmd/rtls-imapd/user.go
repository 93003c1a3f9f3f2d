package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"rtls/internal/auth"
	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/owner"
	"rtls/store"
)

// addUser makes a user with an account. The account comes first: a user that is
// known has one, and an account without a user is nobody's until the next attempt.
func addUser(ctx context.Context, env cli.Env, o *options) error {
	f, err := loadConfig(o, (*config.File).CheckStore)
	if err != nil {
		return err
	}
	if _, _, err := mailOwner(f); err != nil {
		return err
	}
	users := auth.Open(f.Store.Users)
	users.NoScram = o.noScram
	known, err := users.Known(o.user)
	switch {
	case errors.Is(err, fs.ErrNotExist): // to be made
	case err != nil:
		return cli.Errorf(cli.Config, "%w", err)
	case known:
		return userExists(o.user)
	}
	password := ""
	if !o.noPassword {
		if password, err = newPassword(ctx, env, o); err != nil {
			return err
		}
	}
	dir, err := f.Store.AccountDir(o.user, "")
	if err != nil {
		return cli.Errorf(cli.Config, "%w", err)
	}
	uid, gid, err := owner.Of(cmp.Or(f.Store.Root, filepath.Dir(dir)))
	if err != nil {
		return cli.Errorf(cli.CantCreate, "%w", err)
	}
	users.UID, users.GID = uid, gid
	err = owner.As(uid, gid, func() error { return store.Create(dir, &store.Options{Hostname: f.Hostname}) })
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return cli.Errorf(cli.CantCreate, "%w", err)
	}
	if o.noPassword {
		err = users.AddWithout(o.user)
	} else {
		err = users.Add(o.user, password)
	}
	if errors.Is(err, fs.ErrExist) {
		return userExists(o.user)
	}
	if err != nil {
		return cli.Errorf(cli.CantCreate, "%w", err)
	}
	return nil
}

func userExists(user string) error {
	return cli.Errorf(cli.CantCreate, "there is a user %s already", user).
		WithHint("%s user passwd %s gives a new password", name, user)
}

// newPassword reads a password that can be one.
func newPassword(ctx context.Context, env cli.Env, o *options) (string, error) {
	password, err := readPassword(ctx, env, o.passwordFile, func(fd int) (string, error) { return ask(fd, env.Stderr, o.user) })
	if err != nil {
		return "", err
	}
	if err := auth.ValidPassword(password); err != nil {
		return "", cli.Errorf(cli.DataErr, "%w", err)
	}
	return password, nil
}

// readPassword reads a password from a file, or, without one, asks for it on a terminal
// or takes the first line of standard input.
func readPassword(ctx context.Context, env cli.Env, file string, ask func(fd int) (string, error)) (string, error) {
	if file != "" {
		return readPasswordFile(file, true)
	}
	// A read from a terminal or a pipe cannot be interrupted, so it has a goroutine
	// of its own, which is left behind when the context ends: so does the process.
	type result struct {
		password string
		err      error
	}
	fd := int(env.Stdin.Fd())
	terminal, _ := term.GetState(fd) // nil if it is none
	done := make(chan result, 1)
	go func() {
		var r result
		if terminal != nil {
			r.password, r.err = ask(fd)
		} else {
			r.password, r.err = firstLine(env.Stdin)
		}
		done <- r
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return "", cli.Errorf(cli.NoInput, "read the password: %w", r.err)
		}
		return r.password, nil
	case <-ctx.Done():
		if terminal != nil {
			_ = term.Restore(fd, terminal) // it shows what is typed again
			fmt.Fprintln(env.Stderr)
		}
		return "", cli.Errorf(cli.TempFail, "interrupted; nothing was changed")
	}
}

// ask asks twice on a terminal, without showing what is typed.
func ask(fd int, w io.Writer, user string) (string, error) {
	var typed [2]string
	for i, prompt := range []string{"Password for " + user + ": ", "Once more: "} {
		var err error
		if typed[i], err = askLine(fd, w, prompt); err != nil {
			return "", err
		}
	}
	if typed[0] != typed[1] {
		return "", errors.New("the two differ")
	}
	return typed[0], nil
}

// readPasswordFile reads a file that, if private, nobody but its owner may be able to use.
func readPasswordFile(path string, private bool) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", cli.Errorf(cli.NoInput, "read the password: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", cli.Errorf(cli.NoInput, "read the password: %w", err)
	}
	if private && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return "", cli.Errorf(cli.NoPerm, "the password in %s is open to group or others", path).
			WithHint("run chmod 600 %s", path)
	}
	password, err := firstLine(f)
	if err != nil {
		return "", cli.Errorf(cli.NoInput, "read the password from %s: %w", path, err)
	}
	return password, nil
}

// firstLine reads a line. Its end is taken off and nothing else.
func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 64<<10)).ReadString('\n')
	if err != nil && !(errors.Is(err, io.EOF) && line != "") {
		return "", err
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
}
