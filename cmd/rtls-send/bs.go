package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"rtls/internal/cli"
	"rtls/internal/compose"
	"rtls/internal/requiretls"
	"rtls/internal/submit"
)

// maxSMTPLine bounds a line on standard input. Lines of a message are longer than
// RFC 5321 allows where programs write them; they are re-encoded.
const maxSMTPLine = 1 << 20

// serveSMTP is -bs: SMTP on standard input and output, for programs that talk to
// their sendmail that way. What goes wrong with a message is said in the reply to it;
// the exit code is about the session.
//
// REQUIRETLS is not offered there, since there is no TLS (RFC 8689 section 2). A
// caller that says it all the same is obeyed, or refused: this is a pipe to a program
// of its own user, and to drop the wish would be the worse mistake.
func serveSMTP(ctx context.Context, env cli.Env, o *options, s *settings) error {
	if err := checkInput(env.Stdin); err != nil {
		return err
	}
	conn := &stdioConn{r: env.Stdin, w: env.Stdout, closed: make(chan struct{})}
	b := &stdioBackend{ctx: ctx, env: env, o: o, s: s, conn: conn, sessions: make(map[string]*submit.Session)}
	defer b.hangUp()
	server := smtp.NewServer(b)
	server.Domain = s.hostname
	server.MaxLineLength = maxSMTPLine
	server.EnableSMTPUTF8 = true
	server.EnableREQUIRETLS = true
	server.ErrorLog = noLog{}
	if err := server.Serve(&stdioListener{ctx: ctx, conn: conn}); !errors.Is(err, io.EOF) {
		b.busy.Wait() // until the message that is under way has an end
		conn.waitReplied()
		return cli.Errorf(cli.TempFail, "the session was cut off: %w", context.Cause(ctx))
	}
	return conn.failure()
}

// stdioListener has one connection.
type stdioListener struct {
	ctx  context.Context // net.Listener has none in its methods
	conn *stdioConn
	once bool
}

func (l *stdioListener) Accept() (net.Conn, error) {
	if !l.once {
		l.once = true
		return l.conn, nil
	}
	select {
	case <-l.conn.closed:
		return nil, io.EOF
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (l *stdioListener) Close() error   { return nil }
func (l *stdioListener) Addr() net.Addr { return stdioAddr{} }

type stdioAddr struct{}

func (stdioAddr) Network() string { return "stdio" }
func (stdioAddr) String() string  { return "stdio" }

// stdioConn is standard input and output. A pipe of the caller's needs no deadline:
// the caller is who waits.
type stdioConn struct {
	r      io.Reader
	w      io.Writer
	once   sync.Once
	closed chan struct{}

	mu    sync.Mutex    // guards what follows
	ended bool          // there is no more to read
	err   error         // the first of writing
	owed  chan struct{} // closed by the next reply; nil if none is owed
}

// oweReply says that what is written next is the reply to a message.
func (c *stdioConn) oweReply() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owed = make(chan struct{})
}

// waitReplied waits for the reply that is owed: the library writes it after the
// message's end. It reads what is left of a text before, which may never come, so
// the wait is bounded.
func (c *stdioConn) waitReplied() {
	c.mu.Lock()
	owed := c.owed
	c.mu.Unlock()
	if owed == nil {
		return
	}
	select {
	case <-owed:
	case <-c.closed:
	case <-time.After(replyWithin):
	}
}

const replyWithin = time.Second

var _ net.Conn = (*stdioConn)(nil)

func (c *stdioConn) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ended = true
	}
	return n, err
}

// whole returns r, the text of a message, with an error in place of its end where the
// input has ended before: the library takes a chunk that is cut off for a short one.
// Nothing is read behind a text before there is a reply to it.
func (c *stdioConn) whole(r io.Reader) io.Reader { return &wholeText{r, c} }

type wholeText struct {
	r io.Reader
	c *stdioConn
}

func (w *wholeText) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if errors.Is(err, io.EOF) && w.c.over() {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (c *stdioConn) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

func (c *stdioConn) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	if c.owed != nil {
		close(c.owed)
		c.owed = nil
	}
	return n, err
}

func (c *stdioConn) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil || errors.Is(c.err, os.ErrClosed) {
		return nil
	}
	return cli.Errorf(cli.IOErr, "write a reply: %w", c.err)
}

func (c *stdioConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *stdioConn) LocalAddr() net.Addr              { return stdioAddr{} }
func (c *stdioConn) RemoteAddr() net.Addr             { return stdioAddr{} }
func (c *stdioConn) SetDeadline(time.Time) error      { return nil }
func (c *stdioConn) SetReadDeadline(time.Time) error  { return nil }
func (c *stdioConn) SetWriteDeadline(time.Time) error { return nil }

type noLog struct{}

func (noLog) Printf(string, ...any) {}
func (noLog) Println(...any)        {}

// stdioBackend makes the sessions: one, and one more after each RSET or EHLO.
type stdioBackend struct {
	ctx  context.Context // go-smtp's methods have none
	env  cli.Env
	o    *options
	s    *settings
	conn *stdioConn
	busy sync.WaitGroup
	// sessions with submission servers, by account. One command of the dialogue is
	// over before the next begins, so there is one user at a time.
	sessions map[string]*submit.Session
}

func (b *stdioBackend) hangUp() {
	for _, session := range b.sessions {
		session.Close()
	}
}

func (b *stdioBackend) NewSession(*smtp.Conn) (smtp.Session, error) {
	return &stdioSession{b: b}, nil
}

// stdioSession is a transaction after the other.
type stdioSession struct {
	b    *stdioBackend
	from string
	to   []string
	wish *requiretls.Wish
}

func (t *stdioSession) Reset()        { *t = stdioSession{b: t.b} }
func (t *stdioSession) Logout() error { return nil }

func (t *stdioSession) Mail(from string, o *smtp.MailOptions) error {
	t.Reset()
	addr, err := compose.ParseAddress(from)
	if err != nil {
		return &smtp.SMTPError{Code: 501, EnhancedCode: smtp.EnhancedCode{5, 1, 7}, Message: cli.Printable(err.Error())}
	}
	t.from = addr
	if !o.RequireTLS {
		return nil
	}
	yes := requiretls.Yes
	t.wish = &yes
	if w := t.b.o.wish; w != nil && *w != yes {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 5, 4}, Message: "REQUIRETLS, but this command was started with requiretls=" + w.String()}
	}
	return nil
}

func (t *stdioSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	c := t.composing([]string{to})
	options, err := c.options()
	if err != nil {
		return reply(err)
	}
	options.Choose = nil // that is about all of the recipients
	if _, err := compose.Envelope(options); err != nil {
		return reply(err)
	}
	t.to = append(t.to, to)
	return nil
}

func (t *stdioSession) Data(r io.Reader) error {
	t.b.busy.Add(1)
	defer t.b.busy.Done()
	defer t.b.conn.oweReply()
	ctx, cancel := limited(t.b.ctx)
	defer cancel()
	c := t.composing(t.to)
	m, err := c.readFrom(t.b.conn.whole(r))
	if err != nil {
		c.settings.log.refused(nil, err)
		return reply(err)
	}
	defer m.Close()
	_, err = c.dispatch(ctx, m)
	return reply(err)
}

// composing is what the command line says, with the envelope of this transaction.
func (t *stdioSession) composing(to []string) *composing {
	o := *t.b.o
	o.recipients, o.sender = to, &t.from
	o.errors = errorsPrinted // the reply is all that the client wants
	if t.wish != nil {
		o.wish = t.wish
	}
	return &composing{env: t.b.env, o: &o, settings: t.b.s, sessions: t.b.sessions}
}

// reply puts an error into SMTP. Causes on this host, such as the configuration, are
// temporary for the caller: they are not its message's fault.
func reply(err error) error {
	if err == nil {
		return nil
	}
	code, status := 451, smtp.EnhancedCode{4, 3, 0}
	switch cli.ExitCode(err) {
	case cli.DataErr, cli.Unavailable:
		code, status = 554, smtp.EnhancedCode{5, 0, 0}
	case cli.NoUser:
		code, status = 550, smtp.EnhancedCode{5, 1, 1}
	case cli.Usage:
		code, status = 501, smtp.EnhancedCode{5, 5, 4}
	case cli.Config:
		status = smtp.EnhancedCode{4, 3, 5}
	}
	text := err.Error()
	if e, ok := errors.AsType[*cli.Error](err); ok {
		text = e.Err.Error()
		if own, ok := enhanced(e.Status); ok && own[0] == status[0] {
			status = own
		}
	}
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, cli.Printable(strings.TrimRight(line, "\r\n")))
	}
	return &smtp.SMTPError{Code: code, EnhancedCode: status, Message: strings.Join(lines, "; ")}
}

func enhanced(status string) (smtp.EnhancedCode, bool) {
	var code smtp.EnhancedCode
	parts := strings.Split(status, ".")
	if len(parts) != len(code) {
		return code, false
	}
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil {
			return code, false
		}
		code[i] = n
	}
	return code, true
}
