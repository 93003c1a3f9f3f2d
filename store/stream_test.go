package store

import (
	"io"
	"runtime"
	"testing"
)

// A message is never held in memory: whatever its size, a delivery, an append and
// reading it back allocate less than 4 MB in all.
func TestLargeMessage(t *testing.T) {
	const limit = 4 << 20
	size := 1 << 30
	if raceDetector || testing.Short() {
		size = 64 << 20 // far above the limit, too
	}
	line := []byte("The quick brown fox jumps over the lazy dog, again and again.\r\n")
	piece := make([]byte, 0, 1024*len(line))
	for range 1024 {
		piece = append(piece, line...)
	}
	a := newTestAccount(t)
	m := openMailbox(t, a, inbox)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	d, err := a.Deliver(t.Context(), inbox)
	must(t, err)
	defer d.Abort()
	written := int64(0)
	for written < int64(size) {
		n, err := d.Write(piece)
		must(t, err)
		written += int64(n)
	}
	uid, err := m.Append(t.Context(), d, Meta{Tag: TagRequire, Origin: OriginESMTP})
	must(t, err)
	c, err := m.Open(t.Context(), uid)
	must(t, err)
	defer c.Close()
	read, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{io.NewSectionReader(c, 0, c.Size())}, make([]byte, 64<<10))
	must(t, err)
	runtime.ReadMemStats(&after)
	if s := m.Snapshot(); read != written || s.At(0).Size != written {
		t.Errorf("%d octets were written, %d are read: %s", written, read, describe(s))
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > limit {
		t.Errorf("%d octets took %d octets of memory", written, took)
	} else {
		t.Logf("%d octets took %d octets of memory", written, took)
	}
}
