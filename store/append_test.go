package store

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"rtls/store/internal/faultfs"
	"rtls/store/internal/vfs"
)

// pending writes messages that are to be appended to INBOX.
func pending(ctx context.Context, a *Account, meta Meta, subjects ...string) (list []Pending, err error) {
	for _, subject := range subjects {
		d, err := a.Deliver(ctx, inbox)
		if err != nil {
			return list, err
		}
		list = append(list, Pending{d, meta})
		if _, err := io.WriteString(d, body(subject)); err != nil {
			return list, err
		}
	}
	return list, nil
}

func TestAppendAll(t *testing.T) {
	a := newTestAccount(t)
	m := openMailbox(t, a, inbox)
	list, err := pending(t.Context(), a, Meta{Flags: Seen, Keywords: []string{"work"}, Date: time.Unix(1e9, 0)}, "one", "two", "three")
	must(t, err)
	before := m.Snapshot()
	uids, err := m.AppendAll(t.Context(), list)
	must(t, err)
	s := m.Snapshot()
	if s.Len() != 3 || len(uids) != 3 || s.HighestModSeq() != before.HighestModSeq()+1 {
		t.Fatalf("UIDs are %v: %s", uids, describe(s))
	}
	for i, subject := range []string{"one", "two", "three"} {
		msg := s.At(i)
		if msg.UID != uids[i] || msg.Flags != Seen || len(msg.Keywords) != 1 || content(t, m, msg.UID) != body(subject) {
			t.Errorf("%s is %+v", subject, msg)
		}
	}
	if uids, err := m.AppendAll(t.Context(), nil); uids != nil || err != nil || m.Snapshot() != s {
		t.Errorf("none: %v, %v", uids, err)
	}
}

// All or none, whatever the reason is and whichever message has it.
func TestAppendAllOrNone(t *testing.T) {
	a := newTestAccount(t)
	must(t, a.CreateMailbox(t.Context(), "Other", ""))
	m := openMailbox(t, a, inbox)
	for what, spoil := range map[string]func(p *Pending){
		"a keyword that is none": func(p *Pending) { p.Meta.Keywords = []string{"a b"} },
		"the tag as a keyword":   func(p *Pending) { p.Meta.Keywords = []string{"$requiretls"} },
		"another mailbox":        func(p *Pending) { p.Delivery.dir = p.Delivery.dir + "/.Other" },
		"one that was aborted":   func(p *Pending) { must(t, p.Delivery.Abort()) },
		"no room":                func(*Pending) { a.SetQuota(Quota{Messages: 2}) },
	} {
		list, err := pending(t.Context(), a, Meta{}, "one", "two", "three")
		must(t, err)
		spoil(&list[2])
		if uids, err := m.AppendAll(t.Context(), list); err == nil {
			t.Errorf("%s: UIDs %v", what, uids)
		}
		a.SetQuota(Quota{})
		if s := see(t, m); s.Len() != 0 || len(onDisk(t, a)) != 0 {
			t.Errorf("%s: %s; files are %v", what, describe(s), onDisk(t, a))
		}
	}
}

// onDisk are the files of messages, whole or not.
func onDisk(t *testing.T, a *Account) (all files) {
	t.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		all = append(all, tree(t, a.dir).in(sub)...)
	}
	return all
}

// appendTwo is an operation that fails if and only if AppendAll does.
var appendTwo = operation{
	name: "append two",
	run: func(ctx context.Context, a *Account) error {
		m, err := a.Mailbox(ctx, inbox)
		if err != nil {
			return err
		}
		defer m.Close()
		list, err := pending(ctx, a, Meta{Tag: TagRequire, Origin: OriginESMTP}, "fresh", "also fresh")
		for _, p := range list {
			defer p.Delivery.Abort()
		}
		if err != nil {
			return err
		}
		_, err = m.AppendAll(ctx, list)
		return err
	},
	done:   func(w *world) error { return errors.Join(want(w, "fresh", inbox, 1), want(w, "also fresh", inbox, 1)) },
	undone: func(w *world) error { return errors.Join(want(w, "fresh", inbox, 0), want(w, "also fresh", inbox, 0)) },
}

func TestFaultWalkAppendAll(t *testing.T) {
	eachFault(t, appendTwo.name, func(t *testing.T, broken breaker) { walk(t, appendTwo, broken, nil) })
	t.Run("short write", func(t *testing.T) {
		walk(t, appendTwo, func(grave string, n int) *faultfs.FS { return faultfs.ShortWrite(vfs.OS{}, grave, n) }, nil)
	})
}

func TestCrashWalkAppendAll(t *testing.T) {
	eachCrash(t, appendTwo.name, func(t *testing.T, broken breaker, after func(*faultfs.FS) error) { walk(t, appendTwo, broken, after) })
}
