package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rtls/internal/auth"
	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/imap/server"
	"rtls/internal/owner"
	"rtls/internal/systemd"
	"rtls/internal/tlsconf"
	"rtls/internal/users"
	"rtls/store"
)

// defaultListen is the port of RFC 8314 section 3.2.
const defaultListen = ":993"

// A mail program that comes back within keepAccount finds the account open, and the
// mailboxes of it that were used last in memory. An administrator who wants to mend
// the index has to wait as long.
const (
	keepAccount   = time.Minute
	keepMailboxes = 4
)

// serve serves IMAP until ctx ends, and then until the sessions have ended.
func serve(ctx context.Context, env cli.Env, o *options) error {
	f, err := loadConfig(o, (*config.File).CheckIMAPD)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(env.Stderr, nil))
	watcher := &store.Watcher{Logger: logger}
	defer watcher.Close()
	uid, gid, several, err := servesAs(f)
	if err != nil {
		return err
	}
	var s *server.Server
	var certs *tlsconf.Certificates
	// What the owner of the mail cannot read now, it could not read again later.
	err = owner.As(uid, gid, func() (err error) {
		s, certs, err = newServer(f, logger, watcher)
		return err
	})
	if err != nil {
		return err
	}
	listeners, err := openPorts(ctx, f, s)
	if err != nil {
		return err
	}
	defer closeAll(append(listeners, s.StartTLS...))
	if err := owner.Become(uid, gid); err != nil {
		return cli.Errorf(cli.OSErr, "%w", err)
	}
	if several {
		pool, err := handOver(s, f, env, logger)
		if err != nil {
			return err
		}
		defer pool.Close()
	}
	gate := s.Auth.(*auth.Gate)
	if err := remember(f, gate, logger); err != nil {
		return cli.Errorf(cli.Config, "%w", err)
	}
	defer func() {
		if err := gate.Throttle.Close(); err != nil {
			logger.Error("failed logins are not kept on disk", "err", err)
		}
	}()
	if s.Control, err = openControl(f); err != nil {
		return err
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	var keeper sync.WaitGroup
	defer keeper.Wait()
	kept, stop := context.WithCancel(ctx)
	defer stop()
	keeper.Go(func() { keepCertificates(kept, certs, hangup, logger) })
	keeper.Go(func() { rest(kept) })
	for _, l := range listeners {
		logger.Info("IMAPS on " + l.Addr().String())
	}
	for _, l := range s.StartTLS {
		logger.Info("IMAP with STARTTLS on " + l.Addr().String())
	}
	defer systemd.Env{PID: os.Getpid(), Getenv: env.Getenv}.Report(ctx, logger, nil)()
	return s.Serve(ctx, listeners...)
}

// checkState makes sure that the server can remember things, and makes nothing.
func checkState(f *config.File, several bool, logger *slog.Logger) error {
	if several {
		if err := rootsAlone(f.StateDir()); err != nil {
			return err
		}
	}
	dir := f.StateDir()
	_, err := auth.OpenState(dir, logger)
	if errors.Is(err, fs.ErrNotExist) {
		dir = filepath.Dir(dir)
		err = nil
	}
	if err == nil {
		if err = unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
			err = fmt.Errorf("state directory: write to %s: %w", dir, err)
		}
	}
	if err != nil {
		return cli.Errorf(cli.Config, "%w", err).
			WithHint("%s has to be able to write to root under [store], or else to state under [imapd]", name)
	}
	return nil
}

// remember gives the gate what it knew before a restart, and has it kept.
func remember(f *config.File, gate *auth.Gate, logger *slog.Logger) error {
	state, err := auth.MakeState(f.StateDir(), logger)
	if err != nil {
		return err
	}
	if gate.SaltKey, err = state.SaltKey(); err != nil {
		return err
	}
	gate.State = state
	return state.Keep(&gate.Throttle)
}

// newServer makes the server and its certificates, having looked at all that they will
// need. All accounts use watcher.
func newServer(f *config.File, logger *slog.Logger, watcher *store.Watcher) (*server.Server, *tlsconf.Certificates, error) {
	directory := users.NewDirectory(f.Store)
	gate, err := newGate(f, directory, logger)
	if err != nil {
		return nil, nil, cli.Errorf(cli.Config, "%w", err)
	}
	certs, err := loadCertificates(f)
	if err != nil {
		return nil, nil, err
	}
	letCertificatesIn(f, gate)
	s := settingsOf(f).server(directory.Lookup, logger, watcher)
	s.TLS, s.Auth = certs.Config(), gate
	s.MaxConns, s.MaxPerAddr = f.IMAPD.MaxConnections, f.IMAPD.MaxPerAddress
	s.HandshakeTimeout = time.Duration(f.IMAPD.LoginTime)
	return s, certs, nil
}

// settings are what sessions have of the configuration. The rest can hold secrets.
type settings struct {
	Hostname, Admin                  string
	Compress                         bool
	MaxPerUser                       int
	MaxMessage                       int64
	LoginTime, StallTime, SearchTime time.Duration
}

func settingsOf(f *config.File) settings {
	return settings{
		Hostname: f.Hostname, Admin: f.IMAPD.Admin, Compress: f.IMAPD.Compress,
		MaxPerUser: f.IMAPD.MaxPerUser, MaxMessage: int64(f.IMAPD.MaxMessage),
		LoginTime: time.Duration(f.IMAPD.LoginTime), StallTime: time.Duration(f.IMAPD.StallTime), SearchTime: time.Duration(f.IMAPD.SearchTime),
	}
}

// server makes a server of those users that lookup finds. All accounts use watcher.
func (s settings) server(lookup lookup, logger *slog.Logger, watcher *store.Watcher) *server.Server {
	accounts := &accounts{lookup: lookup, options: &store.Options{Hostname: s.Hostname, Logger: logger, Watcher: watcher, Keep: keepMailboxes}}
	return &server.Server{
		Hostname:    s.Hostname,
		OpenAccount: accounts.open,
		TextIndex:   accounts.hasTextIndex,
		Admin:       s.Admin,
		Compress:    s.Compress,
		MaxPerUser:  s.MaxPerUser,
		AppendLimit: s.MaxMessage,
		Keep:        keepAccount,
		Logger:      logger,

		LoginTimeout:  s.LoginTime,
		DataTimeout:   s.StallTime,
		WriteTimeout:  s.StallTime,
		SearchTimeout: s.SearchTime,
	}
}

// lookup finds a user, as users.Directory does.
type lookup func(name string) (r users.Record, ok bool, err error)

// accounts opens the accounts of users.
type accounts struct {
	lookup  lookup
	options *store.Options
}

// hasTextIndex says whether a user has an index of texts. In doubt there is none.
func (a *accounts) hasTextIndex(user string) bool {
	r, _, _ := a.lookup(user)
	return r.TextIndex
}

// open opens a known user's account, and makes it where there is none: the user may
// have come into the file by another way than user add.
func (a *accounts) open(ctx context.Context, user string) (*store.Account, error) {
	r, ok, err := a.lookup(user)
	if err != nil {
		return nil, err
	}
	if !ok { // removed since the login
		return nil, store.ErrNoAccount
	}
	if uid, _, err := owner.Of(r.Dir); err == nil && uid != os.Geteuid() {
		return nil, fmt.Errorf("%s belongs to uid %d, and %s serves as uid %d; start it as root", r.Dir, uid, name, os.Geteuid())
	}
	options := *a.options
	options.Quota = store.Quota{Bytes: r.Quota, Messages: r.QuotaMessages}
	account, err := store.Open(r.Dir, &options)
	if !errors.Is(err, store.ErrNoAccount) {
		return account, err
	}
	if err := store.Create(r.Dir, &options); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return store.Open(r.Dir, &options)
}

// openPorts opens all ports that s listens on and returns the listeners for TLS.
func openPorts(ctx context.Context, f *config.File, s *server.Server) ([]net.Listener, error) {
	addresses := f.IMAPD.Listen
	if len(addresses) == 0 {
		addresses = []string{defaultListen}
	}
	listeners, err := listen(ctx, "listen", addresses)
	if err != nil {
		return nil, err
	}
	if s.StartTLS, err = listen(ctx, "listen_starttls", f.IMAPD.StartTLS); err != nil {
		closeAll(listeners)
		return nil, err
	}
	return listeners, nil
}

// listen opens listeners, all or none. key is where the addresses stand in the
// configuration.
func listen(ctx context.Context, key string, addresses []string) ([]net.Listener, error) {
	var all []net.Listener
	for _, address := range addresses {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			closeAll(all)
			return nil, explainListen(key, err)
		}
		all = append(all, l)
	}
	return all, nil
}

func closeAll(all []net.Listener) {
	for _, l := range all {
		l.Close()
	}
}

func explainListen(key string, err error) error {
	code, hint := cli.OSErr, ""
	takes := key + " under [imapd] takes an address of this host and a port"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		code, hint = cli.Unavailable, "another program listens there; end it, or change "+key+" under [imapd]"
	case errors.Is(err, fs.ErrPermission):
		code, hint = cli.NoPerm, "ports below 1024 take CAP_NET_BIND_SERVICE, or root"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		code, hint = cli.Config, "this host does not have that address; change "+key+" under [imapd]"
	default:
		if _, ok := errors.AsType[*net.DNSError](err); ok {
			code, hint = cli.Config, takes
		}
		if _, ok := errors.AsType[*net.AddrError](err); ok {
			code, hint = cli.Config, takes
		}
	}
	return cli.Errorf(code, "%w", err).WithHint("%s", hint)
}

// checkConfig does all that serving needs but to listen.
func checkConfig(env cli.Env, o *options) error {
	f, err := loadConfig(o, (*config.File).CheckIMAPD)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(env.Stderr, nil))
	uid, gid, several, err := servesAs(f)
	if err != nil {
		return err
	}
	if err := owner.Become(uid, gid); err != nil {
		return cli.Errorf(cli.OSErr, "%w", err)
	}
	s, certs, err := newServer(f, logger, nil)
	if err != nil {
		return err
	}
	if wrong, err := s.Auth.(*auth.Gate).Users.Check(); err == nil && len(wrong) > 0 {
		return cli.Errorf(cli.Config, "lines of %s that are wrong: %d", f.Store.Users, len(wrong))
	}
	if err := checkState(f, several, logger); err != nil {
		return err
	}
	if err := checkValidity(certs, logger); err != nil {
		return err
	}
	return say(env.Stdout, fmt.Sprintf("%s is right\n", o.config))
}
