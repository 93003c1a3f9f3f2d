package lda

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"rtls/internal/requiretls"
	"rtls/store"
)

// chunk is how much of a message is in memory behind its header; firstChunk, at first,
// since most messages end there.
const (
	chunk      = 64 << 10
	firstChunk = 4 << 10
)

// job is one message on its way to its recipients.
type job struct {
	a     *Agent
	env   Envelope
	h     *header
	v     verdict
	start time.Time

	contents []*content
	copies   []*storedCopy
	digest   hash.Hash // of what is below the trace fields; nil: nobody asks
	spool    *Spool    // what is below the trace fields; nil: no filter asks
	received time.Time // when the message was here; zero: never

	sent         map[way]error          // what was sent on, and how that ended
	keptAfterAll map[string]*storedCopy // by user: what could not be
}

// outcome is what becomes of a message for one recipient.
type outcome struct {
	rcpt   Recipient
	copies []*storedCopy
	errs   []error // of targets that got no copy
	sends  []sending
}

// Deliver stores a message for each recipient and returns one result per
// recipient, in order: nil means that the copy is durable, anything else is an
// *Error. One recipient's failure is not the others'. An error of msg is
// everybody's: nothing is delivered unless msg ends with io.EOF.
//
// A recipient with several targets is delivered to when one of them has the message
// and none has a temporary error; after one of those the message comes again.
func (a *Agent) Deliver(ctx context.Context, env Envelope, rcpts []Recipient, msg io.Reader) []error {
	j := &job{a: a, env: env, h: &header{}, start: a.cfg.Clock()}
	defer j.close()
	outcomes, err := j.run(ctx, rcpts, msg)
	results := make([]error, len(rcpts))
	for i, r := range rcpts {
		if err != nil { // everybody's
			results[i] = Classify(err)
			for _, c := range j.logged(outcomes, i) {
				j.log(ctx, r, c, results[i])
			}
			continue
		}
		results[i] = j.settle(ctx, outcomes[i])
	}
	if err == nil {
		j.report(ctx, outcomes, results)
	}
	return results
}

// logged are the copies that a recipient would have had.
func (j *job) logged(outcomes []*outcome, i int) []*storedCopy {
	if i < len(outcomes) && len(outcomes[i].copies) > 0 {
		return outcomes[i].copies
	}
	return []*storedCopy{{}}
}

// run does all that there is to do, and returns what became of it. Its error is
// everybody's.
func (j *job) run(ctx context.Context, rcpts []Recipient, msg io.Reader) ([]*outcome, error) {
	h, err := readHeader(msg, j.env.Protocol == "")
	if err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	j.h = h
	if j.env.NoSender {
		j.env.Sender = j.h.sender()
	}
	j.v = j.a.judge(&j.env, j.h)
	j.explainEvidence()
	if j.a.cfg.RefuseRequire && j.v.tag == store.TagRequire {
		return nil, &Error{Code: 550, Status: requiretls.StatusNoTLS, Text: "mail is read without TLS here, which the sender does not want"}
	}
	if j.mayKnow() {
		j.digest = sha256.New()
	}
	if msg, err = j.spoolFor(ctx, rcpts, msg); err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	outcomes := make([]*outcome, len(rcpts))
	for i, r := range rcpts {
		outcomes[i] = j.plan(ctx, r, len(rcpts) > 1)
	}
	if err := j.write(ctx, msg); err != nil {
		return outcomes, fmt.Errorf("read message: %w", err)
	}
	j.commitAll(ctx)
	for _, o := range outcomes {
		j.sendAll(ctx, o)
	}
	return outcomes, nil
}

// settle logs what became of a recipient's copies and returns the result.
func (j *job) settle(ctx context.Context, o *outcome) error {
	var results []error
	note := func(c *storedCopy, err error) {
		results = append(results, j.a.classify(err))
		j.log(ctx, o.rcpt, c, j.a.classify(err))
	}
	for _, err := range o.errs {
		note(&storedCopy{}, err)
	}
	for _, c := range o.copies {
		note(c, c.err)
	}
	return Overall(results)
}

// Overall is what becomes of a recipient with several targets, by what has become of
// each: nil or an *Error.
func Overall(results []error) error {
	var permanent error
	done := false
	for _, err := range results {
		switch {
		case err == nil:
			done = true
		case Classify(err).Temporary():
			return err
		default:
			permanent = err
		}
	}
	if done {
		return nil
	}
	return permanent
}

// write copies the message into all contents. Its error is everybody's; a content's
// own is in the content.
func (j *job) write(ctx context.Context, msg io.Reader) error {
	kept := j.h.kept()
	for _, piece := range kept {
		j.digested(piece)
	}
	for _, c := range j.contents {
		// In one piece with the trace fields: it is most of a small message.
		c.write(slices.Concat(append([][]byte{j.trace(c, j.eol())}, kept...)...))
	}
	if !j.h.atEOF {
		if err := j.writeRest(ctx, msg); err != nil {
			return err
		}
	}
	j.received = j.a.cfg.Clock()
	return nil
}

// eol is the line end of the trace fields: the message's own.
func (j *job) eol() string {
	if j.h.eol != "" {
		return j.h.eol
	}
	return j.env.eol()
}

func (j *job) digested(p []byte) {
	if j.digest != nil {
		j.digest.Write(p)
	}
}

// writeRest writes what follows the header block. It stops early, without error,
// when no content is left that could still succeed.
func (j *job) writeRest(ctx context.Context, msg io.Reader) error {
	buf := make([]byte, firstChunk)
	for slices.ContainsFunc(j.contents, func(c *content) bool { return c.err == nil }) {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := fill(msg, buf)
		j.digested(buf[:n])
		for _, c := range j.contents {
			c.write(buf[:n])
		}
		if err == io.EOF { // not errors.Is: nothing wrapped is a message's end
			return nil
		}
		if err != nil {
			return err
		}
		if len(buf) < chunk {
			buf = make([]byte, chunk)
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

func (j *job) close() {
	for _, c := range j.copies {
		if c.d != nil {
			_ = guard(c.d.Close) // what counted was committed before
		}
	}
	if j.spool != nil {
		j.spool.Close()
	}
}

// loop is RFC 9228: it leaves the use of Delivered-To against loops to the receiver;
// a message that has been here for this very address before will come again.
func loop() *Error {
	return &Error{Code: 554, Status: "5.4.6", Text: "mail loop: this message was delivered to this address before"}
}

// lookup finds a user who was there a moment ago.
func (a *Agent) lookup(name string) (User, error) {
	u, ok, err := a.cfg.Lookup(name)
	if err == nil && !ok {
		err = errors.New("user " + name + " is gone")
	}
	if err != nil {
		return User{}, fmt.Errorf("look up user: %w", err)
	}
	return u, nil
}

func (a *Agent) explain(format string, args ...any) {
	if a.cfg.Explain != nil {
		a.cfg.Explain(fmt.Sprintf(format, args...))
	}
}

// meta is what the store is told of a copy.
func (j *job) meta(c *storedCopy) store.Meta {
	return store.Meta{Tag: j.v.tag, Origin: j.v.origin, Flags: c.flags, Keywords: c.keywords, Once: j.once(c)}
}
