package indextest

import (
	"testing"

	"rtls/store/internal/index"
)

// What an ordinary life leaves is neither damage nor orphans.
func testChecker(t *testing.T, o Opener) {
	ix := open(t, o)
	engine, ok := ix.(index.Checker)
	if !ok {
		t.Skip("the engine does not look for damage")
	}
	m, other := withSummaries(t, ix)
	update(t, ix, func(tx index.Tx) error { return tx.Expunge(m.ID, []uint32{1, 2}, 2) })
	update(t, ix, func(tx index.Tx) error { return tx.DeleteMailbox(other.ID) })
	if err := engine.Damage(t.Context(), func(problem string) error { t.Error(problem); return nil }); err != nil {
		t.Error(err)
	}
	for _, remove := range []bool{false, true} {
		if n, err := engine.Orphans(t.Context(), remove); n != 0 || err != nil {
			t.Errorf("%d orphans, %v", n, err)
		}
	}
	if got := summaries(t, ix, m.ID, 0, 1<<32-1); len(got) != 1 {
		t.Errorf("summaries after it: %q", got)
	}
}
