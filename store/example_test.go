package store_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"rtls/store"
)

// must keeps the examples short; a program returns its errors.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// newAccount makes an account in a directory that free removes.
func newAccount(name string) (a *store.Account, free func()) {
	root, err := os.MkdirTemp("", "store-example-")
	must(err)
	dir := filepath.Join(root, name)
	must(store.Create(dir, nil))
	a, err = store.Open(dir, nil)
	must(err)
	return a, func() {
		must(a.Close())
		must(os.RemoveAll(root))
	}
}

// send delivers one message into INBOX.
func send(a *store.Account, text string) {
	d, err := a.Deliver(context.Background(), "INBOX")
	must(err)
	defer d.Abort()
	_, err = io.WriteString(d, text)
	must(err)
	_, err = d.Commit(store.Meta{})
	must(err)
}

// An account is made once. A delivery is durable when Commit returns nil; a reader
// finds it with the next Sync, in wire form.
func Example() {
	ctx := context.Background()
	root, err := os.MkdirTemp("", "store-example-")
	must(err)
	defer os.RemoveAll(root)
	dir := filepath.Join(root, "alice")
	must(store.Create(dir, nil))
	a, err := store.Open(dir, nil)
	must(err)
	defer a.Close()

	d, err := a.Deliver(ctx, "INBOX")
	must(err)
	defer d.Abort() // does nothing once Commit was called
	fmt.Fprint(d, "Subject: hello\n\nThis came with REQUIRETLS.\n")
	_, err = d.Commit(store.Meta{Tag: store.TagRequire, Origin: store.OriginESMTP})
	must(err)

	m, err := a.Mailbox(ctx, "INBOX")
	must(err)
	defer m.Close()
	s, err := m.Sync(ctx)
	must(err)
	for i := range s.Len() {
		msg := s.At(i)
		c, err := m.Open(ctx, msg.UID)
		must(err)
		text, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
		must(err)
		must(c.Close())
		fmt.Printf("UID %d, %s by %s\n%q\n", msg.UID, msg.Tag, msg.Origin, text)
	}
	// Output:
	// UID 1, require by esmtp
	// "Subject: hello\r\n\r\nThis came with REQUIRETLS.\r\n"
}

// An appended message has its UID at once, and can have keywords and a date.
func ExampleMailbox_Append() {
	ctx := context.Background()
	a, free := newAccount("alice")
	defer free()
	must(a.CreateMailbox(ctx, "Sent", "Sent"))
	m, err := a.Mailbox(ctx, "Sent")
	must(err)
	defer m.Close()

	d, err := a.Deliver(ctx, "Sent")
	must(err)
	defer d.Abort()
	fmt.Fprint(d, "Subject: offer\r\n\r\nAs agreed.\r\n")
	uid, err := m.Append(ctx, d, store.Meta{
		Flags:    store.Seen | store.Answered,
		Keywords: []string{"work"},
		Date:     time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
	})
	must(err)

	at, _ := m.Snapshot().Find(uid)
	msg := m.Snapshot().At(at)
	fmt.Println(msg.UID, msg.Flags&store.Seen != 0, msg.Flags&store.Flagged != 0, msg.Keywords, msg.InternalDate().UTC().Format(time.DateOnly))
	// Output:
	// 1 true false [work] 2026-05-01
}

// A client that knows a mailbox as it was at one ModSeq is told what has changed
// since, and what has gone.
func ExampleSnapshot_Changed() {
	ctx := context.Background()
	a, free := newAccount("alice")
	defer free()
	for i := range 4 {
		send(a, fmt.Sprintf("Subject: %d\r\n\r\n", i))
	}
	m, err := a.Mailbox(ctx, "INBOX")
	must(err)
	defer m.Close()
	s, err := m.Sync(ctx)
	must(err)
	known := s.HighestModSeq()

	_, err = m.SetFlags(ctx, store.FlagChange{UIDs: []uint32{2}, Op: store.FlagsAdd, Flags: store.Flagged})
	must(err)
	must(m.Expunge(ctx, []uint32{3}))
	send(a, "Subject: new\r\n\r\n")
	s, err = m.Sync(ctx)
	must(err)

	for _, msg := range s.Changed(known) {
		fmt.Println("changed", msg.UID, msg.Flags&store.Flagged != 0)
	}
	gone, complete, err := m.Vanished(ctx, known)
	must(err)
	fmt.Println("vanished", gone, complete)
	// Output:
	// changed 2 true
	// changed 5 false
	// vanished [3] true
}

// A message for several recipients is written once. Each delivery has a Commit of its
// own: what befalls one does not concern the others.
func ExampleDelivery_Share() {
	ctx := context.Background()
	alice, free := newAccount("alice")
	defer free()
	bob, free := newAccount("bob")
	defer free()

	first, err := alice.Deliver(ctx, "INBOX")
	must(err)
	defer first.Abort()
	second, err := first.Share(ctx, bob, "INBOX")
	must(err)
	defer second.Abort()

	fmt.Fprint(first, "Subject: to both\r\n\r\n")
	meta := store.Meta{Tag: store.TagNone, Origin: store.OriginESMTP}
	for _, d := range []*store.Delivery{first, second} {
		_, err := d.Commit(meta)
		fmt.Println(err)
	}
	for _, a := range []*store.Account{alice, bob} {
		status, err := a.Status(ctx, "INBOX")
		must(err)
		fmt.Println(status.Messages, "message of", status.Size, "octets")
	}
	// Output:
	// <nil>
	// <nil>
	// 1 message of 20 octets
	// 1 message of 20 octets
}

// A watched mailbox says that something may have changed; Sync tells what.
func ExampleMailbox_Watch() {
	a, free := newAccount("alice")
	defer free()
	m, err := a.Mailbox(context.Background(), "INBOX")
	must(err)
	defer m.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel() // ends the watch
	changes := m.Watch(ctx)

	sent := make(chan struct{})
	go func() { // as another process would
		defer close(sent)
		send(a, "Subject: news\r\n\r\n")
	}()
	for range changes {
		s, err := m.Sync(ctx)
		must(err)
		if s.Len() > 0 {
			fmt.Println("there is", s.Len(), "message")
			break
		}
	}
	<-sent
	// Output:
	// there is 1 message
}
