// Package resolve asks a resolver, and says of each answer whether it was proven by
// DNSSEC. The standard library's resolver cannot say so.
package resolve

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"rtls/internal/tlsconf"
)

// SystemConfig is the file that says which resolver the system has.
const SystemConfig = "/etc/resolv.conf"

// Client asks one resolver or another. It is safe for concurrent use.
type Client struct {
	servers []string // host:port, asked in order
	trusted bool     // whether their word on DNSSEC counts
	timeout time.Duration
}

// New returns a client of the resolver at addr, an IP address with a port or
// without. A resolver is believed about DNSSEC if it is on this host: from another
// one anybody on the way could have sent the answer.
func New(addr string) (*Client, error) {
	if _, err := netip.ParseAddr(addr); err == nil {
		addr = net.JoinHostPort(addr, "53")
	}
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("a resolver is an IP address with or without a port, not %q", addr)
	}
	return &Client{servers: []string{addr}, trusted: at.Addr().IsLoopback(), timeout: timeout}, nil
}

const timeout = 5 * time.Second

// System reads the system's resolvers from a file like SystemConfig. They are
// believed about DNSSEC if all are on this host, or if the file says "options
// trust-ad".
func System(path string) (*Client, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the resolver's configuration: %w", err)
	}
	c := &Client{timeout: timeout}
	local := true
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) < 2:
		case fields[0] == "nameserver":
			addr, err := netip.ParseAddr(fields[1])
			if err != nil {
				continue
			}
			c.servers = append(c.servers, net.JoinHostPort(addr.String(), "53"))
			local = local && addr.IsLoopback()
		case fields[0] == "options" && slices.Contains(fields[1:], "trust-ad"):
			c.trusted = true
		}
	}
	if len(c.servers) == 0 {
		return nil, fmt.Errorf("%s names no resolver", path)
	}
	c.trusted = c.trusted || local
	return c, nil
}

// Trusted says whether answers can be proven at all.
func (c *Client) Trusted() bool { return c.trusted }

// answer asks for the records of a name. A name without any is no error. Proven
// says that the resolver has verified the answer, or that there is none.
func (c *Client) answer(ctx context.Context, name string, kind uint16) (records []dns.RR, proven bool, err error) {
	var last error
	for _, server := range c.servers {
		reply, err := c.exchange(ctx, server, name, kind)
		if err != nil {
			last = err
			continue
		}
		switch reply.Rcode {
		case dns.RcodeSuccess, dns.RcodeNameError:
			return reply.Answer, c.trusted && reply.AuthenticatedData, nil
		}
		last = errors.New(dns.RcodeToString[reply.Rcode])
	}
	return nil, false, &net.DNSError{Err: last.Error(), Name: name, IsTemporary: true}
}

// exchange sends a question, over TCP if the answer does not fit into a datagram.
func (c *Client) exchange(ctx context.Context, server, name string, kind uint16) (*dns.Msg, error) {
	question := new(dns.Msg)
	question.SetQuestion(dns.Fqdn(name), kind)
	question.AuthenticatedData = true  // we want to know (RFC 6840 section 5.7)
	question.SetEdns0(1232, c.trusted) // and some resolvers take DO for that only
	client := dns.Client{Timeout: c.timeout, UDPSize: 1232}
	reply, _, err := client.ExchangeContext(ctx, question, server)
	if err == nil && reply.Truncated {
		client.Net = "tcp"
		reply, _, err = client.ExchangeContext(ctx, question, server)
	}
	if err != nil {
		return nil, err
	}
	if len(reply.Question) != 1 || !strings.EqualFold(reply.Question[0].Name, dns.Fqdn(name)) || reply.Question[0].Qtype != kind {
		return nil, errors.New("the answer is to another question")
	}
	return reply, nil
}

// SRV returns the records of a service at a domain, as they came.
func (c *Client) SRV(ctx context.Context, service, domain string) (records []net.SRV, proven bool, err error) {
	found, proven, err := c.answer(ctx, "_"+service+"._tcp."+domain, dns.TypeSRV)
	for _, rr := range found {
		if r, ok := rr.(*dns.SRV); ok {
			records = append(records, net.SRV{Target: r.Target, Port: r.Port, Priority: r.Priority, Weight: r.Weight})
		}
	}
	return records, proven, err
}

// TLSA returns the records for a port of a host.
func (c *Client) TLSA(ctx context.Context, host string, port int) (records []tlsconf.TLSA, proven bool, err error) {
	found, proven, err := c.answer(ctx, fmt.Sprintf("_%d._tcp.%s", port, host), dns.TypeTLSA)
	for _, rr := range found {
		r, ok := rr.(*dns.TLSA)
		if !ok {
			continue
		}
		data, err := hex.DecodeString(r.Certificate)
		if err != nil {
			continue
		}
		records = append(records, tlsconf.TLSA{Usage: r.Usage, Selector: r.Selector, Matching: r.MatchingType, Data: data})
	}
	return records, proven, err
}

// MX returns a domain's mail exchangers, best first.
func (c *Client) MX(ctx context.Context, domain string) (records []net.MX, proven bool, err error) {
	found, proven, err := c.answer(ctx, domain, dns.TypeMX)
	for _, rr := range found {
		if r, ok := rr.(*dns.MX); ok {
			records = append(records, net.MX{Host: r.Mx, Pref: r.Preference})
		}
	}
	slices.SortStableFunc(records, func(a, b net.MX) int { return cmp.Compare(a.Pref, b.Pref) })
	return records, proven, err
}

// TXT returns the texts of a name, each in one piece.
func (c *Client) TXT(ctx context.Context, name string) (texts []string, proven bool, err error) {
	found, proven, err := c.answer(ctx, name, dns.TypeTXT)
	for _, rr := range found {
		if r, ok := rr.(*dns.TXT); ok {
			texts = append(texts, strings.Join(r.Txt, ""))
		}
	}
	return texts, proven, err
}

// Addresses is a resolver for dialing that asks the same servers. Of several it asks
// the one whose turn the standard library says it is: both know the system's.
func (c *Client) Addresses() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if !slices.Contains(c.servers, addr) {
			addr = c.servers[0]
		}
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}}
}
