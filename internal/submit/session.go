package submit

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"rtls/internal/cli"
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
	outcome    Outcome           // of this message, over LMTP
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
	if err == nil && !s.clear() {
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
	network, addr := "tcp", s.target.addr()
	if path, ok := s.target.socket(); ok {
		network, addr = "unix", path
	}
	conn, err := dial(ctx, network, addr)
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
	s.dotSent, s.outcome = false, Outcome{}
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
