package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"rtls/internal/cli"
	"rtls/internal/compose"
	"rtls/internal/mtasts"
	"rtls/internal/requiretls"
	"rtls/internal/resolve"
	"rtls/internal/submit"
	"rtls/internal/tlsconf"
)

// exchangers is what --check --mx says of a domain.
type exchangers struct {
	Domain   string     `json:"domain"`
	Error    string     `json:"error,omitempty"`
	Proven   bool       `json:"mx_dnssec"`
	Mode     string     `json:"mta_sts,omitempty"` // of the policy, or empty
	PolicyID string     `json:"mta_sts_id,omitempty"`
	STSError string     `json:"mta_sts_error,omitempty"`
	Hosts    []exchange `json:"mx,omitempty"`
}

// exchange is one mail exchanger.
type exchange struct {
	report
	Listed bool `json:"mta_sts_listed"`
	// Takes says whether a server on the way that keeps to RFC 8689 section 4.2.1
	// would hand it a message with REQUIRETLS.
	Takes bool `json:"takes_requiretls"`
}

func (e exchangers) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n    %-11s %s\n", e.Domain, "MX", map[bool]string{true: "proven by DNSSEC", false: "not proven by DNSSEC"}[e.Proven])
	switch {
	case e.Mode != "":
		fmt.Fprintf(&b, "    %-11s %s, id %s\n", "MTA-STS", e.Mode, e.PolicyID)
	default:
		fmt.Fprintf(&b, "    %-11s %s\n", "MTA-STS", orNone(e.STSError))
	}
	if e.Error != "" {
		fmt.Fprintf(&b, "    %-11s %s\n", "error", e.Error)
	}
	for _, host := range e.Hosts {
		b.WriteString(host.text())
		fmt.Fprintf(&b, "    %-11s %s\n", "listed", yesNo(host.Listed))
		fmt.Fprintf(&b, "    %-11s %s\n", "takes", yesNo(host.Takes))
	}
	return printable(b.String())
}

// mxChecker looks at the mail exchangers of domains.
type mxChecker struct {
	resolver *resolve.Client
	options  submit.Options
	port     int
	trust    func(name string) (*tls.Config, error) // verifies a server of a name
}

// checkExchangers is --check --mx. It needs no account.
func checkExchangers(ctx context.Context, env cli.Env, o *options) error {
	file, _, err := loadConfig(env, o)
	if err != nil {
		return cli.Errorf(cli.Config, "%w", err)
	}
	s := &settings{}
	if err := s.names(file.Hostname); err != nil {
		return err
	}
	c := &mxChecker{port: o.port, trust: func(name string) (*tls.Config, error) { return tlsconf.Client("", name) }}
	if c.port == 0 {
		c.port = 25
	}
	if file.Send.Resolver != "" {
		c.resolver, err = resolve.New(file.Send.Resolver)
	} else {
		c.resolver, err = resolve.System(resolve.SystemConfig)
	}
	if err != nil {
		return cli.Errorf(cli.OSErr, "%w", err)
	}
	direct, err := submit.Direct("", c.resolver.Addresses())
	if err != nil {
		return cli.Errorf(cli.Config, "%w", err)
	}
	c.options = submit.Options{Hostname: s.heloName, Timeouts: o.timeouts, Resolver: c.resolver, Dial: direct}
	if o.verbose || o.log != nil {
		c.options.Trace = func(line string) { o.trace(env, cli.Printable(line)) }
	}
	missing := false
	for _, name := range o.recipients {
		domain, err := domainOf(name)
		if err != nil {
			return cli.Errorf(cli.Usage, "%w", err)
		}
		found := c.domain(ctx, domain)
		if err := writeReport(env, o, found); err != nil {
			return err
		}
		missing = missing || !found.takes()
	}
	if missing {
		return cli.Errorf(cli.Unavailable, "not every domain has a mail exchanger that takes messages with REQUIRETLS")
	}
	return nil
}

func domainOf(name string) (string, error) {
	domain := name[strings.LastIndexByte(name, '@')+1:]
	if _, err := compose.ParseAddress("postmaster@" + domain); err != nil {
		return "", fmt.Errorf("%q is no address and no domain", name)
	}
	return strings.ToLower(strings.TrimSuffix(domain, ".")), nil
}

func (e *exchangers) takes() bool {
	for _, host := range e.Hosts {
		if host.Takes {
			return true
		}
	}
	return false
}

func (c *mxChecker) domain(ctx context.Context, domain string) exchangers {
	e := exchangers{Domain: domain}
	records, proven, err := c.resolver.MX(ctx, domain)
	if err != nil {
		e.Error = err.Error()
		return e
	}
	e.Proven = proven
	if len(records) == 0 {
		records = []net.MX{{Host: domain}} // RFC 5321 section 5.1
	}
	policy := c.policy(ctx, &e)
	for _, mx := range records {
		host := strings.TrimSuffix(mx.Host, ".")
		if host == "" {
			e.Error = "the domain takes no mail (RFC 7505)"
			continue
		}
		e.Hosts = append(e.Hosts, c.host(ctx, &e, host, policy))
	}
	return e
}

// policy gets the domain's MTA-STS policy, or nil.
func (c *mxChecker) policy(ctx context.Context, e *exchangers) *mtasts.Policy {
	config, err := c.trust("")
	if err != nil {
		e.STSError = err.Error()
		return nil
	}
	fetcher := &mtasts.Fetcher{
		TXT: func(ctx context.Context, name string) ([]string, error) {
			texts, _, err := c.resolver.TXT(ctx, name)
			return texts, err
		},
		TLS:  config,
		Dial: c.options.Dial,
	}
	policy, err := fetcher.Fetch(ctx, e.Domain)
	if err != nil {
		if !errors.Is(err, mtasts.ErrNone) {
			e.STSError = err.Error()
		}
		return nil
	}
	e.Mode, e.PolicyID = policy.Mode, policy.ID
	return policy
}

// host looks at one mail exchanger. Its name has to be genuine, by DNSSEC or by a
// policy that is enforced, and the server verified and able. Such a policy that does not
// list it rules it out (RFC 8461 section 5).
func (c *mxChecker) host(ctx context.Context, e *exchangers, name string, policy *mtasts.Policy) exchange {
	config, err := c.trust(name)
	if err != nil {
		return exchange{report: report{Target: name, Error: err.Error()}}
	}
	target := &submit.Target{Host: name, Port: c.port, StartTLS: true, TLS: config, DANE: c.resolver.Trusted()}
	found := submit.Check(ctx, []*submit.Target{target}, c.options, false)[0]
	x := exchange{report: reportOf(&found), Listed: policy != nil && policy.Lists(name)}
	genuine := e.Proven
	if policy != nil && policy.Mode == "enforce" {
		genuine = x.Listed
	}
	x.Takes = genuine && found.Fit(requiretls.Yes) == nil
	return x
}
