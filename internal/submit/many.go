package submit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"rtls/internal/cli"
	"rtls/internal/requiretls"
)

// Session hands messages, one after another, each to the first of some targets that
// takes it. Connections stay open between messages, so that a target sees one login
// as long as it lets it last; one that is found dead before the text of a message has
// left is replaced, once a message. Each message has to pass the guard for itself. A
// Session belongs to one goroutine.
type Session struct {
	targets  []*Target
	o        Options
	expanded []*Target // targets with the hosts that SRV records name; nil: not looked up
	refused  []*Error  // of the look-up
	open     map[*Target]*session
}

// NewSession connects to nobody yet. The targets are in the order of preference.
func NewSession(targets []*Target, o Options) *Session {
	return &Session{targets: targets, o: o, open: make(map[*Target]*session)}
}

// Send hands over m, to all recipients or to none; but see Outcome. The next target is tried if one
// cannot be reached, cannot be verified, lacks what the message needs or refuses to
// serve us; what it says about the message itself, or a recipient, is final. So is a
// connection that is lost when the message may have been taken.
//
// Its errors are *Error where one target was tried, else *Unsent.
func (c *Session) Send(ctx context.Context, m *Mail) (*Receipt, error) {
	return c.send(ctx, m, false)
}

// SendLast is Send, and ends the session that is used: with the end of the message,
// where the server allows that.
func (c *Session) SendLast(ctx context.Context, m *Mail) (*Receipt, error) {
	return c.send(ctx, m, true)
}

// Close ends all sessions.
func (c *Session) Close() {
	for _, s := range c.open {
		c.leave(s)
	}
}

func (c *Session) send(ctx context.Context, m *Mail, last bool) (*Receipt, error) {
	targets, failed := c.expand(ctx)
	for _, t := range c.o.Breaker.order(targets) {
		receipt, err := c.try(ctx, t, m, last)
		if err == nil {
			c.o.Breaker.well(t)
			return receipt, nil
		}
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return nil, err
		}
		if e.unreachable {
			c.o.Breaker.down(t)
		}
		failed = append(failed, e)
		if e.verdict || e.MaybeSent || ctx.Err() != nil {
			break
		}
	}
	if len(failed) == 1 {
		return nil, failed[0]
	}
	return nil, unsent(failed)
}

// expand looks up the targets that are domains, once. Where that failed, it is done
// again for the next message.
func (c *Session) expand(ctx context.Context) (targets []*Target, refused []*Error) {
	if c.expanded != nil {
		return c.expanded, slices.Clone(c.refused)
	}
	for _, t := range c.targets {
		found, out := t.expand(ctx, &c.o)
		targets = append(targets, found...)
		refused = append(refused, out...)
	}
	if !slices.ContainsFunc(refused, (*Error).Temporary) {
		c.expanded, c.refused = targets, slices.Clone(refused)
	}
	return targets, refused
}

// try sends over one target. A connection that was kept may have been closed by the
// server meanwhile; that says nothing about the target, and a new one is made. So it
// is, once, where a login failed that may do better with another token.
func (c *Session) try(ctx context.Context, t *Target, m *Mail, last bool) (*Receipt, error) {
	reused := c.open[t] != nil
	receipt, err := c.over(ctx, t, m, last)
	e, failed := errors.AsType[*Error](err)
	if !failed || ctx.Err() != nil || !e.again && !(reused && e.lost) {
		return receipt, err
	}
	if s := c.open[t]; s != nil {
		c.leave(s)
	}
	return c.over(ctx, t, m, last)
}

// over sends over the connection to a target, or over a new one.
func (c *Session) over(ctx context.Context, t *Target, m *Mail, last bool) (*Receipt, error) {
	s := c.open[t]
	if s == nil {
		var err error
		if s, err = open(ctx, t, c.o); err != nil {
			return nil, err
		}
		c.open[t] = s
	}
	receipt, err := s.send(ctx, m, last)
	if s.dead {
		c.leave(s)
	}
	return receipt, err
}

// leave gives up a connection.
func (c *Session) leave(s *session) {
	s.bye()
	delete(c.open, s.target)
}

// Unsent is the error when no target took a message.
type Unsent struct {
	Errors []*Error // one a target, in the order in which they were tried
	err    *cli.Error
}

func (u *Unsent) Error() string {
	texts := make([]string, 0, len(u.Errors))
	for _, e := range u.Errors {
		texts = append(texts, e.Error())
	}
	return strings.Join(texts, "\n")
}

// Unwrap returns a *cli.Error: the first that is temporary, if there is one, since a
// later attempt can succeed then; else that of the target that was the closest to
// taking the message.
func (u *Unsent) Unwrap() error { return u.err }

// Temporary says whether a later attempt makes sense.
func (u *Unsent) Temporary() bool { return u.err.Code == cli.TempFail }

// targetErrors is what there is to an error of Send, or of a Session, for each target.
func targetErrors(err error) []*Error {
	if u, ok := errors.AsType[*Unsent](err); ok {
		return u.Errors
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return []*Error{e}
	}
	return nil
}

// MaybeSent says of an error whether a target may have taken the message.
func MaybeSent(err error) bool {
	return slices.ContainsFunc(targetErrors(err), func(e *Error) bool { return e.MaybeSent })
}

// Unreached says of an error whether no target has said anything about the message,
// nor may have taken it. The next message will meet the same.
func Unreached(err error) bool {
	all := targetErrors(err)
	return len(all) > 0 && !slices.ContainsFunc(all, func(e *Error) bool { return e.Reply.Code != 0 || e.MaybeSent || e.verdict })
}

func unsent(failed []*Error) error {
	if len(failed) == 0 {
		return cli.Errorf(cli.Config, "there is no target to send to")
	}
	best := failed[0]
	for _, e := range failed[1:] {
		if rank(e.err) > rank(best.err) {
			best = e
		}
	}
	return &Unsent{Errors: failed, err: best.err}
}

// rank is how close a failed target was to taking the message (RFC 8689 section
// 4.2.1 has a code for the first two steps).
func rank(e *cli.Error) int {
	switch {
	case e.Code == cli.TempFail:
		return 9
	case e.Code == cli.DataErr || e.Code == cli.NoUser:
		return 4
	case e.Code == cli.NoPerm:
		return 3
	case e.Status == requiretls.StatusNoSupport:
		return 2
	case e.Status == requiretls.StatusNoTLS:
		return 1
	}
	return 0
}

func errorAt(target string, err error) error { return fmt.Errorf("%s: %w", target, err) }
