package indextest

import (
	"cmp"
	"slices"
	"testing"

	"rtls/store/internal/index"
)

func testMailboxes(t *testing.T, o Opener) {
	ix := open(t, o)
	all := func() (list []index.Mailbox) {
		view(t, ix, func(tx index.Tx) (err error) {
			list, err = tx.Mailboxes()
			return err
		})
		slices.SortFunc(list, func(x, y index.Mailbox) int { return cmp.Compare(x.Object, y.Object) })
		return list
	}
	equal(t, "no mailboxes", all(), nil)
	one, two, three := put(t, ix, full()), put(t, ix, mailbox(2)), put(t, ix, mailbox(3))
	update(t, ix, func(tx index.Tx) error { return tx.DeleteMailbox(two.ID) })
	want := []index.Mailbox{one, three}
	slices.SortFunc(want, func(x, y index.Mailbox) int { return cmp.Compare(x.Object, y.Object) })
	equal(t, "mailboxes", all(), want)
}
