package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"

	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/resolve"
	"rtls/internal/submit"
	"rtls/internal/tlsconf"
)

// connect makes targets of the servers. It reads certificates, and neither secrets
// nor anything from the network.
func (s *settings) connect(env cli.Env) error {
	var err error
	if s.resolver, err = s.chooseResolver(); err != nil {
		return err
	}
	trusted := make(map[string]*tls.Config) // by CA file, which need not be read twice
	for _, server := range s.servers {
		base := trusted[server.CAFile]
		if base == nil {
			if base, err = tlsconf.Client(server.CAFile, ""); err != nil {
				return err
			}
			trusted[server.CAFile] = base
		}
		t, err := s.target(env, server, base.Clone())
		if err != nil {
			return err
		}
		s.targets = append(s.targets, t)
	}
	return nil
}

// chooseResolver returns the configured resolver or, if a server needs an answer that
// the standard library cannot get, the system's.
func (s *settings) chooseResolver() (*resolve.Client, error) {
	if s.asking != "" {
		return resolve.New(s.asking)
	}
	for _, server := range s.servers {
		if server.SRV != "" || server.DANE {
			return resolve.System(resolve.SystemConfig)
		}
	}
	return nil, nil
}

func (s *settings) target(env cli.Env, server *config.Target, conf *tls.Config) (*submit.Target, error) {
	conf.ServerName = server.Host
	if server.TLSName != "" {
		conf.ServerName = server.TLSName
	}
	if server.MinTLS == "1.3" {
		tlsconf.Only13(conf)
	}
	if len(server.Pins) > 0 {
		if err := tlsconf.Pin(conf, server.Pins); err != nil {
			return nil, fmt.Errorf("pin_sha256: %w", err)
		}
	}
	if server.ClientCert != "" {
		if err := tlsconf.Present(conf, server.ClientCert, server.ClientKey); err != nil {
			return nil, err
		}
	}
	if server.DANE && !s.resolver.Trusted() {
		return nil, errors.New("dane needs a resolver whose word on DNSSEC can be trusted: one on this host, or options trust-ad in " + resolve.SystemConfig)
	}
	t := &submit.Target{
		Host: server.Host, Port: server.Port, StartTLS: server.TLS == "starttls",
		LMTP: server.LMTP, Clear: server.TLS == "none", Name: server.TLSName,
		SRV: server.SRV, SRVAllow: server.SRVAllow,
		TLS: conf, DANE: server.DANE, BDAT: server.BDAT,
		Login: s.login(env, server),
	}
	var err error
	t.Dial, err = s.dial(env, server)
	return t, err
}

// dial chooses the way to a server.
func (s *settings) dial(env cli.Env, server *config.Target) (submit.Dial, error) {
	var addresses *net.Resolver
	if s.resolver != nil {
		addresses = s.resolver.Addresses()
	}
	if len(server.ProxyCommand) > 0 {
		return submit.Command(server.ProxyCommand, env.Stderr), nil
	}
	direct, err := submit.Direct(server.Source, addresses)
	if err != nil || server.Proxy == "" {
		return direct, err
	}
	return submit.SOCKS5(server.Proxy, direct)
}

// login says how to authenticate, and where the secret will come from.
func (s *settings) login(env cli.Env, server *config.Target) submit.Login {
	l := submit.Login{User: server.User, Mechanism: server.Auth, Token: len(server.TokenCommand) > 0}
	source := secretSource{env: env, server: server}
	switch {
	case l.Token:
		if s.state != "" {
			source.cache = filepath.Join(s.state, "token-"+tokenName(server))
			l.Forget = source.forget
		}
		l.Secret = source.token
	case server.User != "" && hasPassword(server):
		l.Secret = source.password
	}
	if l.Secret == nil && server.ClientCert == "" {
		return submit.Login{}
	}
	if l.Secret == nil && server.User == "" && server.Auth == "" {
		return submit.Login{} // the certificate is for TLS alone
	}
	return l
}

// submitOptions is what all targets have in common.
func submitOptions(env cli.Env, o *options, s *settings) submit.Options {
	options := submit.Options{Hostname: s.heloName, Timeouts: o.timeouts}
	if s.resolver != nil {
		options.Resolver = s.resolver
	}
	if s.state != "" && (len(s.targets) > 1 || s.targets[0].SRV != "") {
		options.Breaker = &submit.Breaker{Dir: filepath.Join(s.state, "targets")}
	}
	if o.verbose || o.log != nil {
		options.Trace = func(line string) { o.trace(env, cli.Printable(line)) }
	}
	return options
}

// stateDir is where tokens and failures of servers are remembered.
func stateDir(env cli.Env, file *config.File) string {
	if file.Send.State != "" {
		return file.Send.State
	}
	for _, dir := range []string{env.Getenv("XDG_STATE_HOME"), env.Getenv("STATE_DIRECTORY")} {
		if filepath.IsAbs(dir) {
			return filepath.Join(dir, "rtls")
		}
	}
	if home := env.Getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local/state/rtls")
	}
	return ""
}

// deliver sends one message by way of the first server that takes it.
func (s *settings) deliver(ctx context.Context, m *submit.Mail, options submit.Options) (*submit.Receipt, error) {
	session := submit.NewSession(s.targets, options)
	defer session.Close()
	return session.SendLast(ctx, m)
}

// serverName is a server for people.
func serverName(t *config.Target) string {
	if t.SRV != "" {
		return "SRV of " + t.SRV
	}
	server := t.Host
	if !t.IsSocket() {
		server += ":" + strconv.Itoa(t.Port)
	}
	if t.LMTP {
		server += ", LMTP"
	}
	if t.TLSName != "" {
		server += ", " + t.TLSName
	}
	return server + ", TLS " + t.TLS
}
