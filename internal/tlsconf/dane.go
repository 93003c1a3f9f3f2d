package tlsconf

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
)

// TLSA is a record of RFC 6698. Whoever hands one over has to know by DNSSEC that it
// is the domain owner's.
type TLSA struct {
	Usage    uint8 // 2: an authority of the chain, 3: the server's own certificate
	Selector uint8 // 0: the certificate, 1: its key
	Matching uint8 // 0: as it is, 1: SHA-256, 2: SHA-512
	Data     []byte
}

// Usable says whether SMTP can use a record. The usages 0 and 1 have no meaning
// there (RFC 7672 section 3.1.3).
func (r TLSA) Usable() bool {
	sizes := map[uint8]int{1: sha256.Size, 2: sha512.Size}
	size, hashed := sizes[r.Matching]
	return (r.Usage == 2 || r.Usage == 3) && r.Selector <= 1 &&
		(r.Matching == 0 && len(r.Data) > 0 || hashed && len(r.Data) == size)
}

// matches compares a certificate with the record.
func (r TLSA) matches(cert *x509.Certificate) bool {
	data := cert.Raw
	if r.Selector == 1 {
		data = cert.RawSubjectPublicKeyInfo
	}
	switch r.Matching {
	case 1:
		sum := sha256.Sum256(data)
		data = sum[:]
	case 2:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return bytes.Equal(data, r.Data)
}

// ErrDANE is the error of a server that none of the records is about.
var ErrDANE = errors.New("the server's certificate is not the one of its TLSA records")

// DANE returns a copy of c that accepts what VerifyDANE accepts, and nothing else:
// there is no falling back to the authorities of c (RFC 7672 section 2.2). Of the
// records at least one has to be usable.
func DANE(c *tls.Config, records []TLSA) (*tls.Config, error) {
	if !slices.ContainsFunc(records, TLSA.Usable) {
		return nil, errors.New("none of the TLSA records is usable")
	}
	name, inner := c.ServerName, c.VerifyConnection
	c = c.Clone()
	// The one place where the library's verification is off, because it knows
	// authorities only. The check that takes its place is set in the same breath.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if err := VerifyDANE(state, records, name); err != nil {
			return err
		}
		if inner != nil {
			return inner(state)
		}
		return nil
	}
	return c, nil
}

// VerifyDANE checks a server's certificates against TLSA records. With usage 3 the
// record says all: name and dates of the certificate do not count (RFC 7672 section
// 3.1.1). With usage 2 the chain has to lead to the authority of the record, and the
// certificate has to be valid for the name (section 3.1.2).
func VerifyDANE(state tls.ConnectionState, records []TLSA, name string) error {
	if len(state.PeerCertificates) == 0 {
		return ErrDANE
	}
	server, sent := state.PeerCertificates[0], state.PeerCertificates[1:]
	for _, r := range records {
		switch {
		case !r.Usable():
		case r.Usage == 3 && r.matches(server):
			return nil
		case r.Usage == 2 && r.anchors(server, sent, name):
			return nil
		}
	}
	return ErrDANE
}

// anchors says whether a chain leads from server to an authority that the record
// matches, over certificates that the server sent.
func (r TLSA) anchors(server *x509.Certificate, sent []*x509.Certificate, name string) bool {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	found := false
	for _, cert := range sent {
		between.AddCert(cert)
		if r.matches(cert) {
			roots.AddCert(cert)
			found = true
		}
	}
	if cert, err := x509.ParseCertificate(r.Data); r.Matching == 0 && r.Selector == 0 && err == nil {
		roots.AddCert(cert) // a server need not send what the record holds in full
		found = true
	}
	if !found {
		return false
	}
	_, err := server.Verify(x509.VerifyOptions{
		DNSName:       strings.TrimSuffix(name, "."),
		Roots:         roots,
		Intermediates: between,
	})
	return err == nil
}
