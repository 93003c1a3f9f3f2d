package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"

	"rtls/internal/imap/command"
	"rtls/store"
)

// notify is what a client has asked for with NOTIFY (RFC 5465). What it keeps of a
// mailbox is what STATUS says of it, and its name in the list.
type notify struct {
	groups    []command.EventGroup
	selected  command.EventGroup // no events: the client asks for news of the selected mailbox itself
	following *store.Following   // nil: of other mailboxes nothing is wanted
	boxes     map[string]standing
	list      map[string]store.MailboxInfo // as the client knows it; nil: it does not want to
}

// standing is how a mailbox was when the client was last told.
type standing struct {
	wanted                         command.Events
	messages, uidNext, uidValidity uint32
	modSeq                         uint64
}

// setNotify is NOTIFY. One that is refused leaves things as they were.
func (s *Session) setNotify(ctx context.Context, c command.Notify) error {
	if c.Unknown {
		return refuse("BADEVENT ("+strings.Join(command.EventNames[:], " ")+")", "an event is not known")
	}
	n := &notify{}
	for _, g := range c.Groups {
		if g.Kind == command.SelectedNow || g.Kind == command.SelectedDelayed {
			n.selected = g
		} else {
			n.groups = append(n.groups, g)
		}
	}
	if n.wants(^command.Events(0)) {
		n.following = s.account.Follow()
		if err := s.startFollowing(ctx, n, c.Status); err != nil {
			n.following.Close()
			return err
		}
	}
	s.endNotify()
	s.notify = n
	if !s.enabled.metadata {
		_, s.metadataSeq = s.account.MetadataChanges(^uint64(0))
	}
	return nil
}

// endNotify forgets what the client has asked for.
func (s *Session) endNotify() {
	if s.notify != nil && s.notify.following != nil {
		s.notify.following.Close()
	}
	s.notify = nil
}

// wants reports whether any mailbox has one of the events.
func (n *notify) wants(events command.Events) bool {
	return slices.ContainsFunc(n.groups, func(g command.EventGroup) bool { return g.Events&events != 0 })
}

// events are those that the client wants to know of a mailbox: those of all groups
// that mean it, up to one that says NONE (RFC 5465 section 5).
func (s *Session) events(n *notify, info store.MailboxInfo) (events command.Events) {
	for _, g := range n.groups {
		if !s.means(g.Filter, info) {
			continue
		}
		if g.Events == 0 {
			break
		}
		events |= g.Events
	}
	return events
}

// startFollowing finds out how things stand. With status the client is told.
func (s *Session) startFollowing(ctx context.Context, n *notify, status bool) error {
	infos, err := s.account.Mailboxes(ctx)
	if err != nil {
		return err
	}
	n.boxes = make(map[string]standing)
	if n.wants(command.MailboxName | command.SubscriptionChange | command.MailboxMetadataChange) {
		n.list = listOf(infos)
	}
	fresh, err := s.follow(n, infos)
	if err != nil {
		return err
	}
	return s.long(len(fresh), func(done *atomic.Int64) error { return s.lookAtAll(ctx, n, fresh, status, done) })
}

func listOf(infos []store.MailboxInfo) map[string]store.MailboxInfo {
	list := make(map[string]store.MailboxInfo, len(infos))
	for _, info := range infos {
		list[info.Name] = info
	}
	return list
}

// errFollowed is the answer to a client that wants to know too much.
var errFollowed = &refusal{"NOTIFICATIONOVERFLOW", "so many mailboxes are not followed, name some"}

// follow makes the mailboxes that are followed those of a list. It returns those that
// were not followed before: how they stand is not known yet.
func (s *Session) follow(n *notify, infos []store.MailboxInfo) (fresh []string, err error) {
	boxes := make(map[string]standing)
	var names []string
	for _, info := range infos {
		wanted := s.events(n, info) & command.MessageEvents
		if !info.Exists || wanted == 0 {
			continue
		}
		old, known := n.boxes[info.Name]
		if !known {
			fresh = append(fresh, info.Name)
		}
		old.wanted = wanted
		boxes[info.Name] = old
		names = append(names, info.Name)
	}
	if len(names) > s.cfg.MaxFollowed {
		return nil, errFollowed
	}
	n.following.Set(names) // before they are looked at: nothing is missed in between
	n.boxes = boxes
	return fresh, nil
}

// lookAtAll finds out how mailboxes stand, and counts them. With tell the client is
// told.
func (s *Session) lookAtAll(ctx context.Context, n *notify, names []string, tell bool, done *atomic.Int64) error {
	for _, name := range names {
		err := s.lookAt(ctx, n, name, tell)
		if errors.Is(err, store.ErrNoMailbox) {
			delete(n.boxes, name)
		} else if err != nil {
			return err
		}
		done.Add(1)
	}
	return nil
}

// lookAt finds out how a mailbox stands.
func (s *Session) lookAt(ctx context.Context, n *notify, name string, tell bool) error {
	status, err := s.account.Status(ctx, name)
	if err != nil {
		return err
	}
	now := n.boxes[name].after(status)
	n.boxes[name] = now
	if tell && !s.isSelected(name) {
		s.speak(func() { s.writeStatus(name, status, s.statusItems(now.wanted)) })
	}
	return nil
}

func (s *Session) isSelected(name string) bool { return s.sel != nil && s.sel.box.Name() == name }

// after is the standing that a status says.
func (b standing) after(status store.Status) standing {
	return standing{b.wanted, status.Messages, status.UIDNext, status.UIDValidity, status.HighestModSeq}
}

// happened says what can have happened between two standings.
func (b standing) happened(now standing) (events command.Events) {
	if now.uidValidity != b.uidValidity {
		return command.MessageEvents
	}
	came := now.uidNext - b.uidNext
	if came > 0 {
		events |= command.MessageNew
	}
	if b.messages+came > now.messages {
		events |= command.MessageExpunge
	}
	if now.modSeq != b.modSeq && events == 0 {
		events = command.FlagChange
	}
	return events
}

// statusItems are what is told of a mailbox (RFC 5465 sections 3.1 and 5.1 to 5.3).
func (s *Session) statusItems(wanted command.Events) []string {
	items := []string{"MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN"}
	if s.enabled.condStore || wanted&command.FlagChange != 0 {
		items = append(items, "HIGHESTMODSEQ")
	}
	return items
}

// tellFollowed tells what has happened to mailboxes that are not selected. What ctx
// cuts off is told later.
func (s *Session) tellFollowed(ctx context.Context) error {
	f := s.notify.following
	names, list := f.Changed()
	if list {
		err := s.tellList(ctx)
		if errors.Is(err, errFollowed) {
			s.endNotify()
			s.notify = &notify{} // as after NOTIFY NONE (RFC 5465 section 5.8)
			s.w.Status("*", "OK", errFollowed.code, errFollowed.text)
			return nil
		}
		if err != nil {
			f.Again(names, ctx.Err() != nil)
			return err
		}
	}
	slices.Sort(names)
	for i, name := range names {
		err := s.tellMailbox(ctx, name)
		if ctx.Err() != nil {
			f.Again(names[i:], false)
			return ctx.Err()
		}
		if err != nil && !errors.Is(err, store.ErrNoMailbox) {
			s.log.Warn("look at mailbox", "mailbox", name, "err", err)
		}
	}
	return nil
}

// tellMailbox tells what has happened to the messages of a mailbox. What happens in
// the selected one is news.
func (s *Session) tellMailbox(ctx context.Context, name string) error {
	n := s.notify
	before, ok := n.boxes[name]
	if !ok || s.isSelected(name) {
		return nil
	}
	status, err := s.account.Status(ctx, name)
	if err != nil {
		return err
	}
	now := before.after(status)
	n.boxes[name] = now
	if before.happened(now)&now.wanted != 0 {
		s.writeStatus(name, status, s.statusItems(now.wanted))
	}
	return nil
}

// ownMail notes messages that this client has put into a mailbox: it need not be told
// (RFC 5465 section 5). If there may be anything else it is told of all.
func (s *Session) ownMail(ctx context.Context, name string, messages uint32) {
	n := s.notify
	if n == nil || s.isSelected(name) {
		return
	}
	before, ok := n.boxes[name]
	if !ok {
		return
	}
	status, err := s.account.Status(ctx, name)
	if err != nil {
		return // the mailbox will be looked at
	}
	own := before
	own.messages += messages
	own.uidNext += messages
	own.modSeq++ // it was one change
	if now := before.after(status); now == own {
		n.boxes[name] = now
	}
}

// leaves notes how the selected mailbox stands for the client when that leaves it. It is
// told as of any other what it has not been told so far.
func (s *Session) leaves() {
	n, name := s.notify, s.sel.box.Name()
	if n == nil || s.sel.passing {
		return
	}
	b, ok := n.boxes[name]
	if !ok {
		return
	}
	v := &s.sel.view
	n.boxes[name] = standing{b.wanted, uint32(v.count()), v.snap.UIDNext(), v.snap.UIDValidity(), v.snap.HighestModSeq()}
	n.following.Again([]string{name}, false)
}

// tellsNews reports whether the client wants news of the selected mailbox right now: it
// does unless NOTIFY says otherwise. A command that asks for news, or that removes
// messages, is answered in any case.
func (s *Session) tellsNews(cmd command.Command) bool {
	if s.notify == nil || s.notify.selected.Events != 0 || asksForNews(cmd) {
		return true
	}
	switch c := cmd.(type) {
	case command.Expunge, *command.ReplaceMessage:
		return true
	case command.Copy:
		return c.Move
	}
	return false
}

// hidesFlags reports whether the client wants to know of messages that come and go,
// but not of flags that others change.
func (s *Session) hidesFlags() bool {
	return s.notify != nil && s.notify.selected.Events != 0 && s.notify.selected.Events&command.FlagChange == 0
}

// hearsMetadata reports whether the client wants to know of changed annotations: of the
// mailbox, or of the server if the name is empty.
func (s *Session) hearsMetadata(mailbox string) bool {
	n := s.notify
	switch {
	case s.enabled.metadata:
		return true
	case n == nil:
		return false
	case mailbox == "":
		return n.wants(command.ServerMetadataChange)
	}
	return s.events(n, n.list[mailbox])&command.MailboxMetadataChange != 0
}
