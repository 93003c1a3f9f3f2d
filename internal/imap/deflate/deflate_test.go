package deflate

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// pieces hands out one piece at a Read, and then fails: what comes before has to come
// out without another Read.
type pieces [][]byte

var errMore = errors.New("more was read")

func (p *pieces) Read(b []byte) (int, error) {
	if len(*p) == 0 {
		return 0, errMore
	}
	n := copy(b, (*p)[0])
	if n < len((*p)[0]) {
		(*p)[0] = (*p)[0][n:]
	} else {
		*p = (*p)[1:]
	}
	return n, nil
}

var dialogue = []string{"a1 NOOP\r\n", "a2 NOOP\r\n", "a3 SELECT INBOX\r\n", "a4 LOGOUT\r\n"}

// flushed is what zlib makes of the dialogue, flushing after each line in three ways.
// RFC 4978 section 4 has the first.
var flushed = map[string][]string{
	"partial": {"4a3454f0f3f70fe0e50208", "a04423280320", "80128d15825d7d5c9d43143cfd9cfc2378b90002", "28d144c1c7dfdd3f3484970b20"},
	"sync":    {"4a3454f0f3f70fe0e502000000ffff", "4a34823200000000ffff", "4a34560876f571750e51f0f473f28fe0e502000000ffff", "4a3451f0f177f70f0de1e502000000ffff"},
	"full":    {"4a3454f0f3f70fe0e502000000ffff", "4a3452f0f3f70fe0e502000000ffff", "4a34560876f571750e51f0f473f28fe0e502000000ffff", "4a3451f0f177f70f0de1e502000000ffff"},
}

func TestFlushes(t *testing.T) {
	for how, lines := range flushed {
		t.Run(how, func(t *testing.T) {
			var in pieces
			r := NewReader(&in)
			for i, line := range lines {
				piece, err := hex.DecodeString(line)
				if err != nil {
					t.Fatal(err)
				}
				in = append(in, piece)
				got := make([]byte, len(dialogue[i]))
				if _, err := io.ReadFull(r, got); err != nil || string(got) != dialogue[i] {
					t.Fatalf("line %d: %q, %v", i, got, err)
				}
			}
			if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, errMore) {
				t.Errorf("then %d octets, %v", n, err)
			}
		})
	}
}

// text is compressible, longer than the window, and has runs.
func text(n int) []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("the quick brown fox jumps over lazy dogs FETCH BODY[HEADER] aaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(words[rnd.IntN(len(words))])
		if rnd.IntN(50) == 0 {
			b.WriteByte(byte(rnd.Uint32()))
		}
	}
	return b.Bytes()[:n]
}

func TestReadsWhatOthersWrite(t *testing.T) {
	for _, size := range []int{0, 1, 100, 32767, 32768, 70_000, 1_000_000} {
		for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
			want := text(size)
			var b bytes.Buffer
			w, err := flate.NewWriter(&b, level)
			if err != nil {
				t.Fatal(err)
			}
			w.Write(want)
			w.Close()
			for name, src := range map[string]io.Reader{"whole": bytes.NewReader(b.Bytes()), "bit by bit": iotest.OneByteReader(bytes.NewReader(b.Bytes()))} {
				if size > 100_000 && (name != "whole" || level != flate.BestCompression) {
					continue
				}
				got, err := io.ReadAll(NewReader(src))
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("level %d, %d octets, %s: %d octets, %v", level, size, name, len(got), err)
				}
			}
		}
	}
}

// Each Write comes out by itself, with our reader and the library's.
func TestWriter(t *testing.T) {
	for name, open := range map[string]func(io.Reader) io.Reader{
		"ours": func(r io.Reader) io.Reader { return NewReader(r) },
		"std":  func(r io.Reader) io.Reader { return flate.NewReader(r) },
	} {
		var b bytes.Buffer
		w := NewWriter(&b)
		r := open(&b)
		for _, size := range []int{1, 0, 10, 16 << 10, 32 << 10, 100_000, 3} {
			want := text(size)
			if n, err := w.Write(want); n != size || err != nil {
				t.Fatal(n, err)
			}
			got := make([]byte, size)
			if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s: %d octets: %v", name, size, err)
			}
		}
	}
	var b bytes.Buffer
	NewWriter(&b).Write(text(30_000))
	if b.Len() > 15_000 {
		t.Errorf("30000 octets of text become %d", b.Len())
	}
}

func TestCutOff(t *testing.T) {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 6)
	w.Write(text(5000))
	w.Close()
	for _, n := range []int{1, 2, 10, b.Len() / 2, b.Len() - 1} {
		if _, err := io.ReadAll(NewReader(bytes.NewReader(b.Bytes()[:n]))); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d octets of %d: %v", n, b.Len(), err)
		}
	}
	// Between blocks a connection may end.
	var open bytes.Buffer
	NewWriter(&open).Write([]byte("a LOGOUT\r\n"))
	if got, err := io.ReadAll(NewReader(&open)); err != nil || len(got) != 10 {
		t.Errorf("%q, %v", got, err)
	}
}

func TestCorrupt(t *testing.T) {
	for name, in := range map[string]string{
		"type of block":  "07",
		"stored length":  "0100000000",
		"reference back": "4b04a20000", // a, then a distance of more than there is
		"counts":         "fdffffffffff",
	} {
		b, _ := hex.DecodeString(in)
		if got, err := io.ReadAll(NewReader(bytes.NewReader(b))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// FuzzReader holds our reader against the library's: the same octets, and an error
// where that has one.
func FuzzReader(f *testing.F) {
	for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, level)
		w.Write(text(300))
		w.Flush()
		w.Write(text(40))
		w.Close()
		f.Add(b.Bytes())
	}
	for _, lines := range flushed {
		b, _ := hex.DecodeString(strings.Join(lines, ""))
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		const most = 1 << 20
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(in)), most))
		got, err := io.ReadAll(io.LimitReader(NewReader(iotest.HalfReader(bytes.NewReader(in))), most))
		if wantErr == nil && (err != nil || !bytes.Equal(got, want)) {
			t.Fatalf("%d octets, %v; the library has %d", len(got), err, len(want))
		}
		if wantErr != nil && err == nil && !errors.Is(wantErr, io.ErrUnexpectedEOF) {
			t.Fatalf("%d octets without an error; the library: %v", len(got), wantErr)
		}
		if !bytes.HasPrefix(got, want) && !bytes.HasPrefix(want, got) {
			t.Fatalf("other octets")
		}
	})
}
