package session

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"rtls/internal/imap/command"
	"rtls/internal/imap/wire"
)

// idle is IDLE (RFC 2177). This goroutine waits for the client's DONE; the other
// one, until then, has the writer and the view.
func (s *Session) idle(ctx context.Context) error {
	s.w.Line("+ idling") // push sends it, with what there is to tell already
	var line string
	err, pushErr := s.attend(ctx, true, func() (err error) {
		line, err = s.lex.Line()
		return err
	})
	switch {
	case pushErr != nil:
		return fatal{pushErr}
	case err != nil:
		return s.readError(err)
	case !strings.EqualFold(line, "DONE"):
		return wire.Syntaxf("expected DONE")
	}
	s.ok("", "IDLE completed")
	return nil
}

// nextLine reads the first line of a command. A client that has asked for it with
// NOTIFY is told news meanwhile.
func (s *Session) nextLine(ctx context.Context) error {
	if !s.pushes() || s.lex.Buffered() > 0 {
		s.await()
		return s.awaited(s.lex.Next())
	}
	if err := s.w.Flush(); err != nil {
		return err
	}
	err, pushErr := s.attend(ctx, false, s.lex.Next)
	if pushErr != nil {
		return pushErr
	}
	return err
}

// pushes reports whether the client may have to be told something while it says nothing.
func (s *Session) pushes() bool {
	n := s.notify
	return n != nil && (n.following != nil || s.sel != nil && n.selected.Events != 0)
}

// attend waits for the client. Until it has spoken, another goroutine has the writer
// and the view, and tells news. Either error ends the connection.
func (s *Session) attend(life context.Context, idle bool, wait func() error) (err, pushErr error) {
	ctx, cancel := context.WithCancel(life)
	defer cancel()
	pushed := make(chan error, 1)
	fresh := s.watchSelected(life) || idle
	s.idling = true
	go func() { pushed <- s.push(ctx, idle, fresh) }() // waited for below, in any case
	s.await()
	err = s.awaited(wait())
	cancel()
	pushErr = <-pushed
	s.idling = false
	if s.sel != nil && s.notify == nil {
		s.sel.stopWatching()
	}
	return err, pushErr
}

// watchSelected has changes of the selected mailbox reported, if the client is to be
// told. With NOTIFY that goes on for as long as the mailbox is selected. It says
// whether there may be some already.
func (s *Session) watchSelected(ctx context.Context) (fresh bool) {
	switch {
	case s.sel == nil:
		return false
	case !s.pushesNews():
		s.sel.stopWatching()
		return false
	case s.sel.watch != nil:
		return s.sel.unseen
	}
	ctx, s.sel.unwatch = context.WithCancel(ctx)
	s.sel.watch = s.sel.box.Watch(ctx)
	return true
}

func (sel *selected) stopWatching() {
	if sel.watch != nil {
		sel.unwatch()
		sel.watch, sel.unwatch = nil, nil
	}
}

// push tells news as they come, until ctx ends: under IDLE, or else what the client has
// asked for with NOTIFY. With fresh there may be some already: they go out together with
// what is waiting to be sent, as Thunderbird does not notice what comes within the
// millisecond after "+ idling". When it fails, it makes the other goroutine stop
// waiting, too.
func (s *Session) push(ctx context.Context, idle, fresh bool) (err error) {
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("panic", "value", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", v)
		}
		if err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.cut = true
			_ = s.conn.SetReadDeadline(time.Unix(1, 0))
		}
	}()
	var news, annotations, followed <-chan struct{}
	if s.sel != nil && s.sel.watch != nil {
		news = s.sel.watch
		if fresh || len(s.sel.view.gone) > 0 {
			if err := s.pushNews(ctx, idle); err != nil {
				return err
			}
		}
	}
	if s.enabled.metadata || s.notify != nil && s.notify.wants(command.MailboxMetadataChange|command.ServerMetadataChange) {
		annotations = s.account.WatchMetadata(ctx)
		s.tellMetadata() // as above
	}
	if err := s.w.Flush(); err != nil {
		return err
	}
	if s.notify != nil && s.notify.following != nil {
		followed = s.notify.following.C
	}
	var alive <-chan time.Time
	if idle {
		ticker := time.NewTicker(s.cfg.KeepAlive)
		defer ticker.Stop()
		alive = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-news:
			if !ok {
				return nil // the session has ended
			}
			err = s.pushNews(ctx, idle)
		case <-annotations:
			s.tellMetadata()
		case <-followed:
			if err = s.tellFollowed(ctx); err != nil {
				err = s.followTrouble(ctx, err)
			}
			if s.notify.following == nil {
				news, followed = nil, nil // it was too much
			}
		case <-alive:
			s.w.Status("*", "OK", "", "still here")
		}
		if err == nil {
			err = s.w.Flush()
		}
		if err != nil {
			return err
		}
	}
}

// pushesNews reports whether the client wants to be told of the selected mailbox while
// it says nothing: under IDLE it is what NOTIFY says, too (RFC 5465 section 4).
func (s *Session) pushesNews() bool { return s.notify == nil || s.notify.selected.Events != 0 }

// followTrouble logs why other mailboxes cannot be looked at now. They will be when
// something happens again.
func (s *Session) followTrouble(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		s.log.Warn("look at mailboxes", "err", err)
	}
	return nil
}

// pushNews tells news of the selected mailbox. That a message is gone is told amid no
// command only to a client that wants that (RFC 5465 section 6.1).
func (s *Session) pushNews(ctx context.Context, idle bool) error {
	next, err := s.sync(ctx)
	s.sel.unseen = ctx.Err() != nil
	if err == nil {
		err = s.advance(ctx, next, idle || s.notify.selected.Kind == command.SelectedNow)
	}
	if f, ok := errors.AsType[fatal](err); ok {
		return f.err
	}
	return err
}
