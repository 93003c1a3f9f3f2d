package compose

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"

	"rtls/internal/cli"
)

// maxHeader bounds what is held in memory. The largest headers in use, of mailing
// lists with long chains of ARC sets, have some 200 kB.
const maxHeader = 1 << 20

// field is one header field as it will be sent: all its lines, with CRLF.
type field struct {
	name string // as written
	raw  []byte
}

func (f *field) is(name string) bool { return strings.EqualFold(f.name, name) }

// body is the field's body without the line ends of folding.
func (f *field) body() string {
	return strings.ReplaceAll(string(f.raw[len(f.name)+1:]), "\r\n", "")
}

// lineKind is what a line of a header section looks like by itself.
type lineKind uint8

const (
	blankLine    lineKind = iota // nothing but its line end
	fieldLine                    // a name and a colon
	continuation                 // begins with a blank or a tab
	fromLine                     // an mbox From_ line, quoted or not
	otherLine
)

func classify(line []byte) lineKind {
	switch {
	case len(line) == 0:
		return blankLine
	case line[0] == ' ' || line[0] == '\t':
		return continuation
	case fieldName(line) != "":
		return fieldLine
	case bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From ")):
		return fromLine
	}
	return otherLine
}

// fieldName returns the name of the field that begins on a line, or nothing. RFC
// 5322 section 4.5 has blanks before the colon.
func fieldName(line []byte) string {
	name, _, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		return ""
	}
	name = bytes.TrimRight(name, " \t")
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return ""
		}
	}
	return string(name)
}

// section is the header section of a message as it was read.
type section struct {
	lines   [][]byte // without line ends
	hasBody bool     // a blank line ended it
}

// readSection reads up to the blank line that ends the header, up to the end, or
// up to the line from which it is clear that there is no header. What is not
// header is returned as the start of the body.
func readSection(r *bufio.Reader) (s section, body []byte, err error) {
	var block []byte // the section as it stands, lines point into copies of it
	seen := false    // a field
	for {
		start := len(block)
		block, err = appendLine(block, r)
		if err != nil && !errors.Is(err, io.EOF) {
			return section{}, nil, err
		}
		atEnd := err != nil
		line := bytes.TrimRight(block[start:], "\r\n")
		kind := classify(line)
		switch {
		case atEnd && start == len(block):
			kind = blankLine // nothing came
		case kind == fieldLine:
			seen = true
		}
		switch {
		case !seen && (kind == otherLine || kind == blankLine && start > 0),
			!seen && atEnd && start < len(block),
			!seen && len(block) >= maxHeader:
			return section{}, block, nil // there is no header
		case kind == blankLine:
			s = section{lines: splitLines(block[:start]), hasBody: !atEnd}
			return s.split()
		case atEnd:
			return section{lines: splitLines(block)}.split()
		case len(block) >= maxHeader:
			return splitTooLarge(block)
		}
	}
}

// splitTooLarge saves what can be saved where no blank line came within the limit:
// a header that just lacks it.
func splitTooLarge(block []byte) (section, []byte, error) {
	head := block[:bytes.LastIndexByte(block, '\n')+1]
	s, body, err := section{lines: splitLines(head)}.split()
	if err == nil && len(body) == 0 {
		err = cli.Errorf(cli.DataErr, "the header has more than %d octets", maxHeader)
	}
	return s, append(body, block[len(head):]...), err
}

// appendLine appends a line with its end. It gives up on a line when the limit of
// the header is reached.
func appendLine(block []byte, r *bufio.Reader) ([]byte, error) {
	for {
		piece, err := r.ReadSlice('\n')
		block = append(block, piece...)
		if !errors.Is(err, bufio.ErrBufferFull) || len(block) >= maxHeader {
			if errors.Is(err, bufio.ErrBufferFull) {
				err = nil
			}
			return block, err
		}
	}
}

func splitLines(block []byte) [][]byte {
	lines := make([][]byte, 0, bytes.Count(block, []byte("\n"))+1)
	for line := range bytes.Lines(block) {
		lines = append(lines, bytes.TrimRight(line, "\r\n"))
	}
	return lines
}

// split finds where the header ends: behind the last field and its continuations.
// Lines that are no field and have none behind them are the start of the body,
// whose blank line was forgotten.
func (s section) split() (section, []byte, error) {
	last := -1
	for i, line := range s.lines {
		if classify(line) == fieldLine {
			last = i
		}
	}
	end := last + 1
	for last >= 0 && end < len(s.lines) && classify(s.lines[end]) == continuation {
		end++
	}
	var body []byte
	for _, line := range s.lines[end:] {
		body = append(append(body, line...), '\n')
	}
	if body != nil && s.hasBody {
		body = append(body, '\n')
	}
	s.lines = s.lines[:end]
	return s, body, nil
}

// fields makes well-formed fields of the lines, the way the package comment says.
func (s section) fields() ([]field, error) {
	var all []field
	for _, line := range s.lines {
		if bytes.IndexByte(line, 0) >= 0 {
			return nil, asCLI(errNUL)
		}
		if bytes.IndexByte(line, '\r') >= 0 {
			return nil, cli.Errorf(cli.DataErr, "a carriage return within the header line %q", excerpt(string(line))).WithStatus("5.6.0")
		}
		kind := classify(line)
		switch {
		case kind == fieldLine:
			name := fieldName(line)
			_, value, _ := bytes.Cut(line, []byte(":"))
			all = append(all, field{name, joinLine([]byte(name+":"), value)})
		case len(all) > 0 && kind == continuation:
			f := &all[len(all)-1]
			f.raw = joinLine(f.raw, line)
		case len(all) > 0:
			f := &all[len(all)-1]
			f.raw = joinLine(append(f.raw, ' '), line)
		case kind == continuation && len(bytes.Trim(line, " \t")) > 0:
			all = append(all, field{"Comments", joinLine([]byte("Comments:"), line)})
		}
	}
	return all, nil
}

func joinLine(raw, line []byte) []byte {
	return append(append(raw, line...), '\r', '\n')
}
