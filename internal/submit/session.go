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
	"rtls/internal/tlsconf"
)

// session is one connection.
type session struct {
	target *Target
	o      *Options

	raw  net.Conn // the connection under TLS
	conn net.Conn // raw, or TLS over it
	r    *bufio.Reader
	w    *bufio.Writer

	records    []tlsconf.TLSA    // of DANE, if the server is verified by them
	extensions map[string]string // of the last EHLO: keyword in upper case to its parameters
	mechanism  string            // of the login; empty before it, and without one
	lead       *exchange         // a login that travels with the first MAIL
	at         stage             // how far this message has come
	dotSent    bool              // all of the message may have left
	taken      int               // messages so far
	dead       bool              // nothing more can be sent here
}

// open connects to a target and verifies it. Nothing is sent but EHLO and STARTTLS;
// the login waits for the first message. Its errors are of type *Error. When the
// context ends before open returns, the connection is cut.
func open(ctx context.Context, t *Target, o Options) (*session, error) {
	o.Timeouts = o.Timeouts.withDefaults()
	s := &session{target: t, o: &o}
	if t.DANE {
		if err := s.lookUpDANE(ctx); err != nil {
			return nil, s.fail(ctx, err)
		}
	}
	if err := s.dial(ctx); err != nil {
		return nil, s.fail(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { s.raw.Close() })
	defer stop()
	err := s.secure()
	if err == nil {
		if _, err = s.verified(); err != nil {
			s.quit()
		}
	}
	if err != nil {
		s.close()
		return nil, s.fail(ctx, err)
	}
	return s, nil
}

// bye ends the session, with a farewell if somebody listens.
func (s *session) bye() {
	if !s.dead {
		s.quit()
	}
	s.close()
}

func (s *session) dial(ctx context.Context) error {
	dial := s.target.Dial
	if dial == nil {
		dial = s.o.Dial
	}
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
func (s *session) close() {
	s.dead = true
	_ = s.conn.Close()
}

// send hands over a message. If it is the last, the farewell travels along. The
// session can live on after an error: what one message needs, the next may do without.
func (s *session) send(ctx context.Context, m *Mail, last bool) (*Receipt, error) {
	stop := context.AfterFunc(ctx, func() { s.raw.Close() })
	s.dotSent = false
	receipt, err := s.run(ctx, m, last)
	if !stop() {
		s.dead = true
	}
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return receipt, nil
}

// run is a message from the guard to the reply.
func (s *session) run(ctx context.Context, m *Mail, last bool) (*Receipt, error) {
	state, err := s.guard(m.Wish)
	if err == nil {
		err = s.able(m)
	}
	if err != nil {
		if last {
			s.quit()
		}
		return nil, err
	}
	s.at = stageAuth
	if err := s.authenticate(ctx); err != nil {
		if _, ours := errors.AsType[*cli.Error](err); ours && !s.dead { // otherwise nobody listens any more
			s.quit()
		}
		s.dead = true
		return nil, err
	}
	reply, err := s.transact(m, last)
	if err != nil {
		return nil, err
	}
	s.taken++
	return s.receipt(state, m, reply), nil
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
		if err := tlsconf.VerifyDANE(state, s.records, s.target.Host); err != nil {
			return state, noTLS("%w, nothing was sent", err)
		}
	} else {
		if len(state.VerifiedChains) == 0 {
			return state, noTLS("the TLS session is not verified, nothing was sent")
		}
		if err := verifyName(state.PeerCertificates[0], s.target.Host); err != nil {
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
func (s *session) guard(wish requiretls.Wish) (tls.ConnectionState, error) {
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
	if strings.ContainsAny(strings.Join(lines, ""), "\r\n\x00") {
		return cli.Errorf(cli.Software, "a command holds a line end") // the last resort against injection
	}
	for _, line := range lines {
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
	switch {
	case err != nil:
	case r.Code == 334: // a challenge is enough to guess passwords with
		s.trace("< ", "334 ***")
	default:
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
	s.dead = true
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
