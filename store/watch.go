package store

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// pollEvery is how often a watched mailbox is looked at even if the system
// reports no change: it may be on a file system that never does.
const pollEvery = 30 * time.Second

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
	w.add(v)
	// The goroutine ends with ctx, which the caller owns.
	go func() {
		poll := time.NewTicker(pollEvery)
		defer poll.Stop()
		for {
			select {
			case <-poll.C:
				notify(c)
			case <-ctx.Done():
				w.remove(v)
				v.subsMu.Lock()
				delete(v.subs, c)
				close(c)
				v.subsMu.Unlock()
				return
			}
		}
	}()
	return c
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // there is a value waiting
	}
}

// announce tells all sessions that have the mailbox open to look at it.
func (v *view) announce() {
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
	}
}

// watches has the system report changes in the directories of watched mailboxes.
type watches struct {
	a    *Account
	fs   *fsnotify.Watcher // nil where the system has no more to give: then there is polling
	done chan struct{}

	mu    sync.Mutex // guards what follows
	dirs  map[string]*view
	count map[*view]int
}

func (a *Account) watching() *watches {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.watches != nil {
		return a.watches
	}
	w := &watches{a: a, done: make(chan struct{}), dirs: make(map[string]*view), count: make(map[*view]int)}
	a.watches = w
	var err error
	if w.fs, err = fsnotify.NewWatcher(); err != nil {
		a.log.Warn("no notice of changes, polling", "dir", a.dir, "every", pollEvery, "err", err)
		w.fs = nil
		close(w.done)
		return w
	}
	go w.run() // close waits for it
	return w
}

func (w *watches) run() {
	defer close(w.done)
	for {
		select {
		case e, ok := <-w.fs.Events:
			if !ok {
				return
			}
			w.mu.Lock()
			v := w.dirs[filepath.Dir(e.Name)]
			w.mu.Unlock()
			if v != nil {
				v.announce()
			}
		case err, ok := <-w.fs.Errors:
			if !ok {
				return
			}
			// Events were lost: everybody looks.
			w.a.log.Warn("notice of changes", "dir", w.a.dir, "err", err)
			w.mu.Lock()
			for _, v := range w.dirs {
				v.announce()
			}
			w.mu.Unlock()
		}
	}
}

func (w *watches) add(v *view) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count[v]++
	if w.fs == nil || w.count[v] > 1 {
		return
	}
	for _, dir := range []string{v.sub("new"), v.sub("cur")} {
		w.dirs[dir] = v
		if err := w.fs.Add(dir); err != nil {
			w.a.log.Warn("no notice of changes, polling", "dir", dir, "every", pollEvery, "err", err)
		}
	}
}

func (w *watches) remove(v *view) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count[v]--
	if w.count[v] > 0 {
		return
	}
	delete(w.count, v)
	if w.fs == nil {
		return
	}
	for _, dir := range []string{v.sub("new"), v.sub("cur")} {
		if w.dirs[dir] == v {
			delete(w.dirs, dir)
			_ = w.fs.Remove(dir) // fails, as it may, when the directory is gone
		}
	}
}

func (w *watches) close() {
	if w == nil {
		return
	}
	if w.fs != nil {
		w.fs.Close()
	}
	<-w.done
}
