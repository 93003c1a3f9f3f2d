package submit

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"rtls/internal/cli"
	"rtls/internal/requiretls"
	"rtls/internal/tlsconf"
)

// clear says that the session has no TLS and needs none, since nothing of it leaves
// this host.
func (s *session) clear() bool {
	_, socket := s.target.socket()
	return s.target.Clear && socket
}

// secure brings the session to an EHLO inside TLS, if it is not clear.
func (s *session) secure() error {
	if s.clear() {
		if err := s.greeting(); err != nil {
			return err
		}
		return s.hello()
	}
	if !s.target.StartTLS {
		if err := s.handshake(); err != nil {
			return err
		}
		if err := s.greeting(); err != nil {
			return err
		}
		return s.hello()
	}
	if err := s.greeting(); err != nil {
		return err
	}
	if err := s.hello(); err != nil {
		if r, ok := errors.AsType[*refusal](err); ok && r.reply.Code/100 == 5 {
			// A server without EHLO has no STARTTLS; there is no falling back to HELO
			// (RFC 8689 section 4.2.1).
			r.err.Status = requiretls.StatusNoTLS
		}
		return err
	}
	if err := s.startTLS(); err != nil {
		return err
	}
	if err := s.handshake(); err != nil {
		return err
	}
	// What the server said before TLS is forgotten: anybody could have said it
	// (RFC 3207 section 4.2).
	return s.hello()
}

func (s *session) greeting() error {
	if err := s.conn.SetDeadline(time.Now().Add(s.o.Timeouts.Command)); err != nil {
		return err
	}
	r, err := s.read()
	if err != nil {
		return err
	}
	if r.Code != 220 {
		s.quit()
		return refused(stageHello, "connect", r)
	}
	return nil
}

func (s *session) hello() error {
	verb := "EHLO"
	if s.target.LMTP {
		verb = "LHLO" // RFC 2033 section 4.1
	}
	r, err := s.command(verb + " " + s.heloName())
	if err != nil {
		return err
	}
	if !r.positive() {
		s.quit()
		return refused(stageHello, verb, r)
	}
	s.extensions = make(map[string]string)
	for _, line := range r.Lines[1:] {
		keyword, params, _ := strings.Cut(line, " ")
		s.extensions[strings.ToUpper(keyword)] = strings.TrimSpace(params) // RFC 5321 section 2.4: any case
	}
	return nil
}

func (s *session) offers(keyword string) bool {
	_, ok := s.extensions[keyword]
	return ok
}

// heloName is our name, or our address where we have no name (RFC 5321 section
// 4.1.4).
func (s *session) heloName() string {
	if s.o.Hostname != "" {
		return s.o.Hostname
	}
	if addr, ok := s.raw.LocalAddr().(*net.TCPAddr); ok {
		if ip := addr.IP.To4(); ip != nil {
			return "[" + ip.String() + "]"
		}
		return "[IPv6:" + addr.IP.String() + "]"
	}
	return "[127.0.0.1]"
}

// noTLS is the error for a session that cannot be made secure (RFC 8689 section
// 4.2.1).
func noTLS(format string, args ...any) *cli.Error {
	return cli.Errorf(cli.Unavailable, format, args...).WithStatus(requiretls.StatusNoTLS)
}

// startTLS asks for TLS.
func (s *session) startTLS() error {
	if !s.offers("STARTTLS") {
		s.quit()
		return noTLS("the server does not offer STARTTLS, nothing was sent")
	}
	r, err := s.command("STARTTLS")
	if err != nil {
		return err
	}
	if r.Code != 220 {
		s.quit()
		err := refused(stageHello, "STARTTLS", r)
		if err.err.Code != cli.TempFail {
			err.err.Status = requiretls.StatusNoTLS
		}
		return err
	}
	if s.r.Buffered() > 0 {
		// Somebody has put replies in clear where those inside TLS will be expected.
		return cli.Errorf(cli.Protocol, "the server sent more behind its reply to STARTTLS, nothing was sent").WithStatus(requiretls.StatusNoTLS)
	}
	return nil
}

func (s *session) handshake() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.o.Timeouts.Connect)
	defer cancel() // the caller's context closes the connection under it
	config := s.target.TLS
	if s.records != nil {
		var err error
		if config, err = tlsconf.DANE(config, s.records); err != nil {
			return noTLS("%w", err)
		}
	}
	conn := tls.Client(s.raw, config)
	if err := s.raw.SetDeadline(time.Time{}); err != nil {
		return err
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		return handshakeError(err)
	}
	s.use(conn)
	return nil
}

// handshakeError tells a server that cannot be trusted, which stays so, from a
// connection that broke, which may not happen again.
func handshakeError(err error) error {
	if errors.Is(err, tlsconf.ErrPin) || errors.Is(err, tlsconf.ErrDANE) {
		return noTLS("%w, nothing was sent", err)
	}
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return noTLS("the server's certificate is not valid, nothing was sent: %w", cert.Err)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return noTLS("the server does not speak TLS, nothing was sent").
			WithHint(`a port for STARTTLS, such as 587, needs tls = "starttls"`)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" && !strings.HasSuffix(op.Err.Error(), "internal error") {
		return noTLS("the server refused the TLS handshake, nothing was sent: %w", op.Err)
	}
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, context.DeadlineExceeded) {
		return cli.Errorf(cli.TempFail, "the TLS handshake broke off, nothing was sent: %w", err).WithStatus("4.4.2")
	}
	return noTLS("the TLS handshake failed, nothing was sent: %w", err)
}

// verified says that TLS is up, not too old, the chain verified and the name the one
// that was asked for, or the certificate that of TLSA records (RFC 8689 section
// 4.2.1). It does not rely on what the code before it meant to do.
func (s *session) verified() (tls.ConnectionState, error) {
	conn, ok := s.conn.(*tls.Conn)
	if !ok {
		return tls.ConnectionState{}, noTLS("the session is not in TLS, nothing was sent")
	}
	state := conn.ConnectionState()
	if !state.HandshakeComplete || state.Version < tls.VersionTLS12 || len(state.PeerCertificates) == 0 {
		return state, noTLS("the TLS session is not verified, nothing was sent")
	}
	if s.records != nil {
		if err := tlsconf.VerifyDANE(state, s.records, s.target.name()); err != nil {
			return state, noTLS("%w, nothing was sent", err)
		}
	} else {
		if len(state.VerifiedChains) == 0 {
			return state, noTLS("the TLS session is not verified, nothing was sent")
		}
		if err := verifyName(state.PeerCertificates[0], s.target.name()); err != nil {
			return state, noTLS("the server's certificate is not valid, nothing was sent: %w", err)
		}
	}
	if config := s.target.TLS; config != nil && config.VerifyConnection != nil { // pins
		if err := config.VerifyConnection(state); err != nil {
			return state, noTLS("%w, nothing was sent", err)
		}
	}
	return state, nil
}

// guard stands before everything that tells the server something: the session is
// verified and, if wished, REQUIRETLS stood in the EHLO reply that came inside TLS.
// Only what has no such wish may go without TLS, where the target allows that.
func (s *session) guard(wish requiretls.Wish) (tls.ConnectionState, error) {
	if s.clear() && wish != requiretls.Yes {
		return tls.ConnectionState{}, nil
	}
	state, err := s.verified()
	if err != nil {
		s.dead = true
		return state, err
	}
	if wish == requiretls.Yes && !s.offers(requiretls.Keyword) {
		return state, cli.Errorf(cli.Unavailable, "the server does not offer REQUIRETLS, nothing was sent").
			WithStatus(requiretls.StatusNoSupport).
			WithHint("to send without it, say so: --requiretls=auto")
	}
	return state, nil
}

func verifyName(cert *x509.Certificate, host string) error {
	return cert.VerifyHostname(strings.TrimSuffix(host, "."))
}
