package importer

import (
	"cmp"
	"context"
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
	epoch   string
	into    *store.Import // nil before the mailbox is open
	opened  int           // how often the connection has ended before its messages were listed
	epochs  int           // how often a break has given its messages other UIDs

	waiting map[imap.UID]message // of the batch, what has not come
	torn    bool                 // a message has ended too early, and must not be read on: the library would read at the same time
	settled map[imap.UID]bool    // what is counted, whatever has become of it
	suspect map[imap.UID]int     // what waited when the connection ended is fetched by itself; and how often it ended in that
}

// copy copies what is not in yet, on one connection.
func (r *mailboxRun) copy(ctx context.Context) error {
	r.torn = false
	list, err := r.open(ctx)
	switch {
	case errors.Is(err, ErrBroken):
		if r.opened++; r.opened < mostAtOne {
			return err
		}
		// The next connection is for the next mailbox, and this error for nobody.
		bad := r.bad + 1
		r.leaveMailbox(r.mailbox, fmt.Errorf("%w: %v", errBad, err))
		if err := r.again(ctx, err); err != nil {
			return err
		}
		r.idle, r.bad = 0, bad
		return nil
	case refused(err), errors.Is(err, store.ErrName), errors.Is(err, errEpochs):
		r.leaveMailbox(r.mailbox, err)
		r.idle, r.bad = 0, 0
		return nil
	case err != nil:
		return err
	}
	if err := r.messages(ctx, list); err != nil {
		return err
	}
	changed, err := r.into.Finish(ctx)
	r.done.Changed += changed
	if err != nil {
		return err
	}
	r.idle, r.bad = 0, 0
	r.done.Mailboxes++
	r.done.Gone += r.into.Gone()
	return nil
}

// open opens the mailbox on both sides, and lists its messages.
func (r *mailboxRun) open(ctx context.Context) ([]message, error) {
	selected, err := r.c.examine(r.mailbox.source)
	if err != nil {
		return nil, err
	}
	epoch := strconv.FormatUint(uint64(selected.UIDValidity), 10)
	if selected.UIDValidity == 0 { // RFC 9051 section 6.3.2: UIDs that do not last
		epoch = "none since " + strconv.FormatInt(time.Now().UnixNano(), 10)
	}
	if err := r.start(ctx, epoch); err != nil || selected.NumMessages == 0 {
		return nil, err
	}
	return r.c.list()
}

// start makes the mailbox, and starts the import into it. One that is under way goes on
// unless UIDs mean something else now.
func (r *mailboxRun) start(ctx context.Context, epoch string) error {
	if r.into != nil && r.epoch == epoch {
		return nil
	}
	if r.into != nil {
		if r.epochs++; r.epochs == mostAtOne {
			return errEpochs
		}
	}
	if err := r.close(); err != nil {
		return err
	}
	m := r.mailbox
	err := r.a.CreateMailbox(ctx, m.target, m.specialUse)
	if err != nil && !errors.Is(err, store.ErrMailboxExists) {
		return err
	}
	if m.subscribed {
		if err := r.a.Subscribe(ctx, m.target, true); err != nil {
			return err
		}
	}
	r.epoch = epoch
	r.settled, r.suspect = make(map[imap.UID]bool), make(map[imap.UID]int)
	r.into, err = r.a.StartImport(ctx, r.source(m), m.target, epoch)
	return err
}

// Each time all messages have to be fetched again, to see that they are the same.
var errEpochs = errors.New("it has another UIDVALIDITY on each connection, and the connections end")

func (r *mailboxRun) close() error {
	if r.into == nil {
		return nil
	}
	into := r.into
	r.into = nil
	return into.Close()
}

// A batch is fetched with one command, which is one round trip.
const (
	batchMessages = 64
	batchOctets   = 4 << 20
)

func (r *mailboxRun) messages(ctx context.Context, list []message) error {
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
		breaks, alone := r.suspect[m.uid]
		switch {
		case r.into.Has(idOf(m.uid)):
			if !r.settled[m.uid] {
				r.done.Known++
				r.settle(m)
				flags, keywords := flagsOf(m.flags)
				if err := r.into.Update(ctx, idOf(m.uid), flags, keywords); err != nil {
					return err
				}
			}
			continue
		case r.settled[m.uid]: // left out
			continue
		case breaks >= mostAtOne:
			r.leaveBad(m)
			continue
		}
		if limit := r.a.Quota().Bytes; limit > 0 && m.size > limit {
			r.leave(m, store.ErrQuota)
			continue
		}
		if alone {
			if err := flush(); err != nil {
				return err
			}
		}
		batch = append(batch, m)
		if octets += m.size; alone || len(batch) == batchMessages || octets >= batchOctets {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func idOf(uid imap.UID) string { return strconv.FormatUint(uint64(uid), 10) }

// settle counts a message that need not be asked for again.
func (r *mailboxRun) settle(m message) {
	r.settled[m.uid] = true
	r.idle, r.bad = 0, 0
	r.step.Messages++
	r.step.Octets += m.size
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
	r.settle(m)
}

// leaveBad leaves out a message that the connection breaks at. A server may have some
// of them; with one that has many in a row there is something else.
func (r *mailboxRun) leaveBad(m message) {
	bad := r.bad + 1
	r.leave(m, errBad)
	r.bad = bad
}

var errBad = errors.New("the connection ends each time that it is asked for")

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
	if errors.Is(err, ErrBroken) {
		r.blame([]message{m})
	}
	switch {
	case err != nil && !refused(err):
		return err
	case err == nil && !there:
		r.settle(m)
		return nil
	}
	r.leave(m, reason)
	return nil
}

// fetch asks for messages and stores what comes. What is left in waiting did not come.
func (r *mailboxRun) fetch(ctx context.Context, list []message) error {
	err := r.fetchOnce(ctx, list)
	if errors.Is(err, ErrBroken) {
		r.blame(list)
	}
	return err
}

// blame suspects messages of a break.
func (r *mailboxRun) blame(list []message) {
	for _, m := range list {
		if _, waits := r.waiting[m.uid]; !waits {
			continue
		}
		r.suspect[m.uid] += 0
		if len(list) == 1 {
			r.suspect[m.uid]++
		}
	}
}

func (r *mailboxRun) fetchOnce(ctx context.Context, list []message) error {
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
	if err == nil {
		r.settle(m)
	}
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
