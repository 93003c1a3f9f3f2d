package fulltext

import (
	"context"
	"errors"
	"sync"
	"time"

	"rtls/store"
)

// Turns lets the keepers of many accounts work one at a time, and no more than half
// the time, so that they take at most half a processor from those who wait for
// answers. The zero value is not usable, see NewTurns.
type Turns struct{ free chan struct{} }

// NewTurns returns Turns.
func NewTurns() *Turns {
	t := &Turns{make(chan struct{}, 1)}
	t.free <- struct{}{}
	return t
}

const (
	// after is how long a keeper waits before it begins. Who selects a mailbox has
	// questions first, files that have just come are not old enough before (see
	// settled), and many who come for a moment cost nothing.
	after = time.Second
	turn  = 10 * time.Millisecond
	// retryAfter is how long a keeper waits for what may pass, such as another
	// process that writes the index.
	retryAfter = 2 * time.Second
)

// Keeper brings messages of an account into its index in the background.
type Keeper struct {
	x      *Index
	turns  *Turns
	cancel context.CancelFunc
	ended  chan struct{}
	wake   chan struct{} // has room for one

	mu     sync.Mutex // guards what follows
	wanted map[string]bool
}

// Keep starts a Keeper. Close has to be called, before the account is closed.
func (x *Index) Keep(turns *Turns) *Keeper {
	ctx, cancel := context.WithCancel(context.Background())
	k := &Keeper{x: x, turns: turns, cancel: cancel, ended: make(chan struct{}), wake: make(chan struct{}, 1), wanted: make(map[string]bool)}
	go k.run(ctx) // Close waits for it
	return k
}

// Want asks for the messages of a mailbox to be brought into the index.
func (k *Keeper) Want(mailbox string) {
	k.mu.Lock()
	k.wanted[mailbox] = true
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Reader returns a Reader of the index for a mailbox.
func (k *Keeper) Reader(box *store.Mailbox) *Reader { return k.x.Reader(box) }

// Close ends it. What it has been asked for stays undone.
func (k *Keeper) Close() {
	k.cancel()
	<-k.ended
}

func (k *Keeper) run(ctx context.Context) {
	defer close(k.ended)
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		}
		if !wait(ctx, after) {
			return
		}
		for {
			mailbox, ok := k.next()
			if !ok {
				break
			}
			again, err := k.update(ctx, mailbox)
			switch {
			case ctx.Err() != nil:
				return
			case errors.Is(err, store.ErrNoMailbox):
			case err != nil && !errors.Is(err, ErrBusy):
				k.x.log.Warn("text index is not kept up to date", "mailbox", mailbox, "err", err)
			}
			if again || errors.Is(err, ErrBusy) {
				time.AfterFunc(retryAfter, func() { k.Want(mailbox) }) // does no harm after Close
			}
		}
	}
}

// wait returns false if ctx ends first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// next takes one of the mailboxes that are wanted.
func (k *Keeper) next() (mailbox string, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for mailbox = range k.wanted {
		delete(k.wanted, mailbox)
		return mailbox, true
	}
	return "", false
}

// update brings one mailbox into the index. again says that something is left to do.
func (k *Keeper) update(ctx context.Context, mailbox string) (again bool, err error) {
	box, err := k.x.account.Mailbox(ctx, mailbox)
	if err != nil {
		return false, err
	}
	t := &taker{turns: k.turns}
	if err = t.take(ctx); err == nil {
		pace := func(free bool) error { return t.pause(ctx, free) }
		left, uerr := k.x.Update(ctx, box, pace, nil)
		again, err = left, uerr
		if err == nil {
			err = k.x.dropUnused(ctx, pace)
		}
		t.give()
	}
	return again, errors.Join(err, box.Close())
}

// taker has a turn, or not.
type taker struct {
	turns *Turns
	since time.Time
	has   bool
}

func (t *taker) take(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.turns.free:
		t.has, t.since = true, time.Now()
		return nil
	}
}

func (t *taker) give() {
	if t.has {
		t.has = false
		t.turns.free <- struct{}{}
	}
}

// pause waits, after a while, as long as that was. Others get their turn only where
// little memory is held, so that it is one who holds much.
func (t *taker) pause(ctx context.Context, free bool) error {
	worked := time.Since(t.since)
	if worked < turn {
		return ctx.Err()
	}
	if !wait(ctx, worked) { // nobody else works meanwhile
		return ctx.Err()
	}
	t.since = time.Now()
	if !free {
		return nil
	}
	t.give()
	return t.take(ctx)
}
