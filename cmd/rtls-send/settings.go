package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"rtls/internal/cli"
	"rtls/internal/compose"
	"rtls/internal/config"
	"rtls/internal/requiretls"
	"rtls/internal/tlsconf"
)

// settings is what configuration and flags come to.
type settings struct {
	account  config.Account // complete: with port and mode of TLS
	tls      *tls.Config
	wish     requiretls.Wish
	hostname string // ours, for addresses and identifiers
	heloName string // the same if it is a full name, else empty
	user     string // the caller's login name
	spool    string // directory of the queue; empty: none
	inDoubt  string // "hold" or not
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
	s := &settings{account: *account, user: loginName(env), spool: spoolPath(env, file), inDoubt: file.Send.InDoubt}
	s.override(o)
	if err := s.names(file.Hostname); err != nil {
		return nil, err
	}
	if s.tls, err = tlsconf.Client(s.account.CAFile, s.account.Host); err != nil {
		return nil, cli.Errorf(cli.Config, "%w", err)
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
func (s *settings) override(o *options) {
	a := &s.account
	if o.host != "" && !strings.EqualFold(o.host, a.Host) {
		a.Host, a.User, a.PasswordFile, a.PasswordCommand = o.host, "", "", nil
	}
	if o.tls != "" {
		a.TLS = o.tls
	}
	if a.TLS == "" {
		a.TLS = "implicit"
	}
	if o.port != 0 {
		a.Port = o.port
	}
	if a.Port == 0 {
		a.Port = 465
		if a.TLS == "starttls" {
			a.Port = 587
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

const (
	passwordTimeout = time.Minute
	maxPassword     = 4096
)

// password gets the account's password from where the configuration says.
func (s *settings) password(ctx context.Context, env cli.Env) (string, error) {
	a := &s.account
	switch {
	case a.User == "":
		return "", nil
	case a.PasswordFile != "":
		return readPassword(a.PasswordFile)
	}
	return commandPassword(ctx, env, a.PasswordCommand)
}

// readPassword reads the first line of a file that nobody but its owner can read.
func readPassword(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", cli.Errorf(cli.Config, "password_file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", cli.Errorf(cli.Config, "password_file: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", cli.Errorf(cli.Config, "password_file %s has mode %04o: others than its owner can use it", path, mode).
			WithHint("chmod 600 %s", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPassword))
	if err != nil {
		return "", cli.Errorf(cli.Config, "password_file: %w", err)
	}
	return firstLine("password_file "+path, text)
}

// commandPassword runs a program without a shell and without input. That it fails
// is temporary: a key ring may be locked.
func commandPassword(ctx context.Context, env cli.Env, argv []string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, passwordTimeout, fmt.Errorf("it took more than %s", passwordTimeout))
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stderr = env.Stderr
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return "", cli.Errorf(cli.Config, "password_command: %w", err)
	}
	if err != nil {
		return "", cli.Errorf(cli.TempFail, "password_command %s: %w", argv[0], err)
	}
	return firstLine("password_command "+argv[0], out)
}

func firstLine(source string, text []byte) (string, error) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	switch {
	case len(line) == 0:
		return "", cli.Errorf(cli.Config, "%s: the first line is empty, and should be the password", source)
	case bytes.IndexByte(line, 0) >= 0 || len(line) >= maxPassword:
		return "", cli.Errorf(cli.Config, "%s: the first line is no password", source)
	}
	return string(line), nil
}
