package tlsconf

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Pair names the PEM files of a certificate, the chain behind it included, and of its
// key.
type Pair struct {
	// Names are the server names for which it is presented: "mail.example.org", or
	// "*.example.org" for all that have one label more. The certificate has to be good
	// for each.
	Names     []string
	Cert, Key string
}

// Certificates are those of a server. A renewed one is picked up within a second or
// so of a new handshake, without a restart; while the new files are unreadable, do not
// match or lack a name, the old certificate stays in use. They are safe for concurrent
// use.
type Certificates struct {
	fallback *keyPair
	named    map[string]*keyPair // by name in lower case, with its "*."
	clients  *authority          // of clients' certificates; nil: they are not asked for
}

// Load reads all certificates. The first is for clients that name no server, or one
// that none of the others has; its own names do not matter.
func Load(fallback Pair, others ...Pair) (*Certificates, error) {
	c := &Certificates{fallback: &keyPair{pair: fallback}, named: make(map[string]*keyPair)}
	if err := c.fallback.load(); err != nil {
		return nil, err
	}
	for _, pair := range others {
		k := &keyPair{pair: pair}
		if err := k.load(); err != nil {
			return nil, err
		}
		for _, name := range pair.Names {
			name = strings.ToLower(name)
			if c.named[name] != nil {
				return nil, fmt.Errorf("there are two TLS certificates for %s", name)
			}
			c.named[name] = k
		}
	}
	return c, nil
}

// suites are those of TLS 1.2 that RFC 9325 section 4.2 recommends and Go has, and
// ChaCha20: forward secrecy and authenticated encryption. Without a list Go has CBC as
// well.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// Config returns a configuration that presents them. It must not be changed when
// clients are asked for certificates.
func (c *Certificates) Config() *tls.Config {
	config := &tls.Config{
		MinVersion:                  minVersion,
		CipherSuites:                suites,
		DynamicRecordSizingDisabled: true,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.find(hello.ServerName).current(time.Now()), nil
		},
	}
	if c.clients != nil {
		config = c.clients.follow(config)
	}
	return config
}

func (c *Certificates) find(name string) *keyPair {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if k := c.named[name]; k != nil {
		return k
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		if k := c.named["*."+parent]; k != nil {
			return k
		}
	}
	return c.fallback
}

// each returns all pairs, each once.
func (c *Certificates) each() []*keyPair {
	all := []*keyPair{c.fallback}
	for _, name := range slices.Sorted(maps.Keys(c.named)) {
		if k := c.named[name]; !slices.Contains(all, k) {
			all = append(all, k)
		}
	}
	return all
}

// Reload reads all files at once. The error names those that could not be used; the
// old certificates of these stay.
func (c *Certificates) Reload() error {
	var errs []error
	for _, k := range c.each() {
		errs = append(errs, k.load())
	}
	if c.clients != nil {
		errs = append(errs, c.clients.load())
	}
	return errors.Join(errs...)
}

// Validity is what Check found of one certificate.
type Validity struct {
	Cert     string // its file
	NotAfter time.Time
	Err      error // it is not valid now, or its files cannot be used any more
}

// Check says of each certificate whether it is valid at a time. What is wrong is
// something that clients that verify do not get past.
func (c *Certificates) Check(now time.Time) []Validity {
	var all []Validity
	for _, k := range c.each() {
		all = append(all, k.check(now))
	}
	return all
}

// keyPair is a certificate that follows its files.
type keyPair struct {
	pair Pair

	mu    sync.Mutex // guards what follows
	cert  *tls.Certificate
	files followed // that cert came from
}

func (k *keyPair) current(now time.Time) *tls.Certificate {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.files.changed(now) {
		_ = k.loadLocked() // Check tells
	}
	return k.cert
}

func (k *keyPair) load() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.loadLocked()
}

// loadLocked must be called with mu held. On error the pair in use stays.
func (k *keyPair) loadLocked() error {
	files, err := follow(k.pair.Cert, k.pair.Key)
	if err != nil {
		return fmt.Errorf("TLS certificate: %w", err)
	}
	cert, err := tls.LoadX509KeyPair(k.pair.Cert, k.pair.Key)
	if err != nil {
		return fmt.Errorf("TLS certificate %s with key %s: %w", k.pair.Cert, k.pair.Key, err)
	}
	for _, name := range k.pair.Names {
		// A wildcard has to be good for some name; any will do.
		if err := cert.Leaf.VerifyHostname(strings.Replace(name, "*", "any", 1)); err != nil {
			return fmt.Errorf("TLS certificate %s is not for %s: %w", k.pair.Cert, name, err)
		}
	}
	k.cert, k.files = &cert, files
	return nil
}

func (k *keyPair) check(now time.Time) Validity {
	err := k.load()
	k.mu.Lock()
	defer k.mu.Unlock()
	leaf := k.cert.Leaf
	v := Validity{Cert: k.pair.Cert, NotAfter: leaf.NotAfter, Err: err}
	switch {
	case err != nil:
	case now.After(leaf.NotAfter):
		v.Err = fmt.Errorf("TLS certificate %s has expired on %s", v.Cert, leaf.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(leaf.NotBefore):
		v.Err = fmt.Errorf("TLS certificate %s is not valid before %s", v.Cert, leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return v
}
