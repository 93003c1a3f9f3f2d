package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"rtls/internal/cli"
	"rtls/internal/compose"
	"rtls/internal/config"
	"rtls/internal/requiretls"
	"rtls/internal/resolve"
	"rtls/internal/tlsconf"
)

// finder is how --configure looks for servers.
type finder struct {
	srv     func(ctx context.Context, service, domain string) ([]net.SRV, bool, error)
	connect func(ctx context.Context, addr string) (net.Conn, error)
	trust   func(host string) (*tls.Config, error)
	ask     func(ctx context.Context, prompt string, hidden bool) (string, error) // nil: nobody is there
}

// newFinder asks the configured resolver, else the system's.
func newFinder(env cli.Env, o *options) (*finder, error) {
	file, _, err := loadConfig(env, o)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, cli.Errorf(cli.Config, "%w", err)
	}
	var client *resolve.Client
	if file != nil && file.Send.Resolver != "" {
		client, err = resolve.New(file.Send.Resolver)
	} else {
		client, err = resolve.System(resolve.SystemConfig)
	}
	if err != nil {
		return nil, cli.Errorf(cli.OSErr, "%w", err)
	}
	return &finder{
		srv: client.SRV,
		connect: func(ctx context.Context, addr string) (net.Conn, error) {
			return (&net.Dialer{Resolver: client.Addresses()}).DialContext(ctx, "tcp", addr)
		},
		trust: func(host string) (*tls.Config, error) { return tlsconf.Client("", host) },
		ask:   atTerminal(env),
	}, nil
}

// candidate is a place where a submission server may be.
type candidate struct {
	host     string
	port     int
	starttls bool
	outside  bool // named by DNS that nobody has proven, and not of the address's domain
}

func (c candidate) addr() string { return net.JoinHostPort(c.host, strconv.Itoa(c.port)) }

func (c candidate) mode() string {
	if c.starttls {
		return "starttls"
	}
	return "implicit"
}

// probeTimeout bounds the talk with one candidate.
const probeTimeout = 10 * time.Second

// configure finds a server for an address, tries it and writes a configuration. At a
// terminal it asks for the password, too. With --pretend it prints the configuration, and
// asks for nothing.
func configure(ctx context.Context, env cli.Env, o *options, find *finder) error {
	addr, err := compose.ParseAddress(o.configure)
	if err != nil || compose.Domain(addr) == "" {
		return cli.Errorf(cli.Usage, "%q is not an address", o.configure)
	}
	path := o.config
	if path == "" {
		path = configPaths(env)[0]
	}
	if _, err := os.Lstat(path); !o.pretend && err == nil {
		return cli.Errorf(cli.CantCreate, "%s exists", path).WithHint("with --pretend the new configuration is printed instead")
	}
	if file, ok := map[string]string{"file": passwordFile, "systemd": credentialFile}[o.passwordIn]; ok && !o.pretend && find.ask != nil {
		secret := filepath.Join(filepath.Dir(path), file)
		if _, err := os.Lstat(secret); err == nil {
			return cli.Errorf(cli.CantCreate, "%s exists, which would hold the password", secret)
		}
	}
	for _, c := range find.wanted(ctx, o, addr) {
		found, err := find.probe(ctx, c)
		if err != nil {
			fmt.Fprintf(env.Stderr, "%s: %s, %s: %s\n", name, c.addr(), c.mode(), cli.Printable(err.Error()))
			continue
		}
		if o.pretend {
			return say(env.Stdout, c.configuration(addr, found, addr, laterPassword))
		}
		l, err := find.login(ctx, env, addr, c, found)
		if errors.Is(err, errNotTheirs) {
			continue
		}
		if err != nil {
			return err
		}
		return c.settle(ctx, env, o, path, addr, found, l)
	}
	return cli.Errorf(cli.NoHost, "no submission server was found for %s", compose.Domain(addr)).
		WithHint("ask who runs the mail of that domain, and write host and port by hand; see rtls.toml(5)")
}

// laterPassword is for a password that nobody was there to give.
const laterPassword = "password_file = \"~/.config/rtls/password\" # one line, mode 0600"

// settle writes the configuration and, if there is one, the password, which is there
// first.
func (c candidate) settle(ctx context.Context, env cli.Env, o *options, path, addr string, found *offer, l login) error {
	line, todo := laterPassword, "put the password into the file that it names, then try it with "+name+" --check --login"
	user := addr
	switch {
	case l.user != "":
		user = l.user
		var err error
		if line, todo, err = keepPassword(ctx, o.passwordIn, path, c.host, l); err != nil {
			return err
		}
	case !found.auth:
		todo = ""
	}
	check := func(path string) error { _, err := config.Load(path); return err }
	if err := writeNew(path, c.configuration(addr, found, user, line), check); err != nil {
		return cli.Errorf(cli.CantCreate, "%w", err)
	}
	text := path + " written"
	if l.user != "" {
		text += "; the login works"
	}
	if todo != "" {
		text += "; " + todo
	}
	return say(env.Stdout, text+"\n")
}

// wanted is the server that the flags name, else the candidates.
func (f *finder) wanted(ctx context.Context, o *options, addr string) []candidate {
	if o.host == "" {
		return f.candidates(ctx, compose.Domain(addr))
	}
	named := []candidate{{host: o.host, port: 465}, {host: o.host, port: 587, starttls: true}}
	if o.tls != "" {
		named = slices.DeleteFunc(named, func(c candidate) bool { return c.mode() != o.tls })
	} else if o.port != 0 {
		named = named[:1]
		named[0].starttls = o.port == 587
	}
	if o.port != 0 {
		named[0].port = o.port
	}
	return named
}

// candidates is what DNS says, implicit TLS first (RFC 8314 section 5.1), then the
// names that are in use everywhere.
func (f *finder) candidates(ctx context.Context, domain string) []candidate {
	var all []candidate
	for _, service := range []string{"submissions", "submission"} {
		records, proven, err := f.srv(ctx, service, domain)
		if err != nil {
			continue
		}
		slices.SortStableFunc(records, func(a, b net.SRV) int { return int(a.Priority) - int(b.Priority) })
		for _, r := range records {
			host := strings.TrimSuffix(r.Target, ".")
			if host == "" { // "." means that there is no such service (RFC 6186 section 3.4)
				continue
			}
			inside := strings.EqualFold(host, domain) || strings.HasSuffix(strings.ToLower(host), "."+strings.ToLower(domain))
			all = append(all, candidate{host, int(r.Port), service == "submission", !inside && !proven})
		}
	}
	for _, host := range []string{"smtp." + domain, "mail." + domain, domain} {
		all = append(all, candidate{host: host, port: 465}, candidate{host: host, port: 587, starttls: true})
	}
	return all
}

// offer is what a server said inside verified TLS.
type offer struct{ requireTLS, auth bool }

// probe makes sure that a server is there, is who it should be, and takes mail.
func (f *finder) probe(ctx context.Context, c candidate) (*offer, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conf, err := f.trust(c.host)
	if err != nil {
		return nil, err
	}
	conn, err := f.connect(ctx, c.addr())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(probeTimeout)); err != nil {
		return nil, err
	}
	var client *smtp.Client
	if c.starttls {
		if client, err = smtp.NewClientStartTLS(conn, conf); err != nil {
			return nil, err
		}
	} else {
		secure := tls.Client(conn, conf)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		client = smtp.NewClient(secure)
	}
	defer client.Close()
	found := &offer{}
	if err := client.Noop(); err != nil { // says EHLO before
		return nil, err
	}
	found.requireTLS, _ = client.Extension(requiretls.Keyword)
	found.auth, _ = client.Extension("AUTH")
	_ = client.Quit() // all that was to be known is known
	return found, nil
}

// configuration is the text. Secret is the line about the password.
func (c candidate) configuration(addr string, found *offer, user, secret string) string {
	var b strings.Builder
	b.WriteString("# See rtls.toml(5).\n")
	if c.outside {
		fmt.Fprintf(&b, "# DNS named this server for %s, without DNSSEC: make sure that it is theirs.\n", compose.Domain(addr))
	}
	fmt.Fprintf(&b, "[send.account.default]\nfrom = %s\nhost = %s\nport = %d\ntls = %q\n", config.Quote(addr), config.Quote(c.host), c.port, c.mode())
	if found.auth {
		fmt.Fprintf(&b, "user = %s\n%s\n", config.Quote(user), secret)
	}
	if !found.requireTLS {
		b.WriteString("# The server does not offer REQUIRETLS. As long as the wish is \"yes\", which is the\n# default, nothing is sent. \"auto\" sends over verified TLS to this server and asks\n# for nothing on the way behind it.\n# requiretls = \"auto\"\n")
	}
	return b.String()
}

// writeNew writes a file of mode 0600 that check has looked at, and never over another
// one.
func writeNew(path, text string, check func(path string) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".rtls-") // has mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if check != nil {
		if err := check(f.Name()); err != nil {
			return err
		}
	}
	if err := os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists", path)
	} else if err != nil {
		return err
	}
	return nil
}
