//go:build !plain

package sqlite

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"rtls/store/internal/index"
)

// Messages are kept in blocks of up to blockLen, in the order of their UIDs: a row and
// two entries of indexes for each message cost more than all else that a first look at
// a large mailbox does, and most of a change of all flags. A block is
//
//	CRC-32C, little endian, of what follows
//	for each message: UID, less the one before   modseq   1 if its file is in new/, else 0
//	                  size   date   name   keywords
//
// Numbers are varints, size and date signed ones; a string is its length and its
// octets. The columns beside it say what spares reading blocks; uid is at or below all
// UIDs in the block, and above those in the one before.

// blockLen is such that a block, which is written whole, is a few pages.
const blockLen = 64

// castagnoli makes its table when it is first wanted: deliveries do not.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// sums are columns beside a block.
func sums(messages []index.Message) (modSeq uint64, inNew int) {
	for i := range messages {
		m := &messages[i]
		modSeq = max(modSeq, m.ModSeq)
		if m.New {
			inNew++
		}
	}
	return modSeq, inNew
}

// makeBlock writes a block into the memory of raw.
func makeBlock(raw []byte, messages []index.Message) []byte {
	raw = append(raw[:0], 0, 0, 0, 0)
	last := uint32(0)
	for i := range messages {
		m := &messages[i]
		raw = binary.AppendUvarint(raw, uint64(m.UID-last))
		last = m.UID
		raw = binary.AppendUvarint(raw, m.ModSeq)
		if m.New {
			raw = append(raw, 1)
		} else {
			raw = append(raw, 0)
		}
		raw = binary.AppendVarint(raw, m.Size)
		raw = binary.AppendVarint(raw, m.Date)
		raw = appendString(raw, m.Name)
		raw = appendString(raw, m.Keywords)
	}
	return sealBlock(raw)
}

// sealBlock sets the checksum.
func sealBlock(raw []byte) []byte {
	binary.LittleEndian.PutUint32(raw, crc32.Checksum(raw[4:], castagnoli()))
	return raw
}

func appendString(raw []byte, s string) []byte {
	raw = binary.AppendUvarint(raw, uint64(len(s)))
	return append(raw, s...)
}

// readBlock appends the messages of a block to list.
func readBlock(list []index.Message, raw []byte) ([]index.Message, error) {
	if len(raw) < 4 || binary.LittleEndian.Uint32(raw) != crc32.Checksum(raw[4:], castagnoli()) {
		return nil, fmt.Errorf("%w: checksum of messages", ErrDamaged)
	}
	r := blockReader{raw: raw[4:], text: string(raw[4:])}
	for last := uint64(0); len(r.raw) > 0; {
		var m index.Message
		last += r.number(math.MaxUint32)
		m.UID = uint32(last)
		m.ModSeq = r.number(math.MaxInt64)
		m.New = r.number(1) == 1
		m.Size = r.signed()
		m.Date = r.signed()
		m.Name = r.string()
		m.Keywords = r.string()
		if r.bad || last > math.MaxUint32 {
			return nil, fmt.Errorf("%w: messages make no sense", ErrDamaged)
		}
		list = append(list, m)
	}
	return list, nil
}

// blockReader reads until something makes no sense.
type blockReader struct {
	raw  []byte // what is left
	text string // all of it
	bad  bool
}

func (r *blockReader) number(most uint64) uint64 {
	n, octets := binary.Uvarint(r.raw)
	if octets <= 0 || n > most {
		r.bad, r.raw = true, nil
		return 0
	}
	r.raw = r.raw[octets:]
	return n
}

func (r *blockReader) signed() int64 {
	n, octets := binary.Varint(r.raw)
	if octets <= 0 {
		r.bad, r.raw = true, nil
		return 0
	}
	r.raw = r.raw[octets:]
	return n
}

// string shares the memory of the block's other strings.
func (r *blockReader) string() string {
	n := r.number(uint64(len(r.raw)))
	if n > uint64(len(r.raw)) {
		r.bad, r.raw = true, nil
		return ""
	}
	at := len(r.text) - len(r.raw)
	r.raw = r.raw[n:]
	return r.text[at : at+int(n)]
}
