package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rtls/internal/faultdisk"
)

// world is a spool on a file system that breaks, and a server that does not.
type world struct {
	dir, grave string
	clock      *clock
	server     *server
	reports    int
	id         string // of the message that was there before
}

func newWorld(t *testing.T) *world {
	t.Helper()
	base := t.TempDir()
	w := &world{dir: filepath.Join(base, "spool"), grave: filepath.Join(base, "grave"), clock: newClock(), server: &server{}}
	must(t, os.Mkdir(w.dir, 0o700))
	must(t, os.Mkdir(filepath.Join(w.dir, "drop"), 0o700))
	must(t, os.Mkdir(w.grave, 0o700))
	return w
}

func (w *world) open(fs FS) (*Spool, error) {
	return Open(w.dir, true, Config{FS: fs, Now: w.clock.Now})
}

func (w *world) flusher(s *Spool) *Flusher {
	return &Flusher{Spool: s, Transport: w.server, Report: func(context.Context, Failed) error { w.reports++; return nil }}
}

// stranger is a spool that belongs to somebody else.
func stranger(s *Spool) *Spool {
	other := *s
	other.owner = -1
	return &other
}

// walk is an operation that meets a fault at each of its calls.
type walk struct {
	name   string
	before func(t *testing.T, w *world, s *Spool) // on a file system that works
	run    func(w *world, s *Spool) error
	// copies are how many the server may have in the end. A result of the operation
	// that is nil is a promise.
	least, most       int // whatever the operation returned
	leastOK, mostFail int // when it returned nil; when it returned an error
	doubtful          int // and more than most where the message looked in doubt
	failed            bool
	named             bool // on a file system without nameless files
}

func add(s *Spool) error {
	_, err := s.Add(letter(), strings.NewReader(text), nil)
	return err
}

func put(t *testing.T, w *world, s *Spool) { w.id = s.put(t, letter()) }

func flushOnce(w *world, s *Spool) error {
	r, err := w.flusher(s).Flush(context.Background())
	return errors.Join(err, r.Err)
}

var walks = []walk{
	{name: "add", run: func(_ *world, s *Spool) error { return add(s) }, most: 1, leastOK: 1, mostFail: 0},
	{name: "add, named", run: func(_ *world, s *Spool) error { return add(s) }, most: 1, leastOK: 1, mostFail: 0, named: true},
	{name: "drop, named", run: func(_ *world, s *Spool) error { return add(stranger(s)) }, most: 1, leastOK: 1, mostFail: 0, named: true},
	{name: "add in doubt", run: func(_ *world, s *Spool) error {
		_, err := s.Add(letter(), strings.NewReader(text), unanswered)
		return err
	}, most: 1, leastOK: 1, mostFail: 0},
	{name: "drop", run: func(_ *world, s *Spool) error { return add(stranger(s)) }, most: 1, leastOK: 1, mostFail: 0},
	{name: "take over", before: func(t *testing.T, w *world, s *Spool) { w.id = stranger(s).put(t, letter()) },
		run: flushOnce, least: 1, most: 1, leastOK: 1, mostFail: 1, doubtful: 1},
	{name: "flush", before: put, run: flushOnce, least: 1, most: 1, leastOK: 1, mostFail: 1, doubtful: 1},
	{name: "deferred", before: func(t *testing.T, w *world, s *Spool) {
		w.server.outcomes = []*Failure{temporary, nil}
		put(t, w, s)
	}, run: flushOnce, least: 1, most: 1, leastOK: 1, mostFail: 1},
	{name: "unanswered", before: func(t *testing.T, w *world, s *Spool) {
		w.server.outcomes = []*Failure{unanswered, nil}
		put(t, w, s)
	}, run: flushOnce, least: 1, most: 1, leastOK: 1, mostFail: 1, doubtful: 1},
	{name: "given up", before: func(t *testing.T, w *world, s *Spool) {
		w.server.outcomes = []*Failure{permanent}
		put(t, w, s)
	}, run: flushOnce, failed: true},
	{name: "hold", before: put, run: func(w *world, s *Spool) error { return s.Hold(w.id) }, least: 1, most: 1, leastOK: 1, mostFail: 1},
	{name: "retry", before: func(t *testing.T, w *world, s *Spool) {
		w.server.outcomes = []*Failure{permanent, nil}
		put(t, w, s)
		must(t, flushOnce(w, s))
	}, run: func(w *world, s *Spool) error { return s.Retry(w.id, false) }, most: 1, leastOK: 1, mostFail: 1},
	{name: "rm", before: put, run: func(w *world, s *Spool) error { return s.Remove(w.id) }, most: 1, mostFail: 1},
}

// recover brings the spool to its end on a file system that works, as people and
// timers would.
func (w *world) recover(t *testing.T) (doubt bool) {
	t.Helper()
	s, err := w.open(OS{})
	must(t, err)
	for range 5 {
		items, err := s.List()
		must(t, err)
		for _, i := range items {
			if i.Record == nil {
				t.Errorf("a damaged file: %+v", i)
			}
			doubt = doubt || i.State.Doubts > 0
			if i.Status() == "held" && i.State.Doubts == 0 {
				must(t, s.Release(i.ID))
			}
			if i.Failed && i.State.Status != permanent.Status {
				t.Errorf("given up: %+v", i.State)
			}
		}
		w.clock.add(maxWaitJit)
		must(t, flushOnce(w, s))
	}
	return doubt
}

// check looks for G1 to G7.
func (op *walk) check(t *testing.T, w *world, err error, hit string) {
	t.Helper()
	doubt := w.recover(t)
	most := op.most
	least := op.least
	if err == nil {
		least = max(least, op.leastOK)
	} else if !errors.Is(err, faultdisk.ErrCrash) {
		most = min(most, op.mostFail)
	}
	if err == nil && op.name == "rm" {
		most = 0
	}
	if doubt {
		most += op.doubtful
	}
	if n := len(w.server.got); n < least || n > most {
		t.Errorf("%s: %d copies, want %d to %d; in doubt %v, the operation said %v", hit, n, least, most, doubt, err)
	}
	for _, g := range w.server.got {
		g.check(t, letter())
	}
	s, oerr := w.open(OS{})
	must(t, oerr)
	if w.id != "" && op.name != "rm" && len(w.server.got) == 0 && statusOf(t, s, w.id) != "failed" {
		t.Errorf("%s: the message is lost", hit)
	}
	if op.failed {
		if got := statusOf(t, s, w.id); got != "failed" || w.reports < 1 || w.reports > 2 {
			t.Errorf("%s: status %s, %d reports", hit, got, w.reports)
		}
	}
}

// Each operation, with a fault at each of its calls: one that fails, and the end of
// the machine, three times, each with another part of what was not durable lost.
func TestWalks(t *testing.T) {
	for _, op := range walks {
		for i, fault := range []error{syscall.EIO, faultdisk.ErrCrash, faultdisk.ErrCrash, faultdisk.ErrCrash} {
			t.Run(fmt.Sprintf("%s/%v/%d", op.name, fault, i), func(t *testing.T) {
				n := 1
				for ; !t.Failed(); n++ {
					w := newWorld(t)
					if op.before != nil {
						s, err := w.open(OS{})
						must(t, err)
						op.before(t, w, s)
					}
					broken := &faultFS{faultdisk.New(w.grave, n, fault), OS{named: op.named}}
					s, err := w.open(broken)
					if err == nil {
						err = op.run(w, s)
					}
					if broken.Hit() == "" {
						must(t, err)
						break
					}
					if errors.Is(fault, faultdisk.ErrCrash) {
						must(t, broken.Lose(some))
						if err != nil {
							err = faultdisk.ErrCrash
						}
					}
					op.check(t, w, err, broken.Hit())
				}
				if n < 10 {
					t.Errorf("only %d calls", n)
				}
			})
		}
	}
}

// A message that was sent and cannot be removed is not sent again.
func TestSentAndStuck(t *testing.T) {
	w := newWorld(t)
	s, err := w.open(OS{})
	must(t, err)
	put(t, w, s)
	stuck := &stuckFS{FS: OS{}}
	s, err = w.open(stuck)
	must(t, err)
	for range 3 {
		if err := flushOnce(w, s); !errors.Is(err, syscall.EROFS) {
			t.Errorf("flush: %v", err)
		}
		w.clock.add(time.Hour)
	}
	w.recover(t)
	if len(w.server.got) != 1 || statusOf(t, s, w.id) != "gone" {
		t.Errorf("%d copies", len(w.server.got))
	}
}

// stuckFS removes nothing.
type stuckFS struct{ FS }

func (stuckFS) Remove(string) error { return syscall.EROFS }

// A message that is given up is reported once, also while it cannot be put aside.
func TestReportedAndStuck(t *testing.T) {
	w := newWorld(t)
	w.server.outcomes = []*Failure{permanent}
	s, err := w.open(OS{})
	must(t, err)
	put(t, w, s)
	s, err = w.open(immovableFS{OS{}})
	must(t, err)
	for range 3 {
		if err := flushOnce(w, s); !errors.Is(err, syscall.EROFS) {
			t.Errorf("flush: %v", err)
		}
	}
	w.recover(t)
	if w.reports != 1 || w.server.tries != 1 {
		t.Errorf("%d reports, %d attempts", w.reports, w.server.tries)
	}
}

// immovableFS renames nothing.
type immovableFS struct{ FS }

func (immovableFS) Rename(string, string) error { return syscall.EROFS }

// Between the opening of a file and its lock another process may send it.
func TestOvertaken(t *testing.T) {
	w := newWorld(t)
	s, err := w.open(OS{})
	must(t, err)
	put(t, w, s)
	overtaking := &overtakenFS{FS: OS{}, name: s.path("queue", w.id), other: func() { must(t, flushOnce(w, s)) }}
	slow, err := w.open(overtaking)
	must(t, err)
	must(t, flushOnce(w, slow))
	if len(w.server.got) != 1 || overtaking.other != nil {
		t.Errorf("%d copies", len(w.server.got))
	}
}

// overtakenFS lets another do something once a file is open.
type overtakenFS struct {
	FS
	name  string
	other func()
}

func (o *overtakenFS) Open(name string) (File, error) {
	f, err := o.FS.Open(name)
	if other := o.other; name == o.name && other != nil {
		o.other = nil
		other()
	}
	return f, err
}
