package e2e

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"

	"rtls/internal/testdns"
	"rtls/internal/testpki"
)

// A server whose authority nobody knows is verified by a TLSA record, if DNSSEC
// proves that, and by nothing else.
func TestSendDANE(t *testing.T) {
	p := newPKI(t)
	other, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		usage   int
		trusted bool // the server's authority is known
		another bool // the record is about another key
		proven  bool
		broken  bool
		code    int
		reason  string
	}{
		{name: "own certificate", usage: 3, proven: true},
		{name: "authority", usage: 2, proven: true},
		{name: "not proven", usage: 3, code: 69, reason: "5.7.10"},
		{name: "another key, authority known", usage: 3, trusted: true, another: true, proven: true, code: 69, reason: "5.7.10"},
		{name: "no answer, authority known", usage: 3, trusted: true, proven: true, broken: true, code: 75, reason: "TLSA"},
		{name: "not proven, authority known", usage: 3, trusted: true, another: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			issuer := other
			if tc.trusted {
				issuer = p.CA
			}
			cert := leaf(t, issuer, testpki.Leaf{})
			cert.Certificate = append(cert.Certificate, issuer.Cert.Raw)
			f := (&fakesub{cert: cert}).start(t, p)
			own, err := x509.ParseCertificate(cert.Certificate[0])
			if err != nil {
				t.Fatal(err)
			}
			key := sha256.Sum256(own.RawSubjectPublicKeyInfo)
			if tc.usage == 2 {
				key = sha256.Sum256(issuer.Cert.RawSubjectPublicKeyInfo)
			}
			if tc.another {
				key[0] ^= 1
			}
			dns := testdns.New(t)
			dns.Add(t, "localhost. 60 IN A 127.0.0.1")
			dns.Add(t, fmt.Sprintf("_%s._tcp.localhost. 60 IN TLSA %d 1 1 %x", f.port(), tc.usage, key))
			if tc.proven {
				dns.Secure("localhost")
			}
			if tc.broken {
				dns.Break("_" + f.port() + "._tcp.localhost")
			}
			config := fmt.Sprintf("[send]\nresolver = %q\n", dns.Addr) + strings.TrimPrefix(account(t, p, "dane = true", f), "hostname = \"client.example.org\"\n")
			r := sends(t, config, canary, yes, "b@example.net")
			if r.code != tc.code || !strings.Contains(r.stderr, tc.reason) {
				t.Errorf("exit %d: %s", r.code, r.stderr)
			}
			if tc.code != 0 {
				f.nothingCrossed(t)
				return
			}
			f.one(t)
		})
	}
}
