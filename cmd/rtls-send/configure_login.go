package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"rtls/internal/cli"
	"rtls/internal/compose"
	"rtls/internal/config"
	"rtls/internal/submit"
)

// maxTries is how often a password is asked for.
const maxTries = 3

// atTerminal returns what asks the person at a terminal, or nil where there is none.
// What is hidden does not appear as it is typed.
func atTerminal(env cli.Env) func(ctx context.Context, prompt string, hidden bool) (string, error) {
	if env.Stdin == nil || !isTerminal(env.Stdin) {
		return nil
	}
	return func(ctx context.Context, prompt string, hidden bool) (string, error) {
		fd := int(env.Stdin.Fd())
		before, err := term.GetState(fd)
		if err != nil {
			return "", err
		}
		fmt.Fprint(env.Stderr, prompt)
		type answer struct {
			text string
			err  error
		}
		// A read from a terminal cannot be interrupted, so it has a goroutine of its own,
		// which is left behind when the context ends: so does the process.
		done := make(chan answer, 1)
		go func() {
			text, err := readAnswer(env, fd, hidden)
			done <- answer{text, err}
		}()
		select {
		case a := <-done:
			if hidden {
				fmt.Fprintln(env.Stderr)
			}
			return a.text, a.err
		case <-ctx.Done():
			_ = term.Restore(fd, before) // it shows what is typed again
			fmt.Fprintln(env.Stderr)
			return "", cli.Errorf(cli.TempFail, "interrupted; nothing was written")
		}
	}
}

func readAnswer(env cli.Env, fd int, hidden bool) (string, error) {
	if hidden {
		text, err := term.ReadPassword(fd)
		return string(text), err
	}
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := env.Stdin.Read(b); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			return strings.TrimSpace(string(line)), nil
		}
		line = append(line, b[0])
	}
}

// login is who logs in at a server, and with what. It is empty where nobody was there
// to say so.
type login struct{ user, password string }

// login asks for the password and tries it. A server that nobody vouches for has to be
// confirmed first, since it sees the password; errNotTheirs is the answer no.
func (f *finder) login(ctx context.Context, env cli.Env, addr string, c candidate, found *offer) (login, error) {
	if f.ask == nil || !found.auth {
		return login{}, nil
	}
	if c.outside {
		answer, err := f.ask(ctx, fmt.Sprintf("DNS names %s for %s, and no DNSSEC proves it. Is it theirs? Then type yes: ", c.host, compose.Domain(addr)), false)
		if err != nil {
			return login{}, err
		}
		if answer != "yes" {
			return login{}, errNotTheirs
		}
	}
	var last error
	for range maxTries {
		password, err := f.ask(ctx, fmt.Sprintf("Password of %s at %s: ", addr, c.host), true)
		if err != nil {
			return login{}, cli.Errorf(cli.NoInput, "read the password: %w", err)
		}
		if password == "" {
			return login{}, cli.Errorf(cli.NoInput, "there is no password; nothing was written")
		}
		// The user's name is the address or, with some, what is before the @ (RFC 6186
		// section 3).
		local := strings.TrimSuffix(addr, "@"+compose.Domain(addr))
		for _, user := range []string{addr, local} {
			if last = f.tryLogin(ctx, c, login{user, password}); last == nil {
				return login{user, password}, nil
			}
			if e, ok := errors.AsType[*submit.Error](last); !ok || e.Reply.Code != 535 {
				return login{}, last
			}
		}
		fmt.Fprintf(env.Stderr, "%s: %s\n", name, cli.Printable(last.Error()))
	}
	return login{}, last
}

var errNotTheirs = errors.New("not theirs")

func (f *finder) tryLogin(ctx context.Context, c candidate, l login) error {
	conf, err := f.trust(c.host)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*probeTimeout)
	defer cancel()
	t := &submit.Target{
		Host: c.host, Port: c.port, StartTLS: c.starttls, TLS: conf,
		Dial:  func(ctx context.Context, _, addr string) (net.Conn, error) { return f.connect(ctx, addr) },
		Login: submit.Login{User: l.user, Secret: func(context.Context) (string, error) { return l.password, nil }},
	}
	return errorOf(&submit.Check(ctx, []*submit.Target{t}, submit.Options{}, true)[0])
}

// keepPassword puts a password where it was asked to be, and returns the line of the
// configuration at path that finds it there, and what is left to do.
func keepPassword(ctx context.Context, where, path, host string, l login) (line, todo string, err error) {
	dir := filepath.Dir(path)
	switch where {
	case "keyring":
		about := []string{"application", name, "user", l.user, "host", host}
		store := append([]string{"secret-tool", "store", "--label=" + l.user + " at " + host}, about...)
		if _, err := feed(ctx, l.password, store); err != nil {
			return "", "", err
		}
		words := append([]string{"secret-tool", "lookup"}, about...)
		for i, word := range words {
			words[i] = config.Quote(word)
		}
		return "password_command = [" + strings.Join(words, ", ") + "]", "", nil
	case "systemd":
		file := filepath.Join(dir, credentialFile)
		sealed, err := feed(ctx, l.password, []string{"systemd-creds", "encrypt", "--name=" + credentialName, "-", "-"})
		if err == nil {
			err = writeNew(file, sealed, nil)
		}
		if err != nil {
			return "", "", cli.Errorf(cli.CantCreate, "%w", err)
		}
		return fmt.Sprintf("password_credential = %q", credentialName), fmt.Sprintf("services that send need LoadCredentialEncrypted=%s:%s", credentialName, file), nil
	}
	file := filepath.Join(dir, passwordFile)
	if err := writeNew(file, l.password+"\n", nil); err != nil {
		return "", "", cli.Errorf(cli.CantCreate, "%w", err)
	}
	return "password_file = " + config.Quote(file), "", nil
}

// credentialName is what systemd calls the password.
const credentialName = "rtls-send.password"

// Files beside the configuration.
const (
	passwordFile   = "password"
	credentialFile = "password.cred"
)

// feed runs a program with a secret as its input, since arguments can be seen by
// everybody, and returns what it writes.
func feed(ctx context.Context, secret string, argv []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, secretTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var said bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(secret), &said
	out, err := cmd.Output()
	if err != nil {
		return "", cli.Errorf(cli.CantCreate, "%s: %w: %s", argv[0], err, cli.Printable(strings.TrimSpace(said.String()))).
			WithHint("--password-in=file keeps it in a file")
	}
	return string(out), nil
}
