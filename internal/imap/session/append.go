package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"rtls/internal/imap/command"
	"rtls/internal/imap/wire"
	"rtls/store"
)

// append is APPEND of one message or several (RFC 3502), which are stored all or
// not at all. A message is stored only if all of its announced octets came.
func (s *Session) append(ctx context.Context, c *command.Append) error {
	const most = 100 // files are open
	code, err := s.appendAll(ctx, c, most, func(ctx context.Context, box *store.Mailbox, all []store.Pending) ([]uint32, error) {
		return box.AppendAll(ctx, all)
	})
	if err != nil {
		return err
	}
	s.code = code
	return nil
}

// replace is REPLACE (RFC 8508). The old message goes when the new one is durable: a
// crash, or an error, can leave both, but never none.
func (s *Session) replace(ctx context.Context, c *command.ReplaceMessage) error {
	if s.sel.readOnly {
		return errReadOnly
	}
	t, err := s.targets(c.Set, c.UID)
	if err != nil {
		return err
	}
	if t.empty() {
		return refuse("EXPUNGEISSUED", "the message to be replaced is not there")
	}
	old := t.uids(s.sel.view.snap)[0]
	code, err := s.appendAll(ctx, &c.Append, 1, func(ctx context.Context, _ *store.Mailbox, all []store.Pending) ([]uint32, error) {
		uid, err := s.sel.box.Replace(ctx, old, all[0])
		return []uint32{uid}, err
	})
	if err != nil {
		return err
	}
	s.w.Status("*", "OK", code, "replaced") // before the message vanishes (RFC 8508 section 3.1)
	return nil
}

// appendAll hands the messages of a command, of which there may be so many, to commit,
// which returns their UIDs, and returns the response code that says where they are.
func (s *Session) appendAll(ctx context.Context, c *command.Append, most int, commit func(ctx context.Context, box *store.Mailbox, all []store.Pending) ([]uint32, error)) (code string, err error) {
	name := trimSeparator(c.Mailbox)
	if err := s.fits(c.First.Literal.Size); err != nil {
		return "", err
	}
	box, err := s.account.Mailbox(ctx, name)
	if err != nil {
		return "", tryCreate(err)
	}
	defer func() {
		if err := box.Close(); err != nil {
			s.log.Warn("close mailbox", "mailbox", name, "err", err)
		}
	}()
	known := keywordsOf(box.Snapshot())
	here := &catenator{s: s}
	defer here.close()
	staged, err := s.stage(ctx, name, c.First, most, &known, here)
	defer func() {
		for _, m := range staged {
			if err := m.Delivery.Abort(); err != nil {
				s.log.Warn("abort delivery", "mailbox", name, "err", err)
			}
		}
	}()
	if err != nil {
		return "", err
	}
	var uids []uint32
	err = s.longChange(ctx, len(staged), func(ctx context.Context) (err error) {
		uids, err = commit(ctx, box, staged)
		return err
	})
	if err != nil {
		return "", err
	}
	s.ownMail(ctx, name, uint32(len(uids)))
	return fmt.Sprintf("APPENDUID %d %s", box.Snapshot().UIDValidity(), wire.AppendSet(nil, wire.Ranges(uids))), nil
}

// tryCreate is the answer to APPEND, COPY and MOVE into a mailbox that is not
// there.
func tryCreate(err error) error {
	if errors.Is(err, store.ErrNoMailbox) {
		return refuse("TRYCREATE", "no such mailbox")
	}
	return err
}

// fits says whether a message can have so many octets.
func (s *Session) fits(octets int64) error {
	if octets > s.cfg.AppendLimit {
		return refuse("TOOBIG", "a message has at most %d octets", s.cfg.AppendLimit)
	}
	return nil
}

// stage writes all messages of the command; none of them is visible yet.
func (s *Session) stage(ctx context.Context, mailbox string, m command.Message, most int, known *keywords, here *catenator) (all []store.Pending, err error) {
	for next := &m; next != nil; {
		if err := s.fits(next.Literal.Size); err != nil {
			return all, err
		}
		if len(all) > 0 && next.Literal.Size == 0 && !next.Catenate { // RFC 3502 section 6.3.11
			return all, refuse("", "APPEND was cancelled by an empty message")
		}
		if len(all) == most {
			return all, refuse("LIMIT", "one command takes so many messages: %d", most)
		}
		d, err := s.account.Deliver(ctx, mailbox)
		if err != nil {
			return all, tryCreate(err)
		}
		flags, plain, _ := known.split(next.Flags) // the keyword of a tag makes no tag
		known.add(plain)
		all = append(all, store.Pending{Delivery: d, Meta: store.Meta{Tag: store.TagNone, Flags: flags, Keywords: plain, Date: next.Date}})
		if next.Catenate {
			err = here.message(ctx, d)
		} else {
			err = s.receive(d, next.Literal)
		}
		if err != nil {
			return all, err
		}
		if next, err = s.parser.NextMessage(s.lex, *next); err != nil {
			return all, s.readError(err)
		}
	}
	return all, nil
}

// receive reads a literal into a delivery. Trouble with the disk is no
// reason to lose the place in the stream: what is left is read all the same.
func (s *Session) receive(d *store.Delivery, lit wire.Literal) error {
	r, err := s.lex.OpenLiteral()
	if err != nil {
		return fatal{err}
	}
	var in counted
	in.r = r
	n, err := io.Copy(d, &in)
	if in.err != nil {
		return fatal{in.err}
	}
	if err == nil && n != lit.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("store message: %w", err)
	}
	return s.readError(s.lex.CloseLiteral())
}

// counted keeps the error of its reader apart from that of a writer.
type counted struct {
	r   io.Reader
	err error
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// copy is COPY, MOVE and their UID forms (RFC 4315, RFC 6851).
func (s *Session) copy(ctx context.Context, c command.Copy) error {
	if c.Move && s.sel.readOnly {
		return errReadOnly
	}
	t, err := s.targets(c.Set, c.UID)
	if err != nil {
		return err
	}
	if t.gone {
		return errSomeGone // all or none
	}
	transfer := s.sel.box.Copy
	if c.Move {
		transfer = s.sel.box.Move
	}
	var validity uint32
	var pairs []store.UIDPair
	err = s.longChange(ctx, t.count(), func(ctx context.Context) (err error) {
		validity, pairs, err = transfer(ctx, t.uids(s.sel.view.snap), trimSeparator(c.Mailbox))
		return err
	})
	if err != nil {
		return tryCreate(err)
	}
	if len(pairs) == 0 {
		s.ok("", "no messages found")
		return nil
	}
	s.ownMail(ctx, trimSeparator(c.Mailbox), uint32(len(pairs)))
	code := "COPYUID " + strconv.FormatUint(uint64(validity), 10) + " " + copied(pairs)
	if c.Move {
		s.w.Status("*", "OK", code, "moved") // before the messages vanish (RFC 6851 section 4.3)
		return nil
	}
	s.code = code
	return nil
}

// copied writes pairs as two sets that belong together number by number.
func copied(pairs []store.UIDPair) string {
	var from, to []wire.Range
	for _, p := range pairs {
		from = wire.AddNumber(from, p.Source)
		to = wire.AddNumber(to, p.Dest)
	}
	return string(wire.AppendSet(nil, from)) + " " + string(wire.AppendSet(nil, to))
}
