package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"sync"
	"time"

	"rtls/internal/lda"
	"rtls/internal/reexec"
)

// Owner is whose process it takes to deliver somebody's mail.
type Owner = reexec.User

// Config is what a Pool needs. What has no default is required.
type Config struct {
	Agent    *lda.Agent // resolves addresses; it delivers nothing
	Owner    func(user string) (lda.User, Owner, error)
	Settings json.RawMessage       // for the worker's AgentOf
	Command  func(Owner) *exec.Cmd // a worker, which serves its standard input
	Logger   *slog.Logger          // default: discard

	Busy    int           // workers at work at once; default 64
	Spare   int           // workers that wait for work; default 16
	Linger  time.Duration // how long they wait; default 30 seconds
	Timeout time.Duration // for a worker's answer; default 5 minutes
	Abort   time.Duration // for the answer of one that was told to stop; default 10 seconds
}

// Pool has a worker for each owner whose mail comes, and more where it comes all at once.
// It is a Backend of LMTP, for concurrent use.
type Pool struct {
	cfg   Config
	slots chan struct{}  // one for each worker at work
	wg    sync.WaitGroup // of all workers

	mu     sync.Mutex // guards what follows
	spare  []*process // who has waited longest comes first
	closed bool
}

// New makes a pool without workers, which whoever made it has to close.
func New(cfg Config) *Pool {
	orDefault(&cfg.Logger, slog.New(slog.DiscardHandler))
	orDefault(&cfg.Busy, 64)
	orDefault(&cfg.Spare, 16)
	orDefault(&cfg.Linger, 30*time.Second)
	orDefault(&cfg.Timeout, 5*time.Minute)
	orDefault(&cfg.Abort, 10*time.Second)
	return &Pool{cfg: cfg, slots: make(chan struct{}, cfg.Busy)}
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Close ends the workers, of which none is at work any more, and waits for them.
func (p *Pool) Close() {
	p.mu.Lock()
	spare := p.spare
	p.spare, p.closed = nil, true
	p.mu.Unlock()
	for _, w := range spare {
		w.dismiss()
	}
	p.wg.Wait()
}

// ask has a worker of an owner do something, and returns as many results as there are
// recipients. An error is a doubt: nobody knows what the worker has done.
func (p *Pool) ask(ctx context.Context, o Owner, req *request, message *lda.Spool) ([]error, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	req.Settings = p.cfg.Settings
	w, err := p.hire(o)
	if err != nil {
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	results, err := w.ask(ctx, req, message)
	if err != nil {
		w.kill()
		return nil, fmt.Errorf("worker %d of user %d: %w", w.cmd.Process.Pid, o.UID, err)
	}
	p.putBack(ctx, w)
	return results, nil
}

// hire takes a worker that waits, the one that has waited least, or starts one.
func (p *Pool) hire(o Owner) (*process, error) {
	if w := p.waiting(o); w != nil {
		return w, nil
	}
	w, err := startProcess(o, p.cfg.Command(o), p.cfg.Timeout, p.cfg.Abort)
	if err != nil {
		return nil, err
	}
	p.wg.Go(func() {
		_ = w.cmd.Wait() // its answers have said how it went
		p.forget(w)
	})
	return w, nil
}

func (p *Pool) waiting(o Owner) *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, w := range slices.Backward(p.spare) {
		if w.owner == o && w.leave.Stop() {
			p.spare = slices.Delete(p.spare, i, i+1)
			return w
		}
	}
	return nil
}

// putBack has a worker wait for more work.
func (p *Pool) putBack(ctx context.Context, w *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || ctx.Err() != nil {
		w.dismiss()
		return
	}
	if len(p.spare) >= p.cfg.Spare {
		p.spare[0].dismiss()
		p.spare = slices.Delete(p.spare, 0, 1)
	}
	w.leave = time.AfterFunc(p.cfg.Linger, func() {
		p.forget(w)
		w.dismiss()
	})
	p.spare = append(p.spare, w)
}

// forget makes sure that a worker is given no more work.
func (p *Pool) forget(w *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.spare, w); i >= 0 {
		w.leave.Stop()
		p.spare = slices.Delete(p.spare, i, i+1)
	}
}
