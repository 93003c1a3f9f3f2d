package deflate

const (
	maxBits    = 15 // of a code
	maxLiteral = 288
	maxOffset  = 32
)

// code is a canonical Huffman code (RFC 1951 section 3.2.2): how many symbols have a
// code of each length, and the symbols in the order of their codes.
type code struct {
	count   [maxBits + 1]uint16
	symbols []uint16
}

// newCode makes the code with these lengths. It has to be complete; a code of a single
// symbol with one bit, or of none, will do as well.
func newCode(lengths []byte) (*code, bool) {
	c := &code{}
	for _, n := range lengths {
		c.count[n]++
	}
	c.count[0] = 0
	left, total := 1, 0
	for n := 1; n <= maxBits; n++ {
		left = left<<1 - int(c.count[n])
		total += int(c.count[n])
		if left < 0 {
			return nil, false
		}
	}
	if left > 0 && total > 0 && (total > 1 || c.count[1] != 1) {
		return nil, false
	}
	var offset [maxBits + 2]uint16
	for n := 1; n <= maxBits; n++ {
		offset[n+1] = offset[n] + c.count[n]
	}
	c.symbols = make([]uint16, total)
	for s, n := range lengths {
		if n != 0 {
			c.symbols[offset[n]] = uint16(s)
			offset[n]++
		}
	}
	return c, true
}

// The codes of blocks with fixed codes (RFC 1951 section 3.2.6).
var fixedLengths, fixedOffsets = fixed()

func fixed() (lengths, offsets *code) {
	var l [maxLiteral]byte
	for s := range l {
		switch {
		case s < 144:
			l[s] = 8
		case s < 256:
			l[s] = 9
		case s < 280:
			l[s] = 7
		default:
			l[s] = 8
		}
	}
	var o [maxOffset]byte
	for s := range o {
		o[s] = 5
	}
	lengths, _ = newCode(l[:])
	offsets, _ = newCode(o[:])
	return lengths, offsets
}

// peek decodes from bits without taking them from the reader.
type peek struct {
	bits  uint64
	n     uint
	short bool // more bits are needed
	bad   bool // there is no such code
}

func (p *peek) take(n uint) int {
	if p.n < n {
		p.short = true
		return 0
	}
	v := int(p.bits & (1<<n - 1))
	p.bits, p.n = p.bits>>n, p.n-n
	return v
}

// decode decodes a symbol. The codes of one length are consecutive numbers.
func (p *peek) decode(c *code) int {
	value, first, index := 0, 0, 0
	for n := 1; n <= maxBits; n++ {
		value |= p.take(1)
		if p.short {
			return 0
		}
		count := int(c.count[n])
		if value-count < first {
			return int(c.symbols[index+value-first])
		}
		index += count
		first = (first + count) << 1
		value <<= 1
	}
	p.bad = true
	return 0
}

// symbol decodes a literal or the end of the block, or a reference with a length that
// is not 0.
func (p *peek) symbol(lengths, offsets *code) (literal, length, distance int) {
	s := p.decode(lengths)
	if p.short || p.bad || s <= endOfBlock {
		return s, 0, 0
	}
	if s -= endOfBlock + 1; s >= len(lengthBase) {
		p.bad = true
		return 0, 0, 0
	}
	length = lengthBase[s] + p.take(lengthExtra[s])
	d := p.decode(offsets)
	if p.short || p.bad {
		return 0, 0, 0
	}
	if d >= len(offsetBase) {
		p.bad = true
		return 0, 0, 0
	}
	distance = offsetBase[d] + p.take(offsetExtra[d])
	return 0, length, distance
}

// RFC 1951 section 3.2.5.
var (
	lengthBase  = [29]int{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra = [29]uint{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	offsetBase  = [30]int{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	offsetExtra = [30]uint{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// codeOrder is the order in which the lengths of code lengths stand.
var codeOrder = [19]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamic reads the codes of a block (RFC 1951 section 3.2.7).
func (r *Reader) dynamic() bool {
	if !r.must(14) {
		return false
	}
	literals, offsets, codes := r.take(5)+257, r.take(5)+1, r.take(4)+4
	if literals > 286 || offsets > 30 {
		return r.fail()
	}
	var lengths [maxLiteral + maxOffset]byte
	for _, at := range codeOrder[:codes] {
		if !r.must(3) {
			return false
		}
		lengths[at] = byte(r.take(3))
	}
	meta, ok := newCode(lengths[:len(codeOrder)])
	if !ok {
		return r.fail()
	}
	clear(lengths[:len(codeOrder)])
	if !r.readLengths(lengths[:literals+offsets], meta) {
		return false
	}
	if r.lengths, ok = newCode(lengths[:literals]); !ok {
		return r.fail()
	}
	if r.offsets, ok = newCode(lengths[literals : literals+offsets]); !ok {
		return r.fail()
	}
	return true
}

// readLengths reads the lengths of both codes, which are one sequence.
func (r *Reader) readLengths(lengths []byte, meta *code) bool {
	for i := 0; i < len(lengths); {
		s, ok := r.metaSymbol(meta)
		if !ok {
			return false
		}
		if s < 16 {
			lengths[i] = byte(s)
			i++
			continue
		}
		value, base, extra := byte(0), 3, uint(3)
		switch s {
		case 16:
			if i == 0 {
				return r.fail()
			}
			value, extra = lengths[i-1], 2
		case 18:
			base, extra = 11, 7
		}
		if !r.must(extra) {
			return false
		}
		n := base + r.take(extra)
		if i+n > len(lengths) {
			return r.fail()
		}
		for ; n > 0; n-- {
			lengths[i] = value
			i++
		}
	}
	return true
}

// metaSymbol decodes a symbol of the code for lengths.
func (r *Reader) metaSymbol(meta *code) (symbol int, ok bool) {
	for {
		p := peek{bits: r.bits, n: r.n}
		symbol = p.decode(meta)
		switch {
		case p.bad:
			return 0, r.fail()
		case !p.short:
			r.bits, r.n = p.bits, p.n
			return symbol, true
		case !r.must(r.n + 1):
			return 0, false
		}
	}
}
