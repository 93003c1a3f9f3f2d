package lda

import (
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"runtime"
	"strings"
	"testing"

	"rtls/store"
)

// hashed is a delivery that keeps nothing but a digest and the first octets.
type hashed struct {
	first []byte
	n     int64
	sum   hash.Hash
	once  string
}

func (h *hashed) Write(p []byte) (int, error) {
	if len(h.first) < 4<<10 {
		h.first = append(h.first, p[:min(len(p), 4<<10)]...)
	}
	h.n += int64(len(p))
	return h.sum.Write(p)
}

func (h *hashed) Commit(meta store.Meta) (store.Key, error) {
	h.once = meta.Once
	return "k", nil
}

func (h *hashed) Close() error { return nil }

// A line of 100 MB goes through as it is, and through 16 MB of memory. Beyond the
// first megabyte a header is no different.
func TestHugeLine(t *testing.T) {
	for name, head := range map[string]string{
		"body":            "Received: by a id Q1; x\nSubject: x\n\n",
		"header":          "Received: by a id Q1; x\nTo: y\nSubject: ",
		"nothing but it":  "",
		"mixed line ends": "Received: by a id Q1; x\r\nSubject: x\n\r\n\x00\r\r\n",
	} {
		line := 10 << 20
		if name == "body" {
			line = 100 << 20
		}
		h := &hashed{sum: sha256.New()}
		a, _ := newAgent(t, func(c *Config) { c.DeliverOnce = true })
		a.open = func(context.Context, User, string, bool, delivery) (delivery, error) { return h, nil }
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		results := a.Deliver(t.Context(), Envelope{Protocol: "LMTP"}, []Recipient{{Address: "u1", User: "u1"}},
			io.MultiReader(strings.NewReader(head), &repeat{left: line}))
		runtime.ReadMemStats(&after)
		if results[0] != nil {
			t.Fatal(results)
		}
		trace := strings.Index(string(h.first), " +0100")
		trace += strings.IndexByte(string(h.first[trace:]), '\n') + 1
		want := sha256.New()
		want.Write(h.first[:trace])
		if _, err := io.Copy(want, io.MultiReader(strings.NewReader(head), &repeat{left: line})); err != nil {
			t.Fatal(err)
		}
		if h.n != int64(trace+len(head))+int64(line) || string(h.sum.Sum(nil)) != string(want.Sum(nil)) {
			t.Errorf("%s: %d octets, trace of %d:\n%s", name, h.n, trace, h.first[:min(len(h.first), 600)])
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 16<<20 {
			t.Errorf("%s: %d octets were allocated", name, took)
		}
		if (h.once != "") != (head != "") {
			t.Errorf("%s: %q", name, h.once)
		}
	}
}

var manyX = strings.Repeat("x", chunk)

// repeat reads as one letter many times.
type repeat struct{ left int }

func (r *repeat) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p, manyX[:min(len(p), r.left, len(manyX))])
	r.left -= n
	return n, nil
}

// A small message takes little memory: what is taken has to be collected, which took as
// long as all the rest.
func TestSmallMessage(t *testing.T) {
	a, _ := realAgent(t, nil)
	message := "Received: by a id Q1; x\r\nSubject: x\r\n\r\n" + strings.Repeat("0123456789abcde\r\n", 240)
	deliver := func() {
		results := a.Deliver(t.Context(), Envelope{Protocol: "LMTP"}, []Recipient{{Address: "u1", User: "u1"}}, strings.NewReader(message))
		if results[0] != nil {
			t.Fatal(results)
		}
	}
	deliver() // makes the account
	const n = 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		deliver()
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / n; each > 40<<10 {
		t.Errorf("a message of %d octets takes %d octets of memory", len(message), each)
	} else {
		t.Logf("%d octets", each)
	}
}
