package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"rtls/internal/reexec"
)

// Config is what a Pool needs. What has no default is required.
type Config struct {
	Settings json.RawMessage       // for Serve; this package does not know them
	Command  func(Owner) *exec.Cmd // a process, which serves its standard input
	Logger   *slog.Logger          // default: discard

	Linger  time.Duration // of a process without sessions; default 1 minute
	Timeout time.Duration // for a client to be taken; default 1 minute
	Grace   time.Duration // for a process to end; default 15 seconds
}

// Pool has a process for each owner whose users are here. It is safe for concurrent use.
type Pool struct {
	cfg Config
	wg  sync.WaitGroup // of all processes

	mu        sync.Mutex // guards what follows
	processes map[Owner]*process
	closed    bool
}

// process is one process as the server sees it.
type process struct {
	cmd     *exec.Cmd
	channel *net.UnixConn
	ended   chan struct{}

	// Guarded by Pool.mu.
	sessions int
	end      *time.Timer // nil while there are sessions
}

// New makes a pool without processes, which whoever made it has to close.
func New(cfg Config) *Pool {
	orDefault(&cfg.Logger, slog.New(slog.DiscardHandler))
	orDefault(&cfg.Linger, time.Minute)
	orDefault(&cfg.Timeout, time.Minute)
	orDefault(&cfg.Grace, 15*time.Second)
	return &Pool{cfg: cfg, processes: make(map[Owner]*process)}
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Close ends the processes and waits for them; those that do not end are killed. No
// session has to be left.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	var left []*process
	for o, w := range p.processes {
		left = append(left, w)
		p.dismiss(o, w)
	}
	p.mu.Unlock()
	late := time.AfterFunc(p.cfg.Grace, func() {
		for _, w := range left {
			_ = w.cmd.Process.Kill() // it may have ended
		}
	})
	defer late.Stop()
	p.wg.Wait()
}

// Hand hands a client over. Close of the session has to be called. Errors are
// session.ErrTooMany, and those that mean that it cannot be done now.
func (p *Pool) Hand(ctx context.Context, o Owner, c Client) (*Session, error) {
	packet, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	if len(packet) > maxPacket {
		return nil, errors.New("too much is known of the client")
	}
	s, err := p.send(o, packet)
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) { // it was about to end
		s, err = p.send(o, packet)
	}
	if err != nil {
		return nil, fmt.Errorf("process of user %d: %w", o.UID, err)
	}
	if err := s.taken(ctx, p.cfg.Timeout); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// send gives a process a client, and counts its session.
func (p *Pool) send(o Owner, packet []byte) (*Session, error) {
	w, err := p.join(o)
	if err != nil {
		return nil, err
	}
	s, theirs, err := newSession()
	if err != nil {
		p.release(o, w)
		return nil, err
	}
	s.release = func() { p.release(o, w) }
	rights := unix.UnixRights(int(theirs[0].Fd()), int(theirs[1].Fd()))
	_ = w.channel.SetWriteDeadline(time.Now().Add(prompt)) // of sockets it does not fail
	_, _, err = w.channel.WriteMsgUnix(packet, rights, nil)
	theirs[0].Close()
	theirs[1].Close()
	if err != nil {
		p.forget(o, w)
		s.Close()
		return nil, err
	}
	return s, nil
}

// join returns the process of an owner, started if need be, with one session more.
func (p *Pool) join(o Owner) (*process, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errors.New("the server is shutting down")
	}
	w := p.processes[o]
	if w == nil {
		var err error
		if w, err = p.start(o); err != nil {
			return nil, fmt.Errorf("start it: %w", err)
		}
		p.processes[o] = w
	}
	if w.end != nil {
		w.end.Stop() // if it is too late for that, leave sees that there is a session
		w.end = nil
	}
	w.sessions++
	return w, nil
}

func (p *Pool) start(o Owner) (*process, error) {
	ours, theirs, err := reexec.SocketPair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := p.cfg.Command(o)
	cmd.Stdin = theirs
	if err = cmd.Start(); err == nil {
		_, err = ours.Write(p.cfg.Settings)
	}
	if err != nil {
		ours.Close()
		return nil, err
	}
	w := &process{cmd: cmd, channel: ours}
	p.wg.Go(func() {
		err := cmd.Wait()
		if err != nil {
			p.cfg.Logger.Error("a process has ended, and sessions with it", "uid", o.UID, "pid", cmd.Process.Pid, "err", err)
		}
		p.forget(o, w)
	})
	return w, nil
}

// release counts one session less. A process without any is kept for a while: mail
// programs come back.
func (p *Pool) release(o Owner, w *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.sessions--
	if w.sessions == 0 && p.processes[o] == w {
		w.end = time.AfterFunc(p.cfg.Linger, func() { p.leave(o, w) })
	}
}

func (p *Pool) leave(o Owner, w *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.sessions == 0 && p.processes[o] == w {
		p.dismiss(o, w)
	}
}

// forget makes sure that a process is given no more clients.
func (p *Pool) forget(o Owner, w *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.processes[o] == w {
		p.dismiss(o, w)
	}
}

// dismiss has a process end its sessions, and itself. It must be called with mu held.
func (p *Pool) dismiss(o Owner, w *process) {
	if w.end != nil {
		w.end.Stop()
		w.end = nil
	}
	delete(p.processes, o)
	w.channel.Close()
}
