// Package tlsconf is the only place that builds a *tls.Config. Certificates are
// always verified, by authorities or by DANE; there is no switch to turn that off.
package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
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

// Server returns a configuration that presents the certificate in certFile and
// keyFile. A renewed certificate is picked up within a second or so of a new
// handshake, without a restart; while the new files are unreadable or do not
// match, the old certificate stays in use. It is safe for concurrent use.
func Server(certFile, keyFile string) (*tls.Config, error) {
	k := &keyPair{certFile: certFile, keyFile: keyFile}
	if _, err := k.load(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:                  minVersion,
		DynamicRecordSizingDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return k.current(time.Now())
		},
	}, nil
}

// AskClients makes a server ask clients for certificates of the authorities in
// caFile (PEM). A client may show none, and ConnectionState.VerifiedChains is then
// empty; one that shows another is refused in the handshake. Which name is on a
// certificate does not matter, so the authority should have no other purpose.
func AskClients(server *tls.Config, caFile string) error {
	if caFile == "" {
		return errors.New("no CA file for client certificates")
	}
	pool, err := roots(caFile)
	if err != nil {
		return err
	}
	server.ClientCAs, server.ClientAuth = pool, tls.VerifyClientCertIfGiven
	return nil
}

// keyPair is a certificate that follows its files.
type keyPair struct {
	certFile, keyFile string

	mu       sync.Mutex // guards what follows
	cert     *tls.Certificate
	stamp    [2]time.Time // modification times of the files that cert came from
	examined time.Time
}

func (k *keyPair) current(now time.Time) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Sub(k.examined) < time.Second && now.After(k.examined) {
		return k.cert, nil
	}
	k.examined = now
	if stamp, err := k.stat(); err != nil || stamp == k.stamp {
		return k.cert, nil
	}
	k.loadLocked()
	return k.cert, nil
}

func (k *keyPair) load() (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cert, k.loadLocked()
}

// loadLocked must be called with mu held. On error the pair in use stays.
func (k *keyPair) loadLocked() error {
	stamp, err := k.stat()
	if err != nil {
		return fmt.Errorf("TLS certificate: %w", err)
	}
	cert, err := tls.LoadX509KeyPair(k.certFile, k.keyFile)
	if err != nil {
		return fmt.Errorf("TLS certificate %s with key %s: %w", k.certFile, k.keyFile, err)
	}
	k.cert, k.stamp = &cert, stamp
	return nil
}

func (k *keyPair) stat() (stamp [2]time.Time, err error) {
	for i, name := range []string{k.certFile, k.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return stamp, err
		}
		stamp[i] = info.ModTime()
	}
	return stamp, nil
}
