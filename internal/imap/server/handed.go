package server

import (
	"context"
	"errors"
	"io"
	"time"

	"rtls/internal/cli"
	"rtls/internal/imap/handover"
	"rtls/internal/imap/session"
)

// ServeHanded serves clients that another process has logged in, as long as next returns
// some; see package handover. It ends them as Serve does when next fails, and returns its
// error, but for io.EOF.
func (s *Server) ServeHanded(ctx context.Context, next func() (*handover.Arrival, error)) error {
	p := newPool(ctx, s.withDefaults())
	defer p.finish()
	for {
		a, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		p.take(a)
	}
}

// take serves a client. It can be kicked like any other, but not by this pool's control.
func (p *pool) take(a *handover.Arrival) {
	c := &conn{pool: p, raw: &counted{Conn: a.Conn}, since: time.Now(), user: a.User}
	p.mu.Lock()
	p.conns[c] = struct{}{}
	p.mu.Unlock()
	p.wg.Go(func() {
		c.goOn(a)
		p.end(c)
	})
}

// goOn serves the client to the end.
func (c *conn) goOn(a *handover.Arrival) {
	defer a.Close()
	log := c.pool.cfg.Logger.With("remote", a.Remote, "tls", a.TLS, "cipher", a.Cipher)
	ctx, cancel := context.WithTimeout(c.pool.work, c.pool.cfg.LoginTimeout)
	opened, err := c.pool.accounts.get(ctx, a.User)
	cancel()
	if err != nil {
		log.Warn("client is not served", "user", cli.Printable(a.User), "err", err)
		a.Refuse(err)
		return
	}
	s := session.Resume(c.pool.cfg.sessionConfig(log), c.raw, a.User, a.Program, opened)
	if !c.pool.goesOn(c, s) {
		s.Stop()
	}
	c.pool.wg.Go(func() { a.Take(s) })
	_ = s.Run(c.pool.work) // the session has logged why it ended
}

// goesOn notes a connection's session, and reports whether it may go on.
func (p *pool) goesOn(c *conn, s *session.Session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.session = s
	return !p.shutd
}
