package fulltext

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
)

// partPrefix is before the name of a file that is being written.
const partPrefix = "part-"

// blockSize is about how large a block is, in octets.
const blockSize = 8 << 10

// writer writes a segment.
type writer struct {
	dir string
	f   *os.File
	w   *bufio.Writer
	s   *segment
	at  int64

	block []byte
	first term
	last  term

	scratch []byte
}

// newWriter begins a segment. finish or abandon has to be called.
func newWriter(dir string, docs []doc, opaque bitset) (*writer, error) {
	var random [8]byte
	rand.Read(random[:]) // does not fail
	id := binary.LittleEndian.Uint64(random[:])
	f, err := os.OpenFile(filepath.Join(dir, partPrefix+nameOf(id)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	s := &segment{path: filepath.Join(dir, nameOf(id)), id: id, docs: docs, opaque: opaque}
	return &writer{dir: dir, f: f, w: bufio.NewWriterSize(f, 64<<10), s: s}, nil
}

// add writes the messages that have a term. Terms ascend, and so do messages.
func (w *writer) add(t term, docs []uint32) error {
	b := w.scratch[:0]
	last := int64(-1)
	for _, d := range docs {
		b = binary.AppendUvarint(b, uint64(int64(d)-last))
		last = int64(d)
	}
	form := uint64(0)
	if size := (len(w.s.docs) + 7) / 8; len(b) > size {
		b, form = append(b[:0], make([]byte, size)...), 1
		for _, d := range docs {
			b[d/8] |= 1 << (d % 8)
		}
	}
	w.scratch = b
	if len(w.block) == 0 {
		w.first, w.last = t, t
	}
	w.block = binary.AppendUvarint(w.block, uint64(t-w.last))
	w.block = binary.AppendUvarint(w.block, uint64(len(b))<<1|form)
	w.block = append(w.block, b...)
	w.last = t
	if len(w.block) < blockSize {
		return nil
	}
	return w.endBlock()
}

func (w *writer) endBlock() error {
	if len(w.block) == 0 {
		return nil
	}
	w.s.blocks = append(w.s.blocks, block{w.first, w.at, uint32(len(w.block))})
	sum := blockSum(w.s.id, w.at, w.block)
	w.at += int64(len(w.block) + crc32.Size)
	w.block = binary.LittleEndian.AppendUint32(w.block, sum)
	_, err := w.w.Write(w.block)
	w.block = w.block[:0]
	return err
}

// finish gives the segment its name. It need not be durable: one that a crash has
// left in part is seen to be damaged.
func (w *writer) finish() (*segment, error) {
	err := w.endBlock()
	footer := w.s.footer()
	trailer := append([]byte(magic), make([]byte, 24)...)
	binary.LittleEndian.PutUint64(trailer[len(magic):], w.s.id)
	binary.LittleEndian.PutUint64(trailer[len(magic)+8:], uint64(w.at))
	binary.LittleEndian.PutUint64(trailer[len(magic)+16:], form())
	sum := crc32.Update(crc32.Checksum(footer, castagnoli()), castagnoli(), trailer)
	for _, b := range [][]byte{footer, trailer, binary.LittleEndian.AppendUint32(nil, sum)} {
		if err == nil {
			_, err = w.w.Write(b)
		}
	}
	if err == nil {
		err = w.w.Flush()
	}
	if cerr := w.f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(w.f.Name(), w.s.path)
	}
	if err != nil {
		os.Remove(w.f.Name()) // what stays is removed by the next writer
		return nil, err
	}
	return w.s, nil
}

func (w *writer) abandon() {
	w.f.Close()
	os.Remove(w.f.Name()) // what stays is removed by the next writer
}

// batch are messages that will be a segment.
type batch struct {
	docs   []doc
	opaque []bool
	pairs  []pair
	spare  []pair // for sorting
}

// pair says that a message has a term.
type pair struct {
	term term
	doc  uint32
}

// maxPairs bounds the memory of a batch, to 16 octets a pair.
const maxPairs = 1 << 20

func (b *batch) full() bool { return len(b.pairs) >= maxPairs || len(b.docs) >= maxDocs }

// add adds a message; terms are in any order.
func (b *batch) add(d doc, terms []term, opaque bool) {
	n := uint32(len(b.docs))
	b.docs, b.opaque = append(b.docs, d), append(b.opaque, opaque)
	if opaque {
		return
	}
	for _, t := range terms {
		b.pairs = append(b.pairs, pair{t, n})
	}
}

// sort puts pairs in the order of terms. Messages stay in theirs.
func (b *batch) sort() {
	const digit = 9 // bits; three of them are more than a term has
	if cap(b.spare) < len(b.pairs) {
		b.spare = make([]pair, len(b.pairs))
	}
	from, to := b.pairs, b.spare[:len(b.pairs)]
	for shift := 0; shift < 3*digit; shift += digit {
		var starts [1 << digit]int
		for _, p := range from {
			starts[p.term>>shift&(1<<digit-1)]++
		}
		at := 0
		for i, n := range starts {
			starts[i], at = at, at+n
		}
		for _, p := range from {
			i := p.term >> shift & (1<<digit - 1)
			to[starts[i]] = p
			starts[i]++
		}
		from, to = to, from
	}
	b.pairs, b.spare = from, to
}

// write makes a segment of the batch, and empties it.
func (b *batch) write(dir string) (*segment, error) {
	b.sort()
	opaque := newBitset(len(b.docs))
	for i, is := range b.opaque {
		if is {
			opaque.set(i)
		}
	}
	w, err := newWriter(dir, b.docs, opaque)
	if err != nil {
		return nil, err
	}
	var docs []uint32
	for rest := b.pairs; len(rest) > 0; {
		t := rest[0].term
		docs = docs[:0]
		for len(rest) > 0 && rest[0].term == t {
			docs = append(docs, rest[0].doc)
			rest = rest[1:]
		}
		if err := w.add(t, docs); err != nil {
			w.abandon()
			return nil, err
		}
	}
	b.docs, b.opaque, b.pairs = nil, b.opaque[:0], b.pairs[:0]
	return w.finish()
}
