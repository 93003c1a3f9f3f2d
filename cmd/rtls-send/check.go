package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/requiretls"
	"rtls/internal/submit"
)

// inspect is the flags of --check and --receipt.
type inspect struct {
	check   bool
	mx      bool
	login   bool
	receipt string // file
}

// define adds the flags.
func (i *inspect) define(fs *pflag.FlagSet) {
	fs.BoolVar(&i.check, "check", false, "")
	fs.BoolVar(&i.check, "serverinfo", false, "") // msmtp's name for it
	fs.BoolVar(&i.mx, "mx", false, "")
	fs.BoolVar(&i.login, "login", false, "")
	fs.StringVar(&i.receipt, "receipt", "", "")
}

// valid looks for contradictions.
func (i *inspect) valid(recipients []string) error {
	if i.mx && !i.check {
		return errors.New("--mx belongs to --check")
	}
	if i.login && (!i.check || i.mx) {
		return errors.New("--login belongs to --check, without --mx")
	}
	if i.mx && len(recipients) == 0 {
		return errors.New("--check --mx takes recipients or domains")
	}
	return nil
}

// report is what --check says of one server. The names are part of the command's
// interface.
type report struct {
	Target     string     `json:"target"`
	Error      string     `json:"error,omitempty"`
	Status     string     `json:"status,omitempty"`
	TLS        string     `json:"tls,omitempty"`
	Cipher     string     `json:"cipher,omitempty"`
	Verified   string     `json:"verified_by,omitempty"`
	Chain      []string   `json:"chain,omitempty"`
	Expires    *time.Time `json:"expires,omitempty"`
	KeyPin     string     `json:"pin_sha256,omitempty"`
	Pinned     bool       `json:"pinned"`
	RequireTLS bool       `json:"requiretls"`
	Size       int64      `json:"size,omitempty"`
	Mechanisms []string   `json:"auth,omitempty"`
	Mechanism  string     `json:"auth_used,omitempty"`
	LoggedIn   bool       `json:"logged_in,omitempty"`
	Extensions []string   `json:"extensions,omitempty"`
}

func reportOf(f *submit.Finding) report {
	r := report{
		Target: f.Target, Verified: f.Verified, Chain: f.Chain, KeyPin: f.KeyPin, Pinned: f.Pinned,
		RequireTLS: f.RequireTLS, Size: f.Size, Mechanisms: f.Mechanisms, Mechanism: f.Mechanism, LoggedIn: f.LoggedIn, Extensions: f.Extensions,
	}
	if f.TLSVersion != 0 {
		r.TLS, r.Cipher, r.Expires = tls.VersionName(f.TLSVersion), tls.CipherSuiteName(f.Cipher), &f.Expires
	}
	if f.TLSVersion == 0 && f.Err == nil {
		r.TLS = "none"
	}
	if e, ok := errors.AsType[*cli.Error](errorOf(f)); ok {
		r.Error, r.Status = strings.TrimPrefix(e.Err.Error(), f.Target+": "), e.Status
	}
	return r
}

// errorOf is f.Err without the pitfall of a nil pointer in an interface.
func errorOf(f *submit.Finding) error {
	if f.Err == nil {
		return nil
	}
	return f.Err
}

func (r report) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", r.Target)
	line := func(key, format string, args ...any) {
		fmt.Fprintf(&b, "    %-11s %s\n", key, fmt.Sprintf(format, args...))
	}
	if r.Error != "" {
		line("error", "%s", strings.TrimSpace(r.Status+" "+r.Error))
	}
	switch r.TLS {
	case "":
		return printable(b.String())
	case "none":
		line("TLS", "none, a Unix socket")
	default:
		line("TLS", "%s, %s, verified by %s", r.TLS, r.Cipher, r.Verified)
		line("chain", "%s", strings.Join(r.Chain, " < "))
		line("expires", "%s", r.Expires.UTC().Format(time.RFC3339))
		pinned := ""
		if r.Pinned {
			pinned = ", pinned"
		}
		line("pin_sha256", "%s%s", r.KeyPin, pinned)
	}
	line("requiretls", "%s", yesNo(r.RequireTLS))
	if r.Size > 0 {
		line("size", "%d", r.Size)
	}
	used := ""
	if r.LoggedIn {
		used = "; logged in with " + r.Mechanism
	} else if r.Mechanism != "" {
		used = "; would use " + r.Mechanism
	}
	line("auth", "%s%s", orNone(strings.Join(r.Mechanisms, " ")), used)
	return printable(b.String())
}

// printable is for texts of several lines.
func printable(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = cli.Printable(lines[i])
	}
	return strings.Join(lines, "\n")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// checkServers is --check: the account's servers, or those that are named. It sends
// no message, and without --login asks for no password. It fails if no server would take a message
// with the wish that holds.
func checkServers(ctx context.Context, env cli.Env, o *options) error {
	if o.mx {
		return checkExchangers(ctx, env, o)
	}
	s, err := loadSettings(env, o)
	if err != nil {
		return err
	}
	if len(o.recipients) > 0 {
		if err := s.only(env, o.recipients); err != nil {
			return err
		}
	}
	findings := submit.Check(ctx, s.targets, submitOptions(env, o, s), o.login)
	var failed error
	fit := false
	for i := range findings {
		f := &findings[i]
		if err := writeReport(env, o, reportOf(f)); err != nil {
			return err
		}
		if err := f.Fit(s.wish); err == nil {
			fit = true
		} else if failed == nil || cli.ExitCode(err) == cli.TempFail {
			failed = err
		}
	}
	if fit {
		return nil
	}
	return noneFits(failed, s.wish)
}

// noneFits is the end of a check that was in vain; the reasons have been shown.
func noneFits(err error, wish requiretls.Wish) error {
	code := cli.Unavailable
	if err != nil {
		code = cli.ExitCode(err)
	}
	return cli.Errorf(code, "no server would take a message with requiretls=%s", wish)
}

// only replaces the account's servers by those that are named. The account's
// password is not needed and not taken along; a server of the account keeps its
// settings.
func (s *settings) only(env cli.Env, names []string) error {
	var chosen []*config.Target
	for _, name := range names {
		if strings.Contains(name, "@") {
			return cli.Errorf(cli.Usage, "%s is a recipient, and takes the way of every other; --check takes servers", name).
				WithHint("--check --mx looks at the servers of a recipient's domain")
		}
		host, port, err := net.SplitHostPort(name)
		if err != nil || strings.HasPrefix(name, submit.UnixPrefix) {
			host, port = name, ""
		}
		t := &config.Target{Host: host, TLS: "implicit", Port: 465, CAFile: s.servers[0].CAFile}
		for _, known := range s.servers {
			if strings.EqualFold(known.Host, host) && (port == "" || port == strconv.Itoa(known.Port)) {
				t = known
			}
		}
		if t.IsSocket() && !slices.Contains(s.servers, t) {
			return cli.Errorf(cli.Usage, "%s is none of the account's servers; a Unix socket has to be in the configuration", name)
		}
		if port != "" && t.Host == host && strconv.Itoa(t.Port) != port {
			if t.Port, err = strconv.Atoi(port); err != nil || t.Port < 1 || t.Port > 65535 {
				return cli.Errorf(cli.Usage, "%q is no server; write host or host:port", name)
			}
			if t.Port == 587 || t.Port == 25 {
				t.TLS = "starttls"
			}
		}
		chosen = append(chosen, t)
	}
	s.servers, s.targets = chosen, nil
	if err := s.connect(env); err != nil {
		return cli.Errorf(cli.Config, "%w", err)
	}
	return nil
}

func writeReport(env cli.Env, o *options, r interface{ text() string }) error {
	if !o.json {
		return say(env.Stdout, r.text())
	}
	line, err := json.Marshal(r)
	if err != nil {
		return cli.Errorf(cli.Software, "%w", err)
	}
	return say(env.Stdout, string(line)+"\n")
}
