package lda

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"

	"rtls/internal/requiretls"
	"rtls/store"
)

// Onward is a message that a script sends, or a report.
type Onward struct {
	From    string // reverse-path; empty is the null reverse-path
	To      string
	Wish    requiretls.Wish
	Message io.Reader
}

// maxHops is where a message that comes round and round is stopped (RFC 5321
// section 6.3).
const maxHops = 50

// sending is a message that is to be sent once the copies are stored.
type sending struct {
	user     User
	to       string
	from     string // the address that the message came by
	redirect bool
	alone    bool      // nothing else is done with the message
	keep     placement // where it goes if it cannot be redirected
	answer   *answer
}

// way is whom a message is sent to for a user.
type way struct {
	user, to string
	redirect bool
}

// sendOnce is send, and what came of it before where the message came to a user by
// several addresses.
func (j *job) sendOnce(ctx context.Context, s sending) error {
	w := way{s.user.Name, s.to, s.redirect}
	err, again := j.sent[w]
	if !again {
		err = guard(func() error { return j.send(ctx, s) })
		if j.sent == nil {
			j.sent = make(map[way]error)
		}
		j.sent[w] = err
	}
	return err
}

// sendAll does what is to be sent. A message that cannot be redirected stays here.
// After a temporary failure the message comes again, and is sent then.
func (j *job) sendAll(ctx context.Context, o *outcome) {
	comesAgain := func(err error) bool {
		e := j.a.classify(err)
		return e != nil && e.(*Error).Temporary()
	}
	if slices.ContainsFunc(o.errs, comesAgain) || slices.ContainsFunc(o.copies, func(c *storedCopy) bool { return comesAgain(c.err) }) {
		return
	}
	for _, s := range o.sends {
		if j.a.cfg.DryRun {
			j.a.explain("filter: would send to %s with the wish %q", s.to, j.wish())
			if s.redirect {
				o.copies = append(o.copies, &storedCopy{user: s.user, done: "redirected"})
			}
			continue
		}
		err := j.sendOnce(ctx, s)
		switch {
		case err == nil && s.redirect:
			j.a.explain("filter: redirected to %s with the wish %q", s.to, j.wish())
			o.copies = append(o.copies, &storedCopy{user: s.user, done: "redirected to " + s.to})
		case err != nil:
			j.a.explain("filter: not sent to %s: %v", s.to, err)
			j.a.cfg.Logger.WarnContext(ctx, "filter could not send", "id", j.env.ID, "user", s.user.Name, "to", s.to, "requiretls", j.wish().String(), "err", err)
			here := func(c *storedCopy) bool { return c.user.Name == s.user.Name && c.content != nil }
			if s.redirect && s.alone && !slices.ContainsFunc(o.copies, here) {
				o.copies = append(o.copies, j.keepAfterAll(ctx, o.rcpt, s))
			}
		}
	}
}

// wish is what the message's tag means for what is made of it (RFC 8689 sections 5
// and 6).
func (j *job) wish() requiretls.Wish {
	switch j.v.tag {
	case store.TagRequire:
		return requiretls.Yes
	case store.TagOptional:
		return requiretls.No
	}
	return requiretls.Auto
}

func (j *job) send(ctx context.Context, s sending) error {
	if j.a.cfg.Send == nil {
		return errors.New("there is no program to send with")
	}
	if s.answer != nil {
		return j.sendAnswer(ctx, s)
	}
	if j.h.hops > maxHops {
		return errors.New("the message has come a long way and may be in a loop")
	}
	var head bytes.Buffer
	eol := j.eol()
	line := func(parts ...string) {
		for _, p := range parts {
			head.WriteString(p)
		}
		head.WriteString(eol)
	}
	// Delivered-To finds a loop that leads back here.
	line("Delivered-To: ", s.from)
	r := Recipient{}
	j.writeReceived(line, &r)
	return j.a.cfg.Send(ctx, Onward{From: j.env.Sender, To: s.to, Wish: j.wish(), Message: io.MultiReader(&head, j.spool.from(0))})
}

// keepAfterAll stores a message that was to be redirected, once for a user.
func (j *job) keepAfterAll(ctx context.Context, r Recipient, s sending) *storedCopy {
	if c := j.keptAfterAll[s.user.Name]; c != nil {
		return c
	}
	late := &job{a: j.a, env: j.env, h: j.h, v: j.v, start: j.start, received: j.received, digest: j.digest, spool: j.spool}
	c := late.copyFor(ctx, s.user, r, s.keep, false)
	for _, content := range late.contents {
		content.write(late.trace(content, j.eol()))
		if _, err := io.Copy(contentWriter{content}, j.spool.from(0)); err != nil && content.err == nil {
			content.err = err
		}
	}
	late.commitAll(ctx)
	j.copies = append(j.copies, c) // for close
	if j.keptAfterAll == nil {
		j.keptAfterAll = make(map[string]*storedCopy)
	}
	j.keptAfterAll[s.user.Name] = c
	return c
}

type contentWriter struct{ c *content }

func (w contentWriter) Write(p []byte) (int, error) {
	w.c.write(p)
	if w.c.err != nil {
		return 0, w.c.err
	}
	return len(p), nil
}
