package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"time"
)

// Transport sends messages, one after another. What it returns is a *Failure, or
// some other error, which counts as temporary. It must not have given the message's
// last octet to anybody when Content.WriteTo returns an error.
type Transport interface {
	Send(ctx context.Context, m *Message) error
}

// Message is one to be sent.
type Message struct {
	Record
	Content io.WriterTo
	About   []any // for the Transport to set: what the log is to say of it once it is sent
}

// Failed is a message that is given up, or late.
type Failed struct {
	Record
	Status  string // enhanced status code, or empty
	Reason  string
	InDoubt bool        // it may have arrived all the same
	Content io.WriterTo // for its header; valid during the call
	Until   time.Time   // it is late, and tried until then; zero: it is given up
}

// Report tells a sender of a message that is given up. It is called until it
// returns nil, once an hour and for five days: more than once also if the process
// ends then and there. It is not called for messages with a null reverse-path, nor
// for files that are no messages.
//
// It is called for a message that is four hours late, too, where its sender asked for
// that with NOTIFY=DELAY (RFC 3461 section 4.1), at each attempt until it returns nil.
type Report func(ctx context.Context, f Failed) error

// Flusher sends what is due. Its fields other than Spool and Transport can be zero.
type Flusher struct {
	Spool     *Spool
	Transport Transport
	Report    Report
	Hold      bool         // messages in doubt wait for somebody to decide
	Log       *slog.Logger // gets one line for each message that came to something

	// Select chooses messages; nil means all. Those chosen by it are sent now, due
	// or not, but for those in doubt.
	Select func(*Record) bool
}

// Result counts what became of the messages.
type Result struct {
	Sent, Deferred, Failed, Held, Busy, Waiting int
	Damaged                                     int   // moved to failed/
	Err                                         error // the first of the spool itself
}

const (
	messageLimit = time.Hour        // for one message
	grace        = 30 * time.Second // to the one that is being sent when the context ends
)

// Flush goes through the spool once, oldest first. When the context ends it sends
// no further message. It returns ErrNotOwner, or an error of reading the spool;
// what befalls single messages is counted.
func (f *Flusher) Flush(ctx context.Context) (Result, error) {
	if !f.Spool.Owned() {
		return Result{}, ErrNotOwner
	}
	p := &pass{Flusher: f, s: f.Spool, down: make(map[Route]bool)}
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	p.takeOver()
	ids, err := p.s.names("queue")
	if err != nil {
		return p.Result, fmt.Errorf("list the queue: %w", err)
	}
	for _, id := range ids {
		if ctx.Err() != nil {
			break
		}
		p.one(ctx, id)
	}
	p.s.sweep()
	return p.Result, nil
}

// pass is one call of Flush.
type pass struct {
	*Flusher
	Result
	s    *Spool
	down map[Route]bool // no more in this pass
}

// trouble notes an error of the spool. The message stays as it is.
func (p *pass) trouble(id string, err error) {
	switch {
	case errors.Is(err, fs.ErrNotExist): // another process was faster
	case errors.Is(err, ErrBusy):
		p.Busy++
	default:
		if p.Err == nil {
			p.Err = fmt.Errorf("message %s: %w", id, err)
		}
		p.Deferred++
		p.Log.Error("spool", "id", id, "err", err)
	}
}

// one does what there is to do for one message.
func (p *pass) one(ctx context.Context, id string) {
	e, err := p.s.claim("queue", id)
	if err != nil {
		p.settle(nil, id, err)
		return
	}
	defer e.close()
	p.settle(e, id, p.handle(ctx, e))
}

// settle counts, and puts aside what is no message.
func (p *pass) settle(e *entry, id string, err error) {
	d, bad := errors.AsType[*Damage](err)
	if err == nil {
		return
	}
	if !bad {
		p.trouble(id, err)
		return
	}
	if e == nil {
		e = &entry{s: p.s, place: "queue", id: id}
	}
	st, serr := p.s.readState(id)
	if st == nil {
		p.trouble(id, serr)
		return
	}
	st.Failed, st.Reported, st.Reason = true, true, d.Error()
	if err := errors.Join(p.s.writeState(id, st), e.move("failed")); err != nil {
		p.trouble(id, err)
		return
	}
	p.Damaged++
	p.Log.Error("put aside", "id", id, "err", d)
}

func (p *pass) handle(ctx context.Context, e *entry) error {
	if err := p.s.closeDoor(e); err != nil {
		return err
	}
	if err := e.read(); err != nil {
		return err
	}
	st, err := p.s.readState(e.id)
	if st == nil {
		return err
	}
	selected := p.Select != nil && p.Select(e.record)
	switch {
	case st.Sent:
		return p.sent(e, e.record.To, nil)
	case len(st.pending(e.record)) == 0 && !st.Failed: // the process ended then and there
		return p.finish(ctx, e, st, nil)
	case st.Failed && !st.due(p.s.now()): // it waits to be reported
		p.Waiting++
		return nil
	case st.Failed:
		return p.giveUp(ctx, e, st)
	case st.Held:
		p.Held++
		return nil
	case p.Select != nil && !selected, (p.Select == nil || st.Doubts > 0 && !p.Hold) && !st.due(p.s.now()), p.down[e.record.Route]:
		p.Waiting++
		return nil
	case st.Doubts > 0 && p.Hold:
		st.Held = true
		p.Held++
		p.Log.Warn("held, it may have been sent", "id", e.id)
		return p.s.writeState(e.id, st)
	case st.Doubts >= maxDoubts: // it was killed each time
		st.Failed, st.Next = true, time.Time{}
		st.Reason = fmt.Sprintf("given up: sent %d times and never answered, so it may have arrived", st.Doubts)
		if err := p.s.writeState(e.id, st); err != nil {
			return err
		}
		return p.giveUp(ctx, e, st)
	}
	if err := e.verify(); err != nil {
		return err
	}
	return p.attempt(ctx, e, st)
}

// content gives out the text of an entry, once, and calls before ahead of its last
// octet.
type content struct {
	e      *entry
	before func() error
	n      int64
	err    error // of reading it, or of before
}

func (c *content) WriteTo(w io.Writer) (int64, error) {
	c.n = 0
	out := &countingWriter{w: w}
	err := c.e.copyText(out, c.before)
	if err != nil && out.err == nil {
		c.err = err
	}
	return out.n, err
}

type countingWriter struct {
	w   io.Writer
	n   int64
	err error
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.err = err
	return n, err
}

// attempt sends a message and writes down what came of it.
func (p *pass) attempt(ctx context.Context, e *entry, st *State) error {
	if st.Doubts > 0 {
		p.Log.Warn("sent again, it may arrive twice", "id", e.id, "unanswered", st.Doubts)
	}
	marked := false
	mark := func() error { // Q3 -> Q5
		if marked {
			return nil
		}
		next := *st
		next.Doubts++
		next.Last = p.s.now()
		next.Next = next.Last.Add(doubtWait)
		next.Reason = "the sending was interrupted"
		if err := p.s.writeState(e.id, &next); err != nil {
			return err
		}
		marked, *st = true, next
		return nil
	}
	text := &content{e: e, before: mark}
	sendCtx, done := patient(ctx)
	m := &Message{Record: *st.rest(e.record), Content: text}
	err := p.Transport.Send(sendCtx, m)
	done()
	if err == nil {
		st.Done = append(st.Done, m.To...)
		return p.finish(ctx, e, st, m.About)
	}
	if d, ok := errors.AsType[*Damage](text.err); ok {
		return d
	}
	why, ok := errors.AsType[*Failure](err)
	if !ok {
		why = &Failure{Err: err, InDoubt: marked}
	}
	if why.Route {
		p.down[e.record.Route] = true
	}
	next := p.s.after(st, e.record, why, marked)
	if err := p.s.writeState(e.id, next); err != nil {
		return err
	}
	if err := p.partly(ctx, e, next, why.Never); err != nil {
		return err
	}
	if len(next.pending(e.record)) == 0 {
		return p.finish(ctx, e, next, m.About)
	}
	if next.Failed {
		return p.giveUp(ctx, e, next)
	}
	p.Deferred++
	p.Log.Info("deferred", "id", e.id, "next", next.Next, "err", why)
	return p.tellDelay(ctx, e, next)
}

// patient is a context that outlives ctx by a while: whoever waits for an answer to
// the end of a message had better get it.
func patient(ctx context.Context) (context.Context, func()) {
	sendCtx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), messageLimit, fmt.Errorf("it took more than %s", messageLimit))
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(grace, cancel)
		context.AfterFunc(sendCtx, func() { t.Stop() })
	})
	return sendCtx, func() { stop(); cancel() }
}
