package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"rtls/internal/imap/session"
	"rtls/internal/reexec"
)

var _ session.Elsewhere = (*Session)(nil)

// Session is a session that a process serves. The dialogue is read from it and written to
// it. It is for package session, as one that goes on elsewhere.
type Session struct {
	*net.UnixConn // the dialogue

	release func()
	once    sync.Once

	mu    sync.Mutex // guards what follows: a question and its answer belong together
	words *net.UnixConn
	dec   *json.Decoder
	limit *io.LimitedReader
}

// newSession makes the sockets of a session, and those of the process that is to serve it.
func newSession() (*Session, [2]*os.File, error) {
	dialogue, first, err := reexec.SocketPair(unix.SOCK_STREAM)
	if err != nil {
		return nil, [2]*os.File{}, err
	}
	words, second, err := reexec.SocketPair(unix.SOCK_STREAM)
	if err != nil {
		dialogue.Close()
		first.Close()
		return nil, [2]*os.File{}, err
	}
	s := &Session{UnixConn: dialogue, words: words, limit: &io.LimitedReader{R: words}}
	s.dec = json.NewDecoder(s.limit)
	return s, [2]*os.File{first, second}, nil
}

// Close ends the session, if it has not ended.
func (s *Session) Close() error {
	s.once.Do(func() {
		s.UnixConn.Close()
		s.words.Close()
		s.release()
	})
	return nil
}

// taken waits for the process to take the client.
func (s *Session) taken(ctx context.Context, timeout time.Duration) error {
	stop := context.AfterFunc(ctx, func() { _ = s.words.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	r, err := s.read(timeout)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("a process does not take the client: %w", err)
	case r.Refused == refusedLimit:
		return session.ErrTooMany
	case r.Refused != "":
		return errors.New("a process cannot serve the client, its log says why")
	}
	return nil
}

// read reads what the process says. Only taken calls it without mu, before there is
// anybody else.
func (s *Session) read(timeout time.Duration) (r reply, err error) {
	if err := s.words.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return r, err
	}
	s.limit.N = maxReply
	err = s.dec.Decode(&r)
	return r, err
}

func (s *Session) ask(what string) error {
	if err := s.words.SetWriteDeadline(time.Now().Add(prompt)); err != nil {
		return err
	}
	return json.NewEncoder(s.words).Encode(request{what})
}

// Stop is that of session.Session.
func (s *Session) Stop() { s.end(doStop) }

// Expel is that of session.Session.
func (s *Session) Expel() { s.end(doExpel) }

// Kick is that of session.Session.
func (s *Session) Kick() { s.end(doKick) }

// end has the session end. A process that cannot be told is cut off.
func (s *Session) end(how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ask(how) != nil {
		s.UnixConn.Close()
	}
}

// Shown is how the session stands, or that the process does not say so at once.
func (s *Session) Shown() session.Shown {
	s.mu.Lock()
	defer s.mu.Unlock()
	silent := session.Shown{State: "authenticated"}
	if s.ask(doShow) != nil {
		return silent
	}
	r, err := s.read(prompt)
	if err != nil {
		s.words.Close() // what comes now would be the answer to another question
		return silent
	}
	return r.Shown
}
