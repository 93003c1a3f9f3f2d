package session

import (
	"errors"
	"os"
	"time"
)

// source is the reading side below the lexer: what is to be sent is sent before
// the server waits for the client.
type source struct{ s *Session }

func (r source) Read(p []byte) (int, error) {
	s := r.s
	if !s.idling {
		if err := s.w.Flush(); err != nil {
			return 0, err
		}
	}
	if err := s.setReadDeadline(); err != nil {
		return 0, err
	}
	n, err := s.from.Read(p)
	if s.account == nil {
		if s.octets += n; s.octets > maxOctets {
			return 0, errTalking
		}
	}
	return n, err
}

func (s *Session) setReadDeadline() error {
	timeout := s.cfg.IdleTimeout
	if s.inCommand {
		timeout = s.cfg.DataTimeout
	}
	by := time.Now().Add(timeout)
	if s.account == nil {
		if limit := s.greeted.Add(s.cfg.LoginTimeout); by.After(limit) {
			by = limit
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.cut:
		return os.ErrDeadlineExceeded
	case s.waiting && s.ending != nil:
		return s.ending
	}
	return s.conn.SetReadDeadline(by)
}

// sink is the writing side below the writer: a client has to take what it is
// sent, piece by piece.
type sink struct{ s *Session }

func (w sink) Write(p []byte) (n int, err error) {
	const piece = 16 << 10 // a TLS record
	for len(p) > 0 && err == nil {
		if err = w.s.conn.SetWriteDeadline(time.Now().Add(w.s.cfg.WriteTimeout)); err != nil {
			return n, err
		}
		var m int
		m, err = w.s.to.Write(p[:min(piece, len(p))])
		n, p = n+m, p[m:]
	}
	return n, err
}

// Stop makes the session end as soon as it waits for a command, because the server
// does. It may be called from any goroutine.
func (s *Session) Stop() { s.end(errStopping) }

// Expel is Stop for a user who may not be here any more.
func (s *Session) Expel() { s.end(errExpelled) }

// Kick is Stop for a session that the administrator ends.
func (s *Session) Kick() { s.end(errKicked) }

func (s *Session) end(reason error) {
	s.mu.Lock()
	if s.ending == nil {
		s.ending = reason
	}
	if s.waiting {
		_ = s.conn.SetReadDeadline(time.Unix(1, 0))
	}
	relaying := s.relaying
	s.mu.Unlock()
	if relaying {
		s.endElsewhere(reason)
	}
}

// await says that the client may take its time now.
func (s *Session) await() {
	s.inCommand = false
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = true
	s.shown = Shown{State: "login", Client: s.client}
	if s.account == nil {
		return
	}
	s.shown.State = "authenticated"
	if s.sel != nil {
		s.shown.State, s.shown.Mailbox = "selected", s.sel.box.Name()
	}
	if s.idling {
		s.shown.State = "idle"
	}
}

// Shown is what an administrator sees of a session.
type Shown struct {
	State   string // login, authenticated, selected or idle
	Mailbox string
	Client  string // what it says of itself
}

// Shown is how the session stood when it last waited for its client. It may be called
// from any goroutine, and may have to ask another process.
func (s *Session) Shown() Shown {
	s.mu.Lock()
	relaying, shown := s.relaying, s.shown
	s.mu.Unlock()
	if relaying {
		return s.elsewhere.Shown()
	}
	return shown
}

// awaited says that the client has begun something, and replaces an error that
// end provoked.
func (s *Session) awaited(err error) error {
	s.inCommand = true
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = false
	if s.ending != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return s.ending
	}
	return err
}
