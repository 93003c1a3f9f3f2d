package config

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"rtls/internal/requiretls"
)

// Send configures rtls-send.
type Send struct {
	Default   string `toml:"default"`    // account to use when none is named; optional if there is just one
	Resolver  string `toml:"resolver"`   // IP address with or without a port; default: the system's
	State     string `toml:"state"`      // directory for what is remembered between runs
	Spool     string `toml:"spool"`      // directory of the outgoing queue, absolute or below "~/"; empty: no queue
	Log       string `toml:"log"`        // "syslog" (default), "journal", "none", or a file, absolute or below "~/"
	LogFormat string `toml:"log_format"` // of a file: "text" (default) or "json"

	InDoubt  string              `toml:"in_doubt"` // what may have been sent: "resend" (default) or "hold"
	Accounts map[string]*Account `toml:"account"`

	WarnUnencrypted bool `toml:"warn_unencrypted"` // tell the sender of a message that requires TLS and is not encrypted

	Front // see rules.go
}

// Account is one identity with the submission servers that take its mail.
type Account struct {
	From       string `toml:"from"`       // reverse-path, and From field where a message has none
	RequireTLS string `toml:"requiretls"` // yes (default), no or auto
	Identity   string `toml:"identity"`   // "caller" (default): as asked for; "account": From always

	Undisclosed bool `toml:"undisclosed"` // no To and Cc, but for one that says so

	Target            // the first server, if it has a host or an SRV domain
	Targets []*Target `toml:"target"` // further servers, in the order in which they are tried

	Name string `toml:"-"`
}

// Target is a submission server. What is not written is not taken from another: no
// server gets the password of another by accident.
type Target struct {
	Host     string   `toml:"host"`      // or "unix:/path"
	LMTP     bool     `toml:"lmtp"`      // it delivers, and speaks LMTP (RFC 2033)
	Port     int      `toml:"port"`      // default 465, or 587 with tls = "starttls"; LMTP has none
	TLS      string   `toml:"tls"`       // "implicit", "starttls" or, for a Unix socket, "none"; see DefaultTLS
	TLSName  string   `toml:"tls_name"`  // who the certificate has to be for; default: host
	SRV      string   `toml:"srv"`       // domain whose DNS names the servers, in place of host, port and tls
	SRVAllow []string `toml:"srv_allow"` // hosts outside the domain that it may name without DNSSEC

	CAFile     string   `toml:"ca_file"`     // PEM; default: the system's roots
	Pins       []string `toml:"pin_sha256"`  // keys, one of which the verified chain has to have
	DANE       bool     `toml:"dane"`        // verify by TLSA records where DNSSEC proves some
	MinTLS     string   `toml:"min_tls"`     // "1.2" (default) or "1.3"
	ClientCert string   `toml:"client_cert"` // PEM
	ClientKey  string   `toml:"client_key"`

	User               string   `toml:"user"`                // authenticate as; empty: no authentication
	Auth               string   `toml:"auth"`                // the only mechanism to use; default: the strongest
	PasswordFile       string   `toml:"password_file"`       // first line is the password
	PasswordCommand    []string `toml:"password_command"`    // argv, no shell; first line of its output is the password
	PasswordCredential string   `toml:"password_credential"` // of systemd
	Netrc              string   `toml:"netrc"`               // file with a line for host and user
	TokenCommand       []string `toml:"token_command"`       // argv, no shell; its output is an OAuth token

	BDAT bool `toml:"bdat"` // send the text with BDAT where CHUNKING is offered

	Proxy        string   `toml:"proxy"`         // socks5://host:port
	ProxyCommand []string `toml:"proxy_command"` // argv, no shell; the connection is its input and output
	Source       string   `toml:"source"`        // our own IP address
}

// Servers is an account's servers in the order in which they are tried.
func (a *Account) Servers() []*Target {
	if a.Host == "" && a.SRV == "" {
		return a.Targets
	}
	return append([]*Target{&a.Target}, a.Targets...)
}

// mechanisms is what auth can be, and the kind of secret each needs.
var mechanisms = map[string]string{
	"SCRAM-SHA-256-PLUS": "password", "SCRAM-SHA-256": "password", "PLAIN": "password", "LOGIN": "password",
	"OAUTHBEARER": "token", "XOAUTH2": "token",
	"EXTERNAL": "client certificate",
}

func (f *File) checkSend() error {
	if err := f.checkSpool(); err != nil {
		return err
	}
	for name, account := range f.Send.Accounts {
		account.Name = name
		if err := f.checkAccount(account); err != nil {
			return err
		}
	}
	for i, rule := range f.Send.Rules {
		if err := rule.check(f.Send.Accounts); err != nil {
			return f.errorf(toml.Key{"send", fmt.Sprintf("rule#%d", i+1)}, "%w", err)
		}
	}
	if err := f.checkFront(); err != nil {
		return err
	}
	if r := f.Send.Resolver; r != "" {
		_, err := netip.ParseAddr(r)
		_, err2 := netip.ParseAddrPort(r)
		if err != nil && err2 != nil {
			return f.errorf(toml.Key{"send", "resolver"}, `resolver is an IP address with or without a port, like "127.0.0.1", not %q`, r)
		}
	}
	return nil
}

func (f *File) checkSpool() error {
	s := &f.Send
	if s.Spool != "" && !strings.HasPrefix(s.Spool, "/") && !strings.HasPrefix(s.Spool, "~/") {
		return f.errorf(toml.Key{"send", "spool"}, `spool is an absolute path, or one that begins with "~/", not %q`, s.Spool)
	}
	if l := s.Log; l != "" && l != "syslog" && l != "journal" && l != "none" && l[0] != '/' && !strings.HasPrefix(l, "~/") {
		return f.errorf(toml.Key{"send", "log"}, `log is "syslog", "journal", "none" or a file, an absolute path or one that begins with "~/", not %q`, l)
	}
	if l := s.LogFormat; l != "" && l != "text" && l != "json" {
		return f.errorf(toml.Key{"send", "log_format"}, `log_format is "text" or "json", not %q`, l)
	}
	switch s.InDoubt {
	case "", "resend", "hold":
		return nil
	}
	return f.errorf(toml.Key{"send", "in_doubt"}, `in_doubt is "resend" or "hold", not %q`, s.InDoubt)
}

func (f *File) checkAccount(a *Account) error {
	at := toml.Key{"send", "account", a.Name}
	if a.RequireTLS != "" {
		if _, err := requiretls.ParseWish(a.RequireTLS); err != nil {
			return f.errorf(append(at, "requiretls"), "%v", err)
		}
	}
	if a.Identity != "" && a.Identity != "caller" && (a.Identity != "account" || a.From == "") {
		return f.errorf(append(at, "identity"), `identity is "caller" or "account", the latter with a from, not %q`, a.Identity)
	}
	if a.Host != "" || a.SRV != "" || len(a.Targets) == 0 {
		if key, err := a.Target.check(a.Name); err != nil {
			return f.errorf(append(at, key), "%w", err)
		}
	}
	if a.Host == "" && a.SRV == "" && len(a.Targets) > 0 && !reflect.ValueOf(a.Target).IsZero() {
		return f.errorf(at, "account %q has keys of a server and no host; each [[send.account.%s.target]] needs its own", a.Name, a.Name)
	}
	for i, t := range a.Targets {
		if key, err := t.check(a.Name); err != nil {
			return f.errorf(append(slices.Clone(at), fmt.Sprintf("target#%d", i+1), key), "%w", err)
		}
	}
	return nil
}

// check returns an error and the key that it is about.
func (t *Target) check(account string) (key string, err error) {
	switch {
	case t.Host == "" && t.SRV == "":
		return "host", fmt.Errorf(`account %q has no submission server; write host = "smtp.example.org"`, account)
	case t.Host != "" && t.SRV != "":
		return "srv", errors.New("write host or srv, not both")
	case t.SRV != "" && (t.Port != 0 || t.TLS != ""):
		return "srv", errors.New("srv says what port and tls are; write srv alone")
	case t.SRV == "" && len(t.SRVAllow) > 0:
		return "srv_allow", errors.New("srv_allow belongs to srv")
	case t.Port < 0 || t.Port > 65535:
		return "port", fmt.Errorf("port is 1 to 65535, not %d", t.Port)
	case t.TLS == "none" && !t.IsSocket():
		return "tls", errors.New(`tls = "none" is for a Unix socket only, host = "unix:/path"; a server on the network is used with TLS or not at all`)
	case t.TLS != "" && t.TLS != "implicit" && t.TLS != "starttls" && t.TLS != "none":
		return "tls", fmt.Errorf(`tls is "implicit" or "starttls", not %q`, t.TLS)
	case t.MinTLS != "" && t.MinTLS != "1.2" && t.MinTLS != "1.3":
		return "min_tls", fmt.Errorf(`min_tls is "1.2" or "1.3", not %q`, t.MinTLS)
	case (t.ClientCert == "") != (t.ClientKey == ""):
		return "client_cert", errors.New("client_cert and client_key go together")
	case t.Proxy != "" && len(t.ProxyCommand) > 0:
		return "proxy", errors.New("write proxy or proxy_command, not both")
	case t.Source != "" && len(t.ProxyCommand) > 0:
		return "source", errors.New("source has no meaning with proxy_command")
	}
	if t.Source != "" {
		if _, err := netip.ParseAddr(t.Source); err != nil {
			return "source", fmt.Errorf("source is an IP address of this host, not %q", t.Source)
		}
	}
	if key, err := t.checkWay(); err != nil {
		return key, err
	}
	for _, host := range append([]string{t.SRV, t.TLSName}, t.SRVAllow...) {
		if strings.ContainsAny(host, "/@ \t\r\n") {
			return "host", fmt.Errorf("%q is no host's name", host)
		}
	}
	return t.checkLogin(account)
}

// IsSocket says whether the server is reached over a Unix socket.
func (t *Target) IsSocket() bool { return strings.HasPrefix(t.Host, "unix:") }

// DefaultTLS is the mode of TLS where none is written: LMTP servers, and those on Unix
// sockets, begin it with STARTTLS.
func (t *Target) DefaultTLS() string {
	if t.LMTP || t.IsSocket() {
		return "starttls"
	}
	return "implicit"
}

// checkWay is about where the server is, and who it has to be.
func (t *Target) checkWay() (key string, err error) {
	path, socket := strings.CutPrefix(t.Host, "unix:")
	switch {
	case !socket && strings.ContainsAny(t.Host, "/@ \t\r\n"):
		return "host", fmt.Errorf("%q is no host's name", t.Host)
	case t.LMTP && t.SRV != "":
		return "lmtp", errors.New("srv names submission servers, which do not speak LMTP; write host")
	case t.LMTP && !socket && t.Port == 0:
		return "lmtp", errors.New("LMTP has no port of its own; write port")
	case t.TLSName != "" && (t.SRV != "" || t.DANE):
		return "tls_name", errors.New("tls_name belongs to host, and not to srv or dane, which say themselves who the server has to be")
	case !socket:
		return "", nil
	case !strings.HasPrefix(path, "/") || len(path) > maxSocket || strings.ContainsRune(path, 0):
		return "host", fmt.Errorf("a Unix socket is written as unix:/path, absolute and with at most %d octets, not %q", maxSocket, t.Host)
	case t.Port != 0 || t.DANE || t.Source != "" || t.Proxy != "" || len(t.ProxyCommand) > 0:
		return "host", errors.New("port, dane, source, proxy and proxy_command mean nothing to a Unix socket")
	case t.TLS != "none" && t.TLSName == "":
		return "host", errors.New(`who is at the other end of the socket? write tls_name = "mail.example.org", the name in its certificate, or tls = "none" if nothing requires TLS`)
	case t.TLS == "none" && (t.User != "" || t.ClientCert != "" || len(t.Pins) > 0 || t.CAFile != "" || t.MinTLS != "" || t.TLSName != ""):
		return "tls", errors.New(`tls = "none" goes with no login and no key about TLS`)
	}
	return "", nil
}

// maxSocket is how long the path of a Unix socket can be on Linux.
const maxSocket = 107

// secrets is the keys of all secrets that are configured.
func (t *Target) secrets() []string {
	var keys []string
	for _, s := range []struct {
		key string
		set bool
	}{
		{"password_file", t.PasswordFile != ""},
		{"password_command", len(t.PasswordCommand) > 0},
		{"password_credential", t.PasswordCredential != ""},
		{"netrc", t.Netrc != ""},
		{"token_command", len(t.TokenCommand) > 0},
	} {
		if s.set {
			keys = append(keys, s.key)
		}
	}
	return keys
}

func (t *Target) checkLogin(account string) (key string, err error) {
	secrets := t.secrets()
	kind := ""
	switch {
	case len(t.TokenCommand) > 0:
		kind = "token"
	case len(secrets) > 0:
		kind = "password"
	case t.ClientCert != "":
		kind = "client certificate"
	}
	needs, known := mechanisms[t.Auth]
	switch {
	case len(secrets) > 1:
		return secrets[1], fmt.Errorf("account %q: write %s or %s, not both", account, secrets[0], secrets[1])
	case t.User == "" && len(secrets) > 0:
		return secrets[0], fmt.Errorf(`account %q has a password but no user; write user = "name"`, account)
	case t.User != "" && len(secrets) == 0 && t.ClientCert == "":
		return "user", fmt.Errorf(`account %q has a user but no password; write password_file = "/path/to/file"`, account)
	case t.Auth != "" && !known:
		return "auth", fmt.Errorf("auth is one of %s, not %q", strings.Join(mechanismNames(), ", "), t.Auth)
	case t.Auth != "" && needs != kind:
		return "auth", fmt.Errorf("auth = %q needs a %s", t.Auth, needs)
	case strings.ContainsAny(t.PasswordCredential, "/\x00") || strings.HasPrefix(t.PasswordCredential, "."):
		return "password_credential", fmt.Errorf("%q is no credential's name", t.PasswordCredential)
	}
	return "", nil
}

func mechanismNames() []string {
	var names []string
	for name := range mechanisms {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Account picks an account: the named one, else the default, else the only one.
// Without any account it returns nil and no error.
func (f *File) Account(name string) (*Account, error) {
	key := toml.Key{"send", "default"}
	if name == "" {
		name = f.Send.Default
	}
	if name != "" {
		if a := f.Send.Accounts[name]; a != nil {
			return a, nil
		}
		return nil, f.errorf(key, "there is no account %q; write [send.account.%s] with a host", name, name)
	}
	if len(f.Send.Accounts) > 1 {
		names := make([]string, 0, len(f.Send.Accounts))
		for n := range f.Send.Accounts {
			names = append(names, n)
		}
		slices.Sort(names)
		return nil, f.errorf(toml.Key{"send"}, "several accounts (%s) and none chosen; write default = %q under [send], or use --account", strings.Join(names, ", "), names[0])
	}
	for _, a := range f.Send.Accounts {
		return a, nil
	}
	return nil, nil
}
