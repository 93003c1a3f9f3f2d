package fulltext

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strconv"

	"rtls/store"
)

// doc is a state of a message.
type doc struct {
	identity uint64
	store.FileState
}

// segment is what is in memory of one. It is never changed.
type segment struct {
	path   string
	id     uint64
	docs   []doc
	opaque bitset
	blocks []block
}

// block is a part of a segment that is read as a whole.
type block struct {
	first term
	at    int64
	size  uint32 // without its checksum
}

const (
	magic      = "rtlstext\x01"
	trailerLen = len(magic) + 8 + 8 + 8 + crc32.Size
	docLen     = 4*8 + 1
	blockLen   = 4 + 8 + 4
	maxDocs    = 1 << 18 // in a segment
)

var (
	errDamaged = errors.New("text index is damaged")
	errForm    = errors.New("text index is of another version of this program")
)

// castagnoli makes its table when it is first wanted.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// idOf reads a segment's number out of the name of its file.
func idOf(name string) (id uint64, ok bool) {
	id, err := strconv.ParseUint(name, 16, 64)
	return id, err == nil && nameOf(id) == name
}

func nameOf(id uint64) string { return fmt.Sprintf("%016x", id) }

// readSegment reads what a segment has besides its blocks: fs.ErrNotExist, errDamaged,
// errForm.
func readSegment(dir string, id uint64) (*segment, error) {
	s := &segment{path: filepath.Join(dir, nameOf(id)), id: id}
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	end := info.Size() - int64(trailerLen)
	trailer := make([]byte, trailerLen)
	if end < 0 {
		return nil, fmt.Errorf("%w: %s is too short", errDamaged, s.path)
	}
	if _, err := f.ReadAt(trailer, end); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	at := int64(le.Uint64(trailer[len(magic)+8:]))
	made := le.Uint64(trailer[len(magic)+16:])
	if string(trailer[:len(magic)]) != magic || le.Uint64(trailer[len(magic):]) != id || at < 0 || at > end {
		return nil, fmt.Errorf("%w: trailer of %s", errDamaged, s.path)
	}
	footer := make([]byte, end-at)
	if _, err := f.ReadAt(footer, at); err != nil {
		return nil, err
	}
	sum := crc32.Update(crc32.Checksum(footer, castagnoli()), castagnoli(), trailer[:trailerLen-crc32.Size])
	if sum != le.Uint32(trailer[trailerLen-crc32.Size:]) || !s.parse(footer, at) {
		return nil, fmt.Errorf("%w: footer of %s", errDamaged, s.path)
	}
	if made != form() {
		return nil, fmt.Errorf("%w: %s", errForm, s.path)
	}
	return s, nil
}

// parse reads a footer that is at a place. It returns false if it makes no sense.
func (s *segment) parse(raw []byte, at int64) bool {
	le := binary.LittleEndian
	count := func(size int, most int) int {
		if len(raw) < 4 {
			return -1
		}
		n := int(le.Uint32(raw))
		raw = raw[4:]
		if n > most || n > len(raw)/size {
			return -1
		}
		return n
	}
	n := count(docLen, maxDocs)
	if n < 0 {
		return false
	}
	s.docs, s.opaque = make([]doc, n), newBitset(n)
	for i := range s.docs {
		s.docs[i] = doc{le.Uint64(raw), store.FileState{
			Wire: int64(le.Uint64(raw[8:])), Size: int64(le.Uint64(raw[16:])), Modified: int64(le.Uint64(raw[24:]))}}
		if raw[32] != 0 {
			s.opaque.set(i)
		}
		raw = raw[docLen:]
	}
	if n = count(blockLen, len(raw)); n < 0 || n*blockLen != len(raw) {
		return false
	}
	s.blocks = make([]block, n)
	for i := range s.blocks {
		b := block{term(le.Uint32(raw)), int64(le.Uint64(raw[4:])), le.Uint32(raw[12:])}
		if b.at < 0 || b.at+int64(b.size)+crc32.Size > at || i > 0 && b.first <= s.blocks[i-1].first {
			return false
		}
		s.blocks[i] = b
		raw = raw[blockLen:]
	}
	return true
}

// footer writes it.
func (s *segment) footer() []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, 8+len(s.docs)*docLen+len(s.blocks)*blockLen)
	b = le.AppendUint32(b, uint32(len(s.docs)))
	for i, d := range s.docs {
		b = le.AppendUint64(b, d.identity)
		b = le.AppendUint64(b, uint64(d.Wire))
		b = le.AppendUint64(b, uint64(d.Size))
		b = le.AppendUint64(b, uint64(d.Modified))
		opaque := byte(0)
		if s.opaque.has(i) {
			opaque = 1
		}
		b = append(b, opaque)
	}
	b = le.AppendUint32(b, uint32(len(s.blocks)))
	for _, k := range s.blocks {
		b = le.AppendUint32(b, uint32(k.first))
		b = le.AppendUint64(b, uint64(k.at))
		b = le.AppendUint32(b, k.size)
	}
	return b
}

// blockSum is the checksum of a block's octets at their place.
func blockSum(id uint64, at int64, octets []byte) uint32 {
	var head [16]byte
	binary.LittleEndian.PutUint64(head[:], id)
	binary.LittleEndian.PutUint64(head[8:], uint64(at))
	return crc32.Update(crc32.Checksum(head[:], castagnoli()), castagnoli(), octets)
}

// read reads a block.
func (s *segment) read(f io.ReaderAt, b block) ([]byte, error) {
	raw := make([]byte, int(b.size)+crc32.Size)
	if _, err := f.ReadAt(raw, b.at); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: %s has shrunk", errDamaged, s.path)
		}
		return nil, err
	}
	octets := raw[:b.size]
	if blockSum(s.id, b.at, octets) != binary.LittleEndian.Uint32(raw[b.size:]) {
		return nil, fmt.Errorf("%w: block at %d of %s", errDamaged, b.at, s.path)
	}
	return octets, nil
}

// list is the messages that have a term.
type list struct {
	octets []byte
	bits   bool
}

// entries are those of a block that is being read.
type entries struct {
	rest []byte
	term term
	list list
}

// next reads an entry. It returns false at the end, which is the right one if rest is
// empty.
func (e *entries) next() bool {
	step, n := binary.Uvarint(e.rest)
	if n <= 0 || step >= allTerms {
		return false
	}
	size, k := binary.Uvarint(e.rest[n:])
	if k <= 0 || size>>1 > uint64(len(e.rest)-n-k) {
		return false
	}
	e.term += term(step)
	from := n + k
	to := from + int(size>>1)
	e.list = list{e.rest[from:to], size&1 != 0}
	e.rest = e.rest[to:]
	return true
}

// each calls f with the messages of a list out of n, ascending. It returns false for
// a list that makes no sense.
func (l list) each(n int, f func(doc int)) bool {
	if l.bits {
		if len(l.octets) != (n+7)/8 {
			return false
		}
		for i := range n {
			if l.octets[i/8]&(1<<(i%8)) != 0 {
				f(i)
			}
		}
		return true
	}
	at := -1
	for rest := l.octets; len(rest) > 0; {
		step, k := binary.Uvarint(rest)
		if k <= 0 || step == 0 || step > uint64(n-1-at) {
			return false
		}
		at += int(step)
		f(at)
		rest = rest[k:]
	}
	return true
}

// withAll adds the messages that have all the terms, which ascend.
func (s *segment) withAll(f io.ReaderAt, terms []term, to bitset) error {
	var e entries
	var common bitset
	at := -1 // the block that e reads
	for _, want := range terms {
		i := sort.Search(len(s.blocks), func(i int) bool { return s.blocks[i].first > want }) - 1
		if i < 0 {
			return nil
		}
		if i != at {
			octets, err := s.read(f, s.blocks[i])
			if err != nil {
				return err
			}
			at, e = i, entries{rest: octets, term: s.blocks[i].first}
		}
		for e.term < want || e.list.octets == nil {
			if e.next() {
				continue
			}
			if len(e.rest) > 0 {
				return fmt.Errorf("%w: block of %s", errDamaged, s.path)
			}
			break
		}
		if e.term != want {
			return nil
		}
		having := newBitset(len(s.docs))
		if !e.list.each(len(s.docs), having.set) {
			return fmt.Errorf("%w: list in %s", errDamaged, s.path)
		}
		if common == nil {
			common = having
		} else if !common.and(having) {
			return nil
		}
	}
	to.or(common)
	return nil
}

// bitset is a set of small numbers.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }

func (b bitset) or(other bitset) {
	for i, x := range other {
		b[i] |= x
	}
}

// and leaves what is in other, too, and says whether that is anything.
func (b bitset) and(other bitset) bool {
	var left uint64
	for i, x := range other {
		b[i] &= x
		left |= b[i]
	}
	return left != 0
}
