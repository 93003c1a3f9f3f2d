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
	s.w.Line("+ idling")
	if err := s.w.Flush(); err != nil {
		return fatal{err}
	}
	ctx, cancel := context.WithCancel(ctx)
	pushed := make(chan error, 1)
	go func() { pushed <- s.push(ctx) }() // waited for below, in any case
	s.idling = true
	s.await()
	line, err := s.lex.Line()
	err = s.awaited(err)
	cancel()
	pushErr := <-pushed
	s.idling = false
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

// push tells news as they come, until ctx ends. When it fails, it makes the other
// goroutine stop waiting, too.
func (s *Session) push(ctx context.Context) (err error) {
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
	var news <-chan struct{}
	if s.sel != nil {
		news = s.sel.box.Watch(ctx)
		// What happened before the watch began is told right away.
		if err := s.pushNews(ctx); err != nil {
			return err
		}
	}
	var annotations <-chan struct{}
	if s.enabled.metadata {
		annotations = s.account.WatchMetadata(ctx)
		s.tellMetadata() // as above
		if err := s.w.Flush(); err != nil {
			return err
		}
	}
	alive := time.NewTicker(s.cfg.KeepAlive)
	defer alive.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-news:
			if !ok {
				return nil // ctx has ended
			}
			if err := s.pushNews(ctx); err != nil {
				return err
			}
		case <-annotations:
			s.tellMetadata()
			if err := s.w.Flush(); err != nil {
				return err
			}
		case <-alive.C:
			s.w.Status("*", "OK", "", "still here")
			if err := s.w.Flush(); err != nil {
				return err
			}
		}
	}
}

func (s *Session) pushNews(ctx context.Context) error {
	err := s.news(ctx, command.Idle{})
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = s.w.Flush()
	}
	if f, ok := errors.AsType[fatal](err); ok {
		return f.err
	}
	return err
}
