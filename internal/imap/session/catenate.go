package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"rtls/internal/imap/command"
	"rtls/internal/mimetree"
	"rtls/store"
)

// catenator puts the messages of one command together out of literals and of what is
// here already (CATENATE, RFC 4469). It changes no flag of the messages it reads. The
// tag of a message is not part of its octets, so none comes along.
type catenator struct {
	s       *Session
	boxes   map[string]*store.Mailbox // that were opened, by name
	writing sync.WaitGroup            // those who hand boxes summaries
	buf     []byte
}

// maxParts bounds the parts of a message.
const maxParts = 1000

// close gives back what the command has opened.
func (c *catenator) close() {
	c.writing.Wait()
	for name, box := range c.boxes {
		if err := box.Close(); err != nil {
			c.s.log.Warn("close mailbox", "mailbox", name, "err", err)
		}
	}
}

// message reads the parts of a message into its delivery.
func (c *catenator) message(ctx context.Context, d *store.Delivery) error {
	s := c.s
	var size int64
	var part *command.Part
	for n := 0; ; n++ {
		var err error
		if part, err = s.parser.NextPart(s.lex, part); err != nil {
			return s.readError(err)
		}
		switch {
		case part == nil:
			return nil
		case n == maxParts:
			return refuse("LIMIT", "a message has at most %d parts", maxParts)
		case part.URL != "":
			err = c.url(ctx, d, part.URL, &size)
		default:
			size += part.Literal.Size
			if err = s.fits(size); err == nil {
				err = s.receive(d, part.Literal)
			}
		}
		if err != nil {
			return err
		}
	}
}

// url copies what a URL stands for, and adds its octets to size.
func (c *catenator) url(ctx context.Context, d *store.Delivery, raw string, size *int64) error {
	m, section, err := c.find(ctx, raw)
	if err != nil {
		return err
	}
	v, err := m.body(section)
	if m.content != nil {
		defer m.content.Close()
	}
	switch {
	case errors.Is(err, store.ErrNoMessage), err == nil && v.none:
		return badURL(raw, "no such message or part")
	case err != nil:
		return fmt.Errorf("read part of message: %w", err)
	}
	*size += v.size
	if err := c.s.fits(*size); err != nil {
		return err
	}
	if c.buf == nil {
		c.buf = make([]byte, 32<<10)
	}
	if err := m.copyValue(d, v, c.buf); err != nil {
		return fmt.Errorf("copy part of message: %w", err)
	}
	return nil
}

// find finds the message that a URL is of. It is not open yet.
func (c *catenator) find(ctx context.Context, raw string) (*message, *command.Section, error) {
	u, err := command.ParseMessageURL(raw)
	if err != nil {
		return nil, nil, badURL(raw, err.Error())
	}
	name, ok := c.s.mailboxOf(u)
	if !ok {
		return nil, nil, badURL(raw, "it is of another server or user, or of no mailbox")
	}
	box, err := c.open(ctx, name)
	if errors.Is(err, store.ErrNoMailbox) || errors.Is(err, store.ErrName) {
		return nil, nil, badURL(raw, "no such mailbox")
	}
	if err != nil {
		return nil, nil, err
	}
	snap := box.Snapshot()
	at, found := snap.Find(u.UID)
	if !found || u.UIDValidity != 0 && u.UIDValidity != snap.UIDValidity() {
		return nil, nil, badURL(raw, "no such message")
	}
	m := &message{Message: snap.At(at), ctx: ctx, box: box, header: -1}
	if len(u.Section.Part) > 0 {
		known := &summaries{box: box, log: c.s.log, want: mimetree.WantTree, writing: &c.writing}
		m.sum = known.first(ctx, []store.Message{m.Message})[0]
		known.flush(ctx)
		if errors.Is(m.sum.err, store.ErrNoMessage) {
			return nil, nil, badURL(raw, "no such message")
		}
	}
	return m, &u.Section, m.sum.err
}

// open opens a mailbox, once for the whole command.
func (c *catenator) open(ctx context.Context, name string) (*store.Mailbox, error) {
	if box := c.boxes[name]; box != nil {
		return box, nil
	}
	box, err := c.s.account.Mailbox(ctx, name)
	if err != nil {
		return nil, err
	}
	if c.boxes == nil {
		c.boxes = make(map[string]*store.Mailbox)
	}
	c.boxes[name] = box
	return box, nil
}

// mailboxOf is the mailbox of a URL, if it is one of this user on this server. The
// base is the selected mailbox (RFC 4469 section 3), also of a URL that names none.
func (s *Session) mailboxOf(u command.MessageURL) (name string, ok bool) {
	if u.Host != "" && !s.isHere(u) {
		return "", false
	}
	base := ""
	if s.sel != nil {
		base = s.sel.box.Name()
	}
	switch {
	case u.Mailbox == "":
		return base, base != "" && u.Host == ""
	case u.Rooted:
		return u.Mailbox, true
	}
	return base[:strings.LastIndex(base, separator)+1] + u.Mailbox, true
}

// isHere reports whether an absolute URL is of this user on this server.
func (s *Session) isHere(u command.MessageURL) bool {
	_, port, _ := net.SplitHostPort(s.conn.LocalAddr().String())
	return strings.EqualFold(u.Host, s.cfg.Hostname) && (u.User == "" || u.User == s.user) && (u.Port == "" || u.Port == port)
}

// badURL is the answer to a URL that cannot be used.
func badURL(raw, text string) error { return refuse("BADURL "+codeText(raw), "%s", text) }

// codeText makes a text fit to stand in a response code: what must not be there is
// encoded as in URLs, and the rest of one that is very long left out.
func codeText(s string) string {
	const most = 1024
	var b strings.Builder
	for i := 0; i < len(s) && b.Len() < most; i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == ']' || c == '"' || c == '\\' {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
