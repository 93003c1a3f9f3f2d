package lda

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"rtls/store"
)

// chunk is how much of a message is in memory behind its header.
const chunk = 64 << 10

// delivery is one message on its way into one mailbox.
type delivery interface {
	io.Writer
	Commit(meta store.Meta) (store.Key, error)
	Close() error // aborts what was not committed
}

// storeDelivery closes its account along with itself.
type storeDelivery struct {
	*store.Delivery
	account *store.Account
}

func (d storeDelivery) Close() error {
	return errors.Join(d.Abort(), d.account.Close())
}

func (a *Agent) openStore(ctx context.Context, user, mailbox string) (delivery, error) {
	dir := a.cfg.AccountDir(user)
	account, err := store.Open(dir, a.cfg.Store)
	if errors.Is(err, store.ErrNoAccount) {
		if err := store.Create(dir, a.cfg.Store); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("create account: %w", err)
		}
		account, err = store.Open(dir, a.cfg.Store)
	}
	if err != nil {
		return nil, fmt.Errorf("open account: %w", err)
	}
	d, err := account.Deliver(ctx, mailbox)
	if err != nil {
		return nil, errors.Join(err, account.Close())
	}
	return storeDelivery{d, account}, nil
}

// storedCopy is one stored copy of a message. Recipients that share user and mailbox
// share it.
type storedCopy struct {
	to      Recipient // the first of them
	mailbox string
	d       delivery
	key     store.Key
	bytes   int64
	err     error
}

// Deliver stores a message for each recipient and returns one result per
// recipient, in order: nil means that the copy is durable, anything else is an
// *Error. One recipient's failure is not the others'. An error of msg is
// everybody's: nothing is delivered unless msg ends with io.EOF.
func (a *Agent) Deliver(ctx context.Context, env Envelope, rcpts []Recipient, msg io.Reader) []error {
	start := a.cfg.Clock()
	results := make([]error, len(rcpts))
	h, err := readHeader(msg, env.Protocol == "")
	if err != nil {
		e := Classify(fmt.Errorf("read message: %w", err))
		for i, r := range rcpts {
			results[i] = e
			a.log(ctx, &env, &header{}, verdict{}, r, &storedCopy{}, e, start)
		}
		return results
	}
	if env.NoSender {
		env.Sender = h.sender()
	}
	v := a.judge(&env, h)
	copies, of := a.openCopies(ctx, h, rcpts)
	defer closeAll(copies)
	err = a.write(ctx, &env, h, v, copies, msg, start)
	for i, r := range rcpts {
		e := Classify(of[i].err)
		if err != nil {
			e = Classify(err)
		}
		a.log(ctx, &env, h, v, r, of[i], e, start)
		if e != nil {
			results[i] = e
		}
	}
	return results
}

func closeAll(copies []*storedCopy) {
	for _, c := range copies {
		if c.d != nil {
			_ = guard(c.d.Close) // what counted was committed before
		}
	}
}

// guard makes an error of a panic, so that it is one recipient's failure.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return f()
}

// openCopies starts a delivery for each mailbox that the recipients have.
func (a *Agent) openCopies(ctx context.Context, h *header, rcpts []Recipient) (copies, of []*storedCopy) {
	for _, r := range rcpts {
		c := a.openCopy(ctx, h, r, copies)
		if !slices.Contains(copies, c) {
			copies = append(copies, c)
		}
		of = append(of, c)
	}
	return copies, of
}

func (a *Agent) openCopy(ctx context.Context, h *header, r Recipient, copies []*storedCopy) *storedCopy {
	const inbox = "INBOX"
	// RFC 9228 leaves the use of Delivered-To against loops to the receiver; a
	// message that has been here for this very address before will come again.
	if slices.ContainsFunc(h.deliveredTo, func(to string) bool { return strings.EqualFold(to, r.Address) }) {
		return &storedCopy{to: r, err: &Error{Code: 554, Status: "5.4.6", Text: "mail loop: this message was delivered to this address before"}}
	}
	mailboxes := []string{inbox}
	if r.Folder != "" && r.Folder != inbox {
		mailboxes = []string{r.Folder, inbox}
	}
	for _, mailbox := range mailboxes {
		for _, c := range copies {
			if c.err == nil && c.to.User == r.User && c.mailbox == mailbox {
				return c
			}
		}
		var d delivery
		err := guard(func() (err error) {
			d, err = a.open(ctx, r.User, mailbox)
			return err
		})
		if mailbox != inbox && (errors.Is(err, store.ErrNoMailbox) || errors.Is(err, store.ErrName)) {
			continue
		}
		return &storedCopy{to: r, mailbox: mailbox, d: d, err: err}
	}
	panic("unreachable: INBOX is always the last")
}

// write copies the message into all copies and commits them. Its error is
// everybody's; a copy's own is in the copy.
func (a *Agent) write(ctx context.Context, env *Envelope, h *header, v verdict, copies []*storedCopy, msg io.Reader, now time.Time) error {
	eol := h.eol
	if eol == "" {
		eol = env.eol()
	}
	kept := h.kept()
	for _, c := range copies {
		c.write(slices.Concat(append([][]byte{a.trace(env, &c.to, v, eol, now)}, kept...)...))
	}
	if !h.atEOF {
		if err := writeRest(ctx, copies, msg); err != nil {
			return fmt.Errorf("read message: %w", err)
		}
	}
	commitAll(ctx, copies, store.Meta{Tag: v.tag, Origin: v.origin})
	return nil
}

// commitAll commits several copies at a time: each waits for the disk, and the
// disk serves them together.
func commitAll(ctx context.Context, copies []*storedCopy, meta store.Meta) {
	const together = 16
	if len(copies) == 1 && copies[0].err == nil { // as most often: no need for a goroutine
		copies[0].commit(ctx, meta)
		return
	}
	for batch := range slices.Chunk(copies, together) {
		var wg sync.WaitGroup
		for _, c := range batch {
			if c.err == nil {
				wg.Go(func() { c.commit(ctx, meta) })
			}
		}
		wg.Wait()
	}
}

func (c *storedCopy) commit(ctx context.Context, meta store.Meta) {
	if c.err = ctx.Err(); c.err != nil { // we are told to stop
		return
	}
	c.err = guard(func() (err error) {
		c.key, err = c.d.Commit(meta)
		return err
	})
}

// writeRest writes what follows the header block. It stops early, without error,
// when no copy is left that could still succeed.
func writeRest(ctx context.Context, copies []*storedCopy, msg io.Reader) error {
	buf := make([]byte, chunk)
	for slices.ContainsFunc(copies, func(c *storedCopy) bool { return c.err == nil }) {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := fill(msg, buf)
		for _, c := range copies {
			c.write(buf[:n])
		}
		if err == io.EOF { // not errors.Is: nothing wrapped is a message's end
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fill is io.ReadFull, but hands on the reader's own error: only io.EOF is the
// message's end, and io.ErrUnexpectedEOF is not.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

func (c *storedCopy) write(p []byte) {
	if c.err != nil || len(p) == 0 {
		return
	}
	c.err = guard(func() error {
		n, err := c.d.Write(p)
		c.bytes += int64(n)
		return err
	})
}
