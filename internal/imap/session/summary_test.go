package session

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"rtls/internal/mimetree"
	"rtls/store"
)

// What a search has worked out is kept, although its context ends with its answer.
func TestSummariesOfEndedCommand(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "alice")
	if err := store.Create(dir, nil); err != nil {
		t.Fatal(err)
	}
	a, err := store.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	d, err := a.Deliver(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	if _, err := io.Copy(d, strings.NewReader("Subject: s\r\n\r\nbody\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Commit(store.Meta{}); err != nil {
		t.Fatal(err)
	}
	box, err := a.Mailbox(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()

	var writing sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	z := &summaries{box: box, log: slog.New(slog.DiscardHandler), want: mimetree.WantEnvelope, writing: &writing}
	m := box.Snapshot().At(0)
	if found := z.of(ctx, []store.Message{m}); found[0].err != nil {
		t.Fatal(found[0].err)
	}
	cancel()
	z.flush(ctx)
	writing.Wait()
	kept := 0
	err = box.Summaries(t.Context(), []uint32{m.UID}, new([]byte), func(store.Summary) error { kept++; return nil })
	if err != nil || kept != 1 {
		t.Errorf("%d summaries are kept, %v", kept, err)
	}
}
