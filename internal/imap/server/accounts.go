package server

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"rtls/internal/cli"
	"rtls/internal/imap/fulltext"
	"rtls/internal/imap/session"
	"rtls/store"
)

// accounts are the open accounts, one for all sessions of a user. They stay open for
// a while after the last session: mail programs come back, and to open an account and
// a large mailbox takes longer than all the rest of a short session.
type accounts struct {
	open  func(ctx context.Context, user string) (*store.Account, error)
	texts func(user string) bool // who has an index of texts; nil: nobody
	turns *fulltext.Turns
	most  int           // sessions of a user
	keep  time.Duration // how long an account is kept that nobody uses
	log   *slog.Logger

	mu      sync.Mutex // guards what follows
	users   map[string]*shared
	kept    int // accounts that nobody uses
	closing sync.WaitGroup
}

// maxKept bounds the descriptors that are held for nobody.
const maxKept = 100

// shared is an account that is open, or about to be.
type shared struct {
	done    chan struct{} // closed when the fields below are set
	account *store.Account
	text    *fulltext.Keeper // nil: there is no index of texts
	err     error

	// Guarded by accounts.mu.
	sessions int
	end      *time.Timer // nil while there are sessions
}

// get opens an account, or joins those who have it open. Release has to be called
// once.
func (a *accounts) get(ctx context.Context, user string) (session.Opened, error) {
	for {
		s, fresh, err := a.join(ctx, user)
		if err != nil {
			return session.Opened{}, err
		}
		if fresh || s.account.Current() && a.hasTexts(user) == (s.text != nil) {
			return session.Opened{Account: s.account, Text: s.text, Release: func() { a.release(user, s) }}, nil
		}
		a.mu.Lock()
		if a.users[user] == s {
			delete(a.users, user)
		}
		a.mu.Unlock()
		a.release(user, s)
	}
}

// join counts one session more, and says whether it has opened the account. Without an
// error it has to be taken back with release.
func (a *accounts) join(ctx context.Context, user string) (s *shared, fresh bool, err error) {
	a.mu.Lock()
	s, found := a.users[user]
	if !found {
		s = &shared{done: make(chan struct{})}
		a.users[user] = s
	}
	if s.sessions >= a.most {
		a.mu.Unlock()
		return nil, false, session.ErrTooMany
	}
	s.sessions++
	if s.end != nil {
		s.end.Stop() // if it is too late for that, drop sees that there is a session
		s.end = nil
		a.kept--
	}
	a.mu.Unlock()

	if !found {
		s.fill(func() error { return a.fill(ctx, user, s) })
	}
	<-s.done
	if s.err != nil {
		a.release(user, s)
		return nil, false, s.err
	}
	return s, !found, nil
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
	if a.hasTexts(user) {
		s.text = fulltext.New(s.account, a.log.With("user", cli.Printable(user))).Keep(a.turns)
	}
	return nil
}

func (a *accounts) hasTexts(user string) bool { return a.texts != nil && a.texts(user) }

// release counts one session less. After the last one the account is kept, or closed
// if it is of no use any more.
func (a *accounts) release(user string, s *shared) {
	a.mu.Lock()
	s.sessions--
	switch {
	case s.sessions > 0:
		a.mu.Unlock()
	case s.err == nil && a.users[user] == s && a.kept < maxKept && a.keep > 0:
		a.kept++
		s.end = time.AfterFunc(a.keep, func() { a.drop(user, s) }) // shut waits for it
		a.mu.Unlock()
	default:
		a.closeUnlock(user, s)
	}
}

// drop closes an account that has been kept for long enough.
func (a *accounts) drop(user string, s *shared) {
	a.mu.Lock()
	if s.end == nil || s.sessions > 0 { // there was, or is, another session
		a.mu.Unlock()
		return
	}
	s.end = nil
	a.kept--
	a.closeUnlock(user, s)
}

// shut closes the accounts that are kept, and keeps none any more. All sessions have
// to have ended.
func (a *accounts) shut() {
	a.mu.Lock()
	a.keep = 0
	var ended []func()
	for user, s := range a.users {
		if s.end != nil {
			s.end.Stop()
			ended = append(ended, func() { a.drop(user, s) })
		}
	}
	a.mu.Unlock()
	for _, drop := range ended {
		drop()
	}
	a.closing.Wait()
}

// closeUnlock forgets an account, gives mu back, which has to be held, and closes the
// account, which takes its time.
func (a *accounts) closeUnlock(user string, s *shared) {
	if a.users[user] == s {
		delete(a.users, user)
	}
	a.closing.Add(1)
	a.mu.Unlock()
	defer a.closing.Done()
	if s.account == nil {
		return
	}
	if s.text != nil {
		s.text.Close()
	}
	if err := s.account.Close(); err != nil {
		a.log.Warn("close account", "user", user, "err", err)
	}
}
