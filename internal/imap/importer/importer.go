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
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

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
	Report   store.ImportReport
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

// ErrBroken says that the connection has ended too early. What is in stays, and the
// next run goes on from there.
var ErrBroken = errors.New("the connection to the other server has ended")

// Run copies mailboxes: ErrLogin, ErrBroken, store.ErrLeftOut, store.ErrImporting and
// errors of the store. What the summary counts is there.
func Run(ctx context.Context, a *store.Account, cfg Config) (Summary, error) {
	c, err := connect(ctx, &cfg)
	if err != nil {
		return Summary{}, err
	}
	defer c.close()
	r := &run{c: c, a: a, cfg: &cfg}
	err = r.all(ctx)
	if err == nil {
		c.logout()
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
}

func (r *run) all(ctx context.Context) error {
	list, err := r.c.mailboxes(r.cfg.Pattern)
	if err != nil {
		return err
	}
	for i := range list {
		r.step.AllMessages += list[i].messages
		r.step.AllOctets += list[i].octets
	}
	for i := range list {
		if err := r.mailbox(ctx, &list[i]); err != nil {
			return fmt.Errorf("mailbox %q: %w", list[i].source, err)
		}
	}
	return nil
}

// mailbox copies one. One that the server does not open, or that has no name here, is
// left out.
func (r *run) mailbox(ctx context.Context, m *mailbox) error {
	selected, err := r.c.examine(m.source)
	if refused(err) {
		return r.leaveMailbox(m, err)
	}
	if err != nil {
		return err
	}
	err = r.a.CreateMailbox(ctx, m.target, m.specialUse)
	if errors.Is(err, store.ErrName) {
		return r.leaveMailbox(m, err)
	}
	if err != nil && !errors.Is(err, store.ErrMailboxExists) {
		return err
	}
	if m.subscribed {
		if err := r.a.Subscribe(ctx, m.target, true); err != nil {
			return err
		}
	}
	epoch := strconv.FormatUint(uint64(selected.UIDValidity), 10)
	if selected.UIDValidity == 0 { // RFC 9051 section 6.3.2: UIDs that do not last
		epoch = "none since " + strconv.FormatInt(time.Now().UnixNano(), 10)
	}
	into, err := r.a.StartImport(ctx, r.source(m), m.target, epoch)
	if err != nil {
		return err
	}
	one := &mailboxRun{run: r, mailbox: m, into: into}
	if selected.NumMessages > 0 {
		err = one.messages(ctx)
	}
	if err == nil {
		r.done.Mailboxes++
		r.done.Gone += into.Gone()
	}
	return errors.Join(err, into.Close())
}

func (r *run) leaveMailbox(m *mailbox, err error) error {
	r.done.MailboxesLeft++
	if r.cfg.Report.Failed != nil {
		r.cfg.Report.Failed("mailbox "+m.source, err)
	}
	return nil
}

// source tells a mailbox from all others.
func (r *run) source(m *mailbox) string {
	return "imap://" + r.cfg.Login + "@" + strings.ToLower(r.cfg.Addr) + "/" + m.source
}

// refused says that the server has answered NO or BAD.
func refused(err error) bool {
	_, ok := errors.AsType[*imap.Error](err)
	return ok
}

// message is what is known of a message before it is fetched.
type message struct {
	uid   imap.UID
	size  int64
	flags []imap.Flag
	date  time.Time
}

// mailboxRun copies the messages of one mailbox.
type mailboxRun struct {
	*run
	mailbox *mailbox
	into    *store.Import
	waiting map[imap.UID]message // of the batch, what has not come
	torn    bool                 // a message has ended too early, and must not be read on: the library would read at the same time
}

// A batch is fetched with one command, which is one round trip.
const (
	batchMessages = 64
	batchOctets   = 4 << 20
)

func (r *mailboxRun) messages(ctx context.Context) error {
	list, err := r.c.list()
	if err != nil {
		return err
	}
	var batch []message
	octets := int64(0)
	flush := func() error {
		defer func() { batch, octets = nil, 0 }()
		return r.batch(ctx, batch)
	}
	for _, m := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.into.Has(idOf(m.uid)) {
			r.done.Known++
			r.stepped(m.size)
			continue
		}
		if limit := r.a.Quota().Bytes; limit > 0 && m.size > limit {
			r.leave(m, store.ErrQuota)
			continue
		}
		batch = append(batch, m)
		if octets += m.size; len(batch) == batchMessages || octets >= batchOctets {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func idOf(uid imap.UID) string { return strconv.FormatUint(uint64(uid), 10) }

func (r *run) stepped(size int64) {
	r.step.Messages++
	r.step.Octets += size
	r.step.AllMessages = max(r.step.AllMessages, r.step.Messages)
	if r.cfg.Report.Progress != nil {
		r.cfg.Report.Progress(r.step)
	}
}

// leave leaves out a message, and says so.
func (r *mailboxRun) leave(m message, err error) {
	r.done.Failed++
	if r.cfg.Report.Failed != nil {
		r.cfg.Report.Failed(fmt.Sprintf("mailbox %s, UID %d", r.mailbox.source, m.uid), err)
	}
	r.stepped(m.size)
}

// batch copies some messages. Those that did not come are asked for one by one, so that
// one that the server cannot give does not take others with it.
func (r *mailboxRun) batch(ctx context.Context, list []message) error {
	if len(list) == 0 {
		return nil
	}
	r.waiting = make(map[imap.UID]message, len(list))
	for _, m := range list {
		r.waiting[m.uid] = m
	}
	err := r.fetch(ctx, list)
	if err != nil && !refused(err) {
		return err
	}
	for _, m := range list {
		if _, waits := r.waiting[m.uid]; !waits {
			continue
		}
		err := r.fetch(ctx, []message{m})
		if err != nil && !refused(err) {
			return err
		}
		if _, waits := r.waiting[m.uid]; !waits {
			continue
		}
		if err := r.missing(m, cmp.Or(err, errors.New("the server does not send it"))); err != nil {
			return err
		}
	}
	return nil
}

// missing is told of a message that did not come: it was expunged meanwhile, or it
// cannot be had.
func (r *mailboxRun) missing(m message, reason error) error {
	there, err := r.c.exists(m.uid)
	switch {
	case err != nil && !refused(err):
		return err
	case err == nil && !there:
		r.stepped(m.size)
		return nil
	}
	r.leave(m, reason)
	return nil
}

// fetch asks for messages and stores what comes. What is left in waiting did not come.
func (r *mailboxRun) fetch(ctx context.Context, list []message) error {
	var uids imap.UIDSet
	for _, m := range list {
		uids.AddNum(m.uid)
	}
	whole := &imap.FetchItemBodySection{Peek: true}
	r.c.busy(true)
	defer r.c.busy(false)
	cmd := r.c.Fetch(uids, &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{whole}})
	for data := cmd.Next(); data != nil; data = cmd.Next() {
		err := r.take(ctx, data, whole)
		if err == nil {
			continue
		}
		r.c.conn.Close() // or all that was asked for would have to be read
		if !r.torn {
			_ = cmd.Close() // the library waits for a reader
		}
		return err
	}
	return r.c.explain(cmd.Close())
}

// take stores one message of a FETCH.
func (r *mailboxRun) take(ctx context.Context, data *imapclient.FetchMessageData, whole *imap.FetchItemBodySection) error {
	uid := imap.UID(0)
	for item := data.Next(); item != nil; item = data.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			uid = item.UID
		case imapclient.FetchItemDataBodySection:
			m, waits := r.waiting[uid]
			if !waits || item.Literal == nil || !item.MatchCommand(whole) {
				continue
			}
			if err := r.store(ctx, m, item.Literal); err != nil {
				return err
			}
			delete(r.waiting, uid)
		}
	}
	return nil
}

// store streams one message into the mailbox.
func (r *mailboxRun) store(ctx context.Context, m message, body imap.LiteralReader) error {
	d, err := r.into.Start(ctx)
	if err != nil {
		return err
	}
	defer d.Abort()
	n, readErr, err := copyBody(d, body)
	if err != nil {
		return err
	}
	if readErr != nil || n != body.Size() { // the end of the connection looks like that of the message
		r.torn = true
		return r.c.explain(cmp.Or(readErr, errors.New("in the middle of a message")))
	}
	if n != m.size {
		r.done.Resized++
	}
	flags, keywords := flagsOf(m.flags)
	added, err := r.into.Append(ctx, d, idOf(m.uid), store.Meta{Flags: flags, Keywords: keywords, Date: m.date})
	switch {
	case errors.Is(err, store.ErrQuota):
		r.leave(m, err)
		return nil
	case added:
		r.done.Added++
		r.done.Octets += n
	case err == nil:
		r.done.Known++
	}
	r.stepped(m.size)
	return err
}

// systemFlags are those that the store has letters for.
var systemFlags = map[string]store.Flags{
	`\answered`: store.Answered, `\flagged`: store.Flagged, `\deleted`: store.Deleted, `\seen`: store.Seen, `\draft`: store.Draft,
}

// flagsOf sorts flags from keywords. Which keywords can be some, the store knows.
func flagsOf(list []imap.Flag) (flags store.Flags, keywords []string) {
	for _, f := range list {
		if bit, ok := systemFlags[strings.ToLower(string(f))]; ok {
			flags |= bit
		} else if !strings.HasPrefix(string(f), `\`) {
			keywords = append(keywords, string(f))
		}
	}
	return flags, slices.Clip(keywords)
}
