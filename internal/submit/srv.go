package submit

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"strings"

	"rtls/internal/cli"
)

// services are asked in this order: implicit TLS first (RFC 8314 section 5.1).
var services = []struct {
	name     string
	startTLS bool
}{{"submissions", false}, {"submission", true}}

// maxHosts is how many hosts of a domain are tried. Whoever writes its DNS decides how
// long a message is under way, but not for ever.
const maxHosts = 16

// expand replaces a target that is a domain by the hosts that the domain's SRV
// records name, in the order in which they are to be tried. A host that may not be
// trusted comes as an error in its place.
func (t *Target) expand(ctx context.Context, o *Options) ([]*Target, []*Error) {
	if t.SRV == "" || t.Host != "" {
		return []*Target{t}, nil
	}
	fail := func(e *cli.Error) []*Error {
		e.Err = errorAt(t.addr(), e.Err)
		return []*Error{{Target: t.addr(), err: e}}
	}
	if o.Resolver == nil {
		return nil, fail(cli.Errorf(cli.Config, "SRV without a resolver"))
	}
	var targets []*Target
	var refused []*Error
	for _, service := range services {
		records, proven, err := o.Resolver.SRV(ctx, service.name, t.SRV)
		if err != nil {
			return nil, fail(cli.Errorf(cli.TempFail, "the domain's SRV records cannot be looked up, nothing was sent: %w", bare(err)).WithStatus("4.4.3"))
		}
		for _, r := range orderSRV(records, rand.IntN) {
			host := strings.TrimSuffix(r.Target, ".")
			if host == "" {
				continue // the service is not offered (RFC 2782)
			}
			next := t.at(host, int(r.Port), service.startTLS)
			if !proven && !t.mayPoint(host) {
				refused = append(refused, next.outside(t.SRV))
				continue
			}
			targets = append(targets, next)
		}
	}
	if len(targets) == 0 && len(refused) == 0 {
		return nil, fail(cli.Errorf(cli.NoHost, "the domain has no SRV records of a submission server").WithStatus("5.4.4"))
	}
	return targets[:min(len(targets), maxHosts)], refused[:min(len(refused), maxHosts)]
}

// at is the target with a host of its domain. The certificate has to be for the host.
func (t *Target) at(host string, port int, startTLS bool) *Target {
	next := *t
	next.Host, next.Port, next.StartTLS = host, port, startTLS
	next.TLS = t.TLS.Clone()
	next.TLS.ServerName = host
	return &next
}

// mayPoint says whether records that are not proven may name a host: it is in the
// domain, so that only the domain's owner gets a certificate for it, or was allowed
// by name. Otherwise whoever forges an answer could have a certificate of his own
// (RFC 6186 section 6).
func (t *Target) mayPoint(host string) bool {
	host, domain := strings.ToLower(host), strings.ToLower(strings.TrimSuffix(t.SRV, "."))
	if host == domain || strings.HasSuffix(host, "."+domain) {
		return true
	}
	return slices.ContainsFunc(t.SRVAllow, func(allowed string) bool { return strings.EqualFold(strings.TrimSuffix(allowed, "."), host) })
}

func (t *Target) outside(domain string) *Error {
	e := cli.Errorf(cli.Unavailable, "the SRV records of %s name this host outside the domain, and DNSSEC does not prove them; nothing was sent", domain).
		WithStatus("5.7.5").WithHint("if it is the right one, write it into srv_allow")
	e.Err = errorAt(t.addr(), e.Err)
	return &Error{Target: t.addr(), err: e}
}

// orderSRV puts records in the order of RFC 2782: by priority, and within one at
// random, with a chance as large as the weight.
func orderSRV(records []net.SRV, random func(n int) int) []net.SRV {
	rest := slices.Clone(records)
	// Those without weight go first, so that they have a small chance to be picked.
	slices.SortStableFunc(rest, func(a, b net.SRV) int {
		if a.Priority != b.Priority {
			return int(a.Priority) - int(b.Priority)
		}
		return min(int(a.Weight), 1) - min(int(b.Weight), 1)
	})
	var out []net.SRV
	for len(rest) > 0 {
		n, sum := 0, 0
		for n < len(rest) && rest[n].Priority == rest[0].Priority {
			sum += int(rest[n].Weight)
			n++
		}
		at, pick := 0, random(sum+1)
		for at < n-1 && pick > int(rest[at].Weight) {
			pick -= int(rest[at].Weight)
			at++
		}
		out = append(out, rest[at])
		rest = slices.Delete(rest, at, at+1)
	}
	return out
}
