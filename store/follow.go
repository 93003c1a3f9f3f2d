package store

import (
	"slices"
	"sync"
	"time"

	"rtls/store/internal/inotify"
)

// Following tells which mailboxes of an account may have changed, without having them
// open: what it keeps of each is its name and what the Watcher needs. It is safe for
// concurrent use. Close it when done.
type Following struct {
	C <-chan struct{} // receives a value some time after a change; never closed

	a    *Account
	w    *Watcher
	c    chan struct{}
	done chan struct{}
	wg   sync.WaitGroup

	setMu sync.Mutex // held for whole changes of what is followed; before mu
	list  *watched   // the directory of the account's mailboxes

	mu      sync.Mutex // guards what follows
	boxes   map[string]*followed
	byDir   map[string]*followed
	changed map[string]struct{} // names
	listed  bool                // the list may have changed
	soon    bool                // and will be looked at once more
}

// followed is a mailbox that is followed.
type followed struct {
	f    *Following
	name string
	on   watched
}

var (
	_ listener = (*view)(nil)
	_ listener = (*followed)(nil)
	_ picky    = (*followedList)(nil)
)

// announce notes that the mailbox may have changed.
func (b *followed) announce() {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	b.f.note(b)
}

// followedList is a Following as the listener to the list of mailboxes.
type followedList Following

// minds tells what changes the list from what is INBOX's own beside it: its
// annotations, for instance.
func (l *followedList) minds(e inotify.Event) bool {
	return e.IsDir || e.Name == subscriptionsFile || e.Ended
}

// lookAgain is when the list is looked at once more: a mailbox that another process
// makes is reported when its directory is there, and it is none before that has a cur/.
const lookAgain = time.Second

func (l *followedList) announce() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listed = true
	notify(l.c)
	if !l.soon {
		l.soon = true
		time.AfterFunc(lookAgain, func() { // does no harm behind Close
			l.mu.Lock()
			defer l.mu.Unlock()
			l.listed, l.soon = true, false
			notify(l.c)
		})
	}
}

// note must be called with mu held.
func (f *Following) note(b *followed) {
	if f.boxes[b.name] == b {
		f.changed[b.name] = struct{}{}
		notify(f.c)
	}
}

// Follow begins to follow the list of mailboxes and subscriptions. Mailboxes are
// followed when Set says so.
func (a *Account) Follow() *Following {
	c := make(chan struct{}, 1)
	f := &Following{
		C: c, c: c, a: a, w: a.watching(), done: make(chan struct{}),
		boxes: make(map[string]*followed), byDir: make(map[string]*followed), changed: make(map[string]struct{}),
	}
	f.list = &watched{who: (*followedList)(f), dir: a.maildir(), subs: []string{""}}
	f.w.renew(f.list)
	a.followMu.Lock()
	a.followers[f] = struct{}{}
	a.followMu.Unlock()
	f.wg.Go(f.run) // Close waits for it
	return f
}

// Close ends it.
func (f *Following) Close() {
	close(f.done)
	f.wg.Wait()
	f.a.followMu.Lock()
	delete(f.a.followers, f)
	f.a.followMu.Unlock()
	f.Set(nil)
	f.w.end(f.list)
}

// Set says which mailboxes are followed. One that does not exist is not.
func (f *Following) Set(names []string) {
	f.setMu.Lock()
	defer f.setMu.Unlock()
	wanted := make(map[string]bool, len(names))
	var fresh, kept []*followed
	for _, name := range names {
		wanted[name] = true
		if b := f.boxes[name]; b != nil { // only Set changes it
			kept = append(kept, b)
			continue
		}
		dir, err := f.a.existing(name)
		if err != nil {
			continue
		}
		b := &followed{f: f, name: name}
		b.on = watched{who: b, dir: dir, subs: mailboxDirs}
		fresh = append(fresh, b)
	}
	var old []*followed
	f.mu.Lock()
	for name, b := range f.boxes {
		if !wanted[name] {
			old = append(old, b)
			delete(f.boxes, name)
			delete(f.byDir, b.on.dir)
			delete(f.changed, name)
		}
	}
	for _, b := range fresh {
		f.boxes[b.name], f.byDir[b.on.dir] = b, b
	}
	f.mu.Unlock()
	for _, b := range old {
		f.w.end(&b.on)
	}
	for _, b := range slices.Concat(fresh, kept) { // another mailbox may have the name now
		f.w.renew(&b.on)
	}
}

// Changed returns, once, the mailboxes that may have changed, and whether the list of
// mailboxes and subscriptions may have.
func (f *Following) Changed() (names []string, list bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.changed {
		names = append(names, name)
	}
	clear(f.changed)
	list, f.listed = f.listed, false
	return names, list
}

// Again takes back what Changed has returned.
func (f *Following) Again(names []string, list bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if list {
		f.listed = true
		notify(f.c)
	}
	for _, name := range names {
		if b := f.boxes[name]; b != nil {
			f.note(b)
		}
	}
}

// tellFollowers tells of a change that was made through this Account: one of keywords
// alone changes no directory.
func (a *Account) tellFollowers(dir string) {
	a.followMu.Lock()
	defer a.followMu.Unlock()
	for f := range a.followers {
		f.mu.Lock()
		if b := f.byDir[dir]; b != nil {
			f.note(b)
		}
		f.mu.Unlock()
	}
}

// tellListFollowers tells that the list of mailboxes has changed.
func (a *Account) tellListFollowers() {
	a.followMu.Lock()
	defer a.followMu.Unlock()
	for f := range a.followers {
		(*followedList)(f).announce()
	}
}

// polled is after how many ticks of the Watcher's clock a mailbox is looked at whose
// directories are reported.
const polled = 10

// run looks, every now and then, for what was not reported.
func (f *Following) run() {
	poll := time.NewTicker(f.w.every())
	defer poll.Stop()
	for n := 1; ; n++ {
		select {
		case <-f.done:
			return
		case <-poll.C:
			f.renew(n%polled == 0)
		}
	}
}

// renew asks for reports again: directories may be others by now. What is not
// reported is taken for changed, and with all everything.
func (f *Following) renew(all bool) {
	f.setMu.Lock()
	defer f.setMu.Unlock()
	if !f.w.renew(f.list) || all {
		(*followedList)(f).announce()
	}
	for _, b := range f.boxes { // only Set changes it
		if !f.w.renew(&b.on) || all {
			b.announce()
		}
	}
}
