package indextest

import (
	"errors"
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
	m, other := put(t, ix, mailbox(1)), put(t, ix, mailbox(2))
	update(t, ix, func(tx index.Tx) error {
		list := []index.Message{{UID: 1, ModSeq: 1}, {UID: 2, ModSeq: 1}}
		return errors.Join(tx.Put(m.ID, list), tx.Put(other.ID, list))
	})
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
}
