package session

import (
	"context"
	"errors"
	"io"
	"slices"

	"rtls/internal/imap/command"
	"rtls/internal/imap/search"
	"rtls/internal/imap/wire"
	"rtls/internal/mimetree"
	"rtls/store"
)

// fetcher is one FETCH or UID FETCH.
type fetcher struct {
	s     *Session
	items []item
	need  need
	wants mimetree.Want // of summaries
	reads bool          // some of the items are sections of messages
	marks bool          // messages become \Seen
	since uint64
	known *summaries // nil if none are needed

	buf     []byte // for what is sent of messages
	m       message
	values  []value // of its items
	changed []bool  // which messages of a batch have become \Seen

	gone       bool // a message that was named by sequence number is gone
	failed     bool // a message could not be read
	unknownCTE bool
}

// need says how much of a message the items want.
type need uint8

const (
	needMeta    need = iota
	needContent      // the file
	needSummary      // what is said of it
)

// item is what is asked for of each message.
type item struct {
	command.Item
	name   string
	common mimetree.FieldSet // the fields of a section that summaries answer; else none
}

func (s *Session) fetch(ctx context.Context, c command.Fetch) error {
	if c.Vanished && !s.enabled.qResync {
		return wire.Syntaxf("QRESYNC was not enabled")
	}
	t, err := s.targets(c.Set, c.UID)
	if err != nil {
		return err
	}
	f := s.newFetcher(c)
	if f.asks(command.ModSeq) {
		s.enableCondStore()
	}
	if c.Vanished {
		if err := s.fetchVanished(ctx, c); err != nil {
			return err
		}
	}
	if c.Partial != (command.Partial{}) {
		t = t.page(c.Partial)
	}
	f.gone = t.gone
	if f.need == needSummary {
		f.known = s.summaries(f.wants)
		defer f.known.flush(ctx)
	}
	err = f.all(ctx, t)
	switch {
	case err != nil:
		return err
	case f.failed:
		return refuse("UNAVAILABLE", "some of the messages cannot be read now")
	case f.gone && !c.UID:
		return errSomeGone
	case f.unknownCTE:
		return refuse("UNKNOWN-CTE", "a part has a transfer encoding that is not known")
	}
	return nil
}

func (s *Session) newFetcher(c command.Fetch) *fetcher {
	f := &fetcher{s: s, since: c.ChangedSince}
	for _, i := range c.Items {
		f.add(i)
	}
	if c.UID && !s.enabled.uidOnly && !f.asks(command.UID) {
		f.add(command.Item{Kind: command.UID})
		last := len(f.items) - 1
		f.items = slices.Insert(f.items[:last], 0, f.items[last])
	}
	if c.Changed && !f.asks(command.ModSeq) {
		f.add(command.Item{Kind: command.ModSeq})
	}
	return f
}

func (f *fetcher) add(i command.Item) {
	item := item{Item: i, name: i.Name()}
	if i.Kind == command.BodySection && asksForCommon(i.Section) {
		item.common = mimetree.CommonFields(i.Section.Fields...)
	}
	f.items = append(f.items, item)
	need, wants := needs(item)
	f.need, f.wants = max(f.need, need), f.wants|wants
	f.reads = f.reads || isSection(i.Kind)
	f.marks = f.marks || i.SetsSeen() && !f.s.sel.readOnly
}

func (f *fetcher) asks(kind command.ItemKind) bool {
	return slices.ContainsFunc(f.items, func(i item) bool { return i.Kind == kind })
}

// isSection says whether an item's value has to be prepared; see fetcher.value.
func isSection(kind command.ItemKind) bool {
	switch kind {
	case command.RFC822, command.RFC822Header, command.RFC822Text,
		command.BodySection, command.Binary, command.BinarySize, command.Preview:
		return true
	}
	return false
}

func needs(item item) (need, mimetree.Want) {
	switch item.Kind {
	case command.BodyStructure:
		return needSummary, mimetree.WantStructure
	case command.Body:
		return needSummary, mimetree.WantTree
	case command.BodySection, command.Binary, command.BinarySize:
		if len(item.Section.Part) > 0 {
			return needSummary, mimetree.WantTree
		}
		if item.common != 0 {
			return needSummary, 0
		}
		return needContent, 0
	case command.Preview:
		if !item.Lazy {
			return needSummary, mimetree.WantTree
		}
	case command.Envelope:
		return needSummary, mimetree.WantEnvelope
	case command.ThreadID:
		return needSummary, 0
	case command.RFC822, command.RFC822Header, command.RFC822Text:
		return needContent, 0
	}
	return needMeta, 0
}

// fetchVanished is the VANISHED modifier (RFC 7162 section 3.2.6).
func (s *Session) fetchVanished(ctx context.Context, c command.Fetch) error {
	vanished, err := s.vanished(ctx, c.ChangedSince, 0)
	if err != nil {
		return err
	}
	among := s.sel.saved
	if !c.Set.Saved {
		among = c.Set.Set.Resolve(max(s.sel.view.topUID(), s.sel.view.snap.UIDNext()-1))
	}
	s.writeEarlier(wire.Intersect(vanished, among))
	return nil
}

// page leaves a page of the targets (RFC 9394 section 3.3). CHANGEDSINCE chooses among
// those that are on it (section 3.4).
func (t targets) page(p command.Partial) targets {
	n := 0
	for _, s := range t.spans {
		n += s.to - s.from
	}
	from, to := p.Of(n)
	page := targets{gone: t.gone}
	for _, s := range t.spans {
		page.add(max(s.from, s.from+from), min(s.to, s.from+to))
		from, to = from-(s.to-s.from), to-(s.to-s.from)
	}
	return page
}

// Messages are marked as \Seen some at a time, right before they are sent: one by
// one would be slow, and all at once would mark those that a client which goes
// away never gets.
const markOctets = 1 << 20

// all sends the targets in batches.
func (f *fetcher) all(ctx context.Context, t targets) error {
	v := &f.s.sel.view
	var batch []int
	var messages []store.Message // at these places
	var octets int64
	err := t.each(func(at int) error {
		m := v.snap.At(at)
		if m.ModSeq <= f.since {
			return nil
		}
		batch, messages, octets = append(batch, at), append(messages, m), octets+m.Size
		if len(batch) < summaryBatch && (!f.marks || octets < markOctets) {
			return nil
		}
		err := f.batch(ctx, batch, messages)
		batch, messages, octets = batch[:0], messages[:0], 0
		return err
	})
	if err != nil {
		return err
	}
	return f.batch(ctx, batch, messages)
}

func (f *fetcher) batch(ctx context.Context, batch []int, messages []store.Message) error {
	s := f.s
	v := &s.sel.view
	f.changed = slices.Grow(f.changed[:0], len(batch))[:len(batch)]
	clear(f.changed)
	if f.marks {
		f.mark(ctx, messages, f.changed)
	}
	one := func(i int, found outcome, content *store.Content) error {
		if f.changed[i] {
			s.announceKeywords(messages[i].Keywords)
		}
		f.m = message{Message: messages[i], ctx: ctx, box: s.sel.box, sum: found, content: content, header: -1}
		return f.one(ctx, v.seq(batch[i]), &f.m, f.changed[i])
	}
	if f.known != nil {
		return f.known.each(ctx, messages, func(i int, found outcome) error { return one(i, found, nil) })
	}
	var ahead *ahead
	if f.need == needContent && len(messages) > 1 {
		ahead = readAhead(ctx, s.sel.box, messages)
		defer ahead.stopped()
	}
	for i := range messages {
		var content *store.Content
		if ahead != nil {
			content = <-ahead.next
		}
		if err := one(i, outcome{}, content); err != nil {
			return err
		}
	}
	return nil
}

// mark marks messages as \Seen and notes which have changed by that.
func (f *fetcher) mark(ctx context.Context, messages []store.Message, changed []bool) {
	s := f.s
	var unseen []uint32
	for _, m := range messages {
		if m.Flags&store.Seen == 0 {
			unseen = append(unseen, m.UID)
		}
	}
	if len(unseen) == 0 {
		return
	}
	if _, err := s.sel.box.SetFlags(ctx, store.FlagChange{UIDs: unseen, Flags: store.Seen}); err != nil {
		s.log.Warn("mark as seen", "mailbox", s.sel.box.Name(), "err", err) // mail can be read on a full disk
	}
	next := s.sel.box.Snapshot()
	for i, m := range messages {
		if at, ok := next.Find(m.UID); ok {
			messages[i] = next.At(at)
			changed[i] = messages[i].ModSeq != m.ModSeq
		}
	}
}

// message is a message that is being fetched.
type message struct {
	store.Message
	ctx     context.Context // for one call of fetcher.one
	box     *store.Mailbox
	sum     outcome        // empty if none is needed
	content *store.Content // nil before open
	header  int64          // octets of the header; -1 if not known yet
}

// one sends what was asked for of one message. Everything that can fail is done
// before the response begins.
func (f *fetcher) one(ctx context.Context, seq uint32, m *message, changed bool) error {
	defer m.close()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := f.s.w.Err(); err != nil {
		return fatal{err}
	}
	err := m.sum.err
	f.values = f.values[:0]
	if err == nil && f.reads {
		err = f.prepare(m)
	}
	if errors.Is(err, store.ErrNoMessage) {
		f.gone = true
		return nil
	}
	if err != nil {
		f.s.log.Error("read message", "mailbox", f.s.sel.box.Name(), "uid", m.UID, "err", err)
		f.failed = true
		return nil
	}
	return f.write(seq, m, changed)
}

// open opens the message's file when its octets are first needed. If it is not the
// one that the summary is of, another is made.
func (m *message) open() (err error) {
	if m.content != nil {
		return nil
	}
	if m.content, err = m.box.Open(m.ctx, m.UID); err != nil {
		return err
	}
	if size := m.content.Size(); m.sum.Summary != nil && (m.sum.Size != size || m.sum.stamp != m.content.Stamp()) {
		m.sum.stamp = m.content.Stamp()
		m.sum.Summary, err = new(mimetree.Summarizer).Summarize(m.reader(0, size), size, true)
	}
	return err
}

func (m *message) close() {
	if m.content != nil {
		m.content.Close()
	}
}

func (m *message) reader(from, to int64) *io.SectionReader {
	return section(m.content, mimetree.Span{Start: from, End: to})
}

func section(content *store.Content, span mimetree.Span) *io.SectionReader {
	return io.NewSectionReader(content, span.Start, span.Size())
}

// prepare finds the values of the items; those of what is no section are empty.
func (f *fetcher) prepare(m *message) error {
	for _, item := range f.items {
		v, err := f.value(m, item)
		if err != nil {
			return err
		}
		f.unknownCTE = f.unknownCTE || v.unknownCTE
		f.values = append(f.values, v)
	}
	return nil
}

// write writes the response.
func (f *fetcher) write(seq uint32, m *message, changed bool) error {
	s := f.s
	s.startFetch(seq, m.Message)
	flags := false
	for i := range f.items {
		item, v := &f.items[i], &value{}
		if f.reads {
			v = &f.values[i]
		}
		flags = flags || item.Kind == command.Flags
		if err := f.writeItem(m, item, v); err != nil {
			return fatal{err} // inside of a literal nothing can be explained
		}
	}
	if changed && s.enabled.condStore && !s.enabled.uidOnly && !f.asks(command.UID) {
		s.item("UID") // RFC 7162 section 3.2.4
		s.w.Num(uint64(m.UID))
	}
	if changed && !flags {
		s.item("FLAGS")
		s.writeFlags(m.Message)
	}
	if changed && s.enabled.condStore && !f.asks(command.ModSeq) {
		s.writeModSeq(m.Message)
	}
	if changed {
		s.sel.told(m.Message)
	}
	s.w.Line(")")
	return nil
}

func (f *fetcher) writeItem(m *message, item *item, v *value) error {
	s := f.s
	switch item.Kind {
	case command.Flags:
		s.item("FLAGS")
		s.writeFlags(m.Message)
	case command.UID:
		s.item("UID")
		s.w.Num(uint64(m.UID))
	case command.InternalDate:
		s.item("INTERNALDATE")
		s.w.Raw(`"`, m.InternalDate().Format(command.DateTimeLayout), `"`)
	case command.SaveDate:
		s.item("SAVEDATE")
		s.w.Raw(`"`, m.Saved().Format(command.DateTimeLayout), `"`)
	case command.Size:
		s.item("RFC822.SIZE")
		s.w.Num(uint64(m.Size))
	case command.ModSeq:
		s.writeModSeq(m.Message)
	case command.EmailID:
		s.item("EMAILID")
		s.w.Raw("(", m.ObjectID(), ")")
	case command.ThreadID:
		s.item("THREADID")
		s.w.Raw("(", search.ThreadID(m.Message, m.sum.Summary), ")")
	case command.Envelope:
		s.item("ENVELOPE")
		s.describer().envelope(m.sum.Envelope)
	case command.Body:
		s.item("BODY")
		s.describer().structure(m.sum.Root, false)
	case command.BodyStructure:
		s.item("BODYSTRUCTURE")
		if m.sum.Structure != "" {
			s.w.Raw(m.sum.Structure)
		} else {
			s.describer().structure(m.sum.Root, true)
		}
	case command.Preview:
		s.item("PREVIEW")
		if item.Lazy {
			s.w.Raw("NIL")
		} else {
			s.w.String(v.preview)
		}
	case command.BinarySize:
		if !v.unknownCTE {
			s.item(item.name)
			s.w.Num(uint64(v.size))
		}
	default:
		if v.unknownCTE {
			return nil
		}
		s.item(item.name)
		return f.writeValue(m, *v)
	}
	return nil
}
