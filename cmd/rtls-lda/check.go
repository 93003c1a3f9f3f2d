//go:build !plain

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/lda"
	"rtls/internal/users"
)

// checkConfig looks at all that a delivery would need, and at LMTP's certificate
// if there is one.
func checkConfig(o *options, env cli.Env) error {
	f, err := loadConfig(o, len(o.lmtp) > 0)
	if err != nil {
		return err
	}
	err = checkUsers(f)
	if err == nil && f.LDA.Cert != "" {
		_, err = serverTLS(f)
	}
	if err == nil {
		_, err = userIDs(f.LDA.TrustLocal)
	}
	if f.Store.Root == "" {
		if err != nil {
			return cli.Errorf(cli.Config, "%w", err)
		}
		_, err = fmt.Fprintf(env.Stdout, "%s is right\n", o.config)
		return err
	}
	if info, serr := os.Stat(f.Store.Root); err == nil {
		if err = serr; err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is not a directory", f.Store.Root)
		}
	}
	if err != nil {
		return cli.Errorf(cli.Config, "%w", err)
	}
	_, err = fmt.Fprintf(env.Stdout, "%s is right\n", o.config)
	return err
}

// checkUsers looks at what says who has an account, and whose files they are.
func checkUsers(f *config.File) error {
	if f.Store.Users != "" {
		wrong, err := users.Open(f.Store.Users).Check(nil)
		if err = errors.Join(append(wrong, err)...); err != nil {
			return err
		}
	}
	if f.LDA.Aliases != "" {
		if err := lda.OpenAliases(f.LDA.Aliases).Check(); err != nil {
			return err
		}
	}
	if f.LDA.User != "" {
		if _, _, err := systemUser(f.LDA.User); err != nil {
			return err
		}
	}
	if f.LDA.Send != "" {
		if _, err := exec.LookPath(f.LDA.Send); err != nil {
			return fmt.Errorf("send: %w", err)
		}
	}
	return nil
}
