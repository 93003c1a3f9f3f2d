package store

import (
	"sync/atomic"
	"testing"
)

// TestWithDealt counts the messages of each change.
func TestWithDealt(t *testing.T) {
	a := newTestAccount(t)
	m := openMailbox(t, a, inbox)
	box := makeMailbox(t, a, "Box")
	var n atomic.Int64
	ctx := WithDealt(t.Context(), &n)
	for _, change := range []struct {
		name string
		run  func() error
		want int64
	}{
		{"AppendAll", func() error {
			list, err := pending(t.Context(), a, Meta{}, "one", "two", "three")
			must(t, err)
			_, err = m.AppendAll(ctx, list)
			return err
		}, 3},
		{"SetFlags", func() error {
			_, err := m.SetFlags(ctx, FlagChange{UIDs: []uint32{1, 2}, Flags: Seen})
			return err
		}, 2},
		{"Copy", func() error {
			_, _, err := m.Copy(ctx, []uint32{1, 2, 3}, "Box")
			return err
		}, 3},
		{"Move", func() error {
			_, _, err := m.Move(ctx, []uint32{1, 2}, "Box")
			return err
		}, 2},
		{"Expunge", func() error {
			see(t, box)
			return box.Expunge(ctx, []uint32{1, 2, 3, 4})
		}, 4},
	} {
		n.Store(0)
		must(t, change.run())
		if got := n.Load(); got != change.want {
			t.Errorf("%s: %d messages, want %d", change.name, got, change.want)
		}
	}
}
