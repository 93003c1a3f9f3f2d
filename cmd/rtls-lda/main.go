// Command rtls-lda delivers mail into the store: one message from standard input,
// or whatever comes in over LMTP. See rtls-lda.8.
package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/lda"
	"rtls/store"
)

const (
	name      = "rtls-lda"
	wholeName = name + "-full"
)

func main() {
	// Nobody may be reading what we say, and that is no reason to die with a
	// message half delivered.
	signal.Ignore(syscall.SIGPIPE)
	// The runtime ends with 2 when it gets no thread or no memory, and Postfix bounces
	// mail for that. It tries again where a signal ended us.
	debug.SetTraceback("crash")
	cli.Run(name, run)
}

// handedOver is the first argument that the small program gives the whole one, with
// its version behind it.
const handedOver = "--handed-over"

func run(env cli.Env) error {
	if len(env.Args) > 1 && env.Args[0] == handedOver {
		if plain || env.Args[1] != cli.Version() {
			fmt.Fprintln(env.Stdout, "4.3.5 the delivery agent is not installed as a whole")
			return cli.Errorf(cli.TempFail, "%s and %s are of one build, or do not work together", name, wholeName)
		}
		env.Args = env.Args[2:]
	}
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
	case modeDeliver:
		return deliverOne(o, env)
	default:
		return beyond(o, env)
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

// said is the error that is left when all has been said: an exit code.
func said(code int) error {
	return &cli.Error{Code: code, Err: errors.New("")}
}
