package submit

import (
	"bufio"
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
)

// session is one connection.
type session struct {
	target *Target
	o      *Options

	raw  net.Conn // the TCP connection
	conn net.Conn // raw, or TLS over it
	r    *bufio.Reader
	w    *bufio.Writer

	extensions map[string]string // of the last EHLO: keyword in upper case to its parameters
	dotSent    bool              // all of the message may have left

	// What follows is for a Session, see many.go.
	keep   bool // more messages may follow this one
	ready  bool // secure and logged in
	usable bool // the last transaction left the connection as it found it
	stale  bool // the server takes no more over this connection
}

func (s *session) dial(ctx context.Context) error {
	dial := s.o.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeouts.Connect)
	defer cancel()
	conn, err := dial(ctx, "tcp", s.target.addr())
	if err != nil {
		return err
	}
	s.raw = conn
	s.use(conn)
	return nil
}

// use talks over conn from now on. What was buffered is gone.
func (s *session) use(conn net.Conn) {
	s.conn = conn
	s.r = bufio.NewReaderSize(conn, maxReplyLine)
	s.w = bufio.NewWriterSize(&timedWriter{conn, s.o.Timeouts.Write}, 16<<10) // a TLS record
	s.extensions = nil
}

// timedWriter gives every write a deadline of its own.
type timedWriter struct {
	conn    net.Conn
	timeout time.Duration
}

func (t *timedWriter) Write(p []byte) (int, error) {
	if err := t.conn.SetWriteDeadline(time.Now().Add(t.timeout)); err != nil {
		return 0, err
	}
	return t.conn.Write(p)
}

// close ends the connection; over TLS with a close_notify (RFC 8314 section 3.4).
func (s *session) close() { _ = s.conn.Close() }

// run is the session from the greeting to the end, or, where it is ready, from MAIL.
func (s *session) run(m *Mail) (*Receipt, error) {
	if !s.ready {
		if err := s.secure(); err != nil {
			return nil, err
		}
	}
	state, err := s.guard(m.Wish)
	if err == nil {
		err = s.able(m)
	}
	if s.ready && err != nil {
		s.usable = true // the server has heard nothing
		return nil, err
	}
	if err == nil && !s.ready {
		err = s.authenticate()
	}
	if err != nil {
		if _, ours := errors.AsType[*cli.Error](err); ours { // otherwise nobody listens any more
			s.quit()
		}
		return nil, err
	}
	s.ready = s.keep
	reply, err := s.transact(m)
	if err != nil {
		return nil, err
	}
	return &Receipt{
		Target:     s.target.addr(),
		TLSVersion: state.Version,
		Cipher:     state.CipherSuite,
		RequireTLS: m.Wish == requiretls.Yes,
		Reply:      reply,
	}, nil
}

// secure brings the session to an EHLO inside TLS.
func (s *session) secure() error {
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
	r, err := s.command("EHLO " + s.heloName())
	if err != nil {
		return err
	}
	if !r.positive() {
		s.quit()
		return refused(stageHello, "EHLO", r)
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
	conn := tls.Client(s.raw, s.target.TLS)
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

// guard stands before everything that tells the server something: TLS is up, not
// too old, the chain verified, the name the one that was asked for and, if wished,
// REQUIRETLS in the EHLO reply that came inside TLS (RFC 8689 section 4.2.1). It
// does not rely on what the code before it meant to do.
func (s *session) guard(wish requiretls.Wish) (tls.ConnectionState, error) {
	conn, ok := s.conn.(*tls.Conn)
	if !ok {
		return tls.ConnectionState{}, noTLS("the session is not in TLS, nothing was sent")
	}
	state := conn.ConnectionState()
	if !state.HandshakeComplete || state.Version < tls.VersionTLS12 || len(state.VerifiedChains) == 0 || len(state.PeerCertificates) == 0 {
		return state, noTLS("the TLS session is not verified, nothing was sent")
	}
	if err := verifyName(state.PeerCertificates[0], s.target.Host); err != nil {
		return state, noTLS("the server's certificate is not valid, nothing was sent: %w", err)
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

// command sends one command and reads its reply.
func (s *session) command(line string) (Reply, error) {
	if err := s.writeCommands(line); err != nil {
		return Reply{}, err
	}
	return s.read()
}

// writeCommands sends a group of commands in one piece and starts the clock for
// its replies.
func (s *session) writeCommands(lines ...string) error {
	for _, line := range lines {
		s.trace("> ", redact(line))
	}
	return s.put(lines...)
}

func (s *session) put(lines ...string) error {
	for _, line := range lines {
		if strings.ContainsAny(line, "\r\n\x00") {
			return cli.Errorf(cli.Software, "a command holds a line end") // the last resort against injection
		}
		_, _ = s.w.WriteString(line + "\r\n") // Flush has the error
	}
	if err := s.w.Flush(); err != nil {
		return s.lastWords(stageHello, err)
	}
	return s.conn.SetReadDeadline(time.Now().Add(s.o.Timeouts.Command))
}

// lastWords is for a write that failed: a server that hangs up says why before.
func (s *session) lastWords(at stage, err error) error {
	_ = s.conn.SetReadDeadline(time.Now().Add(quitTimeout))
	if r, rerr := s.read(); rerr == nil && !r.positive() && r.Code/100 != 3 {
		return refused(at, "send", r)
	}
	return err
}

func (s *session) read() (Reply, error) {
	r, err := readReply(s.r)
	if err == nil {
		s.trace("< ", r.String())
	}
	return r, err
}

func (s *session) trace(prefix, line string) {
	if s.o.Trace != nil {
		s.o.Trace(prefix + line)
	}
}

// redact hides what follows the mechanism of an AUTH command.
func redact(line string) string {
	if rest, ok := strings.CutPrefix(line, "AUTH "); ok {
		mech, _, _ := strings.Cut(rest, " ")
		return "AUTH " + mech + " ***"
	}
	return line
}

// quit says goodbye and waits a moment for the answer, whatever it is.
func (s *session) quit() {
	s.trace("> ", "QUIT")
	_, _ = s.w.WriteString("QUIT\r\n")
	if s.conn.SetDeadline(time.Now().Add(quitTimeout)) != nil || s.w.Flush() != nil {
		return
	}
	s.awaitEnd()
}

func (s *session) awaitEnd() {
	_ = s.conn.SetReadDeadline(time.Now().Add(quitTimeout))
	_, _ = s.read()
}
