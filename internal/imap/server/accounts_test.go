package server

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"rtls/store"
)

// countOpened counts how often an account is opened.
func countOpened(keep time.Duration, opened *atomic.Int32) func(*Server) {
	return func(s *Server) {
		s.Keep = keep
		open := s.OpenAccount
		s.OpenAccount = func(ctx context.Context, user string) (*store.Account, error) {
			opened.Add(1)
			return open(ctx, user)
		}
	}
}

// visit is a session that has ended, for the server, too.
func (s *site) visit(command string) {
	s.t.Helper()
	c := s.login("")
	c.do(command)
	c.do("LOGOUT")
	c.closed()
}

func TestAccountIsKept(t *testing.T) {
	var opened atomic.Int32
	s := newSite(t, countOpened(time.Hour, &opened))
	s.visit("SELECT INBOX")
	s.visit("SELECT INBOX")
	if n := opened.Load(); n != 1 {
		t.Errorf("it was opened %d times", n)
	}
	// An index that somebody has taken away meanwhile is not written to.
	if err := os.Rename(filepath.Join(s.dir, ".rtls"), filepath.Join(s.dir, "old")); err != nil {
		t.Fatal(err)
	}
	s.visit("SELECT INBOX")
	if n := opened.Load(); n != 2 {
		t.Errorf("it was opened %d times", n)
	}
	if _, err := os.Stat(filepath.Join(s.dir, ".rtls", "index.db")); err != nil {
		t.Error(err)
	}
	// Nor is an account that is another one by now, be its index open or not.
	for _, command := range []string{"SELECT INBOX", "NOOP"} {
		if err := os.RemoveAll(s.dir); err != nil {
			t.Fatal(err)
		}
		if err := store.Create(s.dir, nil); err != nil {
			t.Fatal(err)
		}
		before := opened.Load()
		s.visit(command)
		if n := opened.Load(); n != before+1 {
			t.Errorf("it was opened %d times more", n-before)
		}
	}
}

func TestKeptAccountIsClosed(t *testing.T) {
	var opened atomic.Int32
	s := newSite(t, countOpened(time.Nanosecond, &opened))
	for deadline := time.Now().Add(10 * time.Second); opened.Load() < 2; {
		s.visit("SELECT INBOX")
		if time.Now().After(deadline) {
			t.Fatal("it is never closed")
		}
	}
}
