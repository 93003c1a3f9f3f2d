// Package indextest holds an engine of the index to what package index promises.
package indextest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"rtls/store/internal/index"
)

// Opener opens a handle of an index, the one that its earlier calls opened too.
// The first call makes it, empty. The suite closes what it opens.
type Opener func(ctx context.Context) (index.Index, error)

// Run runs the suite. fresh is called once a test and returns the opener of an
// index that nobody has used.
func Run(t *testing.T, fresh func(t *testing.T) Opener) {
	for name, f := range map[string]func(*testing.T, Opener){
		"NoMailbox":         testNoMailbox,
		"MailboxRoundTrip":  testMailboxRoundTrip,
		"MailboxAtLatest":   testMailboxAtLatest,
		"Mailboxes":         testMailboxes,
		"MessageRoundTrip":  testMessageRoundTrip,
		"Order":             testOrder,
		"PutReplaces":       testPutReplaces,
		"Count":             testCount,
		"NamesInNew":        testNamesInNew,
		"Expunge":           testExpunge,
		"TrimLog":           testTrimLog,
		"UIDValidity":       testUIDValidity,
		"DeleteMailbox":     testDeleteMailbox,
		"FailedUpdate":      testFailedUpdate,
		"PanickingUpdate":   testPanickingUpdate,
		"StopEarly":         testStopEarly,
		"Durable":           testDurable,
		"ViewIsOneState":    testViewIsOneState,
		"ConcurrentUpdates": testConcurrentUpdates,
		"EndedContext":      testEndedContext,
		"Closed":            testClosed,
		"Checker":           testChecker,
	} {
		t.Run(name, func(t *testing.T) { f(t, fresh(t)) })
	}
}

func open(t *testing.T, o Opener) index.Index {
	t.Helper()
	ix, err := o(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ix.Close() }) // again, in most tests
	return ix
}

func update(t *testing.T, ix index.Index, f func(index.Tx) error) {
	t.Helper()
	if err := ix.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func view(t *testing.T, ix index.Index, f func(index.Tx) error) {
	t.Helper()
	if err := ix.View(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

// object makes an identifier of the form that the store uses.
func object(n int) string { return fmt.Sprintf("%032x", n) }

func put(t *testing.T, ix index.Index, m index.Mailbox) index.Mailbox {
	t.Helper()
	update(t, ix, func(tx index.Tx) (err error) {
		m, err = tx.PutMailbox(m)
		return err
	})
	return m
}

func mailbox(n int) index.Mailbox {
	return index.Mailbox{Object: object(n), Dir: fmt.Sprintf(".%d", n), UIDValidity: 1, UIDNext: 1, ModSeq: 1, LogFloor: 1, RecentFrom: 1}
}

func messages(t *testing.T, ix index.Index, id int64, since uint64) (all []index.Message) {
	t.Helper()
	view(t, ix, func(tx index.Tx) error {
		return tx.Messages(id, since, func(m index.Message) error {
			all = append(all, m)
			return nil
		})
	})
	return all
}

func uids(all []index.Message) (list []uint32) {
	for _, m := range all {
		list = append(list, m.UID)
	}
	return list
}

func expunged(t *testing.T, ix index.Index, id int64, since uint64) (list []uint32) {
	t.Helper()
	view(t, ix, func(tx index.Tx) error {
		return tx.Expunged(id, since, func(uid uint32) error {
			list = append(list, uid)
			return nil
		})
	})
	return list
}

func equal[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}
