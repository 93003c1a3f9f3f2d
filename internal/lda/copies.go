package lda

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"rtls/store"
)

// content is what one or several copies have in common: the bytes.
type content struct {
	to     Recipient // for whom the trace fields are; not if it is anonymous
	common bool      // the trace fields are nobody's
	user   string    // in whose account the first copy is
	d      delivery  // what it is written through
	bytes  int64
	err    error
}

// storedCopy is one stored copy of a message. Recipients that share user and mailbox
// share it.
type storedCopy struct {
	user     User
	mailbox  string
	flags    store.Flags
	keywords []string
	content  *content
	d        delivery
	key      store.Key
	err      error
	done     string // not a copy, but what the filter did in its place; for the log
}

// placement is where a copy is to go.
type placement struct {
	folder   string
	create   bool
	flags    store.Flags
	keywords []string
}

// plan decides where the message goes for a recipient and opens the copies.
// several says that there are other recipients.
func (j *job) plan(ctx context.Context, r Recipient, several bool) *outcome {
	o := &outcome{rcpt: r}
	if slices.ContainsFunc(j.h.deliveredTo, func(to string) bool { return strings.EqualFold(to, r.Address) }) {
		o.errs = append(o.errs, loop())
		return o
	}
	for _, t := range r.Targets() {
		u, err := j.a.lookup(t.User)
		if err != nil {
			o.errs = append(o.errs, err)
			continue
		}
		j.a.explain("user: %s, account %s", u.Name, u.Dir)
		first := placement{folder: t.Folder, create: j.a.cfg.CreateFolders}
		places := []placement{first}
		if u.Script != "" && j.spool != nil {
			if places, err = j.filter(ctx, o, u, first); err != nil {
				o.errs = append(o.errs, err)
				continue
			}
		}
		for _, p := range places {
			c := j.copyFor(ctx, u, r, p, several)
			if !slices.Contains(o.copies, c) {
				o.copies = append(o.copies, c)
			}
		}
	}
	return o
}

// copyFor returns the copy in a mailbox, INBOX where that does not exist.
func (j *job) copyFor(ctx context.Context, u User, r Recipient, p placement, several bool) *storedCopy {
	mailboxes := []string{inbox}
	if p.folder != "" && !strings.EqualFold(p.folder, inbox) {
		mailboxes = []string{p.folder, inbox}
	}
	for _, mailbox := range mailboxes {
		for _, c := range j.copies {
			if c.err == nil && c.user.Name == u.Name && c.mailbox == mailbox {
				return c
			}
		}
		c := &storedCopy{user: u, mailbox: mailbox, flags: p.flags, keywords: p.keywords}
		c.err = guard(func() error { return j.open(ctx, c, r, p.create, several) })
		if mailbox != inbox && (errors.Is(c.err, store.ErrNoMailbox) || errors.Is(c.err, store.ErrName)) {
			j.a.explain("mailbox: there is no %q, INBOX takes its place", mailbox)
			continue
		}
		j.a.explain("mailbox: %s", mailbox)
		j.copies = append(j.copies, c)
		return c
	}
	panic("unreachable: INBOX is always the last")
}

// open starts the delivery of a copy. Copies whose bytes are the same share them:
// those in one account, or, where single instances are wanted, those of all.
func (j *job) open(ctx context.Context, c *storedCopy, r Recipient, create, several bool) (err error) {
	common := several && j.a.cfg.SingleInstance
	for _, other := range j.contents {
		same := other.common || other.to.Address == r.Address && other.to.ORcpt == r.ORcpt && other.to.Notify == r.Notify
		same = same && (other.user == c.user.Name || j.a.cfg.SingleInstance)
		if other.err == nil && other.common == common && same {
			c.d, err = j.a.open(ctx, c.user, c.mailbox, create, other.d)
			c.content = other
			return err
		}
	}
	c.d, err = j.a.open(ctx, c.user, c.mailbox, create, nil)
	if err == nil {
		c.content = &content{to: r, common: common, user: c.user.Name, d: c.d}
		j.contents = append(j.contents, c.content)
	}
	return err
}

func (c *content) write(p []byte) {
	if c.err != nil || len(p) == 0 {
		return
	}
	c.err = guard(func() error {
		n, err := c.d.Write(p)
		c.bytes += int64(n)
		return err
	})
}

// commitAll commits several copies at a time: each waits for the disk, and the
// disk serves them together.
func (j *job) commitAll(ctx context.Context) {
	const together = 16
	if len(j.copies) == 1 { // as most often: no need for a goroutine
		j.commit(ctx, j.copies[0])
		return
	}
	for batch := range slices.Chunk(j.copies, together) {
		var wg sync.WaitGroup
		for _, c := range batch {
			if c.err == nil {
				wg.Go(func() { j.commit(ctx, c) })
			}
		}
		wg.Wait()
	}
}

func (j *job) commit(ctx context.Context, c *storedCopy) {
	if c.err == nil {
		c.err = c.content.err
	}
	if c.err == nil {
		c.err = ctx.Err() // we are told to stop
	}
	if c.err != nil {
		return
	}
	c.err = guard(func() (err error) {
		c.key, err = c.d.Commit(j.meta(c))
		return err
	})
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
