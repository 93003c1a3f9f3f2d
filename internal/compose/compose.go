package compose

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"rtls/internal/cli"
	"rtls/internal/requiretls"
)

// Options says what to make of the input. The zero value of each field works.
type Options struct {
	// Recipients are the arguments of the command; each may be a list.
	Recipients []string
	// FromHeader adds the recipients of the header (sendmail -t): those of the
	// first block of Resent- fields if there is one, else of To, Cc and Bcc.
	FromHeader bool

	// Sender is the reverse-path that was asked for; nil means none was, "" is the
	// null reverse-path. One without a domain is a local user's name, which means
	// nothing to anybody else: Identity is used in its place if there is one.
	Sender *string
	// Identity is the account's address: the reverse-path unless Sender says
	// otherwise, and the From field of a message without one.
	Identity string
	// Force has Identity used whatever Sender and the From field say, but for the null
	// reverse-path: for a server that takes mail from nobody else.
	Force bool
	// FullName is the display name for a From field that is added.
	FullName string
	// User and Hostname make an address where nothing else does.
	User, Hostname string

	Wish requiretls.Wish
	// Choose, if it is not nil, is asked for Identity, Force and Wish once envelope
	// and header are known.
	Choose func(Facts) (Choice, error)
	// WishHeader is the name of a field in which a script can wish; it is removed.
	WishHeader string
	// PlusWish makes the tag of user+requiretls@example.org, in sender and
	// recipients, a wish; it is removed there and in To and Cc.
	PlusWish bool
	// Hops is how many servers the message has passed, if that is known to be more than
	// it has Received fields.
	Hops int
	// Aliases are for recipients of this host, and of LocalDomains.
	Aliases      *Aliases
	LocalDomains []string
	// AliasHeader has To and Cc fields name who is behind the aliases, if they consist of
	// nothing but such names.
	AliasHeader bool
	// Undisclosed hides the recipients: To and Cc are removed.
	Undisclosed bool
	// SenderFromHeader prefers the only author in the header to Identity as the
	// reverse-path, where no Sender was asked for.
	SenderFromHeader bool

	// TempDir is where a large body is kept, in a file without a name; "/tmp" if
	// empty.
	TempDir string
	// Now is the time for Date and Message-ID; the present if zero.
	Now time.Time
}

// Message is a message ready to be sent. It belongs to one goroutine at a time.
type Message struct {
	From      string   // reverse-path; empty is the null reverse-path
	To        []string // forward-paths, at least one, no two alike
	Wish      requiretls.Wish
	MessageID string // as in the header, with its angle brackets; may be empty
	EightBit  bool   // octets above 127 are in it: BODY=8BITMIME (RFC 6152)
	UTF8      bool   // an address needs SMTPUTF8 (RFC 6531)

	header []byte // with the blank line
	body   *Spill
	known  map[string]bool // To, by mailboxKey

	plusWish bool // an address had the tag
}

// Read reads a whole message. Its errors are of type *cli.Error: what is wrong with
// the message, with an address in it or, for NoInput, with r; nothing is kept then.
// The caller closes the message.
func Read(r io.Reader, o Options) (*Message, error) {
	if o.TempDir == "" {
		o.TempDir = "/tmp"
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	m := &Message{body: &Spill{dir: o.TempDir}}
	if err := m.arguments(o); err != nil { // before anything is read
		return nil, err
	}
	in := bufio.NewReaderSize(inputReader{r}, 32<<10)
	s, start, err := readSection(in)
	if err != nil {
		return nil, asCLI(err)
	}
	fields, err := s.fields()
	if err != nil {
		return nil, err
	}
	if err := m.head(fields, o); err != nil {
		return nil, err
	}
	if err := m.readBody(start, in); err != nil {
		m.Close()
		return nil, asCLI(err)
	}
	return m, nil
}

// Envelope makes a message of the command line alone, without text: to know who it
// would be from and to.
func Envelope(o Options) (*Message, error) {
	m := &Message{body: &Spill{}}
	if err := m.arguments(o); err != nil {
		return nil, err
	}
	if err := m.recipients(nil, o); err != nil {
		return nil, err
	}
	if _, err := m.choose(nil, &o); err != nil {
		return nil, err
	}
	return m, m.sender(nil, o)
}

// readBody reads the body, of which start has been read before.
func (m *Message) readBody(start []byte, r *bufio.Reader) error {
	n := &normaliser{w: m.body}
	if _, err := n.Write(start); err != nil {
		return err
	}
	if _, err := r.WriteTo(n); err != nil { // from its own buffer
		return err
	}
	m.EightBit = m.EightBit || n.eight
	if err := n.finish(); err != nil {
		return err
	}
	if !n.long && !hasLongLine(m.header) {
		return nil
	}
	return m.Convert(ShortLines)
}

// Convert re-encodes the message itself, see Recode. After an error it is as it was.
func (m *Message) Convert(need Need) error {
	c, err := m.Recode(need)
	if err != nil {
		return err
	}
	m.Close()
	m.header, m.body, m.EightBit = nil, &c.body, c.eight
	return nil
}

// ToSevenBit re-encodes the message for a server without 8BITMIME.
func (m *Message) ToSevenBit() error { return m.Convert(SevenBit) }

// Recode returns the message in another encoding, see the function Recode. The
// message itself stays as it is.
func (m *Message) Recode(need Need) (*Recoded, error) {
	return Recode(m, m.Size(), need, m.body.dir)
}

// ReadAt reads from the message as WriteTo writes it.
func (m *Message) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	if off < int64(len(m.header)) {
		n = copy(p, m.header[off:])
	}
	if n == len(p) {
		return n, nil
	}
	more, err := m.body.ReadAt(p[n:], off+int64(n)-int64(len(m.header)))
	return n + more, err
}

// head fills in the envelope and the header.
func (m *Message) head(fields []field, o Options) error {
	if err := checkFields(fields); err != nil {
		return err
	}
	if err := checkHops(fields, o.Hops); err != nil {
		return err
	}
	if err := m.recipients(fields, o); err != nil {
		return err
	}
	fields, err := m.choose(fields, &o)
	if err != nil {
		return err
	}
	if err := m.sender(fields, o); err != nil {
		return err
	}
	if fields, err = m.authorship(fields, o); err != nil {
		return err
	}
	if fields, err = addressees(fields, o); err != nil {
		return err
	}
	fields = resent(fields, m.From, o)
	added, err := m.complete(fields, o)
	if err != nil {
		return err
	}
	for _, f := range fields {
		if !staysHere(f) {
			m.header = append(m.header, f.raw...)
		}
	}
	m.header = append(append(m.header, added...), '\r', '\n')
	m.EightBit = hasEightBit(m.header)
	m.UTF8 = needsUTF8(m.From) || slices.ContainsFunc(m.To, needsUTF8) ||
		m.EightBit && slices.ContainsFunc(fields, addressNeedsUTF8)
	return nil
}

// staysHere says of a field that it is not for the message's way: those who read it need
// not know of each other, and how a message was kept says nothing about the one that is
// sent (RFC 5321 section 4.4).
func staysHere(f field) bool {
	return f.is("Bcc") || f.is("Resent-Bcc") || f.is("Return-Path") || f.is("Content-Length")
}

// checkFields refuses what RFC 8689 section 3 forbids.
func checkFields(fields []field) error {
	var values []string
	for _, f := range fields {
		if f.is(requiretls.HeaderName) {
			values = append(values, f.body())
		}
	}
	if requiretls.ReadHeader(values) != requiretls.HeaderMalformed {
		return nil
	}
	err := cli.Errorf(cli.DataErr, "the %s field has the value %q", requiretls.HeaderName, excerpt(strings.TrimSpace(values[0])))
	if len(values) > 1 {
		err = cli.Errorf(cli.DataErr, "the message has %d %s fields", len(values), requiretls.HeaderName)
	}
	return err.WithStatus("5.6.0").WithHint(`a message has at most one such field, and its value is "No" (RFC 8689, section 3)`)
}

// maxHops is how many servers a message passes that is not in a loop (RFC 5321 section
// 6.3).
const maxHops = 100

// checkHops ends a loop between programs that hand on mail.
func checkHops(fields []field, hops int) error {
	received := 0
	for _, f := range fields {
		if f.is("Received") {
			received++
		}
	}
	if hops = max(hops, received); hops <= maxHops {
		return nil
	}
	return cli.Errorf(cli.DataErr, "the message has passed %d servers, it is in a loop", hops).WithStatus("5.4.6")
}

// Size is the number of octets of the message, which is what SIZE= declares (RFC
// 1870): line ends count, dot-stuffing does not.
func (m *Message) Size() int64 { return int64(len(m.header)) + m.body.size }

// WriteTo writes the message with CRLF line ends, the last line's too, without
// dot-stuffing. It can be called again.
func (m *Message) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(m.header)
	if err != nil {
		return int64(n), err
	}
	more, err := m.body.WriteTo(w)
	return int64(n) + more, err
}

// Close frees what the message holds.
func (m *Message) Close() error { return m.body.Close() }

// inputError is an error of the input, in contrast to one of the temporary file.
type inputError struct{ error }

type inputReader struct{ r io.Reader }

func (i inputReader) Read(p []byte) (int, error) {
	n, err := i.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = inputError{err}
	}
	return n, err
}

func asCLI(err error) error {
	if e, ok := errors.AsType[*cli.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[inputError](err); ok {
		return cli.Errorf(cli.NoInput, "read the message: %w", e.error)
	}
	if errors.Is(err, errNUL) {
		return cli.Errorf(cli.DataErr, "%w", err).WithStatus("5.6.0").
			WithHint("text holds no NUL (RFC 2045, sections 2.7 and 2.8); encode the part that does in base64")
	}
	return cli.Errorf(cli.TempFail, "%w", fmt.Errorf("keep the message: %w", err)).
		WithHint("set TMPDIR to a directory with space where files can be made")
}
