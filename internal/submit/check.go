package submit

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"rtls/internal/cli"
	"rtls/internal/requiretls"
	"rtls/internal/tlsconf"
)

// Finding is what a target turned out to be, without a message.
type Finding struct {
	Target   string // host:port
	StartTLS bool
	Err      *Error // why nothing could be sent there; what follows may be empty then

	TLSVersion uint16 // 0: a Unix socket without TLS, if there is no Err
	Cipher     uint16
	Chain      []string  // subjects, the server's own first
	Expires    time.Time // of the first certificate of the chain to do so
	KeyPin     string    // of the server's key, see tlsconf.KeyPin
	Verified   string    // "authority", "dane" or, if it is not, empty
	Pinned     bool      // a pin was asked for, and matched

	RequireTLS bool
	Size       int64    // the largest message, 0: no limit is known
	Extensions []string // all keywords of the EHLO reply, in alphabetical order
	Mechanisms []string // of authentication that are offered
	Mechanism  string   // the one that would be used; empty: none
	LoggedIn   bool     // with that one, where a login was asked for
}

// Check looks at each target, and says QUIT. It sends nothing but EHLO and STARTTLS,
// and with login what a login takes. Targets that are domains are looked up.
func Check(ctx context.Context, targets []*Target, o Options, login bool) []Finding {
	var all []Finding
	for _, t := range targets {
		found, refused := t.expand(ctx, &o)
		for _, t := range found {
			all = append(all, check(ctx, t, o, login))
		}
		for _, e := range refused {
			all = append(all, Finding{Target: e.Target, Err: e})
		}
	}
	return all
}

func check(ctx context.Context, t *Target, o Options, login bool) Finding {
	f := Finding{Target: t.addr(), StartTLS: t.StartTLS}
	s, err := open(ctx, t, o)
	if err != nil {
		f.Err, _ = errors.AsType[*Error](err)
		return f
	}
	stop := context.AfterFunc(ctx, func() { s.raw.Close() })
	defer stop()
	defer s.bye()
	if conn, ok := s.conn.(*tls.Conn); ok { // open has made sure, unless no TLS is wanted
		f.secured(s, conn.ConnectionState())
	}
	f.session(s)
	if t.Login.wanted() {
		if f.Mechanism, err = s.choose(); err == nil && login {
			if err = s.login(ctx, f.Mechanism); err == nil {
				f.LoggedIn = true
			}
		}
		if err != nil {
			f.Err = s.fail(ctx, err)
		}
	}
	return f
}

// secured notes what TLS has shown.
func (f *Finding) secured(s *session, state tls.ConnectionState) {
	f.TLSVersion, f.Cipher = state.Version, state.CipherSuite
	f.Chain = subjects(state)
	f.KeyPin = tlsconf.KeyPin(state.PeerCertificates[0])
	f.Verified = "authority"
	chain := state.PeerCertificates[:1]
	if s.records != nil {
		f.Verified = "dane"
	} else {
		chain = state.VerifiedChains[0]
	}
	for _, cert := range chain {
		if f.Expires.IsZero() || cert.NotAfter.Before(f.Expires) {
			f.Expires = cert.NotAfter
		}
	}
	f.Pinned = s.target.TLS.VerifyConnection != nil
}

// session notes what the server offers.
func (f *Finding) session(s *session) {
	f.RequireTLS = s.offers(requiretls.Keyword)
	f.Size, _ = strconv.ParseInt(s.extensions["SIZE"], 10, 64)
	f.Mechanisms = strings.Fields(strings.ToUpper(s.extensions["AUTH"]))
	for keyword := range s.extensions {
		f.Extensions = append(f.Extensions, cli.Printable(keyword))
	}
	slices.Sort(f.Extensions)
}

// Fit returns why the target would not take a message with a wish, or nil.
func (f *Finding) Fit(wish requiretls.Wish) error {
	if f.Err != nil {
		return f.Err
	}
	if wish == requiretls.Yes && f.TLSVersion == 0 {
		return noTLS("%s: the server is to be used without TLS", f.Target)
	}
	if wish == requiretls.Yes && !f.RequireTLS {
		return cli.Errorf(cli.Unavailable, "%s: the server does not offer REQUIRETLS", f.Target).WithStatus(requiretls.StatusNoSupport)
	}
	return nil
}
