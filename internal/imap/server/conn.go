package server

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/netip"
	"time"

	"rtls/internal/auth"
	"rtls/internal/cli"
	"rtls/internal/imap/handover"
	"rtls/internal/imap/session"
)

// conn is one client's connection.
type conn struct {
	pool *pool
	raw  *counted
	peer netip.Addr
	addr string // what counts as one address

	id    uint64
	since time.Time

	inClear bool // until STARTTLS

	// Guarded by the pool's mutex.
	session *session.Session // nil before the handshake is over
	version uint16           // of TLS
	suite   uint16
	before  bool   // login
	user    string // who has logged in; empty before that
}

// serve runs the connection to its end and closes it.
func (c *conn) serve() {
	cfg := c.pool.cfg
	log := cfg.Logger.With("remote", c.raw.RemoteAddr().String())
	defer c.raw.Close()
	if c.inClear {
		if err := c.untilStartTLS(log); err != nil {
			log.Info("disconnect in clear", "reason", cli.Printable(err.Error()))
			return
		}
	}
	secure, err := c.handshake()
	if err != nil {
		log.Info("TLS handshake failed", "err", cli.Printable(err.Error()))
		return
	}
	defer secure.Close() // says so to the client, so that it can tell this from being cut off
	state := secure.ConnectionState()
	log = log.With("tls", tls.VersionName(state.Version), "cipher", tls.CipherSuiteName(state.CipherSuite))
	log.Info("connect")
	sc := cfg.sessionConfig(log)
	sc.Backend, sc.NoGreeting = backend{c, auth.Peer{Addr: c.peer, TLS: &state}}, c.inClear
	s := session.New(sc, secure)
	if !c.pool.ready(c, s, &state) {
		s.Stop()
	}
	_ = s.Run(c.pool.work) // the session has logged why it ended
}

// sessionConfig is what all sessions have in common, after login.
func (s *Server) sessionConfig(log *slog.Logger) *session.Config {
	return &session.Config{
		Hostname:     s.Hostname,
		Logger:       log,
		Admin:        s.Admin,
		AppendLimit:  s.AppendLimit,
		Compress:     s.Compress,
		MaxFailures:  s.MaxFailures,
		MaxFollowed:  s.MaxFollowed,
		LoginTimeout: s.LoginTimeout,
		IdleTimeout:  s.IdleTimeout,
		DataTimeout:  s.DataTimeout,
		WriteTimeout: s.WriteTimeout,
		KeepAlive:    s.KeepAlive,

		SearchTimeout: s.SearchTimeout,
		ProgressEvery: s.ProgressEvery,
	}
}

// handshake secures the connection. Nothing is set up for a client before that.
func (c *conn) handshake() (*tls.Conn, error) {
	timeout := c.pool.cfg.HandshakeTimeout
	ctx, cancel := context.WithTimeout(c.pool.work, timeout)
	defer cancel()
	if err := c.raw.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	secure := tls.Server(c.raw, c.pool.cfg.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return secure, c.raw.SetDeadline(time.Time{})
}

// backend logs one connection's client in.
type backend struct {
	c    *conn
	peer auth.Peer
}

var _ session.Backend = backend{}

func (b backend) Mechanisms() []string { return b.c.pool.cfg.Auth.Mechanisms(b.peer) }

func (b backend) Password(ctx context.Context, user, password string) (auth.Login, error) {
	ctx, cancel := context.WithTimeout(ctx, b.c.pool.cfg.LoginTimeout)
	defer cancel()
	return b.c.pool.cfg.Auth.Login(ctx, b.peer, user, password)
}

func (b backend) Start(mechanism string) auth.Exchange {
	x := b.c.pool.cfg.Auth.Start(b.peer, mechanism)
	if x == nil {
		return nil
	}
	return timed{x, b.c.pool.cfg.LoginTimeout}
}

// timed bounds the time that each step of an exchange takes.
type timed struct {
	auth.Exchange
	most time.Duration
}

func (t timed) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, t.most)
	defer cancel()
	return t.Exchange.Next(ctx, response)
}

func (b backend) Open(ctx context.Context, user, client string) (session.Opened, error) {
	ctx, cancel := context.WithTimeout(ctx, b.c.pool.cfg.LoginTimeout)
	defer cancel()
	opened, err := b.open(ctx, user, client)
	if err != nil {
		return opened, err
	}
	b.c.pool.setUser(b.c, user)
	release := opened.Release
	opened.Release = func() {
		b.c.pool.setUser(b.c, "")
		release()
	}
	return opened, nil
}

func (b backend) open(ctx context.Context, user, client string) (session.Opened, error) {
	hand := b.c.pool.cfg.Hand
	if hand == nil {
		return b.c.pool.accounts.get(ctx, user)
	}
	there, err := hand(ctx, handover.Client{
		User: user, Remote: b.c.raw.RemoteAddr().String(), Program: client,
		TLS: tls.VersionName(b.peer.TLS.Version), Cipher: tls.CipherSuiteName(b.peer.TLS.CipherSuite),
	})
	if err != nil {
		return session.Opened{}, err
	}
	return session.Opened{Elsewhere: there, Release: func() { there.Close() }}, nil
}
