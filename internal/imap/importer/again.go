package importer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// How often and how fast a connection that has ended is followed by another.
const (
	mostIdle   = 8 // breaks in a row that brought nothing
	mostAtOne  = 3 // breaks at one message, or at the list of one mailbox: it is left out
	mostBad    = 32
	firstPause = time.Second
	lastPause  = time.Minute
)

// persist does something, and does it again on another connection when the one that it
// was done on has ended.
func (r *run) persist(ctx context.Context, do func() error) error {
	for {
		err := do()
		if !errors.Is(err, ErrBroken) {
			return err
		}
		if err := r.again(ctx, err); err != nil {
			return err
		}
	}
}

// again connects again behind a break: ErrBroken if that has been done too often, and
// whatever it would be of no use against.
func (r *run) again(ctx context.Context, broken error) error {
	for {
		r.c.close()
		if r.idle++; r.idle >= mostIdle || r.bad >= mostBad {
			return broken
		}
		if err := r.rest(ctx, broken); err != nil {
			return err
		}
		c, err := connect(ctx, r.cfg)
		if err == nil {
			r.c = c
			return nil
		}
		if ctx.Err() != nil || errors.Is(err, ErrLogin) || errors.Is(err, ErrTLS) {
			return err
		}
		broken = fmt.Errorf("%w: %w", ErrBroken, err)
	}
}

// rest waits before the next attempt: twice as long each time, and not all who were cut
// off the same time.
func (r *run) rest(ctx context.Context, broken error) error {
	pause := time.Duration(0)
	if r.cfg.Pause > 0 {
		pause = min(r.cfg.Pause<<(r.idle-1), lastPause)
		pause = pause/2 + rand.N(pause)
	}
	if r.cfg.Again != nil {
		r.cfg.Again(broken, pause)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
