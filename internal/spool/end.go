package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// finish ends a message that nobody is left for: it is sent, or kept for those who were
// refused while others got it.
func (p *pass) finish(ctx context.Context, e *entry, st *State, about []any) error {
	if len(st.Refused) == 0 {
		return p.sent(e, e.record.To, about)
	}
	st.Failed, st.Reported, st.Next, st.Doubts = true, true, time.Time{}, 0
	if err := p.s.writeState(e.id, st); err != nil {
		return err
	}
	return p.giveUp(ctx, e, st)
}

// partly reports the recipients that are refused for good while there is hope for
// others. Where that is not possible now, it is left to the next attempt.
func (p *pass) partly(ctx context.Context, e *entry, st *State, never []Refused) error {
	if len(st.Done) > 0 {
		p.Log.Info("sent to some", "id", e.id, "rcpt", st.Done)
	}
	for _, no := range never {
		if p.Report != nil && e.record.From != "" {
			one := *e.record
			one.To = []string{no.To}
			if err := p.Report(ctx, Failed{Record: one, Status: no.Status, Reason: no.Reason, Content: &content{e: e}}); err != nil {
				p.Log.Warn("not reported", "id", e.id, "rcpt", no.To, "err", err)
				continue
			}
		}
		p.Log.Error("refused", "id", e.id, "from", e.record.From, "rcpt", no.To, "status", no.Status, "err", no.Reason)
		st.Refused = append(st.Refused, no.To)
		st.Status, st.Reason = no.Status, clip(no.Reason)
		if err := p.s.writeState(e.id, st); err != nil {
			return err
		}
	}
	return nil
}

// tellDelay reports a message that is late to a sender who wants to know, once. By a
// way that is closed no report would go either.
func (p *pass) tellDelay(ctx context.Context, e *entry, st *State) error {
	r := e.record
	if p.Report == nil || st.Delayed || r.From == "" || !slices.Contains(r.Notify, "DELAY") || p.down[r.Route] || p.s.now().Sub(st.since(r)) < late {
		return nil
	}
	err := p.Report(ctx, Failed{
		Record: *st.rest(r), Status: st.Status, Reason: st.Reason, InDoubt: st.Doubts > 0,
		Content: &content{e: e}, Until: st.since(r).Add(lifetime),
	})
	if err != nil {
		p.Log.Warn("delay not reported", "id", e.id, "err", err)
		return nil
	}
	st.Delayed = true
	return p.s.writeState(e.id, st)
}

// sent forgets a message that a server has taken: Q5 to Q6.
func (p *pass) sent(e *entry, to []string, about []any) error {
	p.Sent++
	if err := e.remove(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		st := &State{Sent: true, Last: p.s.now()}
		return errors.Join(fmt.Errorf("it was sent and cannot be removed: %w", err), p.s.writeState(e.id, st))
	}
	p.Log.Info("sent", append([]any{"id", e.id, "from", e.record.From, "rcpt", to, "requiretls", e.record.Wish.String()}, about...)...)
	_ = p.s.removeState(e.id) // the sweep will
	return nil
}

// giveUp reports a message and puts it aside: Q3 or Q5 to Q7.
func (p *pass) giveUp(ctx context.Context, e *entry, st *State) error {
	if p.Report != nil && !st.Reported && e.record.From != "" {
		err := p.Report(ctx, Failed{
			Record: *st.rest(e.record), Status: st.Status, Reason: st.Reason,
			InDoubt: st.Doubts > 0, Content: &content{e: e},
		})
		if err != nil && p.s.now().Sub(st.Last) < lifetime {
			st.Next = p.s.now().Add(reportWait)
			p.Log.Error("not reported", "id", e.id, "err", err)
			p.Deferred++
			return p.s.writeState(e.id, st)
		}
		if st.Reported = err == nil; err != nil {
			p.Log.Error("never reported", "id", e.id, "err", err)
		}
		st.Next = time.Time{}
		if err := p.s.writeState(e.id, st); err != nil {
			return err
		}
	}
	if err := e.move("failed"); err != nil {
		return err
	}
	p.Failed++
	p.Log.Error("given up", "id", e.id, "from", e.record.From, "rcpt", st.undone(e.record), "status", st.Status, "err", st.Reason)
	return nil
}
