package session

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"

	"rtls/internal/imap/command"
	"rtls/store"
)

// tellList tells what has happened to the list of mailboxes (RFC 5465 sections 5.4 and
// 5.5), and follows those that are there now.
func (s *Session) tellList(ctx context.Context) error {
	n := s.notify
	infos, err := s.account.Mailboxes(ctx)
	if err != nil {
		return err
	}
	if n.list != nil {
		before := n.list
		n.list = listOf(infos)
		s.tellNames(before, infos)
	}
	fresh, err := s.follow(n, infos)
	if err != nil {
		return err
	}
	return s.lookAtAll(ctx, n, fresh, false, new(atomic.Int64))
}

// tellNames tells how a list differs from what it was before.
func (s *Session) tellNames(before map[string]store.MailboxInfo, infos []store.MailboxInfo) {
	n := s.notify
	had := make(map[string]string) // names that are gone, by the identifier of the mailbox
	for name, old := range before {
		if old.Exists && old.ObjectID != "" && !n.list[name].Exists {
			had[old.ObjectID] = name
		}
	}
	renamed := make(map[string]bool)
	for _, e := range withParents(infos) {
		info, listed := n.list[e.Name]
		if !listed {
			continue // a level of the hierarchy
		}
		old := before[e.Name]
		wanted := s.events(n, info)
		switch {
		case wanted&command.MailboxName != 0 && info.Exists && (!old.Exists || old.ObjectID != info.ObjectID && old.ObjectID != ""):
			oldName := had[info.ObjectID]
			if s.events(n, before[oldName])&command.MailboxName == 0 {
				oldName = ""
			}
			renamed[oldName] = true
			s.writeListed(e, oldName)
		case wanted&command.SubscriptionChange != 0 && info.Subscribed != old.Subscribed:
			s.writeListed(e, "")
		case wanted&command.MailboxName != 0 && old.Exists && !info.Exists:
			s.writeListed(e, "") // only its subscription is left
		}
	}
	s.tellRemoved(before, renamed)
}

// tellRemoved tells of names that are not in the list any more.
func (s *Session) tellRemoved(before map[string]store.MailboxInfo, renamed map[string]bool) {
	n := s.notify
	var gone []string
	for name, old := range before {
		if _, still := n.list[name]; still || renamed[name] {
			continue
		}
		events := s.events(n, old)
		if old.Exists && events&command.MailboxName != 0 || old.Subscribed && events&command.SubscriptionChange != 0 {
			gone = append(gone, name)
		}
	}
	slices.Sort(gone)
	for _, name := range gone {
		s.writeListed(entry{MailboxInfo: store.MailboxInfo{Name: name}}, "")
	}
}

// writeListed writes a LIST response that nobody has asked for just now. oldName is the
// name that the mailbox had, or empty.
func (s *Session) writeListed(e entry, oldName string) {
	s.w.Raw("* LIST (", strings.Join(attributes(e, command.List{ReturnSubscribed: true}), " "), `) "/" `)
	s.w.Mailbox(e.Name)
	if oldName != "" {
		s.w.Raw(` ("OLDNAME" (`)
		s.w.Mailbox(oldName)
		s.w.Raw("))")
	}
	s.w.CRLF()
}

// ownList notes changes to the list that this client has made: it knows of them (RFC
// 5465 section 5).
func (s *Session) ownList(ctx context.Context, cmd command.Command) {
	if s.notify == nil || s.notify.list == nil {
		return
	}
	var own func(name string) bool
	switch c := cmd.(type) {
	case command.Create:
		own = func(name string) bool { return isWithin(name, c.Mailbox) }
	case command.Delete:
		own = func(name string) bool { return name == trimSeparator(c.Mailbox) }
	case command.Subscribe:
		own = func(name string) bool { return name == trimSeparator(c.Mailbox) }
	case command.Rename:
		own = func(name string) bool {
			return isWithin(c.From, name) || isWithin(c.To, name) || isWithin(name, c.To)
		}
	default:
		return
	}
	infos, err := s.account.Mailboxes(ctx)
	if err != nil {
		return // it is told as news
	}
	list := s.notify.list
	for name := range list {
		if own(name) {
			delete(list, name)
		}
	}
	for _, info := range infos {
		if own(info.Name) {
			list[info.Name] = info
		}
	}
}

// isWithin reports whether a mailbox is top of, or the same as, one below it.
func isWithin(top, below string) bool {
	top, below = trimSeparator(top), trimSeparator(below)
	return top == below || strings.HasPrefix(below, top+separator)
}
