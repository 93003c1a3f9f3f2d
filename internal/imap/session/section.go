package session

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"rtls/internal/imap/command"
	"rtls/internal/imap/preview"
	"rtls/internal/imap/transfer"
	"rtls/internal/mimetree"
)

// value is what a section of a message stands for: ranges of its octets, followed
// by a tail, or a part that is decoded. The part of it that was asked for is
// size octets from skip on.
type value struct {
	none   bool // NIL: there is no such section
	ranges []mimetree.Span
	tail   string
	skip   int64
	size   int64

	encoding   string // to be undone, if decoded is set
	decoded    bool
	nul        bool // holds NUL
	unknownCTE bool

	preview string
}

// value finds the value of an item that comes from the file. It fails only if the
// file cannot be read.
func (f *fetcher) value(m *message, item item) (value, error) {
	section := item.Section
	switch item.Kind {
	case command.RFC822:
		section = &command.Section{}
	case command.RFC822Header:
		section = &command.Section{Text: command.Header}
	case command.RFC822Text:
		section = &command.Section{Text: command.BodyText}
	case command.Binary, command.BinarySize:
		return m.binary(item.Section)
	case command.Preview:
		return m.preview(item.Item)
	case command.BodySection:
	default:
		return value{}, nil
	}
	if item.common != 0 && m.sum.Summary != nil && m.sum.HasFields() {
		return whole(value{tail: kept(m.sum.Summary, item.common)}, section), nil
	}
	return m.body(section)
}

// body finds the value of BODY[...].
func (m *message) body(section *command.Section) (value, error) {
	v, err := m.section(section)
	if err != nil {
		return v, err
	}
	return whole(v, section), nil
}

// whole works out how long a value is, and cuts it.
func whole(v value, section *command.Section) value {
	for _, r := range v.ranges {
		v.size += r.Size()
	}
	v.size += int64(len(v.tail))
	v.cut(section)
	return v
}

// preview is the message's first words (RFC 8970). They are kept nowhere, so that
// there are none for who will not wait.
func (m *message) preview(item command.Item) (v value, err error) {
	if item.Lazy {
		return v, nil
	}
	if err := m.open(); err != nil {
		return v, err
	}
	v.preview, err = preview.Of(m.content, m.sum.Root)
	return v, err
}

// cut applies a partial fetch. What lies behind the end is empty.
func (v *value) cut(s *command.Section) {
	if !s.Partial {
		return
	}
	v.skip = int64(min(s.Offset, uint64(v.size)))
	v.size = int64(min(s.Length, uint64(v.size-v.skip)))
}

func octets(span mimetree.Span) value { return value{ranges: []mimetree.Span{span}} }

// section finds a section of BODY[...].
func (m *message) section(s *command.Section) (value, error) {
	if err := m.open(); err != nil {
		return value{}, err
	}
	size := m.content.Size()
	if len(s.Part) == 0 {
		if s.Text == command.Whole {
			return octets(mimetree.Span{Start: 0, End: size}), nil
		}
		end, err := m.headerEnd()
		if err != nil {
			return value{}, err
		}
		return m.text(s, mimetree.Span{Start: 0, End: end}, mimetree.Span{Start: end, End: size})
	}
	part := m.sum.Root.Find(path(s))
	switch {
	case part == nil:
		return value{none: true}, nil
	case s.Text == command.Whole:
		return octets(part.Body), nil
	case s.Text == command.MIME:
		return octets(part.Header), nil
	case !part.IsMessage() || len(part.Children) == 0:
		return value{none: true}, nil // only a message has a HEADER and a TEXT
	}
	child := part.Children[0]
	return m.text(s, child.Header, child.Body)
}

func path(s *command.Section) []int {
	p := make([]int, len(s.Part))
	for i, n := range s.Part {
		p[i] = int(n)
	}
	return p
}

func (m *message) text(s *command.Section, header, body mimetree.Span) (value, error) {
	switch s.Text {
	case command.Header:
		return octets(header), nil
	case command.BodyText:
		return octets(body), nil
	}
	return m.fields(s, header)
}

// headerEnd is the number of octets of the message's header, the empty line in it.
func (m *message) headerEnd() (int64, error) {
	if m.header >= 0 {
		return m.header, nil
	}
	if m.sum.Summary != nil {
		m.header = m.sum.Header
		return m.header, nil
	}
	var at int64
	r := bufio.NewReaderSize(m.reader(0, m.content.Size()), headerBuffer)
	for start := true; ; {
		data, err := r.ReadSlice('\n')
		at += int64(len(data))
		if start && isEmptyLine(data) || errors.Is(err, io.EOF) {
			m.header = at
			return at, nil
		}
		start = err == nil
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return 0, err
		}
	}
}

const headerBuffer = 8 << 10

func isEmptyLine(line []byte) bool {
	return len(line) > 0 && len(bytes.TrimRight(line, "\r\n")) == 0 && line[len(line)-1] == '\n' && len(line) <= 2
}

// maxFieldRanges bounds what is kept of a header that alternates between fields
// that are wanted and others.
const maxFieldRanges = 100_000

// fields finds the fields of HEADER.FIELDS and HEADER.FIELDS.NOT in a header, as
// they are, and ends them with an empty line. Lines that are no field belong to
// none, and those that continue one go with it.
func (m *message) fields(s *command.Section, header mimetree.Span) (value, error) {
	names := make(map[string]bool, len(s.Fields))
	for _, name := range s.Fields {
		names[strings.ToLower(name)] = true
	}
	not := s.Text == command.HeaderFieldsNot
	v := value{tail: "\r\n"}
	r := bufio.NewReaderSize(m.reader(header.Start, header.End), headerBuffer)
	at := header.Start
	wanted, ended := not, true
	for start := true; ; {
		data, err := r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) {
			return v, err
		}
		if start && isEmptyLine(data) || len(data) == 0 {
			break
		}
		if start && data[0] != ' ' && data[0] != '\t' {
			name, _, isField := bytes.Cut(data, []byte(":"))
			wanted = isField && names[strings.ToLower(strings.TrimRight(string(name), " \t"))] != not || !isField && not
		}
		if wanted {
			v.keep(mimetree.Span{Start: at, End: at + int64(len(data))})
			ended = data[len(data)-1] == '\n'
		}
		at += int64(len(data))
		start = err == nil
	}
	if !ended {
		v.tail = "\r\n\r\n"
	}
	return v, nil
}

// asksForCommon says whether a section is header fields that summaries keep.
func asksForCommon(s *command.Section) bool {
	return s.Text == command.HeaderFields && len(s.Part) == 0 &&
		!slices.ContainsFunc(s.Fields, func(name string) bool { return !mimetree.IsCommon(name) })
}

// kept finds what fields finds, in the fields that a summary keeps.
func kept(s *mimetree.Summary, set mimetree.FieldSet) string {
	var b strings.Builder
	b.Grow(len(s.Fields) + len("\r\n\r\n"))
	last := ""
	for lines := range s.Lines(set) {
		b.WriteString(lines)
		last = lines
	}
	if last != "" && !strings.HasSuffix(last, "\n") {
		b.WriteString("\r\n") // the header's last line has no end
	}
	b.WriteString("\r\n")
	return b.String()
}

func (v *value) keep(span mimetree.Span) {
	if last := len(v.ranges) - 1; last >= 0 && v.ranges[last].End == span.Start {
		v.ranges[last].End = span.End
		return
	}
	if len(v.ranges) < maxFieldRanges {
		v.ranges = append(v.ranges, span)
	}
}

// binary finds a section of BINARY[...] (RFC 3516). Its size is found by decoding
// it once.
func (m *message) binary(s *command.Section) (value, error) {
	if err := m.open(); err != nil {
		return value{}, err
	}
	if len(s.Part) == 0 {
		v := octets(mimetree.Span{Start: 0, End: m.content.Size()})
		return m.measure(v, s)
	}
	part := m.sum.Root.Find(path(s))
	if part == nil {
		return value{none: true}, nil
	}
	v := octets(part.Body)
	if !part.IsMultipart() && !part.IsMessage() {
		v.encoding = part.Encoding
	}
	return m.measure(v, s)
}

func (m *message) measure(v value, s *command.Section) (value, error) {
	r, known := transfer.NewReader(v.encoding, m.reader(v.ranges[0].Start, v.ranges[0].End))
	if !known {
		return value{unknownCTE: true}, nil
	}
	v.decoded = true
	var count nulCounter
	n, err := io.Copy(&count, r)
	v.size, v.nul = n, count.nul
	v.cut(s)
	return v, err
}

// nulCounter notes whether what is written to it holds NUL.
type nulCounter struct{ nul bool }

func (c *nulCounter) Write(p []byte) (int, error) {
	c.nul = c.nul || bytes.IndexByte(p, 0) >= 0
	return len(p), nil
}

// writeValue sends a value. An error leaves the response in the middle.
func (f *fetcher) writeValue(m *message, v value) error {
	w := f.s.w
	if v.none {
		w.Raw("NIL")
		return nil
	}
	if v.nul {
		w.Raw("~")
	}
	w.Literal(v.size)
	if len(v.ranges) == 0 && !v.decoded {
		w.Raw(v.tail[v.skip : v.skip+v.size])
		return nil
	}
	if f.buf == nil {
		f.buf = make([]byte, 32<<10)
	}
	return m.copyValue(w, v, f.buf)
}

// copyValue writes what there is of a value, by way of a buffer.
func (m *message) copyValue(w io.Writer, v value, buf []byte) error {
	var readers []io.Reader
	if v.decoded {
		r, _ := transfer.NewReader(v.encoding, m.reader(v.ranges[0].Start, v.ranges[0].End))
		if _, err := io.CopyN(io.Discard, r, v.skip); err != nil {
			return err
		}
		readers = append(readers, r)
	} else {
		skip := v.skip
		for _, r := range v.ranges {
			n := min(skip, r.Size())
			skip -= n
			if octets, ok := m.content.InMemory(r.Start+n, r.End); ok {
				readers = append(readers, bytes.NewReader(octets))
				continue
			}
			readers = append(readers, m.reader(r.Start+n, r.End))
		}
		readers = append(readers, strings.NewReader(v.tail[min(skip, int64(len(v.tail))):]))
	}
	left := v.size
	for _, r := range readers {
		n, err := copyUpTo(w, r, left, buf)
		if left -= n; err != nil {
			return err
		}
	}
	if left > 0 {
		return io.ErrUnexpectedEOF // the file has shrunk
	}
	return nil
}

// copyUpTo copies as many octets at most. What is in memory goes without the buffer.
func copyUpTo(w io.Writer, r io.Reader, most int64, buf []byte) (int64, error) {
	if memory, ok := r.(*bytes.Reader); ok && int64(memory.Len()) <= most {
		return memory.WriteTo(w)
	}
	return io.CopyBuffer(onlyWriter{w}, io.LimitReader(r, most), buf)
}

// onlyWriter keeps io.CopyBuffer from looking for other methods than Write.
type onlyWriter struct{ io.Writer }
