package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"rtls/internal/auth"
	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/tlsconf"
)

const (
	soon          = 14 * 24 * time.Hour // before it expires a certificate is warned of
	validityEvery = 24 * time.Hour
)

// loadCertificates reads the certificates of all domains, and of the authority of
// clients' certificates.
func loadCertificates(f *config.File) (*tlsconf.Certificates, error) {
	var others []tlsconf.Pair
	for _, d := range f.IMAPD.Domains {
		others = append(others, tlsconf.Pair{Names: d.Names, Cert: d.Cert, Key: d.Key})
	}
	c, err := tlsconf.Load(tlsconf.Pair{Cert: f.IMAPD.Cert, Key: f.IMAPD.Key}, others...)
	if err != nil {
		return nil, cli.Errorf(cli.Config, "%w", err).
			WithHint("cert and key under [imapd] and [[imapd.domain]] name PEM files that %s can read", name)
	}
	if f.IMAPD.ClientCA != "" {
		if err := c.AskClients(f.IMAPD.ClientCA); err != nil {
			return nil, cli.Errorf(cli.Config, "%w", err).WithHint("client_ca under [imapd] names a PEM file")
		}
	}
	return c, nil
}

// letCertificatesIn makes clients' certificates a way through the gate, if that is
// wanted.
func letCertificatesIn(f *config.File, gate *auth.Gate) {
	switch {
	case f.IMAPD.ClientCA == "":
	case f.IMAPD.ClientName == "subject":
		gate.CertificateUsers = auth.UsersBySubject
	default:
		gate.CertificateUsers = auth.UsersByEmail
	}
}

// checkValidity warns of certificates that clients will refuse soon. The error names
// those that they refuse now.
func checkValidity(certs *tlsconf.Certificates, logger *slog.Logger) error {
	var errs []error
	now := time.Now()
	for _, v := range certs.Check(now) {
		switch left := v.NotAfter.Sub(now); {
		case v.Err != nil:
			errs = append(errs, v.Err)
		case left < soon:
			logger.Warn("certificate expires soon", "cert", v.Cert, "days", int(left.Hours()/24))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return cli.Errorf(cli.Config, "%w", errors.Join(errs...)).
		WithHint("renew the certificate; a running %s takes the new files up by itself", name)
}

// keepCertificates looks at the certificates now and then daily, and reads them anew
// at a signal, until ctx ends.
func keepCertificates(ctx context.Context, certs *tlsconf.Certificates, hangup <-chan os.Signal, logger *slog.Logger) {
	daily := time.NewTicker(validityEvery)
	defer daily.Stop()
	look := func() {
		if err := checkValidity(certs, logger); err != nil {
			logger.Error("clients cannot connect", "err", err)
		}
	}
	look()
	for {
		select {
		case <-ctx.Done():
			return
		case <-daily.C:
			look()
		case <-hangup:
			if err := certs.Reload(); err != nil {
				logger.Error("certificates stay as they were", "err", err)
				continue
			}
			logger.Info("certificates are read anew")
			look()
		}
	}
}
