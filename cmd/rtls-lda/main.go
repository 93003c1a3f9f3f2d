// Command rtls-lda delivers mail into the store: one message from standard input,
// or whatever comes in over LMTP. See rtls-lda.8.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"syscall"

	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/lda"
	"rtls/internal/users"
	"rtls/store"
)

const name = "rtls-lda"

func main() {
	// Nobody may be reading what we say, and that is no reason to die with a
	// message half delivered.
	signal.Ignore(syscall.SIGPIPE)
	// The runtime ends with 2 when it gets no thread or no memory, and Postfix bounces
	// mail for that. It tries again where a signal ended us.
	debug.SetTraceback("crash")
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
	case modeWorker:
		err = work(ctx, env)
	case modeSieveTest:
		err = sieveTest(ctx, o, env)
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
		err = f.Override(o.set)
	}
	if err == nil {
		err = f.CheckLDA(lmtp)
	}
	if err == nil && os.Getuid() != os.Geteuid() {
		err = errors.New("this program is not made to be set-user-ID: whoever runs it may name a configuration")
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

// agentConfig is what the configuration says about deliveries.
func agentConfig(f *config.File, known *accounts, logger *slog.Logger) lda.Config {
	cfg := lda.Config{
		Hostname:           f.Hostname,
		Lookup:             known.lookup,
		Domains:            f.LDA.Domains,
		Delimiter:          f.LDA.Delimiter,
		Logger:             logger,
		Store:              &store.Options{Hostname: f.Hostname, Logger: logger},
		TrustHeader:        f.LDA.TrustHeader,
		RefuseRequire:      f.LDA.RefuseRequire,
		CreateFolders:      f.LDA.CreateFolders,
		FullIsPermanent:    f.LDA.QuotaFull == "reject",
		SingleInstance:     f.LDA.SingleInstance,
		DeliverOnce:        f.LDA.DeliverOnce == nil || *f.LDA.DeliverOnce,
		SuppressDuplicates: f.LDA.SuppressDuplicates,
	}
	if f.LDA.Aliases != "" {
		cfg.Aliases = lda.OpenAliases(f.LDA.Aliases)
	}
	return cfg
}

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

// said is the error that is left when all has been said: an exit code.
func said(code int) error {
	return &cli.Error{Code: code, Err: errors.New("")}
}
