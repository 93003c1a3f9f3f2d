package session

import (
	"context"
	"slices"

	"rtls/internal/imap/command"
	"rtls/internal/imap/wire"
	"rtls/store"
)

var storeOps = [...]store.FlagOp{command.Replace: store.FlagsReplace, command.Add: store.FlagsAdd, command.Remove: store.FlagsRemove}

var errReadOnly = &refusal{"READ-ONLY", "mailbox is selected read-only"}

// store is STORE and UID STORE.
func (s *Session) store(ctx context.Context, c command.Store) error {
	if s.sel.readOnly {
		return errReadOnly
	}
	t, err := s.targets(c.Set, c.UID)
	if err != nil {
		return err
	}
	flags, plain, tags := s.sel.keywords.split(c.Flags)
	if len(tags) > 0 && c.Op != command.Replace {
		// Replacing is another matter: clients repeat what they were shown.
		return refuse("CANNOT", "%s is set by delivery and by nothing else", tags[0])
	}
	if c.Conditional {
		s.enableCondStore()
	}
	change := store.FlagChange{
		UIDs: t.uids(s.sel.view.snap), Op: storeOps[c.Op], Flags: flags, Keywords: plain,
		Conditional: c.Conditional, UnchangedSince: c.UnchangedSince,
	}
	var modified []uint32
	err = s.longChange(ctx, len(change.UIDs), func(ctx context.Context) (err error) {
		modified, err = s.sel.box.SetFlags(ctx, change)
		return err
	})
	if err != nil {
		return err
	}
	gone := s.stored(t, c, change, modified)
	switch {
	case len(modified) > 0:
		s.ok("MODIFIED "+string(wire.AppendSet(nil, s.numbers(modified, c.UID))), "some messages have changed and were left alone")
	case gone || t.gone:
		return errSomeGone
	}
	return nil
}

// numbers turns ascending UIDs into ranges of UIDs or of sequence numbers.
func (s *Session) numbers(uids []uint32, uid bool) []wire.Range {
	if uid {
		return wire.Ranges(uids)
	}
	var ranges []wire.Range
	for _, u := range uids {
		if at, ok := s.sel.view.snap.Find(u); ok {
			ranges = wire.AddNumber(ranges, s.sel.view.seq(at))
		}
	}
	return ranges
}

// stored tells the client the flags after a STORE. It reports whether messages
// are gone that the client named by sequence number.
func (s *Session) stored(t targets, c command.Store, change store.FlagChange, modified []uint32) (gone bool) {
	next := s.sel.box.Snapshot()
	if change.Op != store.FlagsRemove {
		s.announceKeywords(change.Keywords)
	}
	_ = t.each(func(at int) error {
		before := s.sel.view.snap.At(at)
		i, ok := next.Find(before.UID)
		if !ok {
			gone = gone || !c.UID
			return nil
		}
		after := next.At(i)
		_, failed := slices.BinarySearch(modified, before.UID)
		s.storedOne(s.sel.view.seq(at), before, after, c, change, failed)
		return nil
	})
	return gone
}

func (s *Session) storedOne(seq uint32, before, after store.Message, c command.Store, change store.FlagChange, failed bool) {
	show := state{uid: c.UID || s.enabled.condStore, flags: true, modSeq: s.enabled.condStore}
	if c.Silent && !failed {
		if !sameFlags(after, applied(change, before)) {
			return // somebody else has changed it, too: that is news
		}
		show.flags = false
		if !show.modSeq || after.ModSeq == before.ModSeq {
			s.sel.told(after)
			return
		}
	}
	s.writeState(seq, after, show)
	s.sel.told(after)
}

// applied is a message as the client expects it after its change.
func applied(c store.FlagChange, m store.Message) store.Message {
	switch c.Op {
	case store.FlagsAdd:
		m.Flags |= c.Flags
		m.Keywords = slices.Concat(m.Keywords, c.Keywords)
	case store.FlagsRemove:
		m.Flags &^= c.Flags
		m.Keywords = slices.DeleteFunc(slices.Clone(m.Keywords), func(k string) bool { return slices.Contains(c.Keywords, k) })
	default:
		m.Flags, m.Keywords = c.Flags, c.Keywords
	}
	m.Keywords = slices.Compact(slices.Sorted(slices.Values(m.Keywords)))
	return m
}

func sameFlags(a, b store.Message) bool {
	return a.Flags == b.Flags && slices.Equal(a.Keywords, b.Keywords)
}
