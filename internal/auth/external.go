package auth

import (
	"context"
	"crypto/x509"
	"slices"
)

// UsersByEmail returns the users that a client's certificate stands for: its e-mail
// addresses (RFC 5280 section 4.2.1.6).
func UsersByEmail(cert *x509.Certificate) []string { return cert.EmailAddresses }

// UsersBySubject returns the user that a client's certificate stands for: the common
// name of its subject.
func UsersBySubject(cert *x509.Certificate) []string {
	if cert.Subject.CommonName == "" {
		return nil
	}
	return []string{cert.Subject.CommonName}
}

// certified are the users that the peer can be without a password. The handshake has
// verified its certificate, or there is none.
func (g *Gate) certified(p Peer) []string {
	if g.CertificateUsers == nil || p.TLS == nil || len(p.TLS.VerifiedChains) == 0 {
		return nil
	}
	return g.CertificateUsers(p.TLS.VerifiedChains[0][0])
}

// external is EXTERNAL (RFC 4422 appendix A): the client's certificate says who it
// can be. Nobody can guess here, so it takes no time.
type external struct {
	gate  *Gate
	names []string
	login Login
}

func (x *external) Login() Login { return x.login }

// Next reads the authorization identity. A client that names none is who its
// certificate says, if that is one user.
func (x *external) Next(_ context.Context, response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte{}, false, nil
	}
	x.login.User = string(response)
	switch {
	case len(response) == 0 && len(x.names) == 1:
		x.login.User = x.names[0]
	case !slices.Contains(x.names, x.login.User):
		return nil, false, ErrAuthorization
	}
	ok, err := x.gate.Admits(x.login.User)
	switch {
	case err != nil:
		return nil, false, err
	case !ok:
		return nil, false, ErrCredentials
	}
	return nil, true, nil
}
