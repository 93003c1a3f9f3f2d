package session

import (
	"context"
	"slices"

	"rtls/internal/imap/command"
	"rtls/store"
)

func (s *Session) create(ctx context.Context, c command.Create) error {
	use := ""
	if len(c.Uses) > 0 {
		var known bool
		if use, known = store.SpecialUse(c.Uses[0]); !known || len(c.Uses) > 1 {
			return refuse("USEATTR", "a mailbox has one special use, and it is one of RFC 6154")
		}
	}
	name := trimSeparator(c.Mailbox)
	if err := s.account.CreateMailbox(ctx, name, use); err != nil {
		return err
	}
	status, err := s.account.Status(ctx, name)
	if err != nil {
		s.log.Warn("look at new mailbox", "mailbox", name, "err", err) // it is there all the same
		return nil
	}
	s.ok("MAILBOXID ("+mailboxID(status.ObjectID)+")", "CREATE completed")
	return nil
}

// mailboxID writes a mailbox's object identifier. The letter keeps it apart from
// those of messages and threads, and from numbers (RFC 8474 section 7).
func mailboxID(object string) string { return "F" + object }

// delete is DELETE. Of all sessions that have the mailbox selected this one alone
// knows why it is gone: it goes on without one, the others are sent away.
func (s *Session) delete(ctx context.Context, c command.Delete) error {
	name := trimSeparator(c.Mailbox)
	if err := s.account.DeleteMailbox(ctx, name); err != nil {
		return err
	}
	if s.sel != nil && s.sel.box.Name() == name {
		s.unselect()
		s.w.Status("*", "OK", "CLOSED", "the selected mailbox is deleted")
	}
	return nil
}

func (s *Session) status(ctx context.Context, c command.Status) error {
	if slices.Contains(c.Items, "HIGHESTMODSEQ") {
		s.enableCondStore()
	}
	name := trimSeparator(c.Mailbox)
	status, err := s.account.Status(ctx, name)
	if err != nil {
		return err
	}
	s.writeStatus(name, status, c.Items)
	return nil
}

func (s *Session) writeStatus(name string, status store.Status, items []string) {
	s.w.Raw("* STATUS ")
	s.w.Mailbox(name)
	sep := " ("
	for _, item := range items {
		s.w.Raw(sep, item, " ")
		sep = " "
		if item == "MAILBOXID" {
			s.w.Raw("(", mailboxID(status.ObjectID), ")")
			continue
		}
		s.w.Num(s.statusItem(status, item))
	}
	s.w.Line(")")
}

func (s *Session) statusItem(status store.Status, item string) uint64 {
	switch item {
	case "MESSAGES":
		return uint64(status.Messages)
	case "RECENT":
		return uint64(status.Recent)
	case "UIDNEXT":
		return uint64(status.UIDNext)
	case "UIDVALIDITY":
		return uint64(status.UIDValidity)
	case "UNSEEN":
		return uint64(status.Unseen)
	case "DELETED":
		return uint64(status.Deleted)
	case "DELETED-STORAGE": // the sum of RFC822.SIZE, in octets (RFC 9208 section 4.1.4)
		return uint64(status.DeletedSize)
	case "SIZE":
		return uint64(status.Size)
	case "HIGHESTMODSEQ":
		return status.HighestModSeq
	}
	return uint64(s.cfg.AppendLimit) // APPENDLIMIT, the only one that is left
}
