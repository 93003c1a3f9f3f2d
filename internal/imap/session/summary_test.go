package session

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"rtls/internal/mimetree"
	"rtls/store"
)

// However much memory the summaries of many messages would take, few are held at once:
// an address of two octets takes 72, and a part of seven some 300. They come in their
// order, whether they are made or read.
func TestRoomForSummaries(t *testing.T) {
	const n = 16
	box := withMessages(t, n, func(i int) string {
		id := fmt.Sprintf("Message-ID: <%d@x>\r\n", i)
		if i%2 == 0 {
			return id + "To: " + strings.Repeat("a,", 100<<10) + "\r\n\r\n"
		}
		return id + "Content-Type: multipart/mixed; boundary=x\r\n\r\n" + strings.Repeat("--x\r\n\r\n", 9000)
	})
	var messages []store.Message
	for i := range n {
		messages = append(messages, box.Snapshot().At(i))
	}
	for _, turn := range []string{"made", "read"} {
		var writing sync.WaitGroup
		z := &summaries{box: box, log: slog.New(slog.DiscardHandler), want: mimetree.WantTree | mimetree.WantEnvelope, writing: &writing}
		before, next := heap(), 0
		most := before
		err := z.each(t.Context(), messages, func(i int, found outcome) error {
			if id := fmt.Sprintf("<%d@x>", i); i != next || found.err != nil || *found.Envelope.MessageID != id {
				t.Errorf("%s: %d comes as %dth: %v", turn, i, next, found.err)
			}
			if next++; i%4 == 3 {
				most = max(most, heap())
			}
			return nil
		})
		if err != nil || next != n {
			t.Errorf("%s: %d, %v", turn, next, err)
		}
		if most > before+40<<20 {
			t.Errorf("%s: they take %d MiB", turn, (most-before)>>20)
		}
		z.flush(t.Context())
		writing.Wait()
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// withMessages opens an INBOX with n messages.
func withMessages(t *testing.T, n int, message func(i int) string) *store.Mailbox {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "alice")
	if err := store.Create(dir, nil); err != nil {
		t.Fatal(err)
	}
	a, err := store.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	for i := range n {
		d, err := a.Deliver(t.Context(), "INBOX")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(d, strings.NewReader(message(i))); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Commit(store.Meta{}); err != nil {
			t.Fatal(err)
		}
	}
	box, err := a.Mailbox(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close() })
	return box
}

// What a search has worked out is kept, although its context ends with its answer.
func TestSummariesOfEndedCommand(t *testing.T) {
	box := withMessages(t, 1, func(int) string { return "Subject: s\r\n\r\nbody\r\n" })
	var writing sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	z := &summaries{box: box, log: slog.New(slog.DiscardHandler), want: mimetree.WantEnvelope, writing: &writing}
	m := box.Snapshot().At(0)
	if found := z.first(ctx, []store.Message{m}); found[0].err != nil {
		t.Fatal(found[0].err)
	}
	cancel()
	z.flush(ctx)
	writing.Wait()
	kept := 0
	err := box.Summaries(t.Context(), []uint32{m.UID}, new([]byte), func(store.Summary) error { kept++; return nil })
	if err != nil || kept != 1 {
		t.Errorf("%d summaries are kept, %v", kept, err)
	}
}
