package session

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"rtls/internal/imap/command"
	"rtls/internal/imap/search"
	"rtls/internal/imap/wire"
	"rtls/internal/mimetree"
	"rtls/store"
)

// hits are the messages that a search has found, in the order of the answer.
type hits struct {
	uids           []wire.Range
	numbers        []wire.Range // UIDs or sequence numbers
	count          uint64
	first, last    store.Message
	modSeq         uint64 // the highest
	minSeq, maxSeq uint32
}

func (h *hits) add(m store.Message, seq uint32, uid bool) {
	n := seq
	if uid {
		n = m.UID
	}
	h.uids = addNext(h.uids, m.UID)
	h.numbers = addNext(h.numbers, n)
	if h.count == 0 {
		h.first, h.minSeq = m, n
	}
	h.last, h.maxSeq = m, n
	h.count++
	h.modSeq = max(h.modSeq, m.ModSeq)
}

// addNext appends a number that may be below the last.
func addNext(ranges []wire.Range, n uint32) []wire.Range {
	if last := len(ranges) - 1; last >= 0 && ranges[last].Hi+1 == n {
		ranges[last].Hi = n
		return ranges
	}
	return append(ranges, wire.Range{Lo: n, Hi: n})
}

// page returns what of the UIDs or numbers PARTIAL asks for, nothing if it was not
// given.
func (h *hits) page(ranges []wire.Range, p command.Partial) (page []wire.Range) {
	if p == (command.Partial{}) {
		return nil
	}
	from, to := p.Of(int(h.count))
	at := 0 // of the range
	for _, r := range ranges {
		size := int(r.Hi-r.Lo) + 1
		lo, hi := max(from-at, 0), min(to-at, size)
		if lo < hi {
			page = append(page, wire.Range{Lo: r.Lo + uint32(lo), Hi: r.Lo + uint32(hi-1)})
		}
		at += size
	}
	return page
}

// search is SEARCH and UID SEARCH (RFC 9051 section 6.4.4, RFC 4731, RFC 5182).
func (s *Session) search(ctx context.Context, tag string, c command.Search) error {
	if err := s.freeTag(tag, c); err != nil {
		return err
	}
	h := &hits{}
	err := s.saving(c, h, func() error {
		return s.find(ctx, c, false, func(at int, m store.Message, _ *mimetree.Summary) {
			h.add(m, s.sel.view.seq(at), c.UID)
		})
	})
	if err != nil {
		return err
	}
	s.keepUpdated(c, h, &update{tag: tag})
	switch {
	case c.Return != nil:
		s.writeESearch(tag, c, h, *c.Return)
	case s.enabled.rev2:
		s.writeESearch(tag, c, h, command.Return{All: true})
	default:
		s.writeSearch("* SEARCH", c, h)
	}
	return nil
}

// saving runs a search that fills h, and keeps what it has found if that is asked
// for. After an error nothing is kept (RFC 5182 section 2.1).
func (s *Session) saving(c command.Search, h *hits, run func() error) error {
	saves := c.Return != nil && c.Return.Save
	err := run()
	switch {
	case err != nil && saves:
		s.sel.saved = nil
	case saves:
		s.save(h, c.Return)
	}
	return err
}

// find calls hit for the messages that a search means, in their order. With summed
// it hands over their summaries with envelopes; one that cannot be had is nil.
func (s *Session) find(ctx context.Context, c command.Search, summed bool, hit func(at int, m store.Message, sum *mimetree.Summary)) error {
	if c.Charset != "" && c.Charset != "UTF-8" && c.Charset != "US-ASCII" {
		return refuse("BADCHARSET (US-ASCII UTF-8)", "charset is not supported")
	}
	if c.Key.Uses(command.ModSeqFrom) {
		s.enableCondStore()
	}
	v := &s.sel.view
	q := s.compile(c.Key, s.uidRanges, s.textIndex())
	among := s.candidates(c.Key)
	return s.long(among.count(), func(done *atomic.Int64) error {
		if summed || q.LooksAtHeader() {
			var wants mimetree.Want
			if summed {
				wants = mimetree.WantEnvelope
			}
			return s.findBySummary(ctx, q, among, wants, done, hit)
		}
		return among.each(func(at int) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			m := v.snap.At(at)
			ok, err := q.Match(ctx, m, nil)
			if ok {
				hit(at, m, nil)
			}
			done.Add(1)
			return err
		})
	})
}

// textIndex is what the index of texts has now, for one search in the selected mailbox.
func (s *Session) textIndex() search.TextIndex {
	if s.texts == nil {
		return nil
	}
	return s.texts.Reader(s.sel.box)
}

func (s *Session) compile(key command.Key, uids func(set command.NumSet, uid bool) []wire.Range, texts search.TextIndex) *search.Query {
	return search.Compile(key, search.Env{
		Now:     time.Now(),
		UIDs:    uids,
		HasFlag: hasFlag,
		Recent:  s.sel.isRecent,
		Open:    s.sel.box.Open,
		Index:   texts,
	})
}

// findBySummary is find where summaries spare a look at messages, or are wanted.
func (s *Session) findBySummary(ctx context.Context, q *search.Query, among targets, wants mimetree.Want, done *atomic.Int64, hit func(at int, m store.Message, sum *mimetree.Summary)) error {
	v := &s.sel.view
	known := s.summaries(wants)
	defer known.flush(ctx)
	var batch []int
	var messages []store.Message
	findAmong := func() error {
		err := s.findAmong(ctx, q, messages, known, func(i int, sum *mimetree.Summary) { hit(batch[i], messages[i], sum) })
		batch, messages = batch[:0], messages[:0]
		return err
	}
	err := among.each(func(at int) error {
		done.Add(1)
		if m := v.snap.At(at); q.MayMatch(m) {
			batch, messages = append(batch, at), append(messages, m)
		}
		if len(batch) < summaryBatch {
			return nil
		}
		return findAmong()
	})
	if err == nil {
		err = findAmong()
	}
	return err
}

// findAmong asks a query of messages and their summaries. It reads a message itself,
// once more, where that could not be summed up.
func (s *Session) findAmong(ctx context.Context, q *search.Query, messages []store.Message, known *summaries, hit func(i int, sum *mimetree.Summary)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return known.each(ctx, messages, func(i int, found outcome) error {
		ok, err := q.Match(ctx, messages[i], found.Summary)
		if ok {
			hit(i, found.Summary)
		}
		return err
	})
}

// candidates are the messages that can match: sets that all of them have to be in
// spare the look at the others, and so does that none of them is seen.
func (s *Session) candidates(key command.Key) targets {
	within := []wire.Range{{Lo: 1, Hi: ^uint32(0)}}
	unseen := false
	for _, k := range key.Keys {
		switch {
		case k.Op == command.SeqSet, k.Op == command.UIDSet:
			within = wire.Intersect(within, s.uidRanges(k.Set, k.Op == command.UIDSet))
		case k.Op == command.Not && k.Keys[0].Op == command.Keyword:
			unseen = unseen || flagBit(k.Keys[0].Flag) == store.Seen
		}
	}
	t := s.sel.view.byUID(within)
	if unseen && key.Op == command.And {
		t = t.unseen(s.sel.view.snap)
	}
	return t
}

// uidRanges turns a set into ranges of UIDs. Sequence numbers that are next to
// each other are so as UIDs, too: there is nothing between them.
func (s *Session) uidRanges(set command.NumSet, uid bool) []wire.Range {
	v := &s.sel.view
	switch {
	case set.Saved:
		return s.sel.saved
	case uid:
		return set.Set.Resolve(v.topUID())
	}
	var out []wire.Range
	count := uint32(v.count())
	for _, r := range set.Set.Resolve(count) {
		if r.Lo > count {
			break
		}
		from, to := v.below(r.Lo-1), v.below(min(r.Hi, count))
		if from < to {
			out = append(out, wire.Range{Lo: v.snap.At(from).UID, Hi: v.snap.At(to - 1).UID})
		}
	}
	return out
}

// hasFlag makes the test for a flag or keyword, the tag's included.
func hasFlag(flag string) func(m store.Message) bool {
	switch bit := flagBit(flag); {
	case bit != 0:
		return func(m store.Message) bool { return m.Flags&bit != 0 }
	case isTagKeyword(flag):
		return func(m store.Message) bool { return strings.EqualFold(tagKeyword(m.Tag), flag) }
	}
	return func(m store.Message) bool {
		return slices.ContainsFunc(m.Keywords, func(k string) bool { return strings.EqualFold(k, flag) })
	}
}

// save keeps the result for "$". With MIN and MAX alone, only these are kept, and with
// PARTIAL that, too (RFC 9394 section 3.2).
func (s *Session) save(h *hits, r *command.Return) {
	s.sel.saved = wire.Set(h.uids).Resolve(0)
	page := r.Partial != (command.Partial{})
	if (page || (r.Min || r.Max) && !r.Count) && !r.All && h.count > 0 {
		kept := wire.Set(h.page(h.uids, r.Partial))
		if r.Min {
			kept = append(kept, wire.Range{Lo: h.first.UID, Hi: h.first.UID})
		}
		if r.Max {
			kept = append(kept, wire.Range{Lo: h.last.UID, Hi: h.last.UID})
		}
		s.sel.saved = kept.Resolve(0)
	}
}

func (s *Session) writeSearch(name string, c command.Search, h *hits) {
	s.w.Raw(name)
	for _, r := range h.numbers {
		for n := uint64(r.Lo); n <= uint64(r.Hi); n++ {
			s.w.Raw(" ")
			s.w.Num(n)
		}
	}
	if h.count > 0 && c.Key.Uses(command.ModSeqFrom) {
		s.w.Raw(" (MODSEQ " + strconv.FormatUint(h.modSeq, 10) + ")")
	}
	s.w.CRLF()
}

func (s *Session) writeESearch(tag string, c command.Search, h *hits, r command.Return) {
	if r.Data() == (command.Return{Save: true}) {
		return // RFC 5182 section 2.4
	}
	s.startESearch(tag, c.UID)
	s.writeFound(c, h, r)
}

// writeFound ends an ESEARCH response with what was found.
func (s *Session) writeFound(c command.Search, h *hits, r command.Return) {
	number := func(name string, n uint64) {
		s.w.Raw(" ", name, " ")
		s.w.Num(n)
	}
	found := h.count > 0
	if r.Min && found {
		number("MIN", uint64(h.minSeq))
	}
	if r.Max && found {
		number("MAX", uint64(h.maxSeq))
	}
	if r.All && found {
		s.w.Raw(" ALL ")
		s.w.Set(h.numbers)
	}
	if r.Partial != (command.Partial{}) {
		s.w.Raw(" PARTIAL (", r.Partial.String(), " ")
		if page := h.page(h.numbers, r.Partial); page != nil {
			s.w.Set(page)
		} else {
			s.w.Raw("NIL")
		}
		s.w.Raw(")")
	}
	if r.Count {
		number("COUNT", h.count)
	}
	if found && c.Key.Uses(command.ModSeqFrom) {
		if n := s.returnedModSeq(h, r); n > 0 {
			number("MODSEQ", n)
		}
	}
	s.w.CRLF()
}

// startESearch begins an ESEARCH response.
func (s *Session) startESearch(tag string, uid bool) {
	s.w.Raw("* ESEARCH (TAG ")
	s.w.String(tag)
	s.w.Raw(")")
	if uid {
		s.w.Raw(" UID")
	}
}

// returnedModSeq is the highest mod-sequence of the messages in the response (RFC
// 7162 section 3.1.10), 0 if there are none.
func (s *Session) returnedModSeq(h *hits, r command.Return) (highest uint64) {
	page := r.Partial != (command.Partial{})
	if r.All || r.Count || !r.Min && !r.Max && !page {
		return h.modSeq
	}
	if r.Min {
		highest = h.first.ModSeq
	}
	if r.Max {
		highest = max(highest, h.last.ModSeq)
	}
	snap := s.sel.view.snap
	_ = s.sel.view.byUID(h.page(h.uids, r.Partial)).each(func(at int) error {
		highest = max(highest, snap.At(at).ModSeq)
		return nil
	})
	return highest
}
