package sieve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"

	"rtls/internal/mimetree"
)

// Message is the message that a script is run on. It is only read, and only as
// far as the script asks: the header when a test needs it, the body in pieces.
type Message struct {
	// Content is the message from its first header field on, with the fields that
	// the delivery has added, line ends as CRLF or LF.
	Content io.ReaderAt
	Size    int64 // of Content, in octets
	// WireSize is the size with CRLF line ends, which is what the test size goes
	// by. 0 is Size.
	WireSize int64
	// Sender is the reverse-path without angle brackets, empty for the null one.
	Sender string
	// Recipient is the address that the message came here by, and only that one
	// (RFC 5228 section 5.4); empty if it is not known.
	Recipient string
}

// field is a header field.
type field struct {
	name  string // in small letters
	value string // unfolded, its encoded words as they are
}

// content is a message with what was read of it.
type content struct {
	Message
	fields  []field
	named   map[string][]string // the values of fields, nil before the header is read
	decoded map[string][]string // the same without encoding, for those that were asked for
	parsed  map[string][]mimetree.Address
	tree    *mimetree.Part
	hasBody bool // there is an empty line behind the header
}

// section is a part of the message; an error of ctx is one of reading it.
func (c *content) section(ctx context.Context, span mimetree.Span) io.Reader {
	return &reader{ctx, io.NewSectionReader(c.Content, span.Start, span.Size())}
}

type reader struct {
	ctx context.Context // of the run that the reader lives in
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("read message: %w", err)
	}
	return n, err
}

// header returns the fields of the header, in their order. Of a header that is
// longer than maxHeader it returns the start.
func (c *content) header(ctx context.Context) ([]field, error) {
	if c.named != nil {
		return c.fields, nil
	}
	raw := make([]byte, 0, 4<<10)
	r := c.section(ctx, mimetree.Span{End: min(c.Size, maxHeader)})
	for {
		if len(raw) == cap(raw) {
			raw = append(raw, make([]byte, len(raw))...)[:len(raw)]
		}
		n, err := r.Read(raw[len(raw):cap(raw)])
		seen := max(0, len(raw)-3)
		raw = raw[:len(raw)+n]
		if end := headerEnd(raw, seen); end >= 0 {
			raw = raw[:end]
			break
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	c.fields, c.named = splitHeader(raw), make(map[string][]string)
	c.decoded, c.parsed = make(map[string][]string), make(map[string][]mimetree.Address)
	for _, f := range c.fields {
		c.named[f.name] = append(c.named[f.name], f.value)
	}
	return c.fields, nil
}

// headerEnd is the offset of the empty line, looked for from an offset on, or -1.
func headerEnd(raw []byte, from int) int {
	if bytes.HasPrefix(raw, []byte("\r\n")) || bytes.HasPrefix(raw, []byte("\n")) {
		return 0
	}
	for i := from; i < len(raw); i++ {
		if raw[i] != '\n' {
			continue
		}
		rest := raw[i+1:]
		if bytes.HasPrefix(rest, []byte("\r\n")) || bytes.HasPrefix(rest, []byte("\n")) {
			return i + 1
		}
	}
	return -1
}

// splitHeader cuts a header into fields and unfolds them (RFC 5322 section 2.2.3).
func splitHeader(raw []byte) []field {
	var fields []field
	var value []byte
	end := func() {
		if n := len(fields); n > 0 {
			fields[n-1].value = string(value)
		}
	}
	for line := range bytes.Lines(raw) {
		folded := line[0] == ' ' || line[0] == '\t'
		line = bytes.TrimRight(line, "\r\n")
		if folded {
			value = append(value, line...)
			continue
		}
		end()
		name, rest, _ := bytes.Cut(line, []byte(":"))
		fields = append(fields, field{name: strings.ToLower(string(bytes.TrimRight(name, " \t")))})
		value = append(value[:0], rest...)
	}
	end()
	return fields
}

// values returns the raw values of all fields of a name, which is in small letters.
func (c *content) values(ctx context.Context, name string) ([]string, error) {
	if _, err := c.header(ctx); err != nil {
		return nil, err
	}
	return c.named[name], nil
}

// texts returns the values of all fields of a name, decoded.
func (c *content) texts(ctx context.Context, name string) ([]string, error) {
	if list, ok := c.decoded[name]; ok {
		return list, nil
	}
	raw, err := c.values(ctx, name)
	if err != nil || len(raw) == 0 {
		return nil, err
	}
	list := make([]string, len(raw))
	for i, value := range raw {
		list[i] = decodeValue(value)
	}
	c.decoded[name] = list
	return list, nil
}

// addresses returns the addresses in all fields of a name.
func (c *content) addresses(ctx context.Context, name string) ([]mimetree.Address, error) {
	if list, ok := c.parsed[name]; ok {
		return list, nil
	}
	raw, err := c.values(ctx, name)
	if err != nil || len(raw) == 0 {
		return nil, err
	}
	var list []mimetree.Address
	for _, value := range raw {
		list = append(list, addresses(value)...)
	}
	c.parsed[name] = list
	return list, nil
}

// structure returns the tree of the message's parts.
func (c *content) structure(ctx context.Context) (*mimetree.Part, error) {
	if c.tree != nil {
		return c.tree, nil
	}
	tree, err := mimetree.Parse(c.section(ctx, mimetree.Span{End: c.Size}))
	if err != nil {
		return nil, err
	}
	tail := make([]byte, 3)
	n, err := c.Content.ReadAt(tail[:min(3, tree.Header.End)], max(0, tree.Header.End-3))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read message: %w", err)
	}
	tail = tail[:n]
	empty := string(tail) == "\n" || string(tail) == "\r\n" // a message that starts with its body
	c.hasBody = empty || bytes.HasSuffix(tail, []byte("\n\n")) || bytes.HasSuffix(tail, []byte("\n\r\n"))
	c.tree = tree
	return tree, nil
}

// decodeValue decodes the encoded words of a field and takes the white space
// around it away. Octets that are not UTF-8 are taken for Latin-1, the most
// likely of what they can be.
func decodeValue(raw string) string {
	s := strings.Trim(raw, " \t\r\n")
	if !utf8.ValidString(s) {
		s = latin1(s)
	}
	words := mime.WordDecoder{CharsetReader: decodeCharset}
	if decoded, err := words.DecodeHeader(s); err == nil {
		return strings.Trim(decoded, " \t\r\n")
	}
	return s
}

func latin1(s string) string {
	runes := make([]rune, len(s))
	for i := range len(s) {
		runes[i] = rune(s[i])
	}
	return string(runes)
}

// decodeCharset never fails: what is in an unknown charset is passed on as it is.
func decodeCharset(label string, r io.Reader) (io.Reader, error) {
	if label = strings.ToLower(label); label == "" || label == "us-ascii" || label == "utf-8" {
		return r, nil
	}
	decoded, err := charset.Reader(label, r)
	if err != nil {
		return r, nil
	}
	return decoded, nil
}
