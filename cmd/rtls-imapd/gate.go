package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"rtls/internal/auth"
	"rtls/internal/config"
	"rtls/internal/oauth"
	"rtls/internal/users"
)

// Bounds of asking somebody else for a password. Each question may be a process.
const (
	checkerTimeout = 20 * time.Second
	checkersAtOnce = 16
)

// newGate makes what users have to pass, having looked at all that it will need.
func newGate(f *config.File, directory *users.Directory, logger *slog.Logger) (*auth.Gate, error) {
	gate := &auth.Gate{Users: auth.Open(f.Store.Users), Only: f.IMAPD.Mechanisms}
	if err := f.CheckMechanisms(auth.KnownMechanism); err != nil {
		return nil, err
	}
	checker, err := newChecker(f, logger)
	if err != nil {
		return nil, err
	}
	if checker != nil {
		gate.Checker = auth.NewBounded(checker, checkerTimeout, checkersAtOnce)
	}
	if f.IMAPD.OAuth != nil {
		if gate.Tokens, err = newTokens(f.IMAPD.OAuth); err != nil {
			return nil, fmt.Errorf("[imapd.oauth]: %w", err)
		}
	}
	if gate.Checker != nil || gate.Tokens != nil {
		gate.Elsewhere = func(user string) (bool, error) {
			_, ok, err := directory.Lookup(user)
			return ok, err
		}
	}
	wrong, err := gate.Users.Check()
	switch {
	case errors.Is(err, fs.ErrNotExist) && gate.Elsewhere == nil:
		logger.Warn("nobody can log in", "err", err)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	for _, err := range wrong { // which keeps nobody else out
		logger.Error("a user's line is wrong", "err", err)
	}
	return gate, nil
}

// newChecker returns who knows passwords that are not in the file, nil for nobody.
func newChecker(f *config.File, logger *slog.Logger) (auth.Checker, error) {
	switch {
	case len(f.IMAPD.CheckPassword) > 0:
		if _, err := exec.LookPath(f.IMAPD.CheckPassword[0]); err != nil {
			return nil, fmt.Errorf("checkpassword under [imapd]: %w", err)
		}
		return &auth.Command{Argv: f.IMAPD.CheckPassword}, nil
	case f.IMAPD.CheckerSocket != "":
		// Who serves there may come later.
		if _, err := os.Stat(f.IMAPD.CheckerSocket); err != nil {
			logger.Warn("nobody can be asked for passwords", "checker_socket", f.IMAPD.CheckerSocket, "err", err)
		}
		return &auth.Socket{Path: f.IMAPD.CheckerSocket}, nil
	case f.IMAPD.PAM != "":
		return newPAM(f.IMAPD.PAM)
	}
	return nil, nil
}

func newTokens(o *config.OAuth) (auth.Tokens, error) {
	var roots *x509.CertPool
	if o.CA != "" {
		text, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, err
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("ca: there is no certificate in %s", o.CA)
		}
	}
	keys, err := oauth.OpenKeys(o.Keys, roots)
	if err != nil {
		return nil, err
	}
	return &oauth.Verifier{Iss: o.Issuer, Audience: o.Audience, Claim: o.Claim, Keys: keys}, nil
}
