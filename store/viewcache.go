package store

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"

	"rtls/store/internal/index"
	"rtls/store/internal/vfs"
)

// A packed view is a file, ACCOUNT/.rtls/views/OBJECT, with all that a snapshot
// holds, in the form in which it is in memory. Reading it is ten times as fast as
// reading the index; what has changed since comes from the index. It is a cache: the
// index names the one that belongs to it, and one that is damaged, missing or has
// another name is not used.
//
//	"rtlsview 2\n"  id  uidvalidity  uidnext  modseq
//	number of word sets, each two strings: keywords, letters
//	number of chunks, each:
//	    number of rows   rows, rowLen octets each
//	    keys             a string
//	    number of names  each: index of the row, a string
//	CRC-32C of all that
//
// Numbers are 64 bits, little endian; a string is its length and its octets.
const (
	viewHeader = "rtlsview 2\n"
	rowLen     = 8*4 + 4*4 + 2 + 4

	// cacheAfter is how many changes there have to be, in all and in parts of a
	// hundred, before a view is packed again.
	cacheAfter   = 1000
	cachePercent = 5
)

// castagnoli makes its table when it is first wanted: deliveries do not.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func (v *view) cachePath() string {
	return filepath.Join(v.a.private(), "views", v.id.object)
}

// saveCache packs the view if enough has changed, and returns the name that the
// index has to keep. It must be called with mu held. That it fails costs time only.
func (v *view) saveCache() (id string, saved bool) {
	s := v.snap.Load()
	if v.changes < cacheAfter || v.changes*100 < s.n*cachePercent {
		return "", false
	}
	var random [16]byte
	rand.Read(random[:])
	id = hex.EncodeToString(random[:])
	if err := v.writeCache(s, id); err != nil {
		v.a.log.Warn("view is not packed", "dir", v.dir, "err", err)
		return "", false
	}
	v.changes = 0
	return id, true
}

func (v *view) writeCache(s *Snapshot, id string) error {
	a := v.a
	dir := filepath.Dir(v.cachePath())
	if err := a.fs.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	t, err := a.fs.Temp(dir, string(a.names.key()))
	if err != nil {
		return err
	}
	defer t.Close()
	sum := crc32.New(castagnoli())
	buffered := bufio.NewWriterSize(t, 256<<10)
	w := &packer{w: io.MultiWriter(buffered, sum)}
	w.pack(s, id)
	if w.err != nil {
		return w.err
	}
	if err := binary.Write(buffered, binary.LittleEndian, sum.Sum32()); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	if err := t.Finish(); err != nil {
		return err
	}
	if err := a.fs.Remove(v.cachePath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return t.Link(v.cachePath())
}

// packer writes, until the first error.
type packer struct {
	w   io.Writer
	buf []byte
	err error
}

func (p *packer) bytes(b []byte) {
	if p.err == nil {
		_, p.err = p.w.Write(b)
	}
}

func (p *packer) number(n uint64) {
	p.buf = binary.LittleEndian.AppendUint64(p.buf[:0], n)
	p.bytes(p.buf)
}

func (p *packer) string(s string) {
	p.number(uint64(len(s)))
	p.bytes([]byte(s))
}

func (p *packer) pack(s *Snapshot, id string) {
	p.bytes([]byte(viewHeader))
	p.string(id)
	p.number(uint64(s.uidValidity))
	p.number(uint64(s.uidNext))
	p.number(s.modSeq)
	p.number(uint64(len(s.sets)))
	for _, set := range s.sets {
		p.string(set.joined())
		p.string(set.letters)
	}
	p.number(uint64(len(s.chunks)))
	for _, c := range s.chunks {
		p.number(uint64(len(c.rows)))
		raw := make([]byte, 0, len(c.rows)*rowLen)
		for i := range c.rows {
			r := c.rows[i]
			r.date = s.date(&r)
			raw = r.append(raw)
		}
		p.bytes(raw)
		p.number(uint64(len(c.keys)))
		p.bytes(c.keys)
		named := 0
		for _, name := range c.names {
			if name != "" {
				named++
			}
		}
		p.number(uint64(named))
		for i, name := range c.names {
			if name != "" {
				p.number(uint64(i))
				p.string(name)
			}
		}
	}
}

func (r *row) append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, r.modSeq)
	b = le.AppendUint64(b, uint64(r.wireSize))
	b = le.AppendUint64(b, uint64(r.date))
	b = le.AppendUint64(b, r.bond)
	b = le.AppendUint32(b, r.uid)
	b = le.AppendUint32(b, r.words)
	b = le.AppendUint32(b, r.bare)
	b = le.AppendUint32(b, r.keyAt)
	b = le.AppendUint16(b, r.keyLen)
	inNew := byte(0)
	if r.inNew {
		inNew = 1
	}
	return append(b, byte(r.flags), byte(r.tag), byte(r.origin), inNew)
}

func (r *row) parse(b []byte) {
	le := binary.LittleEndian
	*r = row{
		modSeq:   le.Uint64(b),
		wireSize: int64(le.Uint64(b[8:])),
		date:     int64(le.Uint64(b[16:])),
		bond:     le.Uint64(b[24:]),
		uid:      le.Uint32(b[32:]),
		words:    le.Uint32(b[36:]),
		bare:     le.Uint32(b[40:]),
		keyAt:    le.Uint32(b[44:]),
		keyLen:   le.Uint16(b[48:]),
		flags:    Flags(b[50]),
		tag:      Tag(b[51]),
		origin:   Origin(b[52]),
		inNew:    b[53] != 0,
	}
}

// cached reads the packed view that belongs to m; nil if it cannot be used.
func (v *view) cached(m index.Mailbox) *Snapshot {
	if m.Cache == "" {
		return nil
	}
	f, err := v.a.fs.Open(v.cachePath())
	if err == nil {
		defer f.Close()
		var info vfs.Info
		if info, err = f.Stat(); err == nil {
			var s *Snapshot
			if s, err = readView(io.NewSectionReader(f, 0, info.Size), m); err == nil {
				return s
			}
		}
	}
	v.a.log.Warn("packed view is not used", "dir", v.dir, "err", err)
	return nil
}

var errView = errors.New("packed view makes no sense")

func readView(raw *io.SectionReader, m index.Mailbox) (*Snapshot, error) {
	size := raw.Size() - 4
	if size < 0 {
		return nil, errView
	}
	sum := crc32.New(castagnoli())
	body := bufio.NewReaderSize(io.TeeReader(io.NewSectionReader(raw, 0, size), sum), 256<<10)
	u := &unpacker{r: body, left: size}
	s := u.unpack(m)
	if u.err != nil || u.left != 0 {
		return nil, fmt.Errorf("%w: %v", errView, u.err)
	}
	var want [4]byte
	if _, err := raw.ReadAt(want[:], size); err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(want[:]) != sum.Sum32() {
		return nil, fmt.Errorf("%w: checksum", errView)
	}
	return s, nil
}

// unpacker reads, until the first error, and never asks for more memory than there
// is left to read.
type unpacker struct {
	r    io.Reader
	left int64
	err  error
}

func (u *unpacker) bytes(n uint64) []byte {
	if u.err == nil && n > uint64(u.left) {
		u.err = io.ErrUnexpectedEOF
	}
	if u.err != nil {
		return nil
	}
	b := make([]byte, n)
	_, u.err = io.ReadFull(u.r, b)
	u.left -= int64(n)
	return b
}

func (u *unpacker) number() uint64 {
	b := u.bytes(8)
	if u.err != nil {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

// count is a number of things that take at least size octets each.
func (u *unpacker) count(size int64) int {
	n := u.number()
	if u.err == nil && n > uint64(u.left/size) {
		u.err = io.ErrUnexpectedEOF
	}
	if u.err != nil {
		return 0
	}
	return int(n)
}

func (u *unpacker) string() string { return string(u.bytes(u.number())) }

func (u *unpacker) unpack(m index.Mailbox) *Snapshot {
	s := &Snapshot{}
	if string(u.bytes(uint64(len(viewHeader)))) != viewHeader || u.string() != m.Cache {
		u.fail()
	}
	s.uidValidity, s.uidNext, s.modSeq = uint32(u.number()), uint32(u.number()), u.number()
	if s.uidValidity != m.UIDValidity || s.uidNext > m.UIDNext || s.modSeq > m.ModSeq {
		u.fail()
	}
	for range u.count(16) {
		set := newWords(u.string(), u.string())
		if !letters(set.letters) {
			u.fail()
		}
		s.sets = append(s.sets, set)
	}
	last := uint32(0)
	for range u.count(8) {
		c := u.chunk(&last, len(s.sets))
		if u.err != nil {
			return nil
		}
		s.chunks = append(s.chunks, c)
		s.starts = append(s.starts, s.n)
		s.n += len(c.rows)
	}
	if len(s.sets) == 0 || last >= s.uidNext && s.n > 0 {
		u.fail()
	}
	return s
}

func (u *unpacker) fail() {
	if u.err == nil {
		u.err = errView
	}
}

// chunk reads a chunk and checks that no row leads out of it.
func (u *unpacker) chunk(last *uint32, sets int) *chunk {
	n := u.count(rowLen)
	raw := u.bytes(uint64(n * rowLen))
	c := &chunk{keys: u.bytes(u.number())}
	if u.err != nil || n == 0 {
		u.fail()
		return nil
	}
	c.rows = make([]row, n)
	for i := range c.rows {
		r := &c.rows[i]
		r.parse(raw[i*rowLen:])
		if r.uid <= *last || int(r.words) >= sets || uint64(r.keyAt)+uint64(r.keyLen) > uint64(len(c.keys)) ||
			int(r.tag) >= len(tagLetters) || int(r.origin) >= len(originLetters) {
			u.fail()
			return nil
		}
		*last = r.uid
	}
	for range u.count(16) {
		at, name := u.number(), u.string()
		if u.err != nil || at >= uint64(n) {
			u.fail()
			return nil
		}
		if c.names == nil {
			c.names = make([]string, n)
		}
		c.names[at] = name
	}
	c.sum()
	return c
}
