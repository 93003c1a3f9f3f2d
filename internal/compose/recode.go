package compose

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"rtls/internal/cli"
	"rtls/internal/mimetree"
)

// maxLine is the number of octets that a line may have, without its end (RFC 5322
// section 2.1.1, RFC 5321 section 4.5.3.1.6).
const maxLine = 998

// Need is what the way of a message asks of its octets.
type Need uint8

const (
	ShortLines Need = iota // no line of more than 998 octets
	SevenBit               // that, and no octet above 127 (a server without 8BITMIME)
)

// Recoded is a message in another encoding. It belongs to one goroutine at a time,
// and its user closes it.
type Recoded struct {
	body  Spill
	eight bool
}

// Size is the number of octets.
func (c *Recoded) Size() int64 { return c.body.size }

// WriteTo writes the message, as Message.WriteTo does.
func (c *Recoded) WriteTo(w io.Writer) (int64, error) { return c.body.WriteTo(w) }

// Close frees what the message holds.
func (c *Recoded) Close() error { return c.body.Close() }

// Recode writes a message anew, so that it is as need says: parts that do not
// conform get quoted-printable or base64, fields get encoded words or are folded.
// All else stays to the octet. The message is in wire form, size octets long; a
// large copy goes to a file without a name below dir ("" is /tmp).
//
// What cannot be had without harm is an error of code DataErr: within a
// multipart/signed any change breaks the signature (RFC 1847 section 2.1), and an
// address that is not ASCII has no other form.
func Recode(r io.ReaderAt, size int64, need Need, dir string) (*Recoded, error) {
	if dir == "" {
		dir = "/tmp"
	}
	root, err := mimetree.Parse(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, err
	}
	c := &Recoded{body: Spill{dir: dir}}
	out := bufio.NewWriterSize(&watch{c}, 32<<10)
	rec := &recoder{r: r, size: size, seven: need == SevenBit, out: out}
	err = rec.part(root, true, false)
	if err == nil {
		err = rec.gap(size, false)
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("re-encode the message: %w", err)
	}
	return c, nil
}

// RecodeText is Recode for a message that can only be written. One that can be read
// at any place is not copied before.
func RecodeText(text io.WriterTo, need Need, dir string) (*Recoded, error) {
	if m, ok := text.(*Message); ok {
		return m.Recode(need)
	}
	if dir == "" {
		dir = "/tmp"
	}
	kept := &Spill{dir: dir}
	defer kept.Close()
	if _, err := text.WriteTo(kept); err != nil {
		return nil, fmt.Errorf("re-encode the message: %w", err)
	}
	return Recode(kept, kept.size, need, dir)
}

// watch keeps an eye on what is written.
type watch struct{ c *Recoded }

func (w *watch) Write(p []byte) (int, error) {
	w.c.eight = w.c.eight || hasEightBit(p)
	return w.c.body.Write(p)
}

// recoder walks over the parts in their order and copies as it goes.
type recoder struct {
	r     io.ReaderAt
	size  int64
	seven bool
	out   *bufio.Writer
	done  int64 // what lies before is written
}

func refuse(format string, args ...any) error {
	return cli.Errorf(cli.DataErr, format, args...).WithStatus("5.6.3").
		WithHint("write the message with lines of at most 998 octets, and in 7 bits: quoted-printable or base64, and encoded words in the header")
}

var errSigned = errors.New("a signed part cannot be re-encoded without breaking its signature (RFC 1847)")

// part writes a part, from its header on. message says that it is one and not a
// part of a multipart, signed that it is within a signature.
func (c *recoder) part(p *mimetree.Part, message, signed bool) error {
	leaf := !p.IsMultipart() && !p.IsMessage()
	var change headerChange
	if leaf || len(p.Children) == 0 {
		found, err := c.survey(p.Body)
		if err != nil {
			return err
		}
		if found.bad(c.seven) {
			if signed {
				return refuse("%w", errSigned)
			}
			if change, err = c.choose(p, found, message); err != nil {
				return err
			}
		}
	}
	if err := c.header(p, change, signed); err != nil {
		return err
	}
	switch {
	case change.encoding != "":
		return c.body(p, change.encoding)
	case leaf || len(p.Children) == 0:
		return c.copy(p.Body.End)
	}
	inside := signed || p.Is("multipart", "signed")
	for _, child := range p.Children {
		if err := c.gap(child.Header.Start, signed); err != nil {
			return err
		}
		if err := c.part(child, p.IsMessage(), inside); err != nil {
			return err
		}
	}
	return c.gap(p.Body.End, signed)
}

// choose says how to encode a part that does not conform as it is.
func (c *recoder) choose(p *mimetree.Part, found findings, message bool) (headerChange, error) {
	switch {
	case p.IsMultipart():
		return headerChange{}, refuse("a multipart without a valid boundary holds long lines or 8-bit text")
	case p.Is("message", ""):
		return headerChange{}, refuse("a part of type message/%s holds long lines or 8-bit text", excerpt(p.Subtype))
	}
	change := headerChange{encoding: "base64", message: message}
	switch {
	case isEncoding(p, "base64"):
		if found.eight > 0 {
			return headerChange{}, refuse("a base64 part holds 8-bit text")
		}
	case isEncoding(p, "quoted-printable"):
		change.encoding = "quoted-printable"
	case !isEncoding(p, "") && !isEncoding(p, "7bit") && !isEncoding(p, "8bit") && !isEncoding(p, "binary"):
		return headerChange{}, refuse("a part has the unknown encoding %q", excerpt(p.Encoding))
	case p.Is("text", "") && found.eight*2 < found.size:
		change.encoding = "quoted-printable"
	}
	if p.Is("text", "") && found.eight > 0 && p.Param("charset") == "" {
		change.charset = "utf-8"
		if !found.utf8 {
			change.charset = "unknown-8bit" // RFC 1428 section 3
		}
	}
	return change, nil
}

// header writes a part's header, changed where it has to be.
func (c *recoder) header(p *mimetree.Part, change headerChange, signed bool) error {
	found, err := c.survey(p.Header)
	if err != nil {
		return err
	}
	change.seven = c.seven
	change.relabel = c.seven && !signed && (isEncoding(p, "8bit") || isEncoding(p, "binary"))
	if !found.bad(c.seven) && change.encoding == "" && !change.relabel {
		return c.copy(p.Header.End)
	}
	switch {
	case signed:
		return refuse("%w", errSigned)
	case hasEightBit([]byte(p.Param("boundary"))):
		return refuse("the boundary of a multipart is not ASCII")
	case p.Header.Size() > maxHeader:
		return refuse("the header of a part has more than %d octets", maxHeader)
	}
	if err := c.copy(p.Header.Start); err != nil {
		return err
	}
	raw := make([]byte, p.Header.Size())
	if _, err := io.ReadFull(io.NewSectionReader(c.r, p.Header.Start, p.Header.Size()), raw); err != nil {
		return err
	}
	changed, err := change.apply(raw)
	if err != nil {
		return err
	}
	c.done = p.Header.End
	_, err = c.out.Write(changed)
	return err
}

// copy writes what comes before the offset to, as it is.
func (c *recoder) copy(to int64) error {
	if to <= c.done {
		return nil
	}
	_, err := io.CopyBuffer(writerOnly{c.out}, struct{ io.Reader }{io.NewSectionReader(c.r, c.done, to-c.done)}, make([]byte, 32<<10))
	c.done = to
	return err
}

// gap writes what is no part's up to the offset to: delimiter lines, and text before
// and behind the parts, which nobody is shown. There an octet above 127 becomes a
// question mark and a line that is too long is broken.
func (c *recoder) gap(to int64, signed bool) error {
	if to <= c.done {
		return nil
	}
	span := mimetree.Span{Start: c.done, End: to}
	found, err := c.survey(span)
	if err != nil {
		return err
	}
	if !found.bad(c.seven) {
		return c.copy(to)
	}
	if signed {
		return refuse("%w", errSigned)
	}
	r := bufio.NewReader(io.NewSectionReader(c.r, span.Start, span.Size()))
	column := 0
	for range span.Size() {
		b, err := r.ReadByte()
		if err != nil {
			return err
		}
		if b >= 0x80 && c.seven {
			b = '?'
		}
		switch {
		case b == '\r' || b == '\n':
			column = 0
		case column == maxLine:
			_, _ = c.out.WriteString("\r\n") // Flush has the error
			column = 1
		default:
			column++
		}
		_ = c.out.WriteByte(b)
	}
	c.done = to
	return nil
}
