package config

import (
	"net"
	"net/url"
	"path/filepath"
	"slices"

	"github.com/BurntSushi/toml"
)

// IMAPD configures rtls-imapd.
type IMAPD struct {
	Listen     []string `toml:"listen"`          // default ":993"; implicit TLS always
	StartTLS   []string `toml:"listen_starttls"` // addresses where clients have to say STARTTLS before anything else; default: none
	Cert       string   `toml:"cert"`
	Key        string   `toml:"key"`
	State      string   `toml:"state"`       // directory of what survives a restart; default: see StateDir
	Mechanisms []string `toml:"mechanisms"`  // of SASL; default: those that are good for all users
	ClientCA   string   `toml:"client_ca"`   // PEM file of an authority; its certificates are a way to log in
	ClientName string   `toml:"client_name"` // what on them is the user: "email" (default) or "subject"
	Compress   bool     `toml:"compress"`    // offer COMPRESS=DEFLATE
	Control    string   `toml:"control"`     // path of a Unix socket for who and kick; default: none
	Admin      string   `toml:"admin"`       // a URI that reaches the administrator; default: none
	Domains    []Domain `toml:"domain"`      // certificates for other names; default: the one above is for all

	CheckPassword []string `toml:"checkpassword"`  // argv of a program that knows passwords, see auth.Command
	CheckerSocket string   `toml:"checker_socket"` // the same behind a Unix socket, see auth.Socket
	PAM           string   `toml:"pam"`            // the same by PAM: a service
	OAuth         *OAuth   `toml:"oauth"`          // tokens to log in with; default: none

	// Limits; 0 stands for the default.
	MaxConnections int  `toml:"max_connections"` // at once, before and after login; 2000
	MaxPerAddress  int  `toml:"max_per_address"` // of one address before login; 50
	MaxPerUser     int  `toml:"max_per_user"`    // sessions; 50
	MaxMessage     Size `toml:"max_message"`     // octets that APPEND takes; 100M
	LoginTime      Span `toml:"login_time"`      // for the handshake, and for logging in behind it; 30s and 1m
	StallTime      Span `toml:"stall_time"`      // without progress inside a command, and in sending; 5m and 2m
	SearchTime     Span `toml:"search_time"`     // of a search; 5m
}

// CheckIMAPD makes sure that rtls-imapd has what it needs.
func (f *File) CheckIMAPD() error {
	if err := f.checkLogins(); err != nil {
		return err
	}
	for key, list := range map[string][]string{
		"listen": f.IMAPD.Listen, "listen_starttls": f.IMAPD.StartTLS, "mechanisms": f.IMAPD.Mechanisms, "checkpassword": f.IMAPD.CheckPassword,
	} {
		if len(list) == 0 && f.says("imapd", key) {
			return f.errorf(toml.Key{"imapd", key}, "%s has nothing in it; leave it out for the default", key)
		}
	}
	if err := f.checkListen("listen", f.IMAPD.Listen); err != nil {
		return err
	}
	if err := f.checkListen("listen_starttls", f.IMAPD.StartTLS); err != nil {
		return err
	}
	if err := f.checkDomains(); err != nil {
		return err
	}
	if c := f.IMAPD.Control; c != "" && (!filepath.IsAbs(c) || len(c) > 107) {
		return f.errorf(toml.Key{"imapd", "control"}, "control is an absolute path of at most 107 octets, not %q", c)
	}
	if u, err := url.Parse(f.IMAPD.Admin); f.IMAPD.Admin != "" && (err != nil || u.Scheme == "" || u.Opaque+u.Host+u.Path == "") {
		return f.errorf(toml.Key{"imapd", "admin"}, `admin is a URI, like "mailto:postmaster@example.org", not %q`, f.IMAPD.Admin)
	}
	if err := f.checkLimits(); err != nil {
		return err
	}
	if err := f.checkClients(); err != nil {
		return err
	}
	if f.IMAPD.State != "" && !filepath.IsAbs(f.IMAPD.State) {
		return f.errorf(toml.Key{"imapd", "state"}, "state is an absolute path, not %q", f.IMAPD.State)
	}
	return f.checkCert("imapd", f.IMAPD.Cert, f.IMAPD.Key)
}

func (f *File) checkListen(key string, addresses []string) error {
	for _, addr := range addresses {
		_, port, err := net.SplitHostPort(addr)
		if err == nil && port != "" {
			_, err = net.LookupPort("tcp", port)
		}
		if err != nil || port == "" {
			return f.errorf(toml.Key{"imapd", key}, `%s is a list of "host:port", not %q`, key, addr)
		}
	}
	return nil
}

func (f *File) checkLimits() error {
	for key, n := range map[string]int64{
		"max_connections": int64(f.IMAPD.MaxConnections), "max_per_address": int64(f.IMAPD.MaxPerAddress),
		"max_per_user": int64(f.IMAPD.MaxPerUser), "max_message": int64(f.IMAPD.MaxMessage),
	} {
		if n < 0 || n == 0 && f.says("imapd", key) {
			return f.errorf(toml.Key{"imapd", key}, "%s is a positive number, not %d", key, n)
		}
	}
	return nil
}

// checkClients makes sure that what is said of clients' certificates fits together.
func (f *File) checkClients() error {
	i := &f.IMAPD
	at := func(key string) toml.Key { return toml.Key{"imapd", key} }
	switch {
	case i.ClientName != "" && i.ClientName != "email" && i.ClientName != "subject":
		return f.errorf(at("client_name"), `client_name is "email" or "subject", not %q`, i.ClientName)
	case i.ClientCA == "" && i.ClientName != "":
		return f.errorf(at("client_name"), "client_name takes client_ca, the authority of the certificates")
	case i.ClientCA == "" && slices.Contains(i.Mechanisms, "EXTERNAL"):
		return f.errorf(at("mechanisms"), "the mechanism EXTERNAL takes client_ca, the authority of clients' certificates")
	}
	return nil
}

// CheckMechanisms makes sure that the mechanisms that are named exist.
func (f *File) CheckMechanisms(known func(name string) bool) error {
	for _, name := range f.IMAPD.Mechanisms {
		if !known(name) {
			return f.errorf(toml.Key{"imapd", "mechanisms"}, "there is no mechanism %q; see rtls.toml(5) for those there are", name)
		}
	}
	return nil
}

// StateDir is where rtls-imapd remembers things from one run to the next. No user has
// a name like the default's.
func (f *File) StateDir() string {
	if f.IMAPD.State != "" {
		return f.IMAPD.State
	}
	return filepath.Join(f.Store.Root, ".imapd")
}
