//go:build !plain

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/lda"
	"rtls/internal/lda/worker"
	"rtls/internal/reexec"
)

// settings are what a worker has of the configuration. The rest can hold secrets, and a
// worker's memory is open to its user.
type settings struct {
	Config   string // path, for rtls-send
	Hostname string
	LDA      config.LDA
}

// work is a worker's whole life: it serves package worker's requests on standard input,
// as whoever it was started as. Signals are for the server, which ends its workers once
// nobody needs them any more.
func work(env cli.Env) error {
	if os.Geteuid() == 0 {
		return cli.Errorf(cli.Usage, "nothing is delivered as root")
	}
	reexec.ShowAs(name)
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	conn, err := net.FileConn(env.Stdin)
	if err != nil {
		return cli.Errorf(cli.Usage, "standard input: %w", err).WithHint("--%s is for rtls-lda itself", workerFlag)
	}
	defer conn.Close()
	logger := slog.New(slog.NewTextHandler(env.Stderr, nil))
	return worker.Serve(context.Background(), conn, func(raw json.RawMessage, lookup func(string) (lda.User, bool, error)) (*lda.Agent, error) {
		var s settings
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, err
		}
		f := &config.File{Hostname: s.Hostname, LDA: s.LDA}
		cfg := agentConfig(f, &accounts{}, logger)
		cfg.Lookup = lookup
		cfg.Send, cfg.Reports = sender(f, s.Config, env), f.LDA.SuccessReports
		return lda.New(cfg), nil
	})
}

// newPool is what delivers for root: it finds recipients, and has the owners of their
// mail do the rest.
func newPool(f *config.File, known *accounts, path string, env cli.Env, logger *slog.Logger) (*worker.Pool, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	s := settings{Config: path, Hostname: f.Hostname, LDA: f.LDA}
	s.LDA.Aliases = "" // they are behind us
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return worker.New(worker.Config{
		Agent:    lda.New(agentConfig(f, known, logger)),
		Owner:    known.owner,
		Settings: raw,
		Command:  func(o worker.Owner) *exec.Cmd { return reexec.Command(o, name, env.Getenv, "--"+workerFlag) },
		Logger:   logger,
	}), nil
}

// several says whether it takes root to deliver all mail, since it belongs to several
// users and the configuration names none of them.
func (a *accounts) several() (bool, error) {
	if os.Geteuid() != 0 || a.config.LDA.User != "" {
		return false, nil
	}
	uid, _, err := storeOwner(a.config)
	if err != nil {
		return false, err
	}
	return a.directory.OwnedByOthers(uid)
}

// owner finds a user, and whom the user's mail belongs to.
func (a *accounts) owner(name string) (u lda.User, o worker.Owner, err error) {
	r, ok, err := a.record(name)
	if err == nil && !ok {
		err = fmt.Errorf("user %s is gone", name)
	}
	if err == nil {
		u, err = a.user(r)
	}
	if err == nil {
		o.UID, o.GID, err = ownerOf(a.config, r)
	}
	o.Home = r.Home
	return u, o, err
}
