package dsn

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"time"
	"unicode/utf8"

	"rtls/internal/requiretls"
)

// Form is how much a report says.
type Form uint8

const (
	WithHeader Form = iota // with the header of the message
	Minimal                // status, recipients, envelope identifier, Message-ID
)

// maxHeader bounds what a report has of a message. A header that is longer is cut
// behind a field.
const maxHeader = 64 << 10

// Report is a report ready to be sent. It does not change, and is safe for
// concurrent use.
type Report struct {
	f         *Failed
	form      Form
	due       []Recipient
	o         Options
	now       time.Time
	messageID string
	boundary  string
	header    returned
}

// New makes a report about the recipients that are due. Its errors are those of
// f.Content and of o.Rand.
func New(f *Failed, form Form, o Options) (*Report, error) {
	r := &Report{f: f, form: form, due: Due(f), o: o, now: time.Now()}
	if o.Now != nil {
		r.now = o.Now()
	}
	if r.o.Rand == nil {
		r.o.Rand = rand.Reader
	}
	if r.o.From == "" {
		r.o.From = "MAILER-DAEMON@" + o.Hostname
	}
	if form == WithHeader && f.Content != nil {
		header, err := readHeader(f.Content)
		if err != nil {
			return nil, fmt.Errorf("header for a report: %w", err)
		}
		r.header = encodeHeader(header)
	}
	id, err := r.random()
	if err != nil {
		return nil, err
	}
	r.messageID = "<" + id + ".report@" + ascii(o.Hostname) + ">"
	// No other part has lines that begin with two hyphens.
	for r.boundary == "" || bytes.Contains(r.header.content, []byte(r.boundary)) {
		if r.boundary, err = r.random(); err != nil {
			return nil, err
		}
		r.boundary = "=_" + r.boundary
	}
	return r, nil
}

func (r *Report) random() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(r.o.Rand, b[:]); err != nil {
		return "", fmt.Errorf("identifier of a report: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// Wish is what the report itself has to be sent with. The minimal form of a report
// that would need REQUIRETLS is made for ways that lack it.
func (r *Report) Wish() requiretls.Wish {
	if r.form == Minimal && r.f.Wish == requiretls.Yes {
		return requiretls.Auto
	}
	return r.f.Wish
}

// To is the recipient of the report; its reverse-path is the null one.
func (r *Report) To() string { return r.f.From }

// MessageID is the report's own, with its angle brackets.
func (r *Report) MessageID() string { return r.messageID }

// UTF8 says whether the report takes SMTPUTF8 and 8BITMIME.
func (r *Report) UTF8() bool { return !isASCII(r.f.From) || !isASCII(r.o.From) }

// Size is how many octets WriteTo writes.
func (r *Report) Size() int64 {
	var size counter
	_, _ = r.WriteTo(&size) // a counter does not fail
	return int64(size)
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// returned is the part of a report that has the header of the message.
type returned struct {
	contentType string
	encoded     bool // as quoted-printable
	content     []byte
}

// readHeader reads up to the blank line. A header that is too long, or that ends in
// the middle of a line, ends with its last whole field.
func readHeader(content io.WriterTo) ([]byte, error) {
	var w headWriter
	if _, err := content.WriteTo(&w); err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	raw := w.raw
	if bytes.HasPrefix(raw, []byte("\r\n")) {
		return nil, nil
	}
	if end := bytes.Index(raw, []byte("\r\n\r\n")); end >= 0 {
		return raw[:end+2], nil
	}
	if len(raw) < maxHeader && bytes.HasSuffix(raw, []byte("\r\n")) {
		return raw, nil
	}
	return lastWholeField(raw), nil
}

var errEnough = errors.New("the header is there")

// headWriter keeps maxHeader octets at the most, and wants no more behind the header.
type headWriter struct{ raw []byte }

func (w *headWriter) Write(p []byte) (int, error) {
	seen := max(len(w.raw)-3, 0)
	n := min(len(p), maxHeader-len(w.raw))
	w.raw = append(w.raw, p[:n]...)
	if n < len(p) || bytes.HasPrefix(w.raw, []byte("\r\n")) || bytes.Contains(w.raw[seen:], []byte("\r\n\r\n")) {
		return n, errEnough
	}
	return n, nil
}

// lastWholeField cuts before the last line that begins a field.
func lastWholeField(raw []byte) []byte {
	for end := len(raw); end > 0; {
		start := bytes.LastIndex(raw[:end], []byte("\r\n"))
		if start < 0 {
			break
		}
		if start+2 < len(raw) && raw[start+2] != ' ' && raw[start+2] != '\t' {
			return raw[:start+2]
		}
		end = start
	}
	return nil
}

// encodeHeader makes a part of it that any server takes: in 7 bits, with lines of at
// most 998 octets. UTF-8 has a type of its own (RFC 6533 section 6); other octets
// above 127 do not belong into a header, and RFC 6522 section 4 lets them be encoded.
func encodeHeader(header []byte) returned {
	out := returned{contentType: "text/rfc822-headers", content: header}
	if isASCII(string(header)) && linesFit(header) {
		return out
	}
	if !isASCII(string(header)) && utf8.Valid(header) {
		out.contentType = "message/global-headers"
	}
	var b bytes.Buffer
	w := quotedprintable.NewWriter(&b)
	_, err := w.Write(header)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // a buffer takes it all
	}
	out.encoded, out.content = true, b.Bytes()
	return out
}

// maxLine is the limit of RFC 5322 section 2.1.1.
const maxLine = 998

func linesFit(text []byte) bool {
	for line := range bytes.Lines(text) {
		if len(line) > maxLine+2 || bytes.IndexByte(bytes.TrimSuffix(line, []byte("\r\n")), '\r') >= 0 || !bytes.HasSuffix(line, []byte("\r\n")) {
			return false
		}
	}
	return bytes.IndexByte(text, 0) < 0
}
