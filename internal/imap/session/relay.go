package session

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"
)

// Elsewhere is another process that goes on with a session after login; see package
// handover. What is read from it is for the client, what is written to it is the client's.
// The methods behind Close are those of Session, and like them for any goroutine.
type Elsewhere interface {
	io.ReadWriter
	CloseWrite() error // the client is gone
	Close() error      // ends the session
	Stop()
	Expel()
	Kick()
	Shown() Shown
}

// errElsewhere ends a session that another process has gone on with.
var errElsewhere = errors.New("the session has ended in another process")

// relay passes on what the client and the other process say, until one of them is gone.
// Deadlines are that process's affair, but for a client that does not take what it is sent.
func (s *Session) relay() error {
	there := s.elsewhere
	if err := s.startRelaying(); err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		from := io.MultiReader(bytes.NewReader(s.lex.Rest()), s.conn)
		_ = pass(there, from, 4<<10) // small, as an idle connection keeps it
		_ = there.CloseWrite()       // the process may be gone
	})
	err := pass(sink{s}, there, 16<<10) // a TLS record
	there.Close()
	_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // ends the other goroutine
	wg.Wait()
	if err != nil {
		return err
	}
	return errElsewhere
}

// startRelaying has Stop, Expel, Kick and Shown ask the other process from here on.
func (s *Session) startRelaying() error {
	s.mu.Lock()
	s.relaying = true
	ending := s.ending
	err := s.conn.SetReadDeadline(time.Time{})
	s.mu.Unlock()
	if ending != nil {
		s.endElsewhere(ending)
	}
	return err
}

func (s *Session) endElsewhere(reason error) {
	switch {
	case errors.Is(reason, errExpelled):
		s.elsewhere.Expel()
	case errors.Is(reason, errKicked):
		s.elsewhere.Kick()
	default:
		s.elsewhere.Stop()
	}
}

// pass copies until there is nothing more to read, or nobody to write to. The error is
// that of writing: who has ended the reading side says why.
func pass(to io.Writer, from io.Reader, buffer int) error {
	buf := make([]byte, buffer)
	for {
		n, readErr := from.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
		}
		if readErr != nil {
			return nil
		}
	}
}
