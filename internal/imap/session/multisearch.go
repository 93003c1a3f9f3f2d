package session

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"

	"rtls/internal/imap/command"
	"rtls/internal/imap/wire"
	"rtls/internal/mimetree"
	"rtls/store"
)

// multiSearch is ESEARCH (RFC 7377): a search in many mailboxes, one after the other,
// so that no more than one of them, and what was found in it, is in memory because
// of it. A mailbox in which nothing is found is not mentioned. Only what was found in
// the selected mailbox can be kept up to date (RFC 7377 section 2.2).
func (s *Session) multiSearch(ctx context.Context, tag string, c command.MultiSearch) error {
	if c.Sources == nil {
		c.Sources = []command.Filter{{Kind: command.SelectedNow}}
	}
	if c.Return == nil {
		c.Return = &command.Return{All: true}
	}
	isSelected := func(f command.Filter) bool { return f.Kind == command.SelectedNow }
	onlySelected := !slices.ContainsFunc(c.Sources, func(f command.Filter) bool { return !isSelected(f) })
	switch { // RFC 7377 section 2.2
	case s.sel == nil && (slices.ContainsFunc(c.Sources, isSelected) || c.Return.Update != nil):
		return wire.Syntaxf("no mailbox is selected")
	case c.Return.Save && !onlySelected:
		return wire.Syntaxf("SAVE takes the source option selected, and no other")
	}
	names, err := s.meant(ctx, c.Sources)
	if err != nil {
		return err
	}
	if usesSaved(c.Key) && !(s.sel != nil && len(names) == 1 && names[0] == s.sel.box.Name()) {
		return refuse("", "the saved result is of the selected mailbox alone")
	}
	if err := s.freeTag(tag, c.Search); err != nil {
		return err
	}
	if c.Key.Uses(command.ModSeqFrom) {
		s.enableCondStore()
	}
	var inSelected *hits
	err = s.long(0, func(*atomic.Int64) error {
		for _, name := range names {
			h, err := s.searchIn(ctx, tag, name, c)
			if err != nil && !errors.Is(err, store.ErrNoMailbox) {
				return err
			}
			if s.sel != nil && name == s.sel.box.Name() {
				inSelected = h
			}
		}
		return nil
	})
	if err != nil || c.Return.Update == nil {
		return err
	}
	if inSelected == nil {
		s.refuseUpdate(tag, "the selected mailbox is not among those that were searched")
		return nil
	}
	s.keepUpdated(c.Search, inSelected, &update{tag: tag, multi: true})
	return nil
}

// usesSaved says whether a key holds "$".
func usesSaved(k command.Key) bool {
	return k.Set.Saved || slices.ContainsFunc(k.Keys, usesSaved)
}

// meant lists the mailboxes that filters mean, each once.
func (s *Session) meant(ctx context.Context, filters []command.Filter) (names []string, err error) {
	infos, err := s.account.Mailboxes(ctx)
	if err != nil {
		return nil, err
	}
	for _, info := range infos {
		if info.Exists && slices.ContainsFunc(filters, func(f command.Filter) bool { return s.means(f, info) }) {
			names = append(names, info.Name)
		}
	}
	return names, nil
}

// means reports whether a filter means a mailbox. Mail can be delivered to any of
// them, and so all are inboxes (RFC 5465 section 6.3).
func (s *Session) means(f command.Filter, info store.MailboxInfo) bool {
	switch f.Kind {
	case command.SelectedNow, command.SelectedDelayed:
		return s.sel != nil && s.sel.box.Name() == info.Name
	case command.Inboxes:
		return true
	case command.Subscribed:
		return info.Subscribed
	}
	return f.Means(info.Name)
}

// searchIn searches one mailbox and tells what is found.
func (s *Session) searchIn(ctx context.Context, tag, name string, c command.MultiSearch) (*hits, error) {
	h := &hits{}
	err := s.within(ctx, name, c.Key.Uses(command.Recent), func() error {
		err := s.saving(c.Search, h, func() error {
			return s.find(ctx, c.Search, false, func(at int, m store.Message, _ *mimetree.Summary) {
				h.add(m, s.sel.view.seq(at), true)
			})
		})
		if err != nil || h.count == 0 || c.Return.Data() == (command.Return{Save: true}) {
			return err
		}
		s.speak(func() {
			s.startESearchIn(tag)
			s.writeFound(c.Search, h, *c.Return)
			err = s.w.Err()
		})
		if err != nil {
			return fatal{err}
		}
		return nil
	})
	return h, err
}

// startESearchIn begins an ESEARCH response to the command of that name.
func (s *Session) startESearchIn(tag string) {
	s.w.Raw("* ESEARCH (TAG ")
	s.w.String(tag)
	s.w.Raw(" MAILBOX ")
	s.w.Mailbox(s.sel.box.Name())
	s.w.Raw(" UIDVALIDITY ", strconv.FormatUint(uint64(s.sel.view.snap.UIDValidity()), 10), ") UID")
}

// within runs f with a mailbox in place of the selected one: as the client knows it
// if it is that, else as it is now.
func (s *Session) within(ctx context.Context, name string, recent bool, f func() error) error {
	if s.sel != nil && s.sel.box.Name() == name {
		return f()
	}
	box, err := s.account.Mailbox(ctx, name)
	if err != nil {
		return err
	}
	before := s.sel
	s.sel = &selected{box: box, readOnly: true, passing: true}
	s.sel.view.snap = box.Snapshot()
	defer func() {
		s.unselect()
		s.sel = before
	}()
	if recent {
		if err := s.lookAtRecent(ctx, name); err != nil {
			return err
		}
	}
	return f()
}
