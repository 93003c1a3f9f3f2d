// Package tlsconf is the only place that builds a *tls.Config. Certificates are
// always verified, by authorities or by DANE; there is no switch to turn that off.
package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// minVersion follows RFC 8997 and RFC 9325: nothing below TLS 1.2.
const minVersion = tls.VersionTLS12

// systemBundles are read instead of x509.SystemCertPool, which also parses every
// file of /etc/ssl/certs: four times the start-up cost for the same roots.
var systemBundles = []string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/ssl/cert.pem",
}

// Client returns a configuration that verifies the server's chain against the
// roots in caFile (PEM; empty means the system's) and its name against
// serverName.
func Client(caFile, serverName string) (*tls.Config, error) {
	roots, err := roots(caFile)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		RootCAs:                     roots,
		ServerName:                  serverName,
		MinVersion:                  minVersion,
		DynamicRecordSizingDisabled: true, // messages are bulk data
	}, nil
}

// ForRoots returns a configuration for clients that set the server's name themselves,
// such as those of net/http. nil stands for the system's roots.
func ForRoots(roots *x509.CertPool) *tls.Config {
	return &tls.Config{RootCAs: roots, MinVersion: minVersion}
}

func roots(caFile string) (*x509.CertPool, error) {
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("read CA file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA file %s holds no certificate in PEM form", caFile)
		}
		return pool, nil
	}
	for _, bundle := range systemBundles {
		pem, err := os.ReadFile(bundle)
		if err != nil {
			continue
		}
		if pool := x509.NewCertPool(); pool.AppendCertsFromPEM(pem) {
			return pool, nil
		}
	}
	return x509.SystemCertPool()
}

// Server returns a configuration that presents one certificate, as Certificates do.
func Server(certFile, keyFile string) (*tls.Config, error) {
	c, err := Load(Pair{Cert: certFile, Key: keyFile})
	if err != nil {
		return nil, err
	}
	return c.Config(), nil
}
