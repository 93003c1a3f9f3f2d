package index

import "context"

// Checker is an engine that can look for damage which Index does not show.
type Checker interface {
	// Damage calls f with what is wrong with the engine's own structures, a line a
	// problem. Only a new index mends it. A problem that keeps it from looking
	// further is one of them and no error.
	Damage(ctx context.Context, f func(problem string) error) error
	// Orphans counts what belongs to no mailbox or message that there is, and
	// removes it, durably, if remove is set.
	Orphans(ctx context.Context, remove bool) (n int64, err error)
}
