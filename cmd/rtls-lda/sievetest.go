//go:build !plain

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"rtls/internal/cli"
	"rtls/internal/lda"
	"rtls/internal/sieve"
	"rtls/internal/users"
)

// sieveTest runs a script on the message and says what it does and what would come
// of it. With -d the user's mailboxes are those that the script sees; without it
// every mailbox that it names counts as there.
func sieveTest(o *options, env cli.Env) error {
	ctx, listen := stoppable()
	listen()
	if err := checkScript(o.script); err != nil {
		return err
	}
	cfg := lda.Config{Hostname: "localhost", Delimiter: "+", CreateFolders: true}
	rcpt := lda.Recipient{Address: o.final, User: "nobody"}
	cfg.Lookup = func(name string) (lda.User, bool, error) {
		return lda.User{Name: name, Dir: os.DevNull + ".d", Script: o.script}, true, nil
	}
	if o.user != "" {
		f, err := loadConfig(o, false)
		if err != nil {
			return err
		}
		known := newAccounts(f)
		known.found = make(map[string]users.Record)
		known.uid = -1
		cfg = agentConfig(f, known, slog.New(slog.DiscardHandler))
		cfg.Lookup = func(name string) (lda.User, bool, error) {
			u, ok, err := known.lookup(name)
			u.Script = o.script
			return u, ok, err
		}
	}
	cfg.DryRun = true
	cfg.Explain = func(what string) { fmt.Fprintln(env.Stdout, cli.Printable(what)) }
	agent := lda.New(cfg)
	if o.user != "" {
		var err error
		if rcpt, err = o.recipient(ctx, agent); err != nil {
			return cli.Errorf(exitCode(lda.Classify(err)), "%w", err)
		}
	}
	if rcpt.Address == "" {
		rcpt.Address = o.original
	}
	if err := o.hand(ctx, listen, env, slog.New(slog.DiscardHandler), agent, rcpt); err != nil {
		e := lda.Classify(err)
		if e.Temporary() {
			return cli.Errorf(exitCode(e), "%w", err)
		}
		fmt.Fprintln(env.Stdout, "result:", e)
	}
	return nil
}

// checkScript says where a script is wrong.
func checkScript(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return cli.Errorf(cli.NoInput, "%w", err)
	}
	defer f.Close()
	_, err = sieve.Parse(f)
	if _, wrong := errors.AsType[*sieve.Error](err); wrong {
		return cli.Errorf(cli.DataErr, "%s:%w", path, err)
	}
	if err != nil {
		return cli.Errorf(cli.NoInput, "%w", err)
	}
	return nil
}
