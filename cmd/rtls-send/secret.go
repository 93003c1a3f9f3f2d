package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"rtls/internal/cli"
	"rtls/internal/config"
)

const (
	secretTimeout = time.Minute
	maxSecret     = 64 << 10
)

// secretSource gets the secret of one server from where the configuration says. No
// error of it shows any of the secret.
type secretSource struct {
	env    cli.Env
	server *config.Target
	cache  string // file of a token that is good for a while; empty: none
}

func hasPassword(t *config.Target) bool {
	return t.PasswordFile != "" || len(t.PasswordCommand) > 0 || t.PasswordCredential != "" || t.Netrc != ""
}

func (s secretSource) password(ctx context.Context) (string, error) {
	t := s.server
	switch {
	case t.PasswordFile != "":
		text, err := readSecret("password_file", t.PasswordFile, true)
		if err != nil {
			return "", err
		}
		return firstLine("password_file "+t.PasswordFile, text)
	case t.PasswordCredential != "":
		dir := s.env.Getenv("CREDENTIALS_DIRECTORY")
		if !filepath.IsAbs(dir) {
			return "", cli.Errorf(cli.Config, "password_credential: there is no $CREDENTIALS_DIRECTORY; systemd sets it for services with LoadCredential=")
		}
		text, err := readSecret("password_credential", filepath.Join(dir, t.PasswordCredential), false)
		if err != nil {
			return "", err
		}
		return firstLine("password_credential "+t.PasswordCredential, text)
	case t.Netrc != "":
		return s.netrc()
	}
	out, err := s.run(ctx, "password_command", t.PasswordCommand)
	if err != nil {
		return "", err
	}
	return firstLine("password_command "+t.PasswordCommand[0], out)
}

// readSecret reads a file that, if private, nobody but its owner may be able to use.
func readSecret(key, path string, private bool) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, cli.Errorf(cli.Config, "%s: %w", key, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, cli.Errorf(cli.Config, "%s: %w", key, err)
	}
	if mode := info.Mode().Perm(); private && mode&0o077 != 0 {
		return nil, cli.Errorf(cli.Config, "%s %s has mode %04o: others than its owner can use it", key, path, mode).
			WithHint("chmod 600 %s", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return nil, cli.Errorf(cli.Config, "%s: %w", key, err)
	}
	return text, nil
}

// run runs a program without a shell and without input. That it fails is temporary:
// a key ring may be locked.
func (s secretSource) run(ctx context.Context, key string, argv []string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, secretTimeout, fmt.Errorf("it took more than %s", secretTimeout))
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stderr = s.env.Stderr
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, cli.Errorf(cli.Config, "%s: %w", key, err)
	}
	if err != nil {
		return nil, cli.Errorf(cli.TempFail, "%s %s: %w", key, argv[0], err)
	}
	return out, nil
}

func firstLine(source string, text []byte) (string, error) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	switch {
	case len(line) == 0:
		return "", cli.Errorf(cli.Config, "%s: the first line is empty, and should be the password", source)
	case bytes.IndexByte(line, 0) >= 0 || len(line) >= maxSecret-1:
		return "", cli.Errorf(cli.Config, "%s: the first line is no password", source)
	}
	return string(line), nil
}

// netrc finds the password for host and user in a file of the form that ftp(1) has.
// A default entry is not used: it would give a password to whatever host is asked.
func (s secretSource) netrc() (string, error) {
	path := inHome(s.env, s.server.Netrc)
	text, err := readSecret("netrc", path, true)
	if err != nil {
		return "", err
	}
	host := s.server.Host
	if host == "" {
		host = s.server.SRV
	}
	if password, ok := findNetrc(string(text), host, s.server.User); ok {
		return password, nil
	}
	return "", cli.Errorf(cli.Config, "netrc %s has no password of %s at %s", path, s.server.User, host)
}

func findNetrc(text, host, user string) (password string, ok bool) {
	var machine, login string
	words := netrcWords(text)
	for i := 0; i+1 < len(words); i++ {
		value := words[i+1]
		switch words[i] {
		case "machine":
			machine, login = value, ""
		case "default":
			machine, login = "", ""
			continue
		case "login":
			login = value
		case "password":
			if strings.EqualFold(machine, host) && machine != "" && login == user {
				return value, true
			}
		case "account":
		default:
			continue
		}
		i++
	}
	return "", false
}

// netrcWords splits at white space. A macro ends with a blank line and is left out,
// and so is a comment.
func netrcWords(text string) []string {
	var words []string
	macro := false
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
			macro = false
		case macro || strings.HasPrefix(fields[0], "#"):
		case fields[0] == "macdef":
			macro = true
		default:
			words = append(words, fields...)
		}
	}
	return words
}

// savedToken is a token in its cache. The names are those of RFC 6749 section 5.1.
type savedToken struct {
	Token   string    `json:"access_token"`
	Expires time.Time `json:"expires"`
}

// tokenMargin is how long a token has to be good for, to be used.
const tokenMargin = time.Minute

func tokenName(t *config.Target) string {
	return url.QueryEscape(t.User + "@" + t.Host + t.SRV)
}

// token returns a token from the cache, else from the command. What the command
// writes is the answer of an OAuth server in JSON (RFC 6749 section 5.1), or the
// token alone, which is not kept then.
func (s secretSource) token(ctx context.Context) (string, error) {
	if token, ok := s.cached(); ok {
		return token, nil
	}
	argv := s.server.TokenCommand
	out, err := s.run(ctx, "token_command", argv)
	if err != nil {
		return "", err
	}
	var answer struct {
		Token   string  `json:"access_token"`
		Seconds float64 `json:"expires_in"`
	}
	if json.Unmarshal(out, &answer) != nil {
		return firstLine("token_command "+argv[0], out)
	}
	if answer.Token == "" || strings.ContainsAny(answer.Token, "\x00\x01\r\n ") {
		return "", cli.Errorf(cli.Config, "token_command %s: its answer has no access_token", argv[0])
	}
	if answer.Seconds > tokenMargin.Seconds() && answer.Seconds < 1e9 {
		s.save(savedToken{answer.Token, time.Now().Add(time.Duration(answer.Seconds * float64(time.Second)))})
	}
	return answer.Token, nil
}

func (s secretSource) cached() (string, bool) {
	if s.cache == "" {
		return "", false
	}
	text, err := readSecret("token", s.cache, true)
	if err != nil {
		return "", false
	}
	var saved savedToken
	if json.Unmarshal(text, &saved) != nil || saved.Token == "" || time.Until(saved.Expires) < tokenMargin {
		return "", false
	}
	return saved.Token, true
}

// save keeps a token. If that fails, the command is asked again next time.
func (s secretSource) save(t savedToken) {
	if s.cache == "" {
		return
	}
	text, err := json.Marshal(t)
	if err != nil || os.MkdirAll(filepath.Dir(s.cache), 0o700) != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(s.cache), ".token-") // mode 0600
	if err != nil {
		return
	}
	_, err = f.Write(text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), s.cache)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
}

// forget drops a token that was refused, and says whether there was one in the cache.
func (s secretSource) forget() bool { return os.Remove(s.cache) == nil }
