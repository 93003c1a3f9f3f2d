package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// An mbox is written as mboxrd has it (RFC 4155 with reversible quoting): a line
// "From SENDER DATE", the date in UTC; the message with line feeds for line ends,
// where ">" is put before each line that is "From " behind any number of ">"; an
// empty line. The message's header starts with three fields, always these and in
// this order, by which a reader of ours knows that it can take every other octet
// literally, fields of these names in the message itself included:
//
//	Status: RO
//	X-Status: AFTD
//	X-Keywords: $Forwarded work
//
// A message whose last line has no end has a fourth, mboxOpenField. One that itself
// starts with a field of that name has mboxClosedField there. What others have
// written is read more freely: CRLF or LF, those fields anywhere in the header,
// separators with or without the empty line before, Content-Length ignored.

// ErrNotMbox says that what was to be imported does not start as an mbox does.
var ErrNotMbox = errors.New("not an mbox")

const (
	mboxFrom        = "From "
	mboxLastLine    = "X-Mbox-Last-Line: "
	mboxOpenField   = mboxLastLine + "open\n"
	mboxClosedField = mboxLastLine + "closed\n"
	mboxFromLen     = 512 // no separator is longer
	mboxBufferLen   = 64 << 10
)

// statusLetters are the flags of the fields Status and X-Status. The old-mail flag
// "O" has no use here. $Forwarded, which has no letter, is in X-Keywords.
var statusLetters = map[byte]Flags{'R': Seen, 'A': Answered, 'F': Flagged, 'T': Draft, 'D': Deleted}

const forwarded = "$Forwarded"

// ExportMbox writes the messages of a mailbox, with flags, keywords and dates, to w
// as an mbox: ErrNoMailbox. The tag has no place in an mbox and is left out. progress
// may be nil.
func (a *Account) ExportMbox(ctx context.Context, mailbox string, w io.Writer, progress Progress) error {
	m, err := a.Mailbox(ctx, mailbox)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, mboxBufferLen)
	s := m.Snapshot()
	count := exportCount{progress, stepOf(s)}
	for i := 0; i < s.Len() && err == nil; i++ {
		err = m.exportMessage(ctx, s.At(i), out)
		if errors.Is(err, ErrNoMessage) {
			_, err = m.Sync(ctx) // expunged meanwhile, and maybe others
		}
		count.done(s.At(i).Size)
	}
	if err == nil {
		err = out.Flush()
	}
	if err = errors.Join(err, m.Close()); err != nil {
		return fmt.Errorf("export mailbox %q: %w", m.name, err)
	}
	return nil
}

// exportCount tells how far an export has come.
type exportCount struct {
	progress Progress
	step     Step
}

// stepOf is the start of the way through a snapshot.
func stepOf(s *Snapshot) (step Step) {
	step.AllMessages = s.Len()
	for i := range s.Len() {
		step.AllOctets += s.At(i).Size
	}
	return step
}

func (e *exportCount) done(size int64) {
	e.step.Messages++
	e.step.Octets += size
	if e.progress != nil {
		e.progress(e.step)
	}
}

func (m *Mailbox) exportMessage(ctx context.Context, msg Message, out *bufio.Writer) error {
	c, err := m.Open(ctx, msg.UID)
	if err != nil {
		return err
	}
	defer c.Close()
	sender, err := returnPath(c)
	if err != nil {
		return err
	}
	open := false
	if c.Size() > 0 {
		var last [1]byte
		if _, err := c.ReadAt(last[:], c.Size()-1); err != nil {
			return noEOF(err)
		}
		open = last[0] != '\n'
	}
	fmt.Fprintf(out, "From %s %s\n%s", sender, msg.InternalDate().UTC().Format(time.ANSIC), statusFields(msg.Flags, msg.Keywords))
	in := bufio.NewReaderSize(io.NewSectionReader(c, 0, c.Size()), mboxBufferLen)
	start, _ := in.Peek(len(mboxLastLine))
	switch {
	case open:
		out.WriteString(mboxOpenField)
	case string(start) == mboxLastLine:
		out.WriteString(mboxClosedField)
	}
	if err := quoteLines(out, in); err != nil {
		return err
	}
	if open {
		out.WriteByte('\n')
	}
	return out.WriteByte('\n')
}

// returnPath is what the first header field of that name says, in a form that a
// separator can hold.
func returnPath(c *Content) (string, error) {
	const none = "MAILER-DAEMON"
	head := make([]byte, min(c.Size(), mboxBufferLen))
	if _, err := c.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	for line := range bytes.Lines(head) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if !strings.EqualFold(string(name), "Return-Path") {
			continue
		}
		sender := strings.Trim(string(value), "<> \t")
		if sender == "" || len(sender) > 320 || strings.ContainsFunc(sender, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			break
		}
		return sender, nil
	}
	return none, nil
}

func statusFields(flags Flags, keywords []string) string {
	status, more := "", ""
	if flags&Seen != 0 {
		status = "R"
	}
	for _, letter := range []byte("AFTD") {
		if flags&statusLetters[letter] != 0 {
			more += string(letter)
		}
	}
	if flags&Passed != 0 {
		keywords = slices.Concat([]string{forwarded}, keywords)
	}
	return "Status: " + status + "O\nX-Status: " + more + "\nX-Keywords: " + strings.Join(keywords, " ") + "\n"
}

// quoteLines copies a message in wire form with line feeds for line ends, and with
// the quoting of mboxrd.
func quoteLines(out *bufio.Writer, in *bufio.Reader) error {
	for {
		if _, err := copyQuotes(out, in); err != nil {
			return ignoreEOF(err)
		}
		if next, _ := in.Peek(len(mboxFrom)); string(next) == mboxFrom {
			out.WriteByte('>')
		}
		if err := copyLine(out, in, true); err != nil {
			return ignoreEOF(err)
		}
		if err := out.WriteByte('\n'); err != nil {
			return err
		}
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// copyQuotes copies the ">" that a line starts with, and returns how many.
func copyQuotes(out io.ByteWriter, in *bufio.Reader) (n int, err error) {
	for {
		b, err := in.ReadByte()
		if err != nil {
			return n, err
		}
		if b != '>' {
			return n, in.UnreadByte()
		}
		n++
		if err := out.WriteByte('>'); err != nil {
			return n, err
		}
	}
}

// copyLine copies the rest of a line without its end. It returns io.EOF when there
// was none. With cr set a carriage return before the line feed is part of the end.
func copyLine(out io.Writer, in *bufio.Reader, cr bool) error {
	held := false // a carriage return that may be part of the end
	for {
		piece, err := in.ReadSlice('\n')
		if held && !bytes.Equal(piece, []byte("\n")) {
			if _, err := io.WriteString(out, "\r"); err != nil {
				return err
			}
		}
		held = false
		ended := err == nil
		piece = bytes.TrimSuffix(piece, []byte("\n"))
		if cr && (ended || errors.Is(err, bufio.ErrBufferFull)) && bytes.HasSuffix(piece, []byte("\r")) {
			piece, held = piece[:len(piece)-1], true
		}
		if _, err := out.Write(piece); err != nil {
			return err
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}
