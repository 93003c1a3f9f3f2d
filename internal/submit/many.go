package submit

import (
	"context"
)

// Session hands messages to one target, one after another: over one connection,
// with one login, as long as the server lets it last. A connection that is found
// dead before the text of a message has left is replaced, once a message. Each
// message has to pass the guard for itself. A Session belongs to one goroutine.
type Session struct {
	target *Target
	o      Options
	open   *session // nil: none
}

// NewSession connects to nobody yet.
func NewSession(t *Target, o Options) *Session {
	o.Timeouts = o.Timeouts.withDefaults()
	return &Session{target: t, o: o}
}

// Send is the function Send, but for the connection, which stays.
func (c *Session) Send(ctx context.Context, m *Mail) (*Receipt, error) {
	for {
		reused := c.open != nil
		receipt, stale, err := c.attempt(ctx, m)
		if err == nil {
			return receipt, nil
		}
		if !reused || !stale || ctx.Err() != nil {
			return nil, err
		}
	}
}

// attempt sends m over the connection that there is, else over a new one. Stale
// says that the server may well take it over another.
func (c *Session) attempt(ctx context.Context, m *Mail) (r *Receipt, stale bool, _ error) {
	s := c.open
	if s == nil {
		s = &session{target: c.target, o: &c.o, keep: true}
		if err := s.dial(ctx); err != nil {
			return nil, false, s.fail(ctx, err)
		}
	}
	stop := context.AfterFunc(ctx, func() { s.raw.Close() })
	s.dotSent, s.usable, s.stale = false, false, false
	receipt, err := s.run(m)
	c.open = s
	if !stop() || !s.usable {
		c.open = nil
		s.close()
	}
	if err == nil {
		return receipt, false, nil
	}
	out := s.fail(ctx, err)
	return nil, s.stale || !s.dotSent && (out.Reply.Code == 0 && !s.usable || out.Reply.Code == 421), out
}

// Close says goodbye.
func (c *Session) Close() {
	if s := c.open; s != nil {
		c.open = nil
		s.quit()
		s.close()
	}
}

// leave ends a transaction that came to nothing.
func (s *session) leave() {
	if !s.keep {
		s.quit()
		return
	}
	r, err := s.command("RSET")
	s.usable = err == nil && r.positive()
}
