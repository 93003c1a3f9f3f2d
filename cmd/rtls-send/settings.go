package main

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"rtls/internal/cli"
	"rtls/internal/compose"
	"rtls/internal/config"
	"rtls/internal/requiretls"
	"rtls/internal/resolve"
	"rtls/internal/submit"
)

// settings is what configuration and flags come to.
type settings struct {
	account         config.Account
	servers         []*config.Target // the account's, complete: with port and mode of TLS
	targets         []*submit.Target // the same, ready to be used; their secrets are asked for when they are needed
	resolver        *resolve.Client  // nil: the system's, in the usual way
	warnUnencrypted bool
	asking          string // the configured resolver's address, or empty
	state           string // directory for what is remembered between runs; empty: nothing is
	wish            requiretls.Wish
	hostname        string // ours, for addresses and identifiers
	heloName        string // the same if it is a full name, else empty
	user            string // the caller's login name
	spool           string // directory of the queue; empty: none
	inDoubt         string // "hold" or not
	front           config.Front
	log             *sendLog
}

func loadSettings(env cli.Env, o *options) (*settings, error) {
	file, path, err := loadConfig(env, o)
	if err != nil {
		return nil, cli.Errorf(cli.Config, "%w", err)
	}
	account, err := file.Account(o.account)
	if err != nil {
		return nil, cli.Errorf(cli.Config, "%w", err)
	}
	if account == nil {
		if o.host == "" {
			return nil, noServer(path)
		}
		account = &config.Account{}
	}
	s := &settings{account: *account, user: loginName(env), spool: spoolPath(env, file), inDoubt: file.Send.InDoubt, front: file.Send.Front, log: newSendLog(env, o, file.Send)}
	if err := s.override(o); err != nil {
		return nil, err
	}
	s.inHome(env)
	if err := s.names(file.Hostname); err != nil {
		return nil, err
	}
	s.state = stateDir(env, file)
	s.asking, s.warnUnencrypted = file.Send.Resolver, file.Send.WarnUnencrypted
	if o.mode != modeSend && o.mode != modeSMTP || !queuesFirst(o, s) { // certificates may be nothing for us to read
		if err := s.connect(env); err != nil {
			return nil, cli.Errorf(cli.Config, "%w", err)
		}
	}
	s.wish = requiretls.Yes
	if s.account.RequireTLS != "" {
		if s.wish, err = requiretls.ParseWish(s.account.RequireTLS); err != nil {
			return nil, cli.Errorf(cli.Config, "%w", err)
		}
	}
	if o.wish != nil {
		s.wish = *o.wish
	}
	return s, nil
}

// loadConfig reads the named file, else the user's, else the system's. The path is
// empty where there is none.
func loadConfig(env cli.Env, o *options) (*config.File, string, error) {
	if o.config != "" {
		f, err := config.Load(o.config)
		return f, o.config, err
	}
	for _, path := range configPaths(env) {
		f, err := config.Load(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, path, err
		}
	}
	return &config.File{}, "", nil
}

func configPaths(env cli.Env) []string {
	paths := []string{config.SystemPath}
	if home := env.Getenv("HOME"); filepath.IsAbs(home) {
		paths = []string{filepath.Join(home, ".config/rtls/rtls.toml"), config.SystemPath}
	}
	if dir := env.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		paths = []string{filepath.Join(dir, "rtls/rtls.toml"), config.SystemPath}
	}
	return paths
}

// noServer says what to write, and where.
func noServer(path string) error {
	where := "~/.config/rtls/rtls.toml or " + config.SystemPath
	err := cli.Errorf(cli.Config, "%w", errNoServer)
	if path != "" {
		where = path
		err = cli.Errorf(cli.Config, "%s:1: %w", path, errNoServer)
	}
	return err.WithHint(`write into %s: [send.account.NAME] and, below it, host = "smtp.example.org", user = "name" and password_file = "/path"; see rtls.toml(5)`, where)
}

// override lets flags win over the account, and fills in the defaults. Another host
// gets neither user nor password: programs pass on flags that they had from
// strangers, and one of these could name the stranger's own server.
func (s *settings) override(o *options) error {
	for _, t := range s.account.Servers() {
		own := *t
		s.servers = append(s.servers, &own)
	}
	if o.host != "" {
		i := slices.IndexFunc(s.servers, func(t *config.Target) bool { return strings.EqualFold(t.Host, o.host) })
		if i < 0 && strings.ContainsAny(o.host, "/:@ ") && net.ParseIP(o.host) == nil {
			return cli.Errorf(cli.Usage, "--host: %q is no host's name", o.host).
				WithHint("a Unix socket has to be in the configuration; a port has a flag of its own")
		}
		if i < 0 {
			other := &config.Target{Host: o.host}
			if len(s.servers) > 0 { // how to get out, and whom to trust, is the same
				first := s.servers[0]
				if !first.LMTP && !first.IsSocket() {
					other.Port, other.TLS = first.Port, first.TLS
				}
				other.CAFile, other.MinTLS = first.CAFile, first.MinTLS
				other.Proxy, other.ProxyCommand, other.Source = first.Proxy, first.ProxyCommand, first.Source
			}
			s.servers, i = []*config.Target{other}, 0
		}
		s.servers = s.servers[i : i+1]
	}
	if (o.port != 0 || o.tls != "") && (len(s.servers) > 1 || s.servers[0].SRV != "") {
		return cli.Errorf(cli.Usage, "--port and --tls need --host: the account has several servers")
	}
	for _, t := range s.servers {
		if (o.port != 0 || o.tls != "") && t.IsSocket() {
			return cli.Errorf(cli.Usage, "--port and --tls are not for a Unix socket")
		}
		if o.tls != "" {
			t.TLS = o.tls
		}
		if t.TLS == "" {
			t.TLS = t.DefaultTLS()
		}
		if o.port != 0 {
			t.Port = o.port
		}
		if t.Port == 0 && !t.IsSocket() {
			t.Port = 465
			if t.TLS == "starttls" {
				t.Port = 587
			}
		}
	}
	return nil
}

// inHome puts the caller's home in place of "~/" in the names of the servers' files.
func (s *settings) inHome(env cli.Env) {
	for _, t := range s.servers {
		for _, path := range []*string{&t.CAFile, &t.ClientCert, &t.ClientKey, &t.PasswordFile, &t.Netrc} {
			if full := inHome(env, *path); full != "" {
				*path = full // else it is not found, and the error shows it as it is written
			}
		}
	}
}

// names finds out what this host is called. A bare name without a domain tells a
// server nothing, so EHLO gets our address instead.
func (s *settings) names(configured string) error {
	s.hostname, s.heloName = configured, configured
	if configured == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "localhost"
		}
		s.hostname = host
		if strings.Contains(host, ".") {
			s.heloName = host
		}
	}
	if _, err := compose.ParseAddress("postmaster@" + s.hostname); err != nil {
		if configured != "" {
			return cli.Errorf(cli.Config, "hostname = %q is not a host's name", configured)
		}
		s.hostname, s.heloName = "localhost", ""
	}
	return nil
}

func loginName(env cli.Env) string {
	for _, key := range []string{"LOGNAME", "USER"} {
		if name := env.Getenv(key); name != "" {
			return name
		}
	}
	return "uid" + strconv.Itoa(os.Getuid())
}
