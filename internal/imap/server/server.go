// Package server accepts IMAP clients over TLS and bounds what they can take of
// the machine.
package server

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"rtls/internal/accept"
	"rtls/internal/auth"
	"rtls/internal/imap/fulltext"
	"rtls/internal/imap/handover"
	"rtls/internal/imap/session"
	"rtls/store"
)

// Authenticator says who logs in, and takes its time over it where somebody guesses;
// see auth.Gate. It is used by many goroutines at once.
type Authenticator interface {
	Mechanisms(auth.Peer) []string
	Login(ctx context.Context, peer auth.Peer, user, password string) (auth.Login, error)
	Start(peer auth.Peer, mechanism string) auth.Exchange
	// Admits says whether a user may still be here.
	Admits(user string) (bool, error)
}

var _ Authenticator = (*auth.Gate)(nil)

// Server serves IMAP. Hostname, TLS, Auth and OpenAccount or Hand are required, for
// ServeHanded Hostname and OpenAccount; zero limits stand for the defaults named beside
// them.
type Server struct {
	Hostname string
	TLS      *tls.Config
	Auth     Authenticator
	// OpenAccount opens the account of a user whose password was right. Sessions of
	// one user share it.
	OpenAccount func(ctx context.Context, user string) (*store.Account, error)
	// Hand has another process serve a user whose password was right; it fills in what is
	// left. With it there is no OpenAccount.
	Hand   func(ctx context.Context, c handover.Client) (*handover.Session, error)
	Logger *slog.Logger // default: discard
	// StartTLS are further listeners, whose clients speak in clear up to STARTTLS and
	// can do nothing before it. Serve closes them, too.
	StartTLS []net.Listener
	// Control is a Unix socket for package control, or nil. Serve closes it, too.
	Control net.Listener
	// TextIndex says which users have an index of texts, which makes searches fast; nil:
	// nobody has.
	TextIndex func(user string) bool

	Admin       string // a URI that reaches the administrator; clients can ask for it
	AppendLimit int64  // octets of a message, 100 MiB
	Compress    bool   // offer COMPRESS=DEFLATE
	MaxConns    int    // at once, 2000
	MaxBefore   int    // of these before login, 500
	MaxPerAddr  int    // of these from one address, 50; after login there may be a whole office behind one
	MaxPerUser  int    // sessions of one user, 50
	MaxFailures int    // failed logins of one connection, 3
	MaxFollowed int    // mailboxes that one session has word of with NOTIFY, 2000: each takes two of the system's inotify watches

	HandshakeTimeout time.Duration // 30 seconds
	LoginTimeout     time.Duration // from the greeting to a login, 1 minute
	IdleTimeout      time.Duration // between commands, 30 minutes (RFC 9051 section 5.4)
	DataTimeout      time.Duration // without progress inside a command, 5 minutes
	WriteTimeout     time.Duration // without progress in sending, 2 minutes
	KeepAlive        time.Duration // between signs of life under IDLE, 2 minutes
	SearchTimeout    time.Duration // of a search, 5 minutes
	ProgressEvery    time.Duration // between words on how far a long command has come, 10 seconds (RFC 9585 section 4)
	AdmitEvery       time.Duration // between looks whether users may still be here, 10 seconds
	Keep             time.Duration // of an account in memory after its last session; 0 keeps none
	Grace            time.Duration // for running commands at shutdown, 10 seconds
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (s *Server) withDefaults() *Server {
	cfg := *s
	orDefault(&cfg.Logger, slog.New(slog.DiscardHandler))
	orDefault(&cfg.AppendLimit, 100<<20)
	orDefault(&cfg.MaxConns, 2000)
	orDefault(&cfg.MaxBefore, 500)
	orDefault(&cfg.MaxPerAddr, 50)
	orDefault(&cfg.MaxPerUser, 50)
	orDefault(&cfg.MaxFailures, 3)
	orDefault(&cfg.MaxFollowed, 2000)
	orDefault(&cfg.HandshakeTimeout, 30*time.Second)
	orDefault(&cfg.LoginTimeout, time.Minute)
	orDefault(&cfg.IdleTimeout, 30*time.Minute)
	orDefault(&cfg.DataTimeout, 5*time.Minute)
	orDefault(&cfg.WriteTimeout, 2*time.Minute)
	orDefault(&cfg.KeepAlive, 2*time.Minute)
	orDefault(&cfg.SearchTimeout, 5*time.Minute)
	orDefault(&cfg.ProgressEvery, 10*time.Second)
	orDefault(&cfg.AdmitEvery, 10*time.Second)
	orDefault(&cfg.Grace, 10*time.Second)
	return &cfg
}

// Serve serves until ctx ends, then closes the listeners, says BYE to clients that
// wait and lets running commands finish, for as long as Grace. It returns when all
// connections are closed: nil if ctx ended it, else what made a listener unusable.
// The listeners are plain TCP: TLS is this server's business.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	cfg := s.withDefaults()
	p := newPool(ctx, cfg)
	all := slices.Concat(listeners, cfg.StartTLS)
	failed := make(chan error, len(all))
	for i, l := range all {
		start := func(raw net.Conn) { p.start(raw, i >= len(listeners)) }
		p.wg.Go(func() { failed <- accept.Loop(ctx, l, cfg.Logger, start) })
	}
	if cfg.Control != nil {
		p.wg.Go(func() { p.control(ctx) })
	}
	watch, stopWatch := context.WithCancel(ctx)
	defer stopWatch()
	p.wg.Go(func() { p.expel(watch) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	stopWatch()
	for _, l := range all {
		l.Close()
	}
	p.finish()
	return err
}

// pool is the set of open connections of one Serve.
type pool struct {
	cfg      *Server
	work     context.Context // of commands
	cancel   context.CancelFunc
	accounts accounts
	wg       sync.WaitGroup

	mu      sync.Mutex // guards what follows
	conns   map[*conn]struct{}
	last    uint64         // id of the last connection
	before  int            // connections before login
	perAddr map[string]int // the same by address
	shutd   bool
}

// newPool makes one without connections. Commands outlive ctx: they are cancelled when
// Grace is over.
func newPool(ctx context.Context, cfg *Server) *pool {
	p := &pool{
		cfg:      cfg,
		accounts: accounts{open: cfg.OpenAccount, texts: cfg.TextIndex, turns: fulltext.NewTurns(), most: cfg.MaxPerUser, keep: cfg.Keep, log: cfg.Logger, users: make(map[string]*shared)},
		conns:    make(map[*conn]struct{}),
		perAddr:  make(map[string]int),
	}
	p.work, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return p
}

// finish ends all connections: those that run a command when it is over, or Grace.
func (p *pool) finish() {
	defer p.cancel()
	p.shut()
	late := time.AfterFunc(p.cfg.Grace, func() {
		p.cancel()
		p.kill()
	})
	defer late.Stop()
	p.wg.Wait()
	p.accounts.shut()
}

// start serves a connection, or closes it if there are too many: before TLS there
// is nothing that could be said. The client begins in clear, or with TLS.
func (p *pool) start(raw net.Conn, inClear bool) {
	c := &conn{pool: p, raw: &counted{Conn: raw}, peer: address(raw), since: time.Now(), inClear: inClear}
	c.addr = auth.AddrKey(c.peer)
	p.mu.Lock()
	defer p.mu.Unlock()
	reason := ""
	switch {
	case p.shutd:
		reason = "shutting down"
	case len(p.conns) >= p.cfg.MaxConns:
		reason = "too many connections"
	case p.before >= p.cfg.MaxBefore:
		reason = "too many connections before login"
	case p.perAddr[c.addr] >= p.cfg.MaxPerAddr:
		reason = "too many connections from this address"
	}
	if reason != "" {
		p.cfg.Logger.Warn("turned away", "remote", c.addr, "reason", reason)
		raw.Close()
		return
	}
	p.last++
	c.id = p.last
	p.conns[c] = struct{}{}
	p.countLocked(c, true)
	p.wg.Go(func() {
		c.serve()
		p.end(c)
	})
}

func (p *pool) end(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	p.countLocked(c, false)
}

// setUser counts a connection among those after login, or before it if user is empty.
func (p *pool) setUser(c *conn, user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.user = user
	p.countLocked(c, user == "")
}

// countLocked must be called with mu held.
func (p *pool) countLocked(c *conn, before bool) {
	if c.before == before {
		return
	}
	c.before = before
	if before {
		p.before++
		p.perAddr[c.addr]++
		return
	}
	p.before--
	if p.perAddr[c.addr]--; p.perAddr[c.addr] == 0 {
		delete(p.perAddr, c.addr)
	}
}

// ready notes that a connection's handshake is over, and reports whether it may
// go on.
func (p *pool) ready(c *conn, s *session.Session, state *tls.ConnectionState) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.session, c.version, c.suite = s, state.Version, state.CipherSuite
	return !p.shutd
}

// shut ends sessions that wait for a command, and the others once they do.
func (p *pool) shut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shutd = true
	for c := range p.conns {
		if c.session != nil {
			c.session.Stop()
		} else {
			c.raw.Close()
		}
	}
}

// expel ends the sessions of users who may not be here any more, until ctx ends.
func (p *pool) expel(ctx context.Context) {
	tick := time.NewTicker(p.cfg.AdmitEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for user, conns := range p.byUser() {
			// A doubt is no reason: the file may be in the making.
			if ok, err := p.cfg.Auth.Admits(user); ok || err != nil {
				continue
			}
			for _, c := range conns {
				c.session.Expel()
			}
		}
	}
}

func (p *pool) byUser() map[string][]*conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	users := make(map[string][]*conn)
	for c := range p.conns {
		if c.user != "" {
			users[c.user] = append(users[c.user], c)
		}
	}
	return users
}

func (p *pool) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.raw.Close()
	}
}

// address is the client's. A connection that is not TCP has none.
func address(raw net.Conn) netip.Addr {
	tcp, ok := raw.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap()
}
