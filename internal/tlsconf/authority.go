package tlsconf

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"
)

// AskClients makes servers ask clients for certificates of the authorities in caFile
// (PEM), which is followed as the certificates are. A client may show none, and
// ConnectionState.VerifiedChains is then empty; one that shows another is refused in
// the handshake. Which name is on a certificate does not matter, so the authority
// should have no other purpose. It has to be called before Config.
func (c *Certificates) AskClients(caFile string) error {
	if caFile == "" {
		return errors.New("no CA file for client certificates")
	}
	a := &authority{caFile: caFile}
	if err := a.load(); err != nil {
		return err
	}
	c.clients = a
	return nil
}

// authority is those who issue clients' certificates.
type authority struct {
	caFile string

	mu     sync.Mutex  // guards what follows
	config *tls.Config // with the certificates of the file, and all that a server has beside
	file   followed    // that they came from
}

// follow returns a server's configuration that asks for certificates of whoever is in
// the file at the time. Connections of before keep what they have; a session of TLS
// that is resumed does not, crypto/tls sees to it.
func (a *authority) follow(server *tls.Config) *tls.Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	server.ClientCAs, server.ClientAuth = a.config.ClientCAs, tls.VerifyClientCertIfGiven
	a.config = server.Clone()
	server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return a.current(time.Now()), nil
	}
	return server
}

func (a *authority) current(now time.Time) *tls.Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file.changed(now) {
		_ = a.loadLocked() // Reload tells
	}
	return a.config
}

func (a *authority) load() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.loadLocked()
}

// loadLocked must be called with mu held. On error the authorities in use stay.
func (a *authority) loadLocked() error {
	file, err := follow(a.caFile)
	if err != nil {
		return fmt.Errorf("authority of clients: %w", err)
	}
	pool, err := roots(a.caFile)
	if err != nil {
		return fmt.Errorf("authority of clients: %w", err)
	}
	config := a.config.Clone() // others may be using it
	if config == nil {
		config = &tls.Config{MinVersion: minVersion}
	}
	config.ClientCAs = pool
	a.config, a.file = config, file
	return nil
}
