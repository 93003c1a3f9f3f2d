// Package importer copies the mailboxes of an account on another IMAP server into one
// of ours, each message once, however often it is run and wherever it was cut off.
//
// Octets, flags, keywords and dates are the other server's. It is asked to read, and
// not to change anything (EXAMINE and BODY.PEEK). What it says of a tag is no evidence
// of how a message came: tag and origin are unknown.
package importer

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"rtls/store"
)

// Config is what an import needs to know.
type Config struct {
	Addr     string      // of the server, with its port
	TLS      *tls.Config // that verifies it
	StartTLS bool        // TLS begins with STARTTLS, and before that nothing is said
	Login    string
	Password string
	Pattern  string        // of LIST; empty: all mailboxes
	Silence  time.Duration // how long the server may say nothing when asked; 0: 2 minutes
	Pause    time.Duration // before the first attempt to connect again; 0: a second; below: none
	Report   store.ImportReport
	Again    func(err error, pause time.Duration) // told of a break before the pause; may be nil
}

// Summary is what was done.
type Summary struct {
	Mailboxes     int `json:"mailboxes"`
	MailboxesLeft int `json:"mailboxes_left"` // that could not be opened; each was named
	Resized       int `json:"resized"`        // messages that the server said another size of
	store.Imported
}

// ErrLogin says that the server does not let the user in.
var ErrLogin = errors.New("the other server refuses the login")

// ErrTLS says that there is no TLS with the server that can be trusted. It was told no
// name and no password.
var ErrTLS = errors.New("no TLS with the other server that can be trusted")

// ErrBroken says that connections have ended too early, time after time. What is in
// stays, and the next run goes on from there.
var ErrBroken = errors.New("the connection to the other server has ended")

// Run copies mailboxes: ErrLogin, ErrTLS, ErrBroken, store.ErrLeftOut, store.ErrImporting,
// store.ErrNoMailbox if the pattern names none, and errors of the store. What the summary counts is there. A connection that ends is
// followed by another, unless it is the first one that does not begin.
func Run(ctx context.Context, a *store.Account, cfg Config) (Summary, error) {
	cfg.Silence = cmp.Or(cfg.Silence, silence)
	cfg.Pause = cmp.Or(cfg.Pause, firstPause)
	c, err := connect(ctx, &cfg)
	if err != nil {
		return Summary{}, err
	}
	r := &run{c: c, a: a, cfg: &cfg}
	defer func() { r.c.close() }()
	err = r.all(ctx)
	if err == nil {
		r.c.logout()
		if r.done.Failed > 0 || r.done.MailboxesLeft > 0 {
			err = fmt.Errorf("%d messages and %d mailboxes: %w", r.done.Failed, r.done.MailboxesLeft, store.ErrLeftOut)
		}
	}
	return r.done, err
}

type run struct {
	c    *client
	a    *store.Account
	cfg  *Config
	step store.Step
	done Summary

	idle int // breaks in a row that brought nothing
	bad  int // messages and mailboxes in a row that were left out since the connection breaks at them
}

func (r *run) all(ctx context.Context) error {
	list, err := r.list(ctx)
	if err != nil {
		return err
	}
	for i := range list {
		if err := r.mailbox(ctx, &list[i]); err != nil {
			return fmt.Errorf("mailbox %q: %w", list[i].source, err)
		}
	}
	return nil
}

// list lists what is to be copied, and counts it.
func (r *run) list(ctx context.Context) (list []mailbox, err error) {
	err = r.persist(ctx, func() (err error) {
		list, err = r.c.mailboxes(r.cfg.Pattern)
		return err
	})
	if err == nil && len(list) == 0 && r.cfg.Pattern != "" {
		return nil, fmt.Errorf("%w on the other server by the name of %q", store.ErrNoMailbox, r.cfg.Pattern)
	}
	for i := range list {
		if err == nil {
			err = r.count(ctx, &list[i])
		}
	}
	return list, err
}

// count asks how much there is in a mailbox. A server that does not say so, or breaks
// off at that, is no trouble.
func (r *run) count(ctx context.Context, m *mailbox) error {
	messages, octets, err := r.c.count(m.source)
	if errors.Is(err, ErrBroken) {
		return r.again(ctx, err)
	}
	r.idle = 0
	r.step.AllMessages += messages
	r.step.AllOctets += octets
	return err
}

// mailbox copies one. One that the server does not open, or that has no name here, is
// left out.
func (r *run) mailbox(ctx context.Context, m *mailbox) error {
	one := &mailboxRun{run: r, mailbox: m}
	err := r.persist(ctx, func() error { return one.copy(ctx) })
	return errors.Join(err, one.close())
}

func (r *run) leaveMailbox(m *mailbox, err error) {
	r.done.MailboxesLeft++
	if r.cfg.Report.Failed != nil {
		r.cfg.Report.Failed("mailbox "+m.source, err)
	}
}

// source tells a mailbox from all others.
func (r *run) source(m *mailbox) string {
	return "imap://" + r.cfg.Login + "@" + strings.ToLower(r.cfg.Addr) + "/" + m.source
}

// refused says that the server has answered NO or BAD.
func refused(err error) bool {
	answer, ok := errors.AsType[*imap.Error](err)
	return ok && answer.Type != imap.StatusResponseTypeBye
}
