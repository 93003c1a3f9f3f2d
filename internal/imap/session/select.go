package session

import (
	"context"
	"strconv"
	"strings"
	"time"

	"rtls/internal/imap/command"
	"rtls/internal/imap/wire"
	"rtls/store"
)

// trimSeparator takes off the separator with which clients announce that a
// mailbox will have others below it (RFC 9051 section 6.3.4).
func trimSeparator(name string) string { return strings.TrimSuffix(name, "/") }

// selectMailbox is SELECT and EXAMINE. If it fails, no mailbox is selected.
func (s *Session) selectMailbox(ctx context.Context, c command.Select) error {
	if c.QResync != nil && !s.enabled.qResync {
		return wire.Syntaxf("QRESYNC was not enabled")
	}
	// Opened before the other is closed: if they are the same, its view is kept.
	box, err := s.account.Mailbox(ctx, trimSeparator(c.Mailbox))
	if s.sel != nil {
		s.unselect()
		s.w.Status("*", "OK", "CLOSED", "previous mailbox is closed")
	}
	if err != nil {
		return err
	}
	sel := &selected{box: box, readOnly: c.ReadOnly, synced: time.Now()}
	sel.view.snap = box.Snapshot()
	sel.keywords = keywordsOf(sel.view.snap)
	sel.modSeqs.safe = sel.view.snap.HighestModSeq()
	s.sel = sel
	s.wantText()
	if err := s.opened(ctx, c); err != nil {
		s.unselect()
		return err
	}
	if c.CondStore {
		s.enabled.condStore = true
	}
	if c.ReadOnly {
		s.ok("READ-ONLY", "EXAMINE completed")
	} else {
		s.ok("READ-WRITE", "SELECT completed")
	}
	return nil
}

// wantText has the index of texts brought up to date for the selected mailbox.
func (s *Session) wantText() {
	if s.texts != nil {
		s.texts.Want(s.sel.box.Name())
	}
}

// opened tells the client what it has selected.
func (s *Session) opened(ctx context.Context, c command.Select) error {
	snap := s.sel.view.snap
	if err := s.claimRecent(ctx); err != nil {
		return err
	}
	if c.ReadOnly && !s.enabled.rev2 {
		if err := s.lookAtRecent(ctx, c.Mailbox); err != nil {
			return err
		}
	}
	s.writeKnownFlags()
	s.writeExists()
	if !s.enabled.rev2 && !s.enabled.uidOnly {
		if at := snap.FirstUnseen(); at < snap.Len() {
			s.number("UNSEEN", uint64(at)+1)
		}
	}
	s.number("UIDVALIDITY", uint64(snap.UIDValidity()))
	s.number("UIDNEXT", uint64(snap.UIDNext()))
	s.number("HIGHESTMODSEQ", snap.HighestModSeq())
	s.w.Status("*", "OK", "MAILBOXID ("+mailboxID(s.sel.box.ObjectID())+")", "mailboxid")
	if s.enabled.rev2 {
		s.w.Raw(`* LIST () "/" `)
		s.w.Mailbox(s.sel.box.Name())
		s.w.CRLF()
	}
	if c.QResync != nil && c.QResync.UIDValidity == snap.UIDValidity() {
		return s.resync(ctx, c.QResync)
	}
	return nil
}

func (s *Session) number(code string, n uint64) {
	s.w.Status("*", "OK", code+" "+strconv.FormatUint(n, 10), strings.ToLower(code))
}

// lookAtRecent finds the recent messages without taking them: they are the last
// ones.
func (s *Session) lookAtRecent(ctx context.Context, name string) error {
	status, err := s.account.Status(ctx, trimSeparator(name))
	if err != nil {
		return err
	}
	snap := s.sel.view.snap
	if n := min(int(status.Recent), snap.Len()); n > 0 {
		s.sel.recent = []wire.Range{{Lo: snap.At(snap.Len() - n).UID, Hi: snap.UIDNext() - 1}}
	}
	return nil
}

// resync tells what has happened since the client was last here (RFC 7162 section
// 3.2.5).
func (s *Session) resync(ctx context.Context, q *command.QResync) error {
	snap := s.sel.view.snap
	known := []wire.Range{{Lo: 1, Hi: ^uint32(0)}}
	if q.Known != nil {
		known = q.Known.Resolve(0)
	}
	vanished, err := s.vanished(ctx, q.ModSeq, matched(snap, q))
	if err != nil {
		return err
	}
	s.writeEarlier(wire.Intersect(vanished, known))
	changed(snap, snap.Len(), q.ModSeq, func(at int, m store.Message) {
		if wire.Contains(known, m.UID) {
			s.writeState(uint32(at+1), m, state{uid: true, flags: true, modSeq: true})
		}
	})
	return nil
}

// matched returns the highest UID up to which, by what the client said, nothing
// that it knows has vanished.
func matched(snap *store.Snapshot, q *command.QResync) uint32 {
	seqs, uids := numbersOf(q.SeqMatch), numbersOf(q.UIDMatch)
	var top uint32
	for i := range min(len(seqs), len(uids)) {
		if at := int(seqs[i]) - 1; at < snap.Len() && snap.At(at).UID == uids[i] {
			top = max(top, uids[i])
		}
	}
	return top
}

// numbersOf lists the numbers of a set, or the first of them if they are many.
func numbersOf(set wire.Set) []uint32 {
	const most = 10000
	var out []uint32
	for _, r := range set.Resolve(0) {
		for n := r.Lo; len(out) < most; n++ {
			out = append(out, n)
			if n == r.Hi {
				break
			}
		}
	}
	return out
}

// vanished returns the UIDs of messages expunged since a mod-sequence. Where the
// store does not remember that far, they are all those that are not there, from
// behind a UID on.
func (s *Session) vanished(ctx context.Context, since uint64, behind uint32) ([]wire.Range, error) {
	uids, complete, err := s.sel.box.Vanished(ctx, since)
	if err != nil {
		return nil, err
	}
	snap := s.sel.view.snap
	var known []wire.Range // those that are there, or not to be told of
	for at := range snap.Len() {
		known = wire.AddNumber(known, snap.At(at).UID)
	}
	given := []wire.Range{{Lo: behind + 1, Hi: snap.UIDNext() - 1}}
	if complete {
		// What vanished after the snapshot was taken is told as any other news.
		return wire.Subtract(wire.Intersect(wire.Ranges(uids), []wire.Range{{Lo: 1, Hi: snap.UIDNext() - 1}}), known), nil
	}
	if given[0].Lo > given[0].Hi {
		return nil, nil
	}
	return wire.Subtract(given, known), nil
}

func (s *Session) writeEarlier(vanished []wire.Range) {
	if len(vanished) == 0 {
		return
	}
	s.w.Raw("* VANISHED (EARLIER) ")
	s.w.Set(vanished)
	s.w.CRLF()
}

// unselect gives the selected mailbox back, if there is one.
func (s *Session) unselect() {
	if s.sel == nil {
		return
	}
	s.leaves()
	s.sel.stopWatching()
	s.sel.writing.Wait()
	if err := s.sel.box.Close(); err != nil {
		s.log.Warn("close mailbox", "mailbox", s.sel.box.Name(), "err", err)
	}
	s.sel = nil
}

// close is CLOSE: deleted messages are expunged, and nothing is said of it. Nor is
// where mod-sequences stand now: the client has not been told all that led there
// (RFC 7162 section 3.2.8).
func (s *Session) close(ctx context.Context) error {
	if !s.sel.readOnly {
		if err := s.expungeUIDs(ctx, s.deleted(nil)); err != nil {
			return err
		}
	}
	s.unselect()
	return nil
}

// deleted returns the UIDs of messages with \Deleted, among those of a set if there
// is one.
func (s *Session) deleted(among []wire.Range) []uint32 {
	snap := s.sel.box.Snapshot()
	t := targets{spans: []span{{0, snap.Len()}}}
	if among != nil {
		v := view{snap: snap}
		t = v.byUID(among)
	}
	var uids []uint32
	_ = t.each(func(at int) error {
		if m := snap.At(at); m.Flags&store.Deleted != 0 {
			uids = append(uids, m.UID)
		}
		return nil
	})
	return uids
}

// expungeUIDs removes messages from the selected mailbox.
func (s *Session) expungeUIDs(ctx context.Context, uids []uint32) error {
	return s.longChange(ctx, len(uids), func(ctx context.Context) error { return s.sel.box.Expunge(ctx, uids) })
}

// expunge is EXPUNGE and UID EXPUNGE. What is gone is told as news, right before
// the reply.
func (s *Session) expunge(ctx context.Context, c command.Expunge) error {
	if s.sel.readOnly {
		return errReadOnly
	}
	var among []wire.Range
	if c.UIDs != nil {
		among = s.sel.saved
		if !c.UIDs.Saved {
			among = c.UIDs.Set.Resolve(s.sel.view.topUID())
		}
		if len(among) == 0 {
			return nil
		}
	}
	if err := s.expungeUIDs(ctx, s.deleted(among)); err != nil {
		return err
	}
	if s.enabled.condStore {
		s.code = "HIGHESTMODSEQ " + strconv.FormatUint(s.sel.box.Snapshot().HighestModSeq(), 10)
	}
	return nil
}
