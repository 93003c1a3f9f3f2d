// Command rtls-lda delivers mail into the store: one message from standard input,
// or whatever comes in over LMTP. See rtls-lda.8.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"rtls/internal/auth"
	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/lda"
	"rtls/store"
)

const name = "rtls-lda"

func main() {
	// Nobody may be reading what we say, and that is no reason to die with a
	// message half delivered.
	signal.Ignore(syscall.SIGPIPE)
	cli.Main(name, run)
}

func run(ctx context.Context, env cli.Env) error {
	o, err := parseArgs(env.Args)
	if err != nil {
		if o.mode == modeDeliver {
			// For an agent that reads our output: keep the mail, it is not the
			// message that is wrong.
			fmt.Fprintln(env.Stdout, "4.3.5 "+name+" was called in a wrong way")
		}
		return err
	}
	switch o.mode {
	case modeHelp:
		_, err = fmt.Fprint(env.Stdout, usage)
	case modeVersion:
		_, err = fmt.Fprintln(env.Stdout, name, cli.Version())
	case modeCheckConfig:
		err = checkConfig(o, env)
	case modeServe:
		err = serve(ctx, o, env)
	default:
		return deliverOne(ctx, o, env)
	}
	return err
}

// loadConfig reads the configuration that o names. lmtp says whether it has to be
// enough for LMTP.
func loadConfig(o *options, lmtp bool) (*config.File, error) {
	f, err := config.Load(o.config)
	if err == nil {
		err = f.CheckLDA(lmtp)
	}
	if err != nil {
		return nil, cli.Errorf(cli.Config, "%w", err)
	}
	if f.Hostname == "" {
		if f.Hostname, err = os.Hostname(); err != nil {
			f.Hostname = "localhost"
		}
	}
	if f.LDA.Delimiter == "" {
		f.LDA.Delimiter = "+"
	}
	return f, nil
}

func newAgent(f *config.File, logger *slog.Logger) *lda.Agent {
	return lda.New(lda.Config{
		Hostname:    f.Hostname,
		Known:       auth.Open(f.Store.Users).Known,
		AccountDir:  func(user string) string { dir, _ := f.Store.AccountDir(user, ""); return dir },
		Delimiter:   f.LDA.Delimiter,
		Logger:      logger,
		Store:       &store.Options{Hostname: f.Hostname, Logger: logger},
		TrustHeader: f.LDA.TrustHeader,
	})
}

// checkConfig looks at all that a delivery would need, and at LMTP's certificate
// if there is one.
func checkConfig(o *options, env cli.Env) error {
	f, err := loadConfig(o, len(o.lmtp) > 0)
	if err != nil {
		return err
	}
	_, err = auth.Open(f.Store.Users).Known("postmaster")
	if err == nil && f.LDA.Cert != "" {
		_, err = serverTLS(f)
	}
	if err == nil {
		_, err = userIDs(f.LDA.TrustLocal)
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

// said is the error that is left when all has been said: an exit code.
func said(code int) error {
	return &cli.Error{Code: code, Err: errors.New("")}
}
