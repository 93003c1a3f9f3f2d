package store

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"strings"
	"time"
)

// Mbox is an mbox to be imported.
type Mbox struct {
	io.Reader
	Source string // tells it from others: what was imported from it is not imported again
	Size   int64  // as progress is to be told; 0 if it is not known
}

// ImportMbox appends the messages of an mbox to a mailbox: ErrNoMailbox, ErrNotMbox,
// ErrImporting, ErrLeftOut. Flags, keywords and dates come from it; tag and origin are
// unknown. Messages are known again by their content. On error, what is counted is
// there and no other.
func (a *Account) ImportMbox(ctx context.Context, mailbox string, mbox Mbox, report ImportReport) (done Imported, err error) {
	i, err := a.StartImport(ctx, "mbox:"+mbox.Source, mailbox, "")
	if err != nil {
		return done, err
	}
	counted := &countingReader{r: mbox}
	in := &mboxReader{r: bufio.NewReaderSize(counted, mboxBufferLen), into: i, report: &report}
	err = in.start()
	for err == nil && !in.ended {
		err = in.message(ctx)
		report.step(Step{
			Messages: in.done.Added + in.done.Known,
			Octets:   counted.n - int64(in.r.Buffered()), AllOctets: mbox.Size,
		})
	}
	if err == nil {
		in.done.Gone = i.Gone()
		in.done.Changed, err = i.Finish(ctx)
	}
	if err == nil {
		err = in.done.leftOut()
	}
	if err = errors.Join(err, i.Close()); err != nil {
		return in.done, fmt.Errorf("import into mailbox %q: %w", mailbox, err)
	}
	return in.done, nil
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// mboxReader reads an mbox message by message. It stands at a separator, or has
// ended.
type mboxReader struct {
	r      *bufio.Reader
	ended  bool
	into   *Import
	done   Imported
	report *ImportReport
}

// start finds the first separator.
func (in *mboxReader) start() error {
	for {
		b, err := in.r.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			in.ended = true
			return nil
		case err != nil:
			return err
		case b == '\r' || b == '\n':
			continue
		}
		if err := in.r.UnreadByte(); err != nil {
			return err
		}
		if next, _ := in.r.Peek(len(mboxFrom)); string(next) != mboxFrom {
			return ErrNotMbox
		}
		return nil
	}
}

// separator returns the separator that in stands at, if it does.
func (in *mboxReader) separator() (line string, date time.Time, ok bool) {
	next, _ := in.r.Peek(len(mboxFrom))
	if string(next) != mboxFrom {
		return "", date, false
	}
	next, _ = in.r.Peek(mboxFromLen)
	if i := bytes.IndexByte(next, '\n'); i >= 0 {
		next = next[:i+1]
	}
	line = string(next)
	date, ok = separatorDate(line)
	return line, date, ok
}

// separatorDate finds the date in a separator: where a day of the week starts it. A
// zone is numeric or one of few names, and UTC if there is none.
func separatorDate(line string) (time.Time, bool) {
	fields := strings.Fields(line)
	for i := len(fields) - 5; i >= 1; i-- {
		text := strings.Join(fields[i:min(i+6, len(fields))], " ")
		for _, layout := range []string{
			"Mon Jan 2 15:04:05 2006", "Mon Jan 2 15:04:05 2006 -0700", "Mon Jan 2 15:04:05 -0700 2006",
			"Mon Jan 2 15:04:05 MST 2006", "Mon Jan 2 15:04:05 2006 MST", "Mon Jan 2 15:04 2006",
		} {
			if t, err := time.Parse(layout, text); err == nil && t.Unix() >= 0 {
				return t, true
			}
		}
		if t, err := time.Parse("Mon Jan 2 15:04:05 2006", strings.Join(fields[i:i+5], " ")); err == nil && t.Unix() >= 0 {
			return t, true // and something behind it, such as "remote from"
		}
	}
	return time.Time{}, false
}

// message imports one message. Only the first separator may lack a date.
func (in *mboxReader) message(ctx context.Context) error {
	_, date, _ := in.separator()
	if err := copyLine(io.Discard, in.r, false); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	d, err := in.into.Start(ctx)
	if err != nil {
		return err
	}
	defer d.Abort()
	p := &mboxMessage{in: in, d: d, meta: Meta{Date: date}}
	if err := p.ownFields(); err != nil {
		return err
	}
	if err := p.copy(); err != nil {
		return err
	}
	if p.meta.Date.IsZero() {
		p.meta.Date, _ = mail.ParseDate(p.date)
	}
	p.meta.Keywords = p.words
	size := d.Size()
	added, err := in.into.Append(ctx, d, "", p.meta)
	if errors.Is(err, ErrQuota) {
		n := in.done.Added + in.done.Known + in.done.Failed
		in.report.failed(fmt.Sprintf("message %d", n+1), err)
	}
	return in.done.count(added, size, err)
}

// mboxMessage is a message being imported.
type mboxMessage struct {
	in   *mboxReader
	d    *Delivery
	meta Meta
	own  bool // written by ExportMbox
	open bool // its last line has no end

	date  string // the field of that name
	words []string
}

// ownFields reads the fields that ExportMbox puts first.
func (p *mboxMessage) ownFields() error {
	// They are short, unless there are very many keywords; then the fields are
	// read as anybody's.
	next, _ := p.in.r.Peek(mboxBufferLen / 2)
	n := 0
	var values []string
	for _, name := range []string{"Status: ", "X-Status: ", "X-Keywords: "} {
		line, _, ended := strings.Cut(string(next[n:]), "\n")
		value, ok := strings.CutPrefix(line, name)
		if !ok || !ended || strings.HasSuffix(line, "\r") {
			return nil
		}
		values = append(values, value)
		n += len(line) + 1
	}
	p.own = true
	for _, value := range values[:2] {
		p.status(value)
	}
	p.words = strings.Fields(values[2])
	for _, field := range []string{mboxOpenField, mboxClosedField} {
		if bytes.HasPrefix(next[n:], []byte(field)) {
			p.open = field == mboxOpenField
			n += len(field)
			break
		}
	}
	_, err := p.in.r.Discard(n)
	return err
}

func (p *mboxMessage) status(value string) {
	for i := range len(value) {
		p.meta.Flags |= statusLetters[value[i]]
	}
}

// copy copies lines up to the next separator. Ends of lines are held back until it
// is known that more of the message follows.
func (p *mboxMessage) copy() error {
	in, header := p.in, !p.own
	held, blank := 0, false
	for {
		if _, _, ok := in.separator(); ok {
			break
		}
		next, err := in.r.Peek(2)
		if len(next) == 0 {
			if !errors.Is(err, io.EOF) {
				return err
			}
			in.ended = true
			break
		}
		empty := next[0] == '\n' || (!p.own && string(next) == "\r\n")
		if header {
			if skipped, err := p.field(); err != nil {
				return err
			} else if skipped {
				continue
			}
		}
		if blank = empty; blank {
			header = false
		} else if held, err = 0, p.lineEnds(held); err != nil {
			return err
		}
		switch err := p.line(); {
		case err == nil:
			held++
		case !errors.Is(err, io.EOF): // what is cut off stays as it is
			return err
		}
	}
	if blank {
		held-- // it belongs to the separator
	}
	if p.open {
		held--
	}
	return p.lineEnds(held)
}

func (p *mboxMessage) lineEnds(n int) error {
	for range n {
		if _, err := io.WriteString(p.d, "\r\n"); err != nil {
			return err
		}
	}
	return nil
}

// line copies one line, unquoted.
func (p *mboxMessage) line() error {
	// One is held back: it may be a quote.
	quotes, err := copyQuotes(&afterFirst{w: p.d}, p.in.r)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	next, _ := p.in.r.Peek(len(mboxFrom))
	if quotes > 0 && string(next) != mboxFrom {
		if _, err := io.WriteString(p.d, ">"); err != nil {
			return err
		}
	}
	return copyLine(p.d, p.in.r, !p.own)
}

// afterFirst leaves out the first octet.
type afterFirst struct {
	w       io.Writer
	started bool
}

func (a *afterFirst) WriteByte(b byte) error {
	if !a.started {
		a.started = true
		return nil
	}
	_, err := a.w.Write([]byte{b})
	return err
}

// field takes in a header field that somebody's mbox has for flags and keywords; it
// is not part of the message.
func (p *mboxMessage) field() (skipped bool, err error) {
	next, _ := p.in.r.Peek(mboxFromLen)
	name, rest, ok := bytes.Cut(next, []byte(":"))
	if !ok || bytes.ContainsAny(name, " \t\r\n") {
		return false, nil
	}
	kind := strings.ToLower(string(name))
	switch kind {
	case "date":
		line, _, _ := bytes.Cut(rest, []byte("\n"))
		p.date = cmp.Or(p.date, strings.TrimSpace(string(line)))
		return false, nil
	case "status", "x-status", "x-keywords":
	default:
		return false, nil
	}
	value, err := p.value()
	if err != nil {
		return false, err
	}
	_, text, _ := strings.Cut(value, ":")
	if kind == "x-keywords" {
		p.words = append(p.words, strings.Fields(text)...)
	} else {
		p.status(text)
	}
	return true, nil
}

// value reads a field with its continuation lines; of one that is too long to make
// sense, the start.
func (p *mboxMessage) value() (string, error) {
	var value limitedBuffer
	for {
		err := copyLine(&value, p.in.r, true)
		if errors.Is(err, io.EOF) {
			return value.String(), nil
		}
		if err != nil {
			return "", err
		}
		next, _ := p.in.r.Peek(1)
		if len(next) == 0 || (next[0] != ' ' && next[0] != '\t') {
			return value.String(), nil
		}
	}
}

// limitedBuffer keeps the start of what is written to it.
type limitedBuffer struct{ strings.Builder }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.Builder.Write(p[:min(len(p), mboxBufferLen-b.Len())])
	return len(p), nil
}
