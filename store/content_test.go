package store

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"rtls/store/internal/vfs"
)

func contentOf(t testing.TB, raw []byte, wire int64) *Content {
	t.Helper()
	path := filepath.Join(t.TempDir(), "message")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := vfs.OS{}.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	c, err := newContent(&File{f: f, info: info, wire: wire})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// wireForm is the plain way to do what Content does.
func wireForm(raw []byte) []byte {
	var out []byte
	for i, b := range raw {
		if b == '\n' && (i == 0 || raw[i-1] != '\r') {
			out = append(out, '\r')
		}
		out = append(out, b)
	}
	return out
}

func mixedLines(n int, r *rand.Rand) []byte {
	b := make([]byte, 0, n+100)
	for len(b) < n {
		b = append(b, bytes.Repeat([]byte{'x'}, r.IntN(90))...)
		b = append(b, []string{"\n", "\r\n", "\r\r\n", "\r", "\n\n", "\x00\n"}[r.IntN(6)]...)
	}
	return b[:n]
}

func TestContentReadAt(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 2, convertLen - 1, convertLen, convertLen + 1, 5*convertLen + 7, 40 * convertLen} {
		raw := mixedLines(n, r)
		want := wireForm(raw)
		for _, wire := range []int{len(want), len(want) - 1, len(want) + 1, n} { // what the index has may be wrong
			c := contentOf(t, raw, int64(wire))
			if wire == n && n != len(want) {
				continue // taken for a file that is in wire form
			}
			if got, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size())); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d octets, which should be %d: differ, %v", n, wire, err)
			}
		}
		c := contentOf(t, raw, -1)
		if c.Size() != int64(len(want)) {
			t.Fatalf("%d octets: size is %d, should be %d", n, c.Size(), len(want))
		}
		got, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d octets: differ, %v", n, err)
		}
		for range 200 {
			off := r.IntN(len(want) + 2)
			p := make([]byte, r.IntN(3*convertLen))
			n, err := c.ReadAt(p, int64(off))
			rest := want[min(off, len(want)):]
			if n != min(len(p), len(rest)) || !bytes.Equal(p[:n], rest[:n]) {
				t.Fatalf("%d octets at %d: wrong", len(p), off)
			}
			if short := n < len(p); short != errors.Is(err, io.EOF) && off < len(want) {
				t.Fatalf("%d of %d octets at %d: %v", n, len(p), off, err)
			}
		}
	}
}

func FuzzLineCounter(f *testing.F) {
	f.Add([]byte("a\nb\r\nc\r"), []byte("\n\nx"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var n lineCounter
		n.Write(a)
		n.Write(b)
		all := append(bytes.Clone(a), b...)
		if got, want := n.bare, int64(len(wireForm(all))-len(all)); got != want {
			t.Fatalf("%d bare line feeds, should be %d", got, want)
		}
	})
}

// A message that somebody cuts short while it is read must not be passed off as
// whole.
func TestContentShrinks(t *testing.T) {
	raw := bytes.Repeat([]byte("line\n"), 100_000)
	c := contentOf(t, raw, -1)
	f := c.f.f.(interface{ Name() string })
	if err := os.Truncate(f.Name(), 1000); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, io.NewSectionReader(c, 0, c.Size())); err == nil {
		t.Errorf("%d octets read without an error", n)
	}
}
