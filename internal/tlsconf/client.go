package tlsconf

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
)

// ErrPin is the error of a server whose certificates are valid and whose keys are
// none of those that were pinned.
var ErrPin = errors.New("no key of the server's certificates is pinned")

// Pin makes a client accept only servers with a key among pins: base64 of the
// SHA-256 of a SubjectPublicKeyInfo, the form of pin-sha256 in RFC 7469. The key can
// be that of any certificate in the chain that was verified. A pin comes on top of
// the verification; it is never in its place (RFC 8314 section 5.4).
func Pin(c *tls.Config, pins []string) error {
	for _, pin := range pins {
		if hash, err := base64.StdEncoding.DecodeString(pin); err != nil || len(hash) != sha256.Size {
			return fmt.Errorf("%q is no pin: one is the base64 of a SHA-256, 44 characters", pin)
		}
	}
	pins = slices.Clone(pins)
	alsoVerify(c, func(state tls.ConnectionState) error {
		for _, chain := range trusted(state) {
			for _, cert := range chain {
				if slices.Contains(pins, KeyPin(cert)) {
					return nil
				}
			}
		}
		return ErrPin
	})
	return nil
}

// KeyPin is the pin of a certificate's key.
func KeyPin(cert *x509.Certificate) string {
	hash := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(hash[:])
}

// trusted is the chains that were verified. With DANE there are none, and only the
// server's own certificate is known to be the server's.
func trusted(state tls.ConnectionState) [][]*x509.Certificate {
	if len(state.VerifiedChains) > 0 || len(state.PeerCertificates) == 0 {
		return state.VerifiedChains
	}
	return [][]*x509.Certificate{state.PeerCertificates[:1]}
}

// alsoVerify adds a check to those that a handshake has to pass.
func alsoVerify(c *tls.Config, check func(tls.ConnectionState) error) {
	before := c.VerifyConnection
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if before != nil {
			if err := before(state); err != nil {
				return err
			}
		}
		return check(state)
	}
}

// Present lets a client show a certificate to servers that ask for one.
func Present(c *tls.Config, certFile, keyFile string) error {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return fmt.Errorf("client certificate %s with key %s: %w", certFile, keyFile, err)
	}
	c.Certificates = []tls.Certificate{cert}
	return nil
}

// Only13 makes a peer refuse whatever is older than TLS 1.3.
func Only13(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }
