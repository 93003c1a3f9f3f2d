package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/imap/handover"
	"rtls/internal/imap/server"
	"rtls/internal/owner"
	"rtls/internal/reexec"
	"rtls/internal/users"
	"rtls/store"
)

// workerFlag is how rtls-imapd starts itself. It serves the clients of package handover
// on standard input, as whoever it was started as.
const workerFlag = "worker"

// work is a worker's whole life. Signals are for the server, which ends its workers.
func work(ctx context.Context, env cli.Env) error {
	if os.Geteuid() == 0 {
		return cli.Errorf(cli.Usage, "nobody's mail is served as root")
	}
	reexec.ShowAs(name)
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	channel, raw, err := handover.Open(env.Stdin)
	if err != nil {
		return cli.Errorf(cli.Usage, "standard input: %w", err).WithHint("--%s is for %s itself", workerFlag, name)
	}
	var set settings
	if err := json.Unmarshal(raw, &set); err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(env.Stderr, nil))
	watcher := &store.Watcher{Logger: logger}
	defer watcher.Close()
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go rest(ctx)       // it holds nothing that would have to be waited for
	var known sync.Map // users.Record by the user's name
	lookup := func(name string) (users.Record, bool, error) {
		r, ok := known.Load(name)
		if !ok {
			return users.Record{}, false, nil
		}
		return r.(users.Record), true, nil
	}
	return set.server(lookup, logger, watcher).ServeHanded(ctx, func() (*handover.Arrival, error) {
		a, err := channel.Next()
		if err == nil {
			known.Store(a.User, users.Record{Name: a.User, Dir: a.Dir, UID: -1, GID: -1, Quota: a.Quota, QuotaMessages: a.QuotaMessages, TextIndex: a.TextIndex})
		}
		return a, err
	})
}

// servesAs says whose rights it takes to serve: those of the owner of all mail, or root's
// where root has started this and mail can belong to several users.
func servesAs(f *config.File) (uid, gid int, several bool, err error) {
	uid, gid, err = mailOwner(f)
	if err != nil || os.Geteuid() != 0 {
		return uid, gid, false, err
	}
	if several, err = users.NewDirectory(f.Store).OwnedByOthers(uid); err != nil {
		return 0, 0, false, cli.Errorf(cli.Config, "%w", err)
	}
	if several {
		return 0, 0, true, nil
	}
	return uid, gid, false, nil
}

// handOver has a server of root's hand its clients to processes of the owners of their
// mail. It opens no account itself.
func handOver(s *server.Server, f *config.File, env cli.Env, logger *slog.Logger) (*handover.Pool, error) {
	if err := rootsAlone(f.StateDir()); err != nil {
		return nil, err
	}
	set, err := json.Marshal(settingsOf(f))
	if err != nil {
		return nil, err
	}
	pool := handover.New(handover.Config{
		Settings: set, Logger: logger,
		Command: func(o handover.Owner) *exec.Cmd { return reexec.Command(o, name, env.Getenv, "--"+workerFlag) },
	})
	directory := users.NewDirectory(f.Store)
	s.OpenAccount = nil
	s.Hand = func(ctx context.Context, c handover.Client) (*handover.Session, error) {
		r, ok, err := directory.Lookup(c.User)
		if err == nil && !ok {
			err = store.ErrNoAccount // removed since the login
		}
		if err != nil {
			return nil, err
		}
		o, err := ownerOf(f, r)
		if err != nil {
			return nil, err
		}
		c.Dir, c.Quota, c.QuotaMessages, c.TextIndex = r.Dir, r.Quota, r.QuotaMessages, r.TextIndex
		return pool.Hand(ctx, o, c)
	}
	return pool, nil
}

// ownerOf says whose a user's mail is: the user database says so, or the account's
// directory where there is one, or else the directory that it is to be made in.
func ownerOf(f *config.File, r users.Record) (handover.Owner, error) {
	o := handover.Owner{UID: r.UID, GID: r.GID, Home: r.Home}
	var err error
	if o.UID < 0 {
		o.UID, o.GID, err = owner.Of(r.Dir)
	}
	if errors.Is(err, fs.ErrNotExist) && f.Store.Root != "" {
		o.UID, o.GID, err = owner.Of(f.Store.Root)
	}
	if err == nil && o.UID == 0 {
		err = fmt.Errorf("the mail of %s belongs to root, and nobody's mail is served as root", r.Name)
	}
	return o, err
}

// rootsAlone makes sure that nobody can lead root elsewhere by what is in a directory, or
// by what is put in its place.
func rootsAlone(dir string) error {
	for _, d := range []string{dir, filepath.Dir(dir)} {
		info, err := os.Stat(d)
		if d == dir && errors.Is(err, fs.ErrNotExist) {
			continue // it will be made
		}
		if err == nil && (info.Sys().(*syscall.Stat_t).Uid != 0 || info.Mode().Perm()&0o022 != 0) {
			err = fmt.Errorf("%s is not root's alone", d)
		}
		if err != nil {
			return cli.Errorf(cli.Config, "state directory: %w", err).
				WithHint("where mail belongs to several users, write state = \"/var/lib/rtls-imapd\" under [imapd], below a directory of root's")
		}
	}
	return nil
}
