package dsn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"rtls/internal/cli"
	"rtls/internal/requiretls"
)

// Failed is a message and what became of it.
type Failed struct {
	From       string // reverse-path: who gets the report
	Wish       requiretls.Wish
	EnvelopeID string    // ENVID, decoded; optional
	MessageID  string    // with its angle brackets; optional
	Arrived    time.Time // when we took it; optional
	Recipients []Recipient

	// Content writes the message, with CRLF line ends. Its writer fails behind the
	// header. Nil where the message cannot be had.
	Content io.WriterTo
}

// Recipient is what became of a message for one of its recipients.
type Recipient struct {
	Address  string   // as in RCPT
	Original string   // ORCPT, decoded: "rfc822;user@example.org"; optional
	Notify   []string // NOTIFY; nothing means failures only
	Action   Action
	Status   string // enhanced status code (RFC 3463)

	Remote string // host that was asked last; optional
	Reply  string // what it said, with its code; optional
	Reason string // where nobody replied: what went wrong, for people

	LastAttempt time.Time // optional
	RetryUntil  time.Time // for Delayed; optional
}

// Action is a word of RFC 3464 section 2.3.3.
type Action string

const (
	ActionFailed    Action = "failed"
	ActionDelayed   Action = "delayed"
	ActionRelayed   Action = "relayed"   // handed to a server that sends no reports itself
	ActionDelivered Action = "delivered" // that can say only who has the recipient's mailbox
)

// wanted says whether a report was asked for (RFC 3461 section 4.1). Without NOTIFY
// that is so for a failure; a delay is left to us, and who waits wants to know.
func (r *Recipient) wanted() bool {
	switch r.Action {
	case ActionFailed:
		return len(r.Notify) == 0 || slices.Contains(r.Notify, "FAILURE")
	case ActionDelayed:
		return len(r.Notify) == 0 || slices.Contains(r.Notify, "DELAY")
	case ActionRelayed, ActionDelivered:
		return slices.Contains(r.Notify, "SUCCESS")
	}
	return false
}

// Due are the recipients of f that there is something to report about.
func Due(f *Failed) []Recipient {
	if f.From == "" {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(f.Recipients), func(r Recipient) bool { return !r.wanted() })
}

// Options are the same for all reports. Hostname must be set.
type Options struct {
	Hostname string // ours: Reporting-MTA, and the right side of identifiers
	From     string // the author's address; MAILER-DAEMON at Hostname if empty
	Now      func() time.Time
	Rand     io.Reader // for identifiers and boundaries; crypto/rand if nil
}

// Send reports f to its sender by way of send, which sends a report over verified TLS
// or not at all, with what its Wish says. Nothing is sent, and there is no error, where
// no report is due.
//
// The first attempt is with the header, and with REQUIRETLS if f had it. If that
// fails for good, the minimal form follows, without REQUIRETLS. When Send returns an
// error, the sender has not been told: the caller keeps f and tries again, or tells
// the postmaster.
func Send(ctx context.Context, f *Failed, o Options, send func(context.Context, *Report) error) error {
	if len(Due(f)) == 0 {
		return nil
	}
	first := attempt(ctx, f, WithHeader, o, send)
	if first == nil || !hopeless(first) {
		return first
	}
	if err := attempt(ctx, f, Minimal, o, send); err != nil {
		// Whether this may heal is for the second to say.
		return fmt.Errorf("%w; a report with the header: %v", err, first)
	}
	return nil
}

func attempt(ctx context.Context, f *Failed, form Form, o Options, send func(context.Context, *Report) error) error {
	r, err := New(f, form, o)
	if err != nil {
		return err
	}
	return send(ctx, r)
}

// hopeless says whether it was the report, or what it asks for, that was refused.
func hopeless(err error) bool {
	e, ok := errors.AsType[*cli.Error](err)
	return ok && (e.Code == cli.Unavailable || e.Code == cli.DataErr)
}
