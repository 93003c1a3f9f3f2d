package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rtls/internal/imap/control"
	"rtls/internal/imap/session"
)

// counted counts the octets of a connection.
type counted struct {
	net.Conn
	in, out atomic.Uint64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.in.Add(uint64(n))
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.out.Add(uint64(n))
	return n, err
}

var _ control.Sessions = (*pool)(nil)

// control answers the administrator until ctx ends.
func (p *pool) control(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { p.cfg.Control.Close() })
	defer stop()
	if err := control.Serve(ctx, p.cfg.Control, uint32(os.Geteuid()), p, p.cfg.Logger); err != nil {
		p.cfg.Logger.Error("control socket", "err", err)
	}
}

// List shows all connections, in the order of their ids.
func (p *pool) List() []control.Session {
	p.mu.Lock()
	all := make([]control.Session, 0, len(p.conns))
	sessions := make(map[uint64]*session.Session)
	for c := range p.conns {
		all = append(all, c.shown())
		sessions[c.id] = c.session
	}
	p.mu.Unlock()
	var wg sync.WaitGroup // other processes may be asked
	for i := range all {
		if s := sessions[all[i].ID]; s != nil {
			wg.Go(func() {
				shown := s.Shown()
				all[i].State, all[i].Mailbox, all[i].Client = cmp.Or(shown.State, "login"), shown.Mailbox, shown.Client
			})
		}
	}
	wg.Wait()
	slices.SortFunc(all, func(a, b control.Session) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// shown is a connection without what its session says. It must be called with the pool's
// mu held.
func (c *conn) shown() control.Session {
	s := control.Session{
		ID: c.id, User: c.user, Remote: c.raw.RemoteAddr().String(), Since: c.since,
		In: c.raw.in.Load(), Out: c.raw.out.Load(),
	}
	switch {
	case c.session != nil:
		s.TLS, s.Cipher = tls.VersionName(c.version), tls.CipherSuiteName(c.suite)
	case c.inClear:
		s.State = "clear"
	default:
		s.State = "handshake"
	}
	return s
}

// Kick ends sessions as soon as they wait for a command, and after Grace in any case.
func (p *pool) Kick(user string, id uint64) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for c := range p.conns {
		if user == "" && c.id != id || user != "" && c.user != user {
			continue
		}
		n++
		p.cfg.Logger.Info("kicked", "remote", c.raw.RemoteAddr().String(), "user", c.user)
		if c.session == nil {
			c.raw.Close()
			continue
		}
		c.session.Kick()
		time.AfterFunc(p.cfg.Grace, func() { c.raw.Close() }) // may be closed already
	}
	return n
}
