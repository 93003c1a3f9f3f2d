package mimetree

import "io"

// Parse reads a message in wire form up to its end and returns its root. Lines end
// in CRLF or in LF. The error is the reader's; there is no other.
func Parse(r io.Reader) (*Part, error) { panic("stub") }
