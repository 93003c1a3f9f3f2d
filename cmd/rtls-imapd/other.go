package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"rtls/internal/cli"
	"rtls/internal/imap/importer"
	"rtls/internal/tlsconf"
)

// checkTransferFlags makes sure that export and import have one other side, and that
// its flags go with it.
func (o *options) checkTransferFlags(given func(flag string) bool) error {
	sides := 0
	for _, flag := range []string{"mbox", "maildir", "imap"} {
		if !given(flag) {
			continue
		}
		sides++
		if o.mode != modeTransfer {
			return errors.New("--mbox and --maildir go with export and import, --imap with import")
		}
	}
	switch {
	case o.mode == modeTransfer && o.action == "export" && (sides != 1 || o.imap != "" || o.mbox+o.maildir == ""):
		return errors.New("export takes either --mbox FILE or --maildir DIR")
	case o.mode == modeTransfer && (sides != 1 || o.mbox+o.maildir+o.imap == ""):
		return errors.New("import takes one of --mbox FILE, --maildir DIR and --imap HOST")
	}
	for _, flag := range []string{"login", "password-credential", "mailbox", "starttls", "ca"} {
		if given(flag) && o.imap == "" {
			return errors.New("--" + flag + " goes with import --imap")
		}
	}
	if o.imap == "" {
		return nil
	}
	switch {
	case o.login == "":
		return errors.New("who logs in there? write --login NAME")
	case given("password-file") && given("password-credential"):
		return errors.New("the password is either in --password-file or in --password-credential")
	case given("password-credential") && (o.credential == "" || o.credential != filepath.Base(o.credential)):
		return errors.New("--password-credential takes the name of a credential, without a directory")
	case given("mailbox") && o.pattern == "", given("ca") && o.ca == "":
		return errors.New("--mailbox and --ca take a value")
	}
	_, _, err := o.server()
	return err
}

// server is the host and the port of --imap.
func (o *options) server() (host, port string, err error) {
	host, port = strings.Trim(o.imap, "[]"), "993"
	if o.startTLS {
		port = "143"
	}
	if h, p, err := net.SplitHostPort(o.imap); err == nil {
		host, port = h, p
	} else if strings.Contains(host, ":") && net.ParseIP(host) == nil {
		return "", "", errors.New("--imap takes HOST or HOST:PORT")
	}
	if host == "" || port == "" {
		return "", "", errors.New("--imap takes HOST or HOST:PORT")
	}
	return host, port, nil
}

// otherServer is what an import from another server has to know.
func otherServer(ctx context.Context, env cli.Env, o *options) (importer.Config, error) {
	host, port, err := o.server()
	if err != nil {
		return importer.Config{}, err
	}
	c := importer.Config{Addr: net.JoinHostPort(host, port), StartTLS: o.startTLS, Login: o.login, Pattern: o.pattern}
	if c.TLS, err = tlsconf.Client(o.ca, host); err != nil {
		return c, cli.Errorf(cli.NoInput, "%w", err)
	}
	c.Password, err = otherPassword(ctx, env, o)
	return c, err
}

// otherPassword reads the password for the other server.
func otherPassword(ctx context.Context, env cli.Env, o *options) (string, error) {
	if o.credential != "" {
		dir := env.Getenv("CREDENTIALS_DIRECTORY")
		if !filepath.IsAbs(dir) {
			return "", cli.Errorf(cli.Config, "there is no $CREDENTIALS_DIRECTORY").WithHint("systemd sets it for services with LoadCredential=")
		}
		return readPasswordFile(filepath.Join(dir, o.credential), false)
	}
	return readPassword(ctx, env, o.passwordFile, func(fd int) (string, error) {
		return askLine(fd, env.Stderr, "Password of "+cli.Printable(o.login)+" at "+cli.Printable(o.imap)+": ")
	})
}

// askLine asks on a terminal, without showing what is typed.
func askLine(fd int, w io.Writer, prompt string) (string, error) {
	fmt.Fprint(w, prompt)
	line, err := term.ReadPassword(fd)
	fmt.Fprintln(w)
	return string(line), err
}
