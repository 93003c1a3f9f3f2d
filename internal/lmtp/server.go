// Package lmtp is an LMTP server (RFC 2033) for a delivery agent. It has a loop
// of its own because the tag of RFC 8689 hangs on details of the dialogue: what
// was said before TLS, whether a second MAIL is refused, where a message ends.
//
// Extensions: PIPELINING, 8BITMIME, SMTPUTF8, SIZE, ENHANCEDSTATUSCODES, CHUNKING,
// STARTTLS, and REQUIRETLS inside TLS. On TCP beyond loopback a transaction takes
// TLS.
//
// The parameters of DSN (RFC 3461) are checked and recorded when a client sends them.
// DSN is offered only with a Backend that sends reports of success: whoever offers it
// owes them, and a server that does not offer it leaves them to its client.
//
// What is stored is acknowledged: neither the end of the server nor a client that is
// slow or still talking makes a reply get lost that the client could have had.
package lmtp

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"rtls/internal/accept"
	"rtls/internal/lda"
)

// Backend takes the messages. It is used by many goroutines at once.
type Backend interface {
	// Resolve says whether there is a mailbox for an address. Errors become
	// replies by way of lda.Classify.
	Resolve(ctx context.Context, address string) (lda.Recipient, error)
	// Deliver returns one result per recipient, in order. It must not report
	// success unless msg ended with io.EOF.
	Deliver(ctx context.Context, env lda.Envelope, rcpts []lda.Recipient, msg io.Reader) []error
}

// Admitter is a Backend that can say before a message comes whether there is room
// for it. size is what the client announced, 0 if it did not. Errors become replies
// to RCPT by way of lda.Classify.
type Admitter interface {
	Admit(ctx context.Context, r lda.Recipient, size int64) error
}

var (
	_ Backend  = (*lda.Agent)(nil)
	_ Admitter = (*lda.Agent)(nil)
)

// Server serves LMTP. Hostname, TLS and Backend are required; zero limits stand
// for the defaults named beside them.
type Server struct {
	Hostname string
	TLS      *tls.Config // with ClientCAs only clients that show a certificate may say REQUIRETLS in TLS
	Backend  Backend
	Logger   *slog.Logger // default: discard

	// LocalUsers are the user ids whose processes may say REQUIRETLS on a Unix
	// socket without TLS. What they say has the origin "local". Default: none.
	LocalUsers []uint32

	DSN bool // the Backend sends reports of success

	MaxSize       int64 // octets per message, 100 MiB
	MaxRecipients int   // per transaction, 1000
	MaxConns      int   // at once, 200

	IdleTimeout      time.Duration // for each command line, 5 minutes (RFC 5321 section 4.5.3.2.7)
	DataTimeout      time.Duration // without progress inside a message, 3 minutes
	MessageTimeout   time.Duration // for a whole message, 1 hour
	WriteTimeout     time.Duration // for the client to take our replies, 30 seconds
	HandshakeTimeout time.Duration // 30 seconds
	Grace            time.Duration // for running deliveries at shutdown, 30 seconds
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// withDefaults is a copy in which nothing is left out.
func (s *Server) withDefaults() *Server {
	cfg := *s
	orDefault(&cfg.Logger, slog.New(slog.DiscardHandler))
	orDefault(&cfg.MaxSize, 100<<20)
	orDefault(&cfg.MaxRecipients, 1000)
	orDefault(&cfg.MaxConns, 200)
	orDefault(&cfg.IdleTimeout, 5*time.Minute)
	orDefault(&cfg.DataTimeout, 3*time.Minute)
	orDefault(&cfg.MessageTimeout, time.Hour)
	orDefault(&cfg.WriteTimeout, 30*time.Second)
	orDefault(&cfg.HandshakeTimeout, 30*time.Second)
	orDefault(&cfg.Grace, 30*time.Second)
	return &cfg
}

// Serve serves until ctx ends, then closes the listeners, tells idle clients to
// come back later and lets clients in the middle of a message finish, for as long
// as Grace. Then it reads no more and tells the Backend to stop; a message that is
// stored by then is still acknowledged. It returns when all connections are
// closed: nil if ctx ended it, else what made a listener unusable.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	cfg := s.withDefaults()

	// Deliveries outlive ctx: they are cancelled when Grace is over.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	p := &pool{cfg: cfg, work: work, conns: make(map[*conn]struct{})}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		p.wg.Go(func() { failed <- accept.Loop(ctx, l, cfg.Logger, p.start) })
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	for _, l := range listeners {
		l.Close()
	}
	p.shut()
	late := time.AfterFunc(cfg.Grace, func() {
		cancel()
		p.stopReading()
	})
	defer late.Stop()
	p.wg.Wait()
	return err
}

// ServeConn serves one client that is connected already. It returns when the
// connection is closed, and follows Serve in everything else.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) {
	cfg := s.withDefaults()
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	c := newConn(cfg, work, conn)
	defer context.AfterFunc(ctx, c.stop)()
	defer context.AfterFunc(ctx, func() {
		select {
		case <-work.Done():
		case <-time.After(cfg.Grace):
			cancel()
			c.stopReading()
		}
	})()
	c.serve()
}

// pool is the set of open connections of one Serve.
type pool struct {
	cfg  *Server
	work context.Context
	wg   sync.WaitGroup

	mu    sync.Mutex // guards what follows
	conns map[*conn]struct{}
	shutd bool
}

func (p *pool) start(raw net.Conn) {
	c := newConn(p.cfg, p.work, raw)
	if !p.add(c) {
		c.turnAway()
	}
}

func (p *pool) add(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shutd || len(p.conns) >= p.cfg.MaxConns {
		return false
	}
	p.conns[c] = struct{}{}
	p.wg.Go(func() {
		c.serve()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, c)
	})
	return true
}

// shut ends connections that wait for a command, and the others once they do.
func (p *pool) shut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shutd = true
	for c := range p.conns {
		c.stop()
	}
}

func (p *pool) stopReading() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.stopReading()
	}
}
