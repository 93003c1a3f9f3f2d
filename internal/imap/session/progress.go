package session

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rtls/store"
)

// progress tells the client how far a command has come that takes long (RFC 9585). It
// takes no goroutine before there is something to tell.
type progress struct {
	s    *Session
	goal int64        // 0 if it is not known
	done atomic.Int64 // messages

	mu    sync.Mutex // guards what follows, and the session's writer until over is set
	timer *time.Timer
	over  bool
}

// long runs f, the part of a command that can take long without a word to the client,
// to whom f must not write but with speak. f is to count the messages that it is done with, of which
// there are goal, or 0 if nobody knows. A call within another one counts for that.
func (s *Session) long(goal int, f func(done *atomic.Int64) error) error {
	if s.working != nil {
		return f(&s.working.done)
	}
	p := &progress{s: s, goal: int64(goal)}
	s.working = p
	p.mu.Lock()
	p.timer = time.AfterFunc(s.cfg.ProgressEvery, p.tell)
	p.mu.Unlock()
	defer p.end()
	return f(&p.done)
}

// speak writes something to the client amid the work that long does.
func (s *Session) speak(write func()) {
	if p := s.working; p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
	}
	write()
}

// longChange is long for a change of the store, which counts by itself.
func (s *Session) longChange(ctx context.Context, messages int, f func(ctx context.Context) error) error {
	return s.long(messages, func(done *atomic.Int64) error { return f(store.WithDealt(ctx, done)) })
}

// end waits for what is being told: from here on the writer is the command's again.
func (p *progress) end() {
	p.timer.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.s.working = nil
}

func (p *progress) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	w := p.s.w
	w.Status("*", "OK", p.code(), "working")
	_ = w.Flush() // the writer keeps its error
	p.timer.Reset(p.s.cfg.ProgressEvery)
}

// code is the response code. What is done is never all there is to do, or the reply
// would be here (RFC 9585 section 4).
func (p *progress) code() string {
	tag := "NIL"
	if !strings.Contains(p.s.tag, "]") {
		tag = `"` + p.s.tag + `"`
	}
	done, goal := p.done.Load(), "NIL"
	if p.goal > 0 {
		done, goal = min(done, p.goal-1), strconv.FormatInt(p.goal, 10)
	}
	return "INPROGRESS (" + tag + " " + strconv.FormatInt(done, 10) + " " + goal + ")"
}
