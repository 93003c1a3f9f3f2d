package server

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"rtls/internal/cli"
	"rtls/internal/imap/fulltext"
	"rtls/internal/imap/session"
	"rtls/store"
)

// accounts are the open accounts, one for all sessions of a user.
type accounts struct {
	open  func(ctx context.Context, user string) (*store.Account, error)
	texts func(user string) bool // who has an index of texts; nil: nobody
	turns *fulltext.Turns
	most  int // sessions of a user
	log   *slog.Logger

	mu    sync.Mutex // guards what follows
	users map[string]*shared
}

// shared is an account that is open, or about to be.
type shared struct {
	done    chan struct{} // closed when the fields below are set
	account *store.Account
	text    *fulltext.Keeper // nil: there is no index of texts
	err     error

	sessions int // guarded by accounts.mu
}

// get opens an account, or joins those who have it open. Release has to be called
// once.
func (a *accounts) get(ctx context.Context, user string) (session.Opened, error) {
	a.mu.Lock()
	s, found := a.users[user]
	if !found {
		s = &shared{done: make(chan struct{})}
		a.users[user] = s
	}
	if s.sessions >= a.most {
		a.mu.Unlock()
		return session.Opened{}, session.ErrTooMany
	}
	s.sessions++
	a.mu.Unlock()

	if !found {
		s.fill(func() error { return a.fill(ctx, user, s) })
	}
	<-s.done
	if s.err != nil {
		a.release(user, s)
		return session.Opened{}, s.err
	}
	return session.Opened{Account: s.account, Text: s.text, Release: func() { a.release(user, s) }}, nil
}

// fill has the account opened or sets the error, also when open panics: others wait.
func (s *shared) fill(open func() error) {
	defer close(s.done)
	s.err = errors.New("account was not opened")
	s.err = open()
}

func (a *accounts) fill(ctx context.Context, user string, s *shared) (err error) {
	if s.account, err = a.open(ctx, user); err != nil {
		return err
	}
	if a.texts != nil && a.texts(user) {
		s.text = fulltext.New(s.account, a.log.With("user", cli.Printable(user))).Keep(a.turns)
	}
	return nil
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
	if s.text != nil {
		s.text.Close()
	}
	if err := s.account.Close(); err != nil {
		a.log.Warn("close account", "user", user, "err", err)
	}
}
