package server

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"rtls/internal/imap/session"
	"rtls/store"
)

// accounts are the open accounts, one for all sessions of a user.
type accounts struct {
	open func(ctx context.Context, user string) (*store.Account, error)
	most int // sessions of a user
	log  *slog.Logger

	mu    sync.Mutex // guards what follows
	users map[string]*shared
}

// shared is an account that is open, or about to be.
type shared struct {
	done    chan struct{} // closed when the fields below are set
	account *store.Account
	err     error

	sessions int // guarded by accounts.mu
}

// get opens an account, or joins those who have it open. release has to be called
// once.
func (a *accounts) get(ctx context.Context, user string) (account *store.Account, release func(), err error) {
	a.mu.Lock()
	s, found := a.users[user]
	if !found {
		s = &shared{done: make(chan struct{})}
		a.users[user] = s
	}
	if s.sessions >= a.most {
		a.mu.Unlock()
		return nil, nil, session.ErrTooMany
	}
	s.sessions++
	a.mu.Unlock()

	if !found {
		s.fill(func() (*store.Account, error) { return a.open(ctx, user) })
	}
	<-s.done
	if s.err != nil {
		a.release(user, s)
		return nil, nil, s.err
	}
	return s.account, func() { a.release(user, s) }, nil
}

// fill sets the account or the error, also when open panics: others wait.
func (s *shared) fill(open func() (*store.Account, error)) {
	defer close(s.done)
	s.err = errors.New("account was not opened")
	s.account, s.err = open()
}

func (a *accounts) release(user string, s *shared) {
	a.mu.Lock()
	s.sessions--
	last := s.sessions == 0
	if last && a.users[user] == s {
		delete(a.users, user)
	}
	a.mu.Unlock()
	if !last || s.account == nil {
		return
	}
	if err := s.account.Close(); err != nil {
		a.log.Warn("close account", "user", user, "err", err)
	}
}
