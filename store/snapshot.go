package store

import (
	"bytes"
	"iter"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"rtls/store/internal/index"
)

// Snapshot is an immutable view of a mailbox, ordered by UID. It costs nothing to
// keep: snapshots share what did not change between them.
type Snapshot struct {
	uidValidity uint32
	uidNext     uint32
	modSeq      uint64
	chunks      []*chunk
	starts      []int // index of the first message of each chunk
	n           int
	sets        []words // a row has an index into it; see words.go
	setsKept    int     // how many of them rows had when that was last looked at
	dates       *dates  // of rows that have none
}

// chunk is a run of messages. It is never changed once a snapshot holds it.
type chunk struct {
	rows  []row
	keys  []byte   // the keys of the rows, one behind the other, in any order
	names []string // raw file names, by row, of those whose name does not follow from the row; nil if all do

	// What spares a look at the rows.
	maxModSeq uint64
	unseen    int
	words     []uint32 // the sets that rows have
}

// emptySnapshot has the set of no words, which a row has unless it has others.
func emptySnapshot() *Snapshot { return &Snapshot{sets: []words{{}}} }

// sum brings up to date what follows from the rows.
func (c *chunk) sum() {
	c.maxModSeq, c.unseen, c.words = 0, 0, nil
	for i := range c.rows {
		if !slices.Contains(c.words, c.rows[i].words) {
			c.words = append(c.words, c.rows[i].words)
		}
		c.maxModSeq = max(c.maxModSeq, c.rows[i].modSeq)
		if c.rows[i].flags&Seen == 0 {
			c.unseen++
		}
	}
}

const chunkLen = 512

// row is one message, packed: a mailbox may have a million.
type row struct {
	modSeq   uint64
	wireSize int64
	date     int64  // seconds since 1970; index.NoDate: see dates.go
	bond     uint64 // in the name, see bond.go
	uid      uint32
	words    uint32 // index into sets
	bare     uint32 // octets that the wire has and the file has not
	keyAt    uint32 // where the key is in the chunk's keys
	keyLen   uint16
	flags    Flags
	tag      Tag
	origin   Origin
	inNew    bool // the file is in new/
}

// UIDValidity is the mailbox's UIDVALIDITY (RFC 9051 section 2.3.1.1).
func (s *Snapshot) UIDValidity() uint32 { return s.uidValidity }

// UIDNext is above every UID that has been given.
func (s *Snapshot) UIDNext() uint32 { return s.uidNext }

// HighestModSeq is the number of the last change (RFC 7162 section 3.1.2.1).
func (s *Snapshot) HighestModSeq() uint64 { return s.modSeq }

// Len is the number of messages.
func (s *Snapshot) Len() int { return s.n }

// At returns the message with sequence number i+1.
func (s *Snapshot) At(i int) Message {
	c, at := s.locate(i)
	r := &c.rows[at]
	m := Message{
		UID:      r.uid,
		ModSeq:   r.modSeq,
		Key:      c.key(at),
		Size:     r.wireSize,
		Date:     time.Unix(r.date, 0),
		Flags:    r.flags,
		Keywords: s.sets[r.words].keywords,
		Tag:      r.tag,
		Origin:   r.origin,
	}
	if r.date == index.NoDate {
		m.Date, m.dates = time.Time{}, s.dates
	}
	return m
}

// Find returns the index of the message with a UID, or, where there is none, the
// index at which it would stand, and false.
func (s *Snapshot) Find(uid uint32) (int, bool) {
	c := sort.Search(len(s.chunks), func(i int) bool {
		rows := s.chunks[i].rows
		return rows[len(rows)-1].uid >= uid
	})
	if c == len(s.chunks) {
		return s.n, false
	}
	at, found := slices.BinarySearchFunc(s.chunks[c].rows, uid, func(r row, uid uint32) int {
		switch {
		case r.uid < uid:
			return -1
		case r.uid > uid:
			return 1
		}
		return 0
	})
	return s.starts[c] + at, found
}

// Changed yields, with their indexes, the messages whose ModSeq is above since. It
// costs what changed, not what is there.
func (s *Snapshot) Changed(since uint64) iter.Seq2[int, Message] {
	return func(yield func(int, Message) bool) {
		for c, chunk := range s.chunks {
			if chunk.maxModSeq <= since {
				continue
			}
			for i := range chunk.rows {
				if at := s.starts[c] + i; chunk.rows[i].modSeq > since && !yield(at, s.At(at)) {
					return
				}
			}
		}
	}
}

// Tags counts the messages by their tag.
func (s *Snapshot) Tags() map[Tag]int {
	counts := make(map[Tag]int)
	for _, c := range s.chunks {
		for i := range c.rows {
			counts[c.rows[i].tag]++
		}
	}
	return counts
}

// FirstUnseen is the index of the first message without Seen; Len if there is none.
func (s *Snapshot) FirstUnseen() int {
	for c, chunk := range s.chunks {
		if chunk.unseen == 0 {
			continue
		}
		for i := range chunk.rows {
			if chunk.rows[i].flags&Seen == 0 {
				return s.starts[c] + i
			}
		}
	}
	return s.n
}

// Unseen yields ranges of indexes, the ends not included, in rising order: outside of
// them every message has Seen. It costs next to nothing.
func (s *Snapshot) Unseen() iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		for c, chunk := range s.chunks {
			if chunk.unseen > 0 && !yield(s.starts[c], s.starts[c]+len(chunk.rows)) {
				return
			}
		}
	}
}

// Keywords are those that messages have, sorted.
func (s *Snapshot) Keywords() (list []string) {
	seen := make(map[uint32]bool)
	for _, c := range s.chunks {
		for _, at := range c.words {
			if !seen[at] {
				seen[at] = true
				list = append(list, s.sets[at].keywords...)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Gone returns the UIDs, in order, of messages of s that next, a later snapshot of
// the mailbox, has not. It costs what changed between the two.
func (s *Snapshot) Gone(next *Snapshot) (uids []uint32) {
	shared := make(map[*chunk]bool, len(next.chunks))
	for _, c := range next.chunks {
		shared[c] = true
	}
	for _, c := range s.chunks {
		if shared[c] {
			continue
		}
		for i := range c.rows {
			if _, ok := next.Find(c.rows[i].uid); !ok {
				uids = append(uids, c.rows[i].uid)
			}
		}
	}
	return uids
}

func (s *Snapshot) locate(i int) (*chunk, int) {
	if i < 0 || i >= s.n {
		panic("store: no such message in the snapshot")
	}
	c := sort.Search(len(s.starts), func(c int) bool { return s.starts[c] > i }) - 1
	return s.chunks[c], i - s.starts[c]
}

// key is the key of a row. Octets of keys are never changed, only appended to, so
// the string can share them.
func (c *chunk) key(i int) Key {
	r := &c.rows[i]
	if r.keyLen == 0 {
		return ""
	}
	return Key(unsafe.String(&c.keys[r.keyAt], int(r.keyLen)))
}

// name is the file name of row i of c.
func (s *Snapshot) name(c *chunk, i int) string {
	if c.names != nil && c.names[i] != "" {
		return c.names[i]
	}
	return string(s.appendName(make([]byte, 0, nameLen), c, i))
}

// appendName writes the file name of a row that has none in names.
func (s *Snapshot) appendName(b []byte, c *chunk, i int) []byte {
	r := &c.rows[i]
	b = appendBase(b, c.key(i), r.wireSize-int64(r.bare), r.wireSize, r.tag, r.origin, r.bond)
	return appendInfo(b, r.flags, s.sets[r.words].letters)
}

// is says whether a file is the one that the view has of message i.
func (s *Snapshot) is(i int, f file) bool {
	c, at := s.locate(i)
	if c.rows[at].inNew != f.inNew {
		return false
	}
	if c.names != nil && c.names[at] != "" {
		return c.names[at] == f.name
	}
	var buf [nameLen]byte
	return string(s.appendName(buf[:0], c, at)) == f.name
}

// Message is one message of a snapshot.
type Message struct {
	UID      uint32
	ModSeq   uint64
	Key      Key
	Size     int64     // octets on the wire: every line ends in CRLF
	Date     time.Time // internal date, in seconds; zero where only InternalDate tells
	Flags    Flags
	Keywords []string // sorted; never to be modified
	Tag      Tag
	Origin   Origin

	dates *dates // nil if Date is right
}

// ObjectID identifies the message in all mailboxes of the account: its copies have
// it, too (EMAILID, RFC 8474 section 5.1).
func (m Message) ObjectID() string { return "M" + identityOf(m.Key) }

// Saved is when the message came into its mailbox: by delivery, Append, Copy or Move.
// It is in the key, and so it is that of another program for what that has put there:
// mail programs name a file anew when they move it, a plain mv does not. Where the key
// has no time, it is InternalDate.
func (m Message) Saved() time.Time {
	sec, ok := m.Key.seconds()
	if !ok {
		return m.InternalDate()
	}
	return time.Unix(sec, 0)
}

// seconds is the time in a key, since 1970.
func (k Key) seconds() (sec int64, ok bool) {
	const oldest = 631152000 // 1990; a smaller number is none of seconds since 1970
	n := digits(string(k))
	sec, err := strconv.ParseInt(string(k[:n]), 10, 64)
	return sec, err == nil && sec >= oldest && sec < math.MaxUint32 && strings.HasPrefix(string(k[n:]), ".")
}

// edit makes a snapshot out of another one. It copies the chunks that it changes.
type edit struct {
	s       *Snapshot
	owned   map[int]bool         // chunks that no other snapshot has
	words   map[[2]string]uint32 // by keywords and letters
	removed bool
}

func (s *Snapshot) edit() *edit {
	next := *s
	next.chunks = slices.Clone(s.chunks)
	return &edit{s: &next, owned: make(map[int]bool)}
}

// done returns the new snapshot; the edit must not be used any more.
func (e *edit) done(m index.Mailbox) *Snapshot {
	s := e.s
	for i := range e.owned {
		s.chunks[i].sum()
	}
	if e.removed {
		s.chunks = slices.DeleteFunc(s.chunks, func(c *chunk) bool { return len(c.rows) == 0 })
	}
	s.starts = make([]int, len(s.chunks))
	s.n = 0
	for i, c := range s.chunks {
		s.starts[i] = s.n
		s.n += len(c.rows)
	}
	s.uidValidity, s.uidNext, s.modSeq = m.UIDValidity, m.UIDNext, m.ModSeq
	s.compactSets()
	return s
}

func (e *edit) own(i int) *chunk {
	if !e.owned[i] {
		old := e.s.chunks[i]
		c := &chunk{rows: slices.Clone(old.rows), keys: slices.Clip(old.keys), names: slices.Clone(old.names)}
		c.compact()
		e.s.chunks[i] = c
		e.owned[i] = true
	}
	return e.s.chunks[i]
}

// put sets the row of a message, or appends it: a UID that is not there is above
// all that are.
func (e *edit) put(m index.Message) {
	r, key, name := e.row(m)
	last := len(e.s.chunks) - 1
	if c, at, ok := e.find(m.UID); ok {
		e.own(c).set(at, r, key, name)
		return
	}
	if last < 0 || len(e.s.chunks[last].rows) >= chunkLen {
		if last >= 0 && e.owned[last] {
			e.s.chunks[last].trim()
		}
		e.s.chunks = append(e.s.chunks, &chunk{})
		last++
		e.owned[last] = true
	}
	c := e.own(last)
	c.rows = append(c.rows, row{})
	if c.names != nil {
		c.names = append(c.names, "")
	}
	c.set(len(c.rows)-1, r, key, name)
}

// trim gives back what growing has reserved.
func (c *chunk) trim() {
	c.rows, c.keys, c.names = slices.Clone(c.rows), bytes.Clone(c.keys), slices.Clone(c.names)
}

// compact drops the keys of messages that are gone, once they are most of all.
func (c *chunk) compact() {
	live := 0
	for i := range c.rows {
		live += int(c.rows[i].keyLen)
	}
	if len(c.keys) < 2*live+1024 {
		return
	}
	keys := make([]byte, 0, live)
	for i := range c.rows {
		key := c.key(i)
		c.rows[i].keyAt = uint32(len(keys))
		keys = append(keys, key...)
	}
	c.keys = keys
}

func (c *chunk) set(at int, r row, key Key, name string) {
	if old := &c.rows[at]; old.keyLen > 0 && c.key(at) == key {
		r.keyAt, r.keyLen = old.keyAt, old.keyLen
	} else {
		r.keyAt, r.keyLen = uint32(len(c.keys)), uint16(len(key))
		c.keys = append(c.keys, key...)
	}
	c.rows[at] = r
	if name != "" && c.names == nil {
		c.names = make([]string, len(c.rows))
	}
	if c.names != nil {
		c.names[at] = name
	}
}

// remove takes a message out, if it is there.
func (e *edit) remove(uid uint32) {
	c, at, ok := e.find(uid)
	if !ok {
		return
	}
	owned := e.own(c)
	owned.rows = slices.Delete(owned.rows, at, at+1)
	if owned.names != nil {
		owned.names = slices.Delete(owned.names, at, at+1)
	}
	e.removed = true
}

func (e *edit) find(uid uint32) (chunk, at int, ok bool) {
	chunks := e.s.chunks
	// Chunks may have run empty: look at those that have not.
	chunk = sort.Search(len(chunks), func(i int) bool {
		for ; i < len(chunks); i++ {
			if rows := chunks[i].rows; len(rows) > 0 {
				return rows[len(rows)-1].uid >= uid
			}
		}
		return true
	})
	for ; chunk < len(chunks); chunk++ {
		rows := chunks[chunk].rows
		if len(rows) == 0 {
			continue
		}
		at = sort.Search(len(rows), func(i int) bool { return rows[i].uid >= uid })
		return chunk, at, at < len(rows) && rows[at].uid == uid
	}
	return 0, 0, false
}

// row packs a message. name is empty where it follows from row and key.
func (e *edit) row(m index.Message) (r row, key Key, name string) {
	p := parseName(m.Name)
	r = row{
		modSeq:   m.ModSeq,
		wireSize: m.Size,
		date:     m.Date,
		uid:      m.UID,
		bond:     p.bond,
		flags:    p.flags,
		tag:      p.tag,
		origin:   p.origin,
		inNew:    m.New,
	}
	bare := p.wireSize - p.fileSize
	if p.wireSize == m.Size && bare >= 0 && bare <= math.MaxUint32 && p.canonical(m.Name) {
		r.bare = uint32(bare)
		r.words = e.wordSet(m.Keywords, p.extra)
	} else {
		r.words = e.wordSet(m.Keywords, "")
		name = strings.Clone(m.Name) // it was part of much else
	}
	return r, p.key, name
}
