package deflate

import (
	"errors"
	"io"
)

// ErrCorrupt says that what is read is not in the DEFLATE format.
var ErrCorrupt = errors.New("compressed data is corrupt")

const (
	window     = 32 << 10 // as far as references go back
	inputSize  = 4 << 10
	maxMatch   = 258
	maxSymbol  = 15 + 5 + 15 + 13 // bits of a length, a distance and what follows each
	endOfBlock = 256
)

// Reader decompresses a stream. What has come in is handed out before more is waited
// for, however the other side has flushed it. It holds about 40 KiB, whatever it
// reads. It belongs to one goroutine; errors are for good.
type Reader struct {
	src io.Reader
	err error

	in   [inputSize]byte
	next []byte // of in, not yet in bits
	bits uint64
	n    uint // bits in bits

	out    [window]byte // a ring
	at     int          // where the next octet goes
	unread int          // octets before at that were not handed out
	seen   int          // octets that a reference can reach, up to window

	state   func(*Reader) bool // does a step; false: it waits for input, or has failed
	last    bool               // this block is the last one
	left    int                // octets of a stored block
	lengths *code
	offsets *code
}

// NewReader reads from src.
func NewReader(src io.Reader) *Reader { return &Reader{src: src, state: (*Reader).header} }

// Read hands out what there is, and waits only if that is nothing. Behind the last
// block it returns io.EOF; where the stream ends earlier, io.ErrUnexpectedEOF, unless
// that is between two blocks: a connection ends like that.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.unread == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.decode()
	}
	from := (r.at - r.unread + window) % window
	n := copy(p, r.out[from:min(from+r.unread, window)])
	r.unread -= n
	return n, nil
}

// decode goes on until something has come out and no more is there, or the ring is
// full, or there is an error.
func (r *Reader) decode() {
	for r.err == nil && r.unread <= window-maxMatch && r.state(r) {
	}
}

// need makes sure of n bits. It waits for them only if nothing is there to be handed
// out.
func (r *Reader) need(n uint) bool {
	for r.n < n {
		if len(r.next) == 0 && (r.unread > 0 || !r.read()) {
			return false
		}
		r.bits |= uint64(r.next[0]) << r.n
		r.next, r.n = r.next[1:], r.n+8
	}
	return true
}

// read reads input.
func (r *Reader) read() bool {
	for range 100 {
		n, err := r.src.Read(r.in[:])
		if n > 0 {
			r.next = r.in[:n] // an error comes again
			return true
		}
		if err != nil {
			r.err = err
			return false
		}
	}
	r.err = io.ErrNoProgress
	return false
}

// must is need where waiting is right, since a client sends a block as a whole, and
// where the stream must not end.
func (r *Reader) must(n uint) bool {
	for r.n < n {
		if len(r.next) == 0 && !r.read() {
			if errors.Is(r.err, io.EOF) {
				r.err = io.ErrUnexpectedEOF
			}
			return false
		}
		r.bits |= uint64(r.next[0]) << r.n
		r.next, r.n = r.next[1:], r.n+8
	}
	return true
}

// take takes bits that need has made sure of.
func (r *Reader) take(n uint) int {
	v := int(r.bits & (1<<n - 1))
	r.bits, r.n = r.bits>>n, r.n-n
	return v
}

func (r *Reader) fail() bool {
	r.err = ErrCorrupt
	return false
}

// header begins a block (RFC 1951 section 3.2.3).
func (r *Reader) header() bool {
	if r.last {
		r.err = io.EOF
		return false
	}
	if !r.need(3) {
		return false
	}
	r.last = r.take(1) == 1
	switch r.take(2) {
	case 0:
		return r.stored()
	case 1:
		r.lengths, r.offsets = fixedLengths, fixedOffsets
	case 2:
		if !r.dynamic() {
			return false
		}
	default:
		return r.fail()
	}
	r.state = (*Reader).symbol
	return true
}

// stored begins a block that is not compressed.
func (r *Reader) stored() bool {
	r.take(r.n % 8)
	if !r.must(32) {
		return false
	}
	length, inverse := r.take(16), r.take(16)
	if length != ^inverse&0xffff {
		return r.fail()
	}
	r.left = length
	r.state = (*Reader).octet
	return true
}

// octet copies one of a stored block.
func (r *Reader) octet() bool {
	if r.left == 0 {
		r.state = (*Reader).header
		return true
	}
	if !r.need(8) {
		return r.inside()
	}
	r.put(byte(r.take(8)))
	r.left--
	return true
}

// inside says that waiting for input has ended inside a block.
func (r *Reader) inside() bool {
	if errors.Is(r.err, io.EOF) {
		r.err = io.ErrUnexpectedEOF
	}
	return false
}

func (r *Reader) put(b byte) {
	r.out[r.at] = b
	r.at = (r.at + 1) % window
	r.unread++
	r.seen = min(r.seen+1, window)
}

// symbol decodes a literal, a reference or the end of a block. Its bits are taken
// when all are there.
func (r *Reader) symbol() bool {
	for {
		for r.n < maxSymbol && len(r.next) > 0 {
			r.bits |= uint64(r.next[0]) << r.n
			r.next, r.n = r.next[1:], r.n+8
		}
		s := peek{bits: r.bits, n: r.n}
		literal, length, distance := s.symbol(r.lengths, r.offsets)
		switch {
		case s.bad:
			return r.fail()
		case s.short:
			if !r.need(r.n + 1) {
				return r.inside()
			}
			continue
		}
		r.bits, r.n = s.bits, s.n
		switch {
		case length > 0:
			return r.copy(length, distance)
		case literal == endOfBlock:
			r.state = (*Reader).header
		default:
			r.put(byte(literal))
		}
		return true
	}
}

func (r *Reader) copy(length, distance int) bool {
	if distance > r.seen {
		return r.fail()
	}
	for from := (r.at - distance + window) % window; length > 0; length-- {
		r.put(r.out[from])
		from = (from + 1) % window
	}
	return true
}
