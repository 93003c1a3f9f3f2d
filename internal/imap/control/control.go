// Package control lets the administrator see and end the sessions of a running server,
// over a Unix socket: a request in JSON, an answer in JSON, and the end.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"rtls/internal/accept"
	"rtls/internal/unixsock"
)

// Session is a connection of a client, as it is shown.
type Session struct {
	ID      uint64    `json:"id"` // for as long as the server runs
	User    string    `json:"user,omitempty"`
	Remote  string    `json:"remote"`
	TLS     string    `json:"tls,omitempty"`
	Cipher  string    `json:"cipher,omitempty"`
	Client  string    `json:"client,omitempty"` // what it says of itself (RFC 2971)
	Mailbox string    `json:"mailbox,omitempty"`
	State   string    `json:"state"` // clear, handshake, login, authenticated, selected or idle
	Since   time.Time `json:"since"`
	In      uint64    `json:"in"` // octets received, those of TLS included
	Out     uint64    `json:"out"`
}

// Sessions are those of a server.
type Sessions interface {
	List() []Session
	// Kick ends the session of that id, or all sessions of a user, and says how many
	// there were.
	Kick(user string, id uint64) int
}

type request struct {
	Do   string `json:"do"` // who or kick
	User string `json:"user,omitempty"`
	ID   uint64 `json:"id,omitempty"`
}

type answer struct {
	Sessions []Session `json:"sessions,omitempty"`
	Ended    int       `json:"ended,omitempty"`
	Error    string    `json:"error,omitempty"`
}

const (
	timeout    = 10 * time.Second // for a request and its answer
	maxRequest = 4 << 10
)

// Serve answers on a Unix socket until ctx ends or the listener is closed. It answers
// root and the server's own user, whatever the mode of the socket.
func Serve(ctx context.Context, l net.Listener, own uint32, s Sessions, log *slog.Logger) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	return accept.Loop(ctx, l, log, func(conn net.Conn) {
		wg.Go(func() {
			defer conn.Close()
			uid, ok := unixsock.PeerUID(conn)
			if !ok || uid != 0 && uid != own {
				log.Warn("control refused", "uid", uid, "known", ok)
				return
			}
			if err := serve(conn, s); err != nil {
				log.Warn("control", "err", err)
			}
		})
	})
}

func serve(conn net.Conn, s Sessions) error {
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	var r request
	if err := json.NewDecoder(io.LimitReader(conn, maxRequest)).Decode(&r); err != nil {
		return err
	}
	var a answer
	switch {
	case r.Do == "who":
		a.Sessions = s.List()
	case r.Do == "kick" && (r.User == "") != (r.ID == 0):
		a.Ended = s.Kick(r.User, r.ID)
	default:
		a.Error = fmt.Sprintf("no such request: %q", r.Do)
	}
	return json.NewEncoder(conn).Encode(a)
}

// Who asks a server for its sessions.
func Who(ctx context.Context, path string) ([]Session, error) {
	a, err := call(ctx, path, request{Do: "who"})
	return a.Sessions, err
}

// Kick ends the sessions of a user, or, if user is empty, the one with that id, and
// says how many there were.
func Kick(ctx context.Context, path, user string, id uint64) (int, error) {
	a, err := call(ctx, path, request{Do: "kick", User: user, ID: id})
	return a.Ended, err
}

func call(ctx context.Context, path string, r request) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return a, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return a, err
	}
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return a, fmt.Errorf("ask the server: %w", err)
	}
	err = json.NewDecoder(conn).Decode(&a)
	switch {
	case errors.Is(err, io.EOF):
		return a, errors.New("the server does not answer this user")
	case err != nil:
		return a, fmt.Errorf("answer of the server: %w", err)
	case a.Error != "":
		return a, errors.New(a.Error)
	}
	return a, nil
}
