package search

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"

	"rtls/internal/imap/command"
	"rtls/internal/mimetree"
	"rtls/store"
)

// maxHeader bounds what is held of a header. Fields behind it are not found.
const maxHeader = 1 << 20

// message is a message that is being looked at.
type message struct {
	store.Message
	ctx     context.Context // for one call of Match
	env     *Env
	summary *mimetree.Summary // nil if it is not known
	content *store.Content
	header  []byte // nil if not read yet
	parser  *mimetree.Summarizer
	tree    *mimetree.Part
}

func (m *message) close() {
	if m.content != nil {
		m.content.Close()
	}
}

func (m *message) open() (err error) {
	if m.content == nil {
		m.content, err = m.env.Open(m.ctx, m.UID)
	}
	return err
}

func (m *message) section(span mimetree.Span) io.Reader {
	return timely{m.ctx, io.NewSectionReader(m.content, span.Start, span.Size())}
}

// timely reads until ctx ends: one message can be large.
type timely struct {
	ctx context.Context
	r   io.Reader
}

func (t timely) Read(p []byte) (int, error) {
	if err := t.ctx.Err(); err != nil {
		return 0, err
	}
	return t.r.Read(p)
}

// readHeader returns the message's header.
func (m *message) readHeader() ([]byte, error) {
	if m.header != nil {
		return m.header, nil
	}
	if err := m.open(); err != nil {
		return nil, err
	}
	header, err := headerOf(m.section(mimetree.Span{Start: 0, End: m.content.Size()}))
	if err == nil {
		m.header = header
	}
	return header, err
}

// fields calls f with the value of every field of a name, in any case, as it is, until
// it returns true.
func (m *message) fields(name string, f func(raw string) bool) error {
	if m.summary != nil && m.summary.HasFields() && mimetree.IsCommon(name) {
		summaryFields(m.summary, name, f)
		return nil
	}
	header, err := m.readHeader()
	if err == nil {
		fields(header, name, f)
	}
	return err
}

// thread is the message's thread.
func (m *message) thread() (string, error) {
	if m.summary == nil {
		err := m.open()
		if err == nil {
			size := m.content.Size()
			m.summary, err = new(mimetree.Summarizer).Summarize(m.section(mimetree.Span{End: size}), size, false)
		}
		if err != nil {
			return "", err
		}
	}
	return ThreadID(m.Message, m.summary), nil
}

// headerOf reads up to the empty line, or all that it holds.
func headerOf(r io.Reader) ([]byte, error) {
	header := make([]byte, 0, 8<<10)
	for {
		if len(header) == cap(header) {
			header = append(header, make([]byte, len(header))...)[:len(header)]
		}
		n, err := r.Read(header[len(header):cap(header)])
		seen := max(0, len(header)-3)
		header = header[:len(header)+n]
		if bytes.HasPrefix(header, []byte("\r\n")) {
			return header[:2], nil
		}
		if i := bytes.Index(header[seen:], []byte("\r\n\r\n")); i >= 0 {
			return header[:seen+i+4], nil
		}
		if errors.Is(err, io.EOF) || len(header) >= maxHeader {
			return header, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// lines calls f with every field of a header, together with the lines that
// continue it, until it returns true.
func lines(header []byte, f func(line []byte) bool) bool {
	for len(header) > 0 {
		end := 0
		for end < len(header) {
			i := bytes.IndexByte(header[end:], '\n') + 1
			if i == 0 {
				i = len(header) - end
			}
			end += i
			if end < len(header) && header[end] != ' ' && header[end] != '\t' {
				break
			}
		}
		if f(header[:end]) {
			return true
		}
		header = header[end:]
	}
	return false
}

// fields calls f with the value of every field of a name, in any case, as it is, until
// it returns true.
func fields(header []byte, name string, f func(raw string) bool) bool {
	return lines(header, func(line []byte) bool {
		got, value, ok := bytes.Cut(line, []byte(":"))
		return ok && strings.EqualFold(string(bytes.TrimRight(got, " \t")), name) && f(string(value))
	})
}

// summaryFields is fields of what a summary keeps, for a common name.
func summaryFields(s *mimetree.Summary, name string, f func(raw string) bool) {
	for lines := range s.Lines(mimetree.CommonFields(name)) {
		if _, raw, _ := strings.Cut(lines, ":"); f(raw) {
			return
		}
	}
}

var unfold = strings.NewReplacer("\r\n", "", "\n", "")

// decodeHeader unfolds a field's value and decodes its encoded words. Octets that
// are not UTF-8 are taken for Latin-1, the most likely of what they can be.
func decodeHeader(raw string) string {
	s := strings.TrimSpace(unfold.Replace(raw))
	if !utf8.ValidString(s) {
		s = latin1(s)
	}
	words := mime.WordDecoder{CharsetReader: decodeCharset}
	if decoded, err := words.DecodeHeader(s); err == nil {
		return decoded
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

// decodeCharset never fails: what is in an unknown charset is passed on as it is, and
// so are UTF-8 and what says it were US-ASCII, which is UTF-8 where that is not true.
func decodeCharset(label string, r io.Reader) (io.Reader, error) {
	if strings.EqualFold(label, "us-ascii") || strings.EqualFold(label, "utf-8") {
		return r, nil
	}
	decoded, err := charset.Reader(label, r)
	if err != nil {
		return r, nil
	}
	return decoded, nil
}

// headerTest looks for a text in fields of a name; an empty text asks whether
// there is one.
func (q *Query) headerTest(name, text string) test {
	v := &valueSearch{needle: strings.ToLower(text)}
	without := q.without(v.needle, Header)
	common := mimetree.CommonFields(name)
	return test{cost: costHeader, without: without, ok: func(m *message) (found bool, err error) {
		if without != nil && without(m.Message) {
			return false, nil
		}
		if common != 0 && m.summary != nil && m.summary.HasFields() {
			return v.inLines(m.summary, common), nil
		}
		err = m.fields(name, func(raw string) bool {
			found = v.needle == "" || v.in(raw)
			return found
		})
		return found, err
	}}
}

// valueSearch looks for a text in lower case in the values of fields.
type valueSearch struct {
	needle string
	buf    []byte
	known  map[string]bool // values that had to be decoded: many mails have the same
}

const (
	maxKnown      = 1000
	maxKnownValue = 256 // octets
)

// inLines looks at the fields of a set that a summary keeps.
func (v *valueSearch) inLines(s *mimetree.Summary, set mimetree.FieldSet) bool {
	for lines := range s.Lines(set) {
		if _, raw, _ := strings.Cut(lines, ":"); v.needle == "" || v.in(raw) {
			return true
		}
	}
	return false
}

func (v *valueSearch) in(raw string) bool {
	var plain bool
	if v.buf, plain = appendPlain(v.buf[:0], strings.TrimSpace(raw)); plain {
		return bytes.Contains(v.buf, []byte(v.needle))
	}
	found, ok := v.known[raw]
	if ok {
		return found
	}
	found = strings.Contains(strings.ToLower(decodeHeader(raw)), v.needle)
	if len(raw) <= maxKnownValue {
		if v.known == nil || len(v.known) >= maxKnown {
			v.known = make(map[string]bool)
		}
		v.known[strings.Clone(raw)] = found
	}
	return found
}

// appendPlain appends a value that needs no decoding, unfolded and in lower case. It
// returns false for another.
func appendPlain(b []byte, raw string) ([]byte, bool) {
	if strings.IndexByte(raw, '\n') < 0 { // as most are
		start := len(b)
		b = append(b, raw...)
		return b, !strings.Contains(raw, "=?") && lowerASCII(b[start:])
	}
	for i := range len(raw) {
		c := raw[i]
		next := byte(0)
		if i+1 < len(raw) {
			next = raw[i+1]
		}
		switch {
		case c >= utf8.RuneSelf, c == '=' && next == '?':
			return b, false
		case c == '\n', c == '\r' && next == '\n':
			continue
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b, true
}

// threadTest compares the thread, whose identifier is the same in all its messages.
func threadTest(id string) test {
	return test{cost: costHeader, ok: func(m *message) (bool, error) {
		got, err := m.thread()
		return err == nil && got == id, err
	}}
}

// sentTest compares the day in the Date field, in the sender's zone. Without a
// date that can be read there is no such day.
func sentTest(key command.Key) test {
	compare := dateTest(key.Op, key.Date)
	return test{cost: costHeader, ok: func(m *message) (found bool, err error) {
		err = m.fields("Date", func(raw string) bool {
			t, ok := parseDate(decodeHeader(raw))
			found = ok && compare(t)
			return true // the first one counts
		})
		return found, err
	}}
}

// textTest looks for a text in what a reader would see of the message: the text
// parts, decoded, the headers of messages in it and, with header, its own.
func (q *Query) textTest(text string, header bool) test {
	f := &finder{needle: strings.ToLower(text)}
	in := Body
	if header {
		in |= Header
	}
	without := q.without(f.needle, in)
	return test{cost: costBody, without: without, ok: func(m *message) (bool, error) {
		if f.needle == "" {
			return true, nil
		}
		if without != nil && without(m.Message) {
			return false, nil
		}
		if header {
			raw, err := m.readHeader()
			if err != nil || inHeader(raw, f.needle) {
				return err == nil, err
			}
		}
		return m.inBody(f)
	}}
}
