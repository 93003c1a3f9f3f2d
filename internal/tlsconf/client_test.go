package tlsconf

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"rtls/internal/testpki"
)

// serverWith is a server's configuration and its own certificate. It sends the
// authority's certificate too.
func serverWith(t *testing.T, ca *testpki.CA, leaf testpki.Leaf) (*tls.Config, *x509.Certificate) {
	t.Helper()
	cert, err := ca.TLS(leaf)
	if err != nil {
		t.Fatal(err)
	}
	cert.Certificate = append(cert.Certificate, ca.Cert.Raw)
	own, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}}, own
}

func TestPin(t *testing.T) {
	ca, caFile := newCA(t, t.TempDir())
	other, _ := newCA(t, t.TempDir())
	server, own := serverWith(t, ca, testpki.Leaf{Names: []string{"localhost"}})
	stranger, strangers := serverWith(t, other, testpki.Leaf{Names: []string{"localhost"}})
	for _, tc := range []struct {
		name   string
		pins   []string
		server *tls.Config
		ok     bool
	}{
		{"server's key", []string{KeyPin(own)}, server, true},
		{"authority's key", []string{KeyPin(ca.Cert)}, server, true},
		{"one of two", []string{KeyPin(strangers), KeyPin(own)}, server, true},
		{"another key", []string{KeyPin(strangers)}, server, false},
		{"pinned, not trusted", []string{KeyPin(strangers)}, stranger, false},
		{"authority pinned, not trusted", []string{KeyPin(other.Cert)}, stranger, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client, err := Client(caFile, "localhost")
			if err != nil {
				t.Fatal(err)
			}
			if err := Pin(client, tc.pins); err != nil {
				t.Fatal(err)
			}
			if _, err, _ := handshake(t, client, tc.server); (err == nil) != tc.ok {
				t.Errorf("%v, want ok: %v", err, tc.ok)
			}
		})
	}
	for _, pin := range []string{"", "x", "AAAA", strings.Repeat("0", 64), KeyPin(own) + "="} {
		if Pin(&tls.Config{}, []string{pin}) == nil {
			t.Errorf("%q passes for a pin", pin)
		}
	}
}

func TestOnly13(t *testing.T) {
	ca, caFile := newCA(t, t.TempDir())
	server, _ := serverWith(t, ca, testpki.Leaf{Names: []string{"localhost"}})
	server.MaxVersion = tls.VersionTLS12
	client, err := Client(caFile, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	if _, err, _ := handshake(t, client, server); err != nil {
		t.Error(err)
	}
	Only13(client)
	if _, err, _ := handshake(t, client, server); err == nil {
		t.Error("TLS 1.2 was accepted")
	}
}

func TestPresent(t *testing.T) {
	dir := t.TempDir()
	ca, caFile := newCA(t, dir)
	server, _ := serverWith(t, ca, testpki.Leaf{Names: []string{"localhost"}})
	server.ClientCAs, server.ClientAuth = ca.Pool(), tls.RequireAndVerifyClientCert
	cert, key, err := ca.WriteFiles(dir, "client", testpki.Leaf{Names: []string{"alice"}, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	client, err := Client(caFile, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, serr := handshake(t, client, server); serr == nil {
		t.Error("no certificate, and yet accepted")
	}
	if err := Present(client, cert, key); err != nil {
		t.Fatal(err)
	}
	if _, err, serr := handshake(t, client, server); err != nil || serr != nil {
		t.Error(err, serr)
	}
	if Present(client, cert, cert) == nil {
		t.Error("a certificate passes for a key")
	}
}

func TestDANE(t *testing.T) {
	ca, caFile := newCA(t, t.TempDir())
	other, _ := newCA(t, t.TempDir())
	good := testpki.Leaf{Names: []string{"localhost"}}
	server, own := serverWith(t, ca, good)
	stranger, strangers := serverWith(t, other, good)
	wrongName, wrongNames := serverWith(t, other, testpki.Leaf{Names: []string{"mail.example.net"}})
	old, olds := serverWith(t, other, testpki.Leaf{Names: []string{"localhost"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
	bare := &tls.Config{Certificates: []tls.Certificate{{Certificate: stranger.Certificates[0].Certificate[:1], PrivateKey: stranger.Certificates[0].PrivateKey}}}

	sum256 := func(b []byte) []byte { s := sha256.Sum256(b); return s[:] }
	sum512 := func(b []byte) []byte { s := sha512.Sum512(b); return s[:] }
	for _, tc := range []struct {
		name   string
		record TLSA
		server *tls.Config
		ok     bool
	}{
		{"3 0 0", TLSA{3, 0, 0, strangers.Raw}, stranger, true},
		{"3 0 1", TLSA{3, 0, 1, sum256(strangers.Raw)}, stranger, true},
		{"3 1 1", TLSA{3, 1, 1, sum256(strangers.RawSubjectPublicKeyInfo)}, stranger, true},
		{"3 1 2", TLSA{3, 1, 2, sum512(strangers.RawSubjectPublicKeyInfo)}, stranger, true},
		{"3 1 1, wrong name", TLSA{3, 1, 1, sum256(wrongNames.RawSubjectPublicKeyInfo)}, wrongName, true},
		{"3 1 1, expired", TLSA{3, 1, 1, sum256(olds.RawSubjectPublicKeyInfo)}, old, true},
		{"3 1 1 of another, though the authority is trusted", TLSA{3, 1, 1, sum256(strangers.RawSubjectPublicKeyInfo)}, server, false},
		{"3 1 1 of the authority", TLSA{3, 1, 1, sum256(ca.Cert.RawSubjectPublicKeyInfo)}, server, false},
		{"2 0 1", TLSA{2, 0, 1, sum256(other.Cert.Raw)}, stranger, true},
		{"2 1 1", TLSA{2, 1, 1, sum256(other.Cert.RawSubjectPublicKeyInfo)}, stranger, true},
		{"2 0 0, authority not sent", TLSA{2, 0, 0, other.Cert.Raw}, bare, true},
		{"2 0 1, authority not sent", TLSA{2, 0, 1, sum256(other.Cert.Raw)}, bare, false},
		{"2 1 1, wrong name", TLSA{2, 1, 1, sum256(other.Cert.RawSubjectPublicKeyInfo)}, wrongName, false},
		{"2 1 1, expired", TLSA{2, 1, 1, sum256(other.Cert.RawSubjectPublicKeyInfo)}, old, false},
		{"2 1 1 of another authority", TLSA{2, 1, 1, sum256(ca.Cert.RawSubjectPublicKeyInfo)}, stranger, false},
		{"2 1 1 of the server's own", TLSA{2, 1, 1, sum256(own.RawSubjectPublicKeyInfo)}, server, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client, err := Client(caFile, "localhost")
			if err != nil {
				t.Fatal(err)
			}
			unusable := TLSA{1, 1, 1, sum256(strangers.RawSubjectPublicKeyInfo)}
			dane, err := DANE(client, []TLSA{unusable, tc.record})
			if err != nil {
				t.Fatal(err)
			}
			if _, err, _ := handshake(t, dane, tc.server); (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrDANE) {
				t.Errorf("%v, want ok: %v", err, tc.ok)
			}
			if client.InsecureSkipVerify || client.VerifyConnection != nil {
				t.Error("the configuration it came from has changed")
			}
		})
	}
	for _, r := range []TLSA{{0, 0, 1, sum256(nil)}, {1, 1, 1, sum256(nil)}, {3, 2, 1, sum256(nil)}, {3, 1, 3, sum256(nil)}, {3, 1, 1, nil}, {3, 1, 0, nil}, {3, 1, 2, sum256(nil)}} {
		if _, err := DANE(&tls.Config{}, []TLSA{r}); err == nil {
			t.Errorf("%v is not usable", r)
		}
	}
}

// A pin is on top of DANE as well.
func TestDANEAndPin(t *testing.T) {
	ca, caFile := newCA(t, t.TempDir())
	server, own := serverWith(t, ca, testpki.Leaf{Names: []string{"localhost"}})
	sum := sha256.Sum256(own.RawSubjectPublicKeyInfo)
	for pin, ok := range map[string]bool{KeyPin(own): true, KeyPin(ca.Cert): false} {
		client, err := Client(caFile, "localhost")
		if err != nil {
			t.Fatal(err)
		}
		if err := Pin(client, []string{pin}); err != nil {
			t.Fatal(err)
		}
		dane, err := DANE(client, []TLSA{{3, 1, 1, sum[:]}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err, _ := handshake(t, dane, server); (err == nil) != ok {
			t.Errorf("%v, want ok: %v", err, ok)
		}
	}
}
