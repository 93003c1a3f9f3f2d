package mimetree

import "unsafe"

// stringMaker makes strings, many of them in one piece of memory.
type stringMaker struct{ free []byte }

// stringPiece is how much memory is taken at once.
const stringPiece = 8 << 10

func (m *stringMaker) of(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if len(b) > stringPiece/8 {
		return string(b)
	}
	if len(b) > len(m.free) {
		m.free = make([]byte, stringPiece)
	}
	n := copy(m.free, b)
	s := unsafe.String(&m.free[0], n)
	m.free = m.free[n:] // what a string has is never written again
	return s
}
