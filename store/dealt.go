package store

import (
	"context"
	"sync/atomic"
)

type dealtKey struct{}

// WithDealt returns a context under which SetFlags, Copy, Move, Expunge and AppendAll
// add 1 to n for each message that they have dealt with, so that somebody can be told
// how far they have come. It promises nothing: what fails later is undone, and a
// change that is begun anew counts again.
func WithDealt(ctx context.Context, n *atomic.Int64) context.Context {
	return context.WithValue(ctx, dealtKey{}, n)
}

// dealt is the counter of a context, or one that nobody looks at.
func dealt(ctx context.Context) *atomic.Int64 {
	if n, ok := ctx.Value(dealtKey{}).(*atomic.Int64); ok {
		return n
	}
	return new(atomic.Int64)
}
