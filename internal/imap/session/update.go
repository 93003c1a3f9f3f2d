package session

import (
	"context"
	"slices"
	"time"

	"rtls/internal/imap/command"
	"rtls/internal/imap/search"
	"rtls/internal/imap/wire"
	"rtls/internal/mimetree"
	"rtls/store"
)

// update is a search whose result the client has, and is told when it changes:
// UPDATE, RFC 5267 section 4.3. Sets in its keys are those of the time of the search;
// one that goes up to "*" has the messages in it that come later. The time that OLDER
// and YOUNGER count from stays, too.
type update struct {
	tag   string
	uid   bool
	multi bool // the command was ESEARCH
	query *search.Query
	found []wire.Range // UIDs of the messages in the result
	order *sortedResult
	fetch []command.Item // what is told of messages that come
}

// sortedResult is the result of SORT: its messages have positions.
type sortedResult struct {
	sorter *search.Sorter
	uids   []uint32
}

const (
	maxUpdates = 20
	// updateOctets is about how much memory one of them can take.
	updateOctets = 1 << 20
	// updateMessages is how many messages are read at most to find out how a change
	// of so many of them changes a result.
	updateMessages = 10_000
)

// freeTag refuses the tag of a search that is kept up to date already.
func (s *Session) freeTag(tag string, c command.Search) error {
	if s.sel != nil && c.Return != nil && c.Return.Update != nil && slices.ContainsFunc(s.sel.updates, func(u *update) bool { return u.tag == tag }) {
		return wire.Syntaxf("the tag belongs to a search that is kept up to date")
	}
	return nil
}

// keepUpdated begins to keep the result of a search up to date, if that is asked for.
// The update has its tag and, where the result is sorted, the sorter.
func (s *Session) keepUpdated(c command.Search, h *hits, u *update) {
	if c.Return == nil || c.Return.Update == nil {
		return
	}
	if len(s.sel.updates) >= maxUpdates {
		s.refuseUpdate(u.tag, "too many results are kept up to date, cancel some")
		return
	}
	u.uid = c.UID
	u.query = s.compile(c.Key, s.openRanges, nil)
	u.found = wire.Set(h.uids).Resolve(0)
	u.fetch = c.Return.Update.Items
	if u.order != nil {
		u.order.uids = u.order.sorter.Order()
	}
	if u.octets() > updateOctets {
		s.refuseUpdate(u.tag, "the result is too large to be kept up to date")
		return
	}
	s.sel.updates = append(s.sel.updates, u)
}

// refuseUpdate tells that there will be no updates, or no more of them.
func (s *Session) refuseUpdate(tag, reason string) {
	s.w.Status("*", "NO", `NOUPDATE "`+tag+`"`, reason)
}

func (s *Session) cancelUpdates(c command.CancelUpdate) {
	s.sel.updates = slices.DeleteFunc(s.sel.updates, func(u *update) bool { return slices.Contains(c.Tags, u.tag) })
}

func (u *update) octets() int {
	n := 8 * len(u.found)
	if u.order != nil {
		n += u.order.sorter.Octets() + 4*len(u.order.uids)
	}
	return n
}

// openRanges is uidRanges with, for a set that goes up to "*", what will come.
func (s *Session) openRanges(set command.NumSet, uid bool) []wire.Range {
	ranges := s.uidRanges(set, uid)
	open := slices.ContainsFunc(set.Set, func(r wire.Range) bool { return (r.Lo == 0) != (r.Hi == 0) })
	if !open {
		return ranges
	}
	return append(wire.Set(slices.Clone(ranges)), wire.Range{Lo: s.sel.view.snap.UIDNext(), Hi: ^uint32(0)}).Resolve(0)
}

// updateGone takes messages that are gone out of results. The client is told before
// it learns that they are gone: their sequence numbers still count (RFC 5267 section
// 4.3.4).
func (s *Session) updateGone(uids []uint32) {
	for _, u := range s.sel.updates {
		if s.enabled.uidOnly && !u.uid {
			continue // it ends with the next change
		}
		gone := slices.DeleteFunc(slices.Clone(uids), func(uid uint32) bool { return !wire.Contains(u.found, uid) })
		s.writeUpdate(u, nil, gone)
	}
}

// updateResults tells how results differ after the messages of the view have come or
// changed since old.
func (s *Session) updateResults(ctx context.Context, old *store.Snapshot) {
	if len(s.sel.updates) == 0 {
		return
	}
	var altered []int
	changed(s.sel.view.snap, s.sel.view.snap.Len(), old.HighestModSeq(), func(at int, _ store.Message) { altered = append(altered, at) })
	s.sel.updates = slices.DeleteFunc(s.sel.updates, func(u *update) bool {
		reason := s.updateResult(ctx, u, altered, old.UIDNext())
		if reason != "" {
			s.refuseUpdate(u.tag, reason)
		}
		return reason != ""
	})
}

// updateResult is updateResults for one of them. It returns why it cannot be kept up
// to date any more.
func (s *Session) updateResult(ctx context.Context, u *update, altered []int, firstNew uint32) (reason string) {
	if s.enabled.uidOnly && !u.uid {
		return "sequence numbers are switched off"
	}
	if len(altered) > updateMessages && u.query.LooksAtMessages() {
		return "too many messages have changed"
	}
	snap := s.sel.view.snap
	var come []store.Message
	var left []uint32
	var fresh targets
	ctx, cancel := patient(ctx)
	defer cancel()
	summed := u.order != nil && u.order.sorter.LooksAtHeader()
	err := s.matching(ctx, u.query, altered, summed, func(at int, matches bool, sum *mimetree.Summary) {
		m := snap.At(at)
		switch known := wire.Contains(u.found, m.UID); {
		case matches && !known:
			come = append(come, m)
			if m.UID >= firstNew {
				fresh.add(at, at+1)
			}
			if u.order != nil {
				u.order.sorter.Add(m, sum)
			}
		case !matches && known:
			left = append(left, m.UID)
		}
	})
	if err != nil {
		s.log.Warn("keep search result up to date", "mailbox", s.sel.box.Name(), "err", err)
		return "temporary failure"
	}
	if len(u.fetch) > 0 && !fresh.empty() {
		s.fetchNews(ctx, u.fetch, fresh)
	}
	s.writeUpdate(u, come, left)
	if u.octets() > updateOctets {
		return "the result has become too large to be kept up to date"
	}
	return ""
}

// matching asks a query of messages, some at a time. With summed it hands over their
// summaries.
func (s *Session) matching(ctx context.Context, q *search.Query, ats []int, summed bool, answer func(at int, matches bool, sum *mimetree.Summary)) error {
	var known *summaries
	if summed || q.LooksAtHeader() {
		var wants mimetree.Want
		if summed {
			wants = mimetree.WantEnvelope
		}
		known = s.summaries(wants)
		defer known.flush(ctx)
	}
	snap := s.sel.view.snap
	for batch := range slices.Chunk(ats, summaryBatch) {
		messages := make([]store.Message, len(batch))
		for i, at := range batch {
			messages[i] = snap.At(at)
		}
		match := func(i int, found outcome) error {
			ok, err := q.Match(ctx, messages[i], found.Summary)
			if err == nil {
				answer(batch[i], ok, found.Summary)
			}
			return err
		}
		if known != nil {
			if err := known.each(ctx, messages, match); err != nil {
				return err
			}
			continue
		}
		for i := range messages {
			if err := match(i, outcome{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// patient is a context for what has to be told once it is begun, also when the client
// has something else to do by now. It has its limit: a server may be shutting down.
func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
}

// fetchNews sends items of messages that the client has not asked for just now. They
// do not become \Seen by that.
func (s *Session) fetchNews(ctx context.Context, items []command.Item, t targets) {
	ctx, cancel := patient(ctx)
	defer cancel()
	f := s.newFetcher(command.Fetch{Items: items})
	f.marks = false
	if f.asks(command.ModSeq) {
		s.enableCondStore()
	}
	if f.need == needSummary {
		f.known = s.summaries(f.wants)
		defer f.known.flush(ctx)
	}
	if err := f.all(ctx, t); err != nil && s.w.Err() == nil {
		s.log.Warn("fetch new messages", "mailbox", s.sel.box.Name(), "err", err)
	}
}
