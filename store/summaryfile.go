package store

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"

	"rtls/store/internal/vfs"
)

// Summaries are kept in a file, ACCOUNT/.rtls/summaries/OBJECT, which is only ever
// appended to, a block at a time:
//
//	"rts1"  uidvalidity  number of summaries  octets of all of them
//	each summary's entry:  uid  octets  wire size  bond  modified
//	CRC-32C of all that
//	the summaries themselves
//
// The three numbers, uid and octets have 32 bits, the others of an entry 64, little
// endian. A later summary of a message takes the place of an earlier one.
//
// It is a cache, and nothing of it need be durable. A block is appended with one call,
// so that several processes can do so at once; what becomes of that on a full disk, on
// NFS or in a crash the checksum tells. What is behind a block that cannot be read is
// not used. Who next has something to add writes a new file, and so does who finds
// most of it to be of messages that are gone.
const (
	blockMagic  = "rts1"
	blockHeader = 4 * 4
	entryLen    = 2*4 + 3*8
	blockOctets = 1 << 20 // of summaries, after which a block is ended

	// Summaries that are no further apart are read at once.
	readGap  = 16 << 10
	readMost = 1 << 20

	// deadOctets of messages that are gone are left in peace.
	deadOctets = 256 << 10
)

// summaryFile is a mailbox's file of summaries, as far as it was read.
type summaryFile struct {
	mu      sync.Mutex // guards what follows, and is held while the file is read
	f       vfs.File   // nil if there is none, or it was not opened yet
	inode   uint64
	end     int64          // of the blocks that were read
	bad     bool           // what follows cannot be read
	entries []summaryEntry // by UID
	octets  int64          // of their summaries
}

// summaryEntry says where a summary is.
type summaryEntry struct {
	stamp Stamp
	at    int64
	uid   uint32
	len   uint32
}

var errSummaries = errors.New("block of summaries makes no sense")

func (v *view) summaryPath() string {
	return filepath.Join(v.a.private(), "summaries", v.id.object)
}

func (x *summaryFile) close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.forget()
}

// forget must be called with mu held.
func (x *summaryFile) forget() (err error) {
	if x.f != nil {
		err = x.f.Close()
	}
	x.f, x.inode, x.end, x.bad, x.entries, x.octets = nil, 0, 0, false, nil, 0
	return err
}

// refresh looks at what the file has by now. Without a file there are no entries. It
// must be called with mu held.
func (x *summaryFile) refresh(v *view) error {
	info, err := v.a.fs.Stat(v.summaryPath())
	if errors.Is(err, fs.ErrNotExist) {
		return x.forget()
	}
	if err != nil {
		return err
	}
	if x.f != nil && (info.Inode != x.inode || info.Size < x.end) {
		if err := x.forget(); err != nil {
			return err
		}
	}
	if x.f == nil {
		if x.f, err = v.a.fs.Open(v.summaryPath()); err != nil {
			x.f = nil
			return err
		}
		if info, err = x.f.Stat(); err != nil {
			return errors.Join(err, x.forget())
		}
		x.inode = info.Inode
	}
	return x.scan(v.snap.Load().uidValidity, info.Size)
}

// scan reads the entries of the blocks up to size. It must be called with mu held.
func (x *summaryFile) scan(uidValidity uint32, size int64) error {
	x.bad = false // another process may have been at it
	sorted := len(x.entries)
	for x.end < size {
		more, end, err := readEntries(x.f, x.end, size, uidValidity)
		if errors.Is(err, errSummaries) {
			x.bad = true
			break
		}
		if err != nil {
			return err
		}
		x.entries, x.end = append(x.entries, more...), end
	}
	if len(x.entries) > sorted {
		x.sort(sorted)
	}
	return nil
}

// sort brings new entries, which come behind the old ones, to where they belong.
func (x *summaryFile) sort(old int) {
	byUID := func(a, b summaryEntry) int { return cmp.Compare(a.uid, b.uid) }
	if !slices.IsSortedFunc(x.entries[max(old-1, 0):], byUID) {
		slices.SortStableFunc(x.entries, byUID)
	}
	last := 0
	for i := 1; i < len(x.entries); i++ {
		if x.entries[i].uid != x.entries[last].uid {
			last++
		}
		x.entries[last] = x.entries[i] // the later one of two
	}
	x.entries = x.entries[:last+1]
	x.octets = 0
	for i := range x.entries {
		x.octets += int64(x.entries[i].len)
	}
}

// readEntries reads those of the block at a place of a file that has size octets, and
// returns where the block ends. One that is of another UIDVALIDITY has no entries.
func readEntries(f io.ReaderAt, at, size int64, uidValidity uint32) (entries []summaryEntry, end int64, err error) {
	var header [blockHeader]byte
	if err := readFull(f, header[:], at, size); err != nil {
		return nil, 0, err
	}
	le := binary.LittleEndian
	n, octets := int64(le.Uint32(header[8:])), int64(le.Uint32(header[12:]))
	head := blockHeader + n*entryLen + 4
	if string(header[:4]) != blockMagic || head+octets > size-at {
		return nil, 0, errSummaries
	}
	raw := make([]byte, head)
	if err := readFull(f, raw, at, size); err != nil {
		return nil, 0, err
	}
	if crc32.Checksum(raw[:head-4], castagnoli()) != le.Uint32(raw[head-4:]) {
		return nil, 0, errSummaries
	}
	end = at + head + octets
	if le.Uint32(header[4:]) != uidValidity {
		return nil, end, nil
	}
	entries = make([]summaryEntry, n)
	place := at + head
	for i := range entries {
		b := raw[blockHeader+i*entryLen:]
		e := &entries[i]
		*e = summaryEntry{
			uid: le.Uint32(b), len: le.Uint32(b[4:]), at: place,
			stamp: Stamp{int64(le.Uint64(b[8:])), le.Uint64(b[16:]), int64(le.Uint64(b[24:]))},
		}
		if place += int64(e.len); place > end {
			return nil, 0, errSummaries
		}
	}
	return entries, end, nil
}

func readFull(f io.ReaderAt, p []byte, at, size int64) error {
	if int64(len(p)) > size-at {
		return errSummaries
	}
	n, err := f.ReadAt(p, at)
	switch {
	case n == len(p):
		return nil
	case errors.Is(err, io.EOF):
		return errSummaries
	}
	return err
}

// read calls f for the summaries of messages whose UIDs ascend. The octets are in buf
// or, if that is nil, in memory of their own.
func (x *summaryFile) read(v *view, uids []uint32, buf *[]byte, f func(Summary) error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.refresh(v); err != nil {
		return err
	}
	var room [128]summaryEntry // as many as are asked for in most cases
	found := room[:0]
	at := 0
	for _, uid := range uids {
		if at < len(x.entries) && x.entries[at].uid < uid {
			rest := x.entries[at:]
			at += max(1, search(rest, uid))
		}
		if at < len(x.entries) && x.entries[at].uid == uid {
			found = append(found, x.entries[at])
		}
	}
	return x.readEach(found, buf, f)
}

// search finds the first of entries that has a UID or one above it, which is likely to
// be near.
func search(entries []summaryEntry, uid uint32) int {
	if len(entries) > 1 && entries[1].uid >= uid {
		return 1
	}
	i, _ := slices.BinarySearchFunc(entries, uid, func(e summaryEntry, uid uint32) int { return cmp.Compare(e.uid, uid) })
	return i
}

// readEach reads summaries, those that are near to each other at once. It must be
// called with mu held.
func (x *summaryFile) readEach(found []summaryEntry, buf *[]byte, f func(Summary) error) error {
	free := roomOf(found, buf)
	for len(found) > 0 {
		n, start, end := together(found)
		raw := free[:min(len(free), int(end-start))]
		if free = free[len(raw):]; len(raw) < int(end-start) {
			raw = make([]byte, end-start)
		}
		if got, err := x.f.ReadAt(raw, start); got < len(raw) {
			return noEOF(err)
		}
		for _, e := range found[:n] {
			from, to := e.at-start, e.at-start+int64(e.len)
			if err := f(Summary{e.uid, e.stamp, raw[from:to:to]}); err != nil {
				return err
			}
		}
		found = found[n:]
	}
	return nil
}

// together says how many of the first summaries are read at once, and from where to where.
func together(found []summaryEntry) (n int, start, end int64) {
	n, start, end = 1, found[0].at, found[0].at+int64(found[0].len)
	for n < len(found) {
		e := &found[n]
		next := e.at + int64(e.len)
		if e.at < end || e.at-end > readGap || next-start > readMost {
			break
		}
		n, end = n+1, next
	}
	return n, start, end
}

// roomOf makes buf large enough for summaries with what is between them.
func roomOf(found []summaryEntry, buf *[]byte) []byte {
	if buf == nil {
		return nil
	}
	size := int64(0)
	for len(found) > 0 {
		n, start, end := together(found)
		size += end - start
		found = found[n:]
	}
	if size > int64(cap(*buf)) {
		*buf = make([]byte, size+size/4)
	}
	return (*buf)[:size]
}

// block is a block that is being made.
type block struct {
	entries []summaryEntry
	octets  []byte
}

func (b *block) reset() { b.entries, b.octets = b.entries[:0], b.octets[:0] }

func (b *block) add(s Summary) {
	b.entries = append(b.entries, summaryEntry{uid: s.UID, len: uint32(len(s.Octets)), stamp: s.Stamp})
	b.octets = append(b.octets, s.Octets...)
}

func (b *block) bytes(uidValidity uint32) []byte {
	le := binary.LittleEndian
	raw := make([]byte, 0, blockHeader+len(b.entries)*entryLen+4+len(b.octets))
	raw = append(raw, blockMagic...)
	raw = le.AppendUint32(raw, uidValidity)
	raw = le.AppendUint32(raw, uint32(len(b.entries)))
	raw = le.AppendUint32(raw, uint32(len(b.octets)))
	for _, e := range b.entries {
		raw = le.AppendUint32(raw, e.uid)
		raw = le.AppendUint32(raw, e.len)
		raw = le.AppendUint64(raw, uint64(e.stamp.wire))
		raw = le.AppendUint64(raw, e.stamp.bond)
		raw = le.AppendUint64(raw, uint64(e.stamp.modified))
	}
	raw = le.AppendUint32(raw, crc32.Checksum(raw, castagnoli()))
	return append(raw, b.octets...)
}

// put adds summaries of the messages in s, and writes a new file if this one is worth
// little.
func (x *summaryFile) put(v *view, s *Snapshot, list []Summary) error {
	if len(list) == 0 {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.refresh(v); err != nil {
		return err
	}
	if x.f != nil && (x.bad || x.wasted(s)) {
		if err := x.renew(v, s); err != nil {
			return err
		}
	}
	var b block
	for _, sum := range list {
		b.add(sum)
		if len(b.octets) >= blockOctets {
			if err := x.append(v, &b); err != nil {
				return err
			}
			b.reset()
		}
	}
	return x.append(v, &b)
}

// add adds a block, whatever else there is.
func (x *summaryFile) add(v *view, b *block) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.append(v, b)
}

// append must be called with mu held.
func (x *summaryFile) append(v *view, b *block) error {
	if len(b.entries) == 0 {
		return nil
	}
	raw := b.bytes(v.snap.Load().uidValidity)
	const tries = 3
	for range tries {
		err := v.a.fs.Append(v.summaryPath(), raw)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		err = x.write(v, func(w io.Writer) error {
			_, err := w.Write(raw)
			return err
		})
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return fmt.Errorf("%s comes and goes", v.summaryPath())
}

// write makes the file.
func (x *summaryFile) write(v *view, content func(io.Writer) error) error {
	fsys, dir := v.a.fs, filepath.Dir(v.summaryPath())
	if err := fsys.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	t, err := fsys.Temp(dir, string(v.a.names.key()))
	if err != nil {
		return err
	}
	defer t.Close()
	if err := content(t); err != nil {
		return err
	}
	if err := t.Finish(); err != nil {
		return err
	}
	return t.Link(v.summaryPath())
}

// wasted says whether most of the file is of no use, as far as numbers tell: looking
// for each message would take longer than adding one. It must be called with mu held.
func (x *summaryFile) wasted(s *Snapshot) bool {
	n := int64(len(x.entries))
	live := x.octets + n*entryLen
	if n > int64(s.Len()) {
		live = live / n * int64(s.Len()) // the others are gone
	}
	return x.end-live > live+deadOctets
}

// renew writes a new file with what is of use, in place of the old one. It must be
// called with mu held.
func (x *summaryFile) renew(v *view, s *Snapshot) error {
	live := slices.DeleteFunc(slices.Clone(x.entries), func(e summaryEntry) bool {
		_, ok := s.Find(e.uid)
		return !ok
	})
	if err := v.a.fs.Remove(v.summaryPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := x.write(v, func(w io.Writer) error {
		var b block
		flush := func() error {
			defer b.reset()
			_, err := w.Write(b.bytes(s.uidValidity))
			return err
		}
		err := x.readEach(live, nil, func(s Summary) error {
			b.add(s)
			if len(b.octets) < blockOctets {
				return nil
			}
			return flush()
		})
		if err != nil || len(b.entries) == 0 {
			return err
		}
		return flush()
	})
	if errors.Is(err, fs.ErrExist) {
		err = nil // another process was faster
	}
	return errors.Join(err, x.forget())
}
