package session

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"rtls/internal/imap/command"
	"rtls/internal/imap/wire"
	"rtls/store"
)

// selected is the selected mailbox.
type selected struct {
	box      *store.Mailbox
	readOnly bool
	passing  bool // only for the time of a search, the client does not know of it
	view     view
	keywords keywords
	recent   []wire.Range // UIDs that are \Recent in this session
	saved    []wire.Range // UIDs of "$"
	tellings []telling    // in this command, ascending
	updates  []*update    // searches whose result is kept up to date
	synced   time.Time    // when the directory was last looked at

	modSeqs modSeqs

	watch   <-chan struct{}    // of box, nil while nobody waits for news of it
	unwatch context.CancelFunc // ends that
	unseen  bool               // there may be news though watch has nothing

	writing sync.WaitGroup // those who hand box summaries
}

// telling is a message whose flags the client has just been told.
type telling struct {
	uid    uint32
	modSeq uint64
}

// told notes that the client knows the flags of a message: they are no news.
// Messages come in ascending order.
func (sel *selected) told(m store.Message) {
	sel.tellings = append(sel.tellings, telling{m.UID, m.ModSeq})
}

func (sel *selected) knows(m store.Message) bool {
	i, ok := slices.BinarySearchFunc(sel.tellings, m.UID, func(t telling, uid uint32) int { return int(int64(t.uid) - int64(uid)) })
	return ok && sel.tellings[i].modSeq == m.ModSeq
}

func (sel *selected) isRecent(uid uint32) bool { return wire.Contains(sel.recent, uid) }

// syncAfter is how long a client that never asks for news may go without any
// from outside of this process.
const syncAfter = time.Second

// news tells the client, at the end of a command, what has changed.
func (s *Session) news(ctx context.Context, cmd command.Command) error {
	if !s.tellsNews(cmd) {
		s.sel.tellings = s.sel.tellings[:0]
		return nil
	}
	next := s.sel.box.Snapshot()
	if asksForNews(cmd) || time.Since(s.sel.synced) > syncAfter {
		var err error
		if next, err = s.sync(ctx); err != nil {
			return err
		}
	}
	if err := s.advance(ctx, next, mayExpunge(cmd)); err != nil {
		return err
	}
	s.tellHighest()
	return nil
}

// modSeqs are what a client that resynchronises may take for its highest mod-sequence.
type modSeqs struct {
	safe uint64 // it has been told of all changes up to this one
	told bool   // in this command, one of a message
	held bool   // it was last told one that it has to stay at
}

// tellHighest keeps a client from taking a mod-sequence for its highest that it was
// told while it could not be told which messages are gone: after a connection that
// breaks it would never hear of them (RFC 7162 section 6).
func (s *Session) tellHighest() {
	m, v := &s.sel.modSeqs, &s.sel.view
	pending := len(v.gone) > 0
	if !pending {
		m.safe = v.snap.HighestModSeq()
	}
	if s.enabled.qResync && (pending && m.told || !pending && m.held) {
		s.number("HIGHESTMODSEQ", m.safe)
		m.held = pending
	}
	m.told = false
}

// sync looks for news. Trouble with the directory is logged and passed over:
// what is known already is still good.
func (s *Session) sync(ctx context.Context) (*store.Snapshot, error) {
	s.sel.synced = time.Now()
	next, err := s.sel.box.Sync(ctx)
	switch {
	case err == nil:
		return next, nil
	case errors.Is(err, store.ErrNoMailbox):
		return nil, fatal{errGone}
	case ctx.Err() == nil:
		s.log.Error("sync", "mailbox", s.sel.box.Name(), "err", err)
	}
	return s.sel.box.Snapshot(), nil
}

func asksForNews(cmd command.Command) bool {
	switch c := cmd.(type) {
	case command.Noop, command.Check, command.Idle:
		return true
	case command.Notify: // RFC 5465 section 3.1
		return c.Groups != nil
	}
	return false
}

// mayExpunge: sequence numbers do not change during FETCH, STORE and SEARCH (RFC
// 9051 section 7.5.1), nor during SORT and THREAD (RFC 5256 section 3).
func mayExpunge(cmd command.Command) bool {
	switch c := cmd.(type) {
	case command.Fetch:
		return c.UID
	case command.Store:
		return c.UID
	case command.Search:
		return c.UID
	case command.Sort:
		return c.UID
	case command.Thread:
		return c.UID
	}
	return true
}

// advance makes next the client's view and tells what is different. Without
// expunge, messages that are gone stay counted until later.
func (s *Session) advance(ctx context.Context, next *store.Snapshot, expunge bool) error {
	sel := s.sel
	v := &sel.view
	old := v.snap
	defer func() { sel.tellings = sel.tellings[:0] }()
	if next != old {
		if next.UIDValidity() != old.UIDValidity() {
			return fatal{errGone}
		}
		if next.HighestModSeq() < old.HighestModSeq() {
			next = old // a view that another goroutine had already moved on
		}
	}
	fresh := old.Len()
	if next != old {
		fresh = v.move(next)
	}
	if expunge {
		s.writeGone()
	}
	if next == old {
		return nil
	}
	if fresh < next.Len() {
		s.wantText()
		if err := s.claimRecent(ctx); err != nil {
			return err
		}
		s.writeExists()
		for at := fresh; at < next.Len(); at++ {
			s.announceKeywords(next.At(at).Keywords)
		}
		if s.notify != nil && len(s.notify.selected.Fetch) > 0 {
			s.fetchNews(ctx, s.notify.selected.Fetch, targets{spans: []span{{fresh, next.Len()}}})
		}
	}
	changed(next, fresh, old.HighestModSeq(), func(at int, m store.Message) {
		if sel.knows(m) || s.hidesFlags() {
			return
		}
		s.announceKeywords(m.Keywords)
		s.writeState(v.seq(at), m, state{uid: s.enabled.condStore || s.notify != nil, flags: true, modSeq: s.enabled.condStore})
	})
	s.updateResults(ctx, old)
	return nil
}

// writeGone tells which messages are gone: from the last to the first, so that
// no number has to be adjusted.
func (s *Session) writeGone() {
	v := &s.sel.view
	if len(v.gone) == 0 {
		return
	}
	uids := make([]uint32, len(v.gone))
	for i, g := range v.gone {
		uids[i] = g.uid
	}
	s.updateGone(uids)
	if s.enabled.qResync || s.enabled.uidOnly {
		s.w.Raw("* VANISHED ")
		s.w.Set(wire.Ranges(uids))
		s.w.CRLF()
	} else {
		for i := len(v.gone) - 1; i >= 0; i-- {
			s.w.Raw("* ")
			s.w.Num(uint64(v.goneSeq(i)))
			s.w.Line(" EXPUNGE")
		}
	}
	v.gone = nil
	gone := wire.Ranges(uids)
	s.sel.saved = wire.Subtract(s.sel.saved, gone) // RFC 5182 section 2.1
}

func (s *Session) writeExists() {
	s.w.Raw("* ")
	s.w.Num(uint64(s.sel.view.count()))
	s.w.Line(" EXISTS")
	if s.enabled.rev2 {
		return
	}
	recent := 0
	for _, r := range s.sel.recent {
		from, _ := s.sel.view.snap.Find(r.Lo)
		to, found := s.sel.view.snap.Find(r.Hi)
		if found {
			to++
		}
		recent += to - from
	}
	s.w.Raw("* ")
	s.w.Num(uint64(recent))
	s.w.Line(" RECENT")
}

// claimRecent takes new messages as this session's recent ones. IMAP4rev2 knows
// no such thing.
func (s *Session) claimRecent(ctx context.Context) error {
	if s.sel.readOnly || s.enabled.rev2 {
		return nil
	}
	from, err := s.sel.box.ClaimRecent(ctx)
	if errors.Is(err, store.ErrNoMailbox) {
		return fatal{errGone}
	}
	if err != nil && ctx.Err() != nil {
		return nil // the client has something else to do
	}
	if err != nil {
		s.log.Error("claim recent messages", "mailbox", s.sel.box.Name(), "err", err)
		return nil
	}
	if next := s.sel.box.Snapshot().UIDNext(); from < next {
		s.sel.recent = wire.Set(append(s.sel.recent, wire.Range{Lo: from, Hi: next - 1})).Resolve(0)
	}
	return nil
}

// state says what of a message's changeable state is shown.
type state struct{ uid, flags, modSeq bool }

// writeState writes a FETCH response that nobody has asked for, or the one of a
// STORE.
func (s *Session) writeState(seq uint32, m store.Message, show state) {
	s.startFetch(seq, m)
	if show.uid && !s.enabled.uidOnly {
		s.item("UID")
		s.w.Num(uint64(m.UID))
	}
	if show.flags {
		s.item("FLAGS")
		s.writeFlags(m)
	}
	if show.modSeq {
		s.writeModSeq(m)
	}
	s.w.Line(")")
}

// startFetch begins a FETCH response, or UIDFETCH (RFC 9586 section 3.3).
func (s *Session) startFetch(seq uint32, m store.Message) {
	s.w.Raw("* ")
	if s.enabled.uidOnly {
		s.w.Num(uint64(m.UID))
		s.w.Raw(" UIDFETCH (")
	} else {
		s.w.Num(uint64(seq))
		s.w.Raw(" FETCH (")
	}
	s.sep = ""
}

// item begins an item of a FETCH response; its value has to follow.
func (s *Session) item(name string) {
	s.w.Raw(s.sep, name, " ")
	s.sep = " "
}

func (s *Session) writeModSeq(m store.Message) {
	s.sel.modSeqs.told = true
	s.item("MODSEQ")
	s.w.Raw("(")
	s.w.Num(m.ModSeq)
	s.w.Raw(")")
}
