// Package deflate compresses a connection in both directions (RFC 1951), for
// COMPRESS=DEFLATE (RFC 4978).
//
// A reader of our own, and not that of the standard library: there, what a client has
// flushed with Z_PARTIAL_FLUSH, as RFC 4978 section 4 has it and many do, comes out
// only once more has come in, and the client waits for its answer for ever
// (golang.org/issue/31514).
package deflate

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/flate"
)

// NewWriter compresses what is written to it. All of each Write is on its way when it
// returns, and nothing is kept for the next: neither memory, nor text that two answers
// could have in common, which an observer could tell by their lengths.
func NewWriter(w io.Writer) io.Writer { return writer{w} }

type writer struct{ w io.Writer }

func (w writer) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	var out bytes.Buffer // a Write for each few octets would be a TLS record for each
	if err := flate.StatelessDeflate(&out, p, false, nil); err != nil {
		return 0, err
	}
	if _, err := w.w.Write(out.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}
