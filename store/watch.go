package store

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"rtls/store/internal/inotify"
)

// Watcher has the system report changes in the directories of watched mailboxes.
// It takes one of the few inotify instances that Linux has for a user, 128 as a
// rule: a program that has many accounts open hands one Watcher to all of them.
// The zero value is ready, and takes nothing from the system before it is needed.
// It is safe for concurrent use.
//
// Where the system has no more to give, and on file systems that report nothing,
// mailboxes are looked at every now and then.
type Watcher struct {
	Logger *slog.Logger  // default: discard
	Poll   time.Duration // how often to look where nothing was reported; default 30 s

	start func() (*inotify.Instance, error) // default inotify.New

	mu      sync.Mutex        // guards what follows
	in      *inotify.Instance // nil: not needed yet, or not to be had
	done    chan struct{}     // closed when nothing is reported by in any more
	closed  bool
	warned  bool
	reports map[int][]listener // who watches, by number of the directory; a listener can be there twice
}

// listener is told that something has happened to a directory. It must not call the
// Watcher meanwhile.
type listener interface{ announce() }

// picky is a listener that does not mind all that happens.
type picky interface {
	listener
	minds(e inotify.Event) bool
}

// watched are directories that are reported to one listener.
type watched struct {
	who  listener
	dir  string
	subs []string // below dir, or "" for dir itself; at most two
	dirs [2]int   // their numbers; 0: not reported
}

// mailboxDirs are what is watched of a mailbox.
var mailboxDirs = []string{"new", "cur"}

// Watch returns a channel that receives a value some time after each change,
// whoever made it; changes may be merged, and there are values without a change.
// It is closed when ctx ends.
func (m *Mailbox) Watch(ctx context.Context) <-chan struct{} {
	v := m.v
	c := make(chan struct{}, 1)
	v.subsMu.Lock()
	v.subs[c] = struct{}{}
	v.subsMu.Unlock()
	w := v.a.watching()
	on := &watched{who: v, dir: v.dir, subs: mailboxDirs}
	w.renew(on)
	// No goroutine: thousands of clients wait, each with a watch of its own.
	var mu sync.Mutex // guards ended, and poll while it is made
	ended := false
	var poll *time.Timer
	mu.Lock()
	defer mu.Unlock()
	poll = time.AfterFunc(w.every(), func() {
		mu.Lock()
		defer mu.Unlock()
		if ended {
			return
		}
		// The directory may be another one by now, or the system have something
		// to give again.
		w.renew(on)
		notify(c)
		poll.Reset(w.every())
	})
	context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		ended = true
		poll.Stop()
		w.end(on)
		v.subsMu.Lock()
		delete(v.subs, c)
		close(c)
		v.subsMu.Unlock()
	})
	return c
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // there is a value waiting
	}
}

// announce tells all sessions that have the mailbox open to look at it, and those who
// follow it.
func (v *view) announce() {
	v.a.tellFollowers(v.dir)
	v.subsMu.Lock()
	defer v.subsMu.Unlock()
	for c := range v.subs {
		notify(c)
	}
}

// announce tells the sessions of the mailbox in dir, if there are any.
func (a *Account) announce(dir string) {
	a.mu.Lock()
	v := a.views[dir]
	a.mu.Unlock()
	if v != nil {
		v.announce()
	} else {
		a.tellFollowers(dir)
	}
}

// watching is the account's Watcher: the one that it was given, or one of its own.
func (a *Account) watching() *Watcher {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.watcher == nil {
		a.watcher, a.ownWatcher = &Watcher{Logger: a.log}, true
	}
	return a.watcher
}

func (w *Watcher) every() time.Duration {
	if w.Poll > 0 {
		return w.Poll
	}
	return 30 * time.Second
}

// renew has the directories reported that there are now. It says whether that is all
// of them.
func (w *Watcher) renew(on *watched) (all bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ready() {
		return false
	}
	all = true
	for i, sub := range on.subs {
		dir, err := w.in.Add(filepath.Join(on.dir, sub))
		if err != nil {
			w.warn(err)
			all = false
		}
		if dir == on.dirs[i] {
			continue
		}
		if dir != 0 {
			w.reports[dir] = append(w.reports[dir], on.who)
		}
		w.drop(on.who, on.dirs[i])
		on.dirs[i] = dir
	}
	return all
}

// ready says whether there is an instance, and makes it. It must be called with mu
// held.
func (w *Watcher) ready() bool {
	if w.closed || w.in != nil {
		return !w.closed
	}
	start := w.start
	if start == nil {
		start = inotify.New
	}
	in, err := start()
	if err != nil {
		w.warn(err)
		return false
	}
	w.in, w.done, w.reports = in, make(chan struct{}), make(map[int][]listener)
	go w.run(in) // Close waits for it
	return true
}

// run passes reports on.
func (w *Watcher) run(in *inotify.Instance) {
	defer close(w.done)
	err := in.Run(func(e inotify.Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if e.Overflow {
			w.logger().Warn("too many changes to be told of each: all watched mailboxes are looked at")
			for _, all := range w.reports {
				for _, who := range all {
					who.announce()
				}
			}
			return
		}
		for _, who := range w.reports[e.Watch] {
			if p, ok := who.(picky); !ok || p.minds(e) {
				who.announce()
			}
		}
		if e.Ended {
			delete(w.reports, e.Watch)
		}
	})
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.warn(err)
	}
}

// end ends the reports to a listener.
func (w *Watcher) end(on *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, dir := range on.dirs {
		w.drop(on.who, dir)
	}
}

// drop forgets one watch of a directory. It must be called with mu held.
func (w *Watcher) drop(who listener, dir int) {
	all := w.reports[dir]
	i := slices.Index(all, who)
	if i < 0 {
		return
	}
	if w.reports[dir] = slices.Delete(all, i, i+1); len(w.reports[dir]) == 0 {
		delete(w.reports, dir)
		if !w.closed {
			w.in.Remove(dir)
		}
	}
}

// warn says once that there is polling. It must be called with mu held.
func (w *Watcher) warn(err error) {
	if !w.warned {
		w.warned = true
		w.logger().Warn("no notice of changes to some mailboxes, polling", "every", w.every(), "err", err)
	}
}

func (w *Watcher) logger() *slog.Logger {
	if w.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return w.Logger
}

// Close gives back what the system gave; mailboxes that are still watched are
// polled from then on.
func (w *Watcher) Close() error {
	w.mu.Lock()
	in := w.in
	if w.closed || in == nil {
		w.closed = true
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	err := in.Close()
	w.mu.Unlock()
	<-w.done
	return err
}
