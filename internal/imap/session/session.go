// Package session speaks IMAP with one client over the store: IMAP4rev1 (RFC
// 3501), IMAP4rev2 (RFC 9051) and extensions.
//
// Rules that hold everywhere in it:
//
//   - A command gets exactly one tagged reply, or the connection ends.
//   - A client's sequence numbers change only when it is told so, and it is told
//     only where RFC 9051 section 7.5.1 allows it: never during FETCH, STORE and
//     SEARCH, and amid no command unless it has asked for that with NOTIFY. See view.
//   - While the client is waited for, and can be told news, another goroutine has the
//     writer and the view. See Session.attend.
//   - No message can make a FETCH fail. BODY[...] is a range of the message's
//     bytes.
//   - The tag of a message is a keyword that clients can read and search, and
//     that no command sets or clears. See flags.go.
package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"rtls/internal/auth"
	"rtls/internal/cli"
	"rtls/internal/imap/command"
	"rtls/internal/imap/fulltext"
	"rtls/internal/imap/wire"
	"rtls/store"
)

// Backend logs a connection's client in. Errors of its first three methods are those
// of auth.Exchange.Next. They may take their time to slow down whoever guesses.
type Backend interface {
	// Mechanisms are those of SASL to offer, the strongest first.
	Mechanisms() []string
	// Password checks the password of LOGIN.
	Password(ctx context.Context, user, password string) (auth.Login, error)
	// Start begins an exchange, or returns nil if there is no such mechanism.
	Start(mechanism string) auth.Exchange
	// Open opens the account of a user who has logged in: ErrTooMany. client is what the
	// client has said of itself.
	Open(ctx context.Context, user, client string) (Opened, error)
}

// Opened is an account that a session uses, or the process that goes on with the session.
type Opened struct {
	Account   *store.Account
	Text      *fulltext.Keeper // nil: there is no index of texts
	Elsewhere Elsewhere        // nil: the session goes on here; else there is no account
	Release   func()           // is called when the session has no more use for it
}

// ErrTooMany says that the user has too many sessions.
var ErrTooMany = errors.New("too many sessions of this user")

// Config is what a session needs. All fields are required.
type Config struct {
	Hostname string
	Backend  Backend      // not needed by Resume
	Logger   *slog.Logger // with the attributes that name the connection

	// NoGreeting says that the client was greeted before STARTTLS.
	NoGreeting bool

	Admin       string // a URI that reaches the administrator, or empty
	AppendLimit int64  // octets of a message
	Compress    bool   // offer COMPRESS=DEFLATE
	MaxFailures int    // failed logins, after which the connection ends
	MaxFollowed int    // mailboxes that NOTIFY follows

	LoginTimeout  time.Duration // from the greeting to a successful login
	IdleTimeout   time.Duration // between commands; 30 minutes at least (RFC 9051 section 5.4)
	DataTimeout   time.Duration // without progress inside a command
	WriteTimeout  time.Duration // without progress in sending
	KeepAlive     time.Duration // between signs of life under IDLE
	SearchTimeout time.Duration // of a search

	ProgressEvery time.Duration // between words on how far a long command has come
}

const (
	maxBad       = 50        // commands in a row that are BAD, after which the connection ends
	maxBadBefore = 10        // the same, before login
	maxCommands  = 50        // before login
	maxOctets    = 256 << 10 // the same
)

// Before login little is read, and after it as much as the largest message.
var limitsBefore = wire.Limits{Line: 64 << 10, Held: 64 << 10, Discard: 64 << 10}

func (c *Config) limitsAfter() wire.Limits {
	return wire.Limits{Line: 64 << 10, Held: 256 << 10, Discard: 2*c.AppendLimit + 1<<20}
}

// Session is one client's connection. All of it but what mu guards belongs to
// the goroutine that runs Run.
type Session struct {
	cfg    *Config
	conn   net.Conn
	from   io.Reader // what the client sends, and
	to     io.Writer // what it is sent: conn, or compressed on conn
	lex    *wire.Lexer
	w      *wire.Writer
	parser command.Parser
	log    *slog.Logger

	mechanisms []string // to log in with
	user       string
	account    *store.Account   // nil before login
	elsewhere  Elsewhere        // nil: the session does not go on there
	texts      *fulltext.Keeper // nil: there is none
	release    func()
	sel        *selected // nil without a selected mailbox
	notify     *notify   // nil before NOTIFY
	enabled    enabled
	failures   int // of login
	bad        int // commands in a row
	commands   int
	octets     int // received before login

	greeted    time.Time
	inCommand  bool   // a command is being read or run: the client has to go on with it
	sep        string // before the next item of a FETCH response
	idling     bool   // the writer belongs to another goroutine
	compressed bool   // what is sent and received
	client     string // what the client says of itself

	tag        string    // of the command that is being run
	working    *progress // of that command, nil unless it can take long
	code, text string    // of the OK to come

	metadataSeq uint64   // of the last change of annotations that the client knows of
	ownMetadata []uint64 // changes of its own behind that

	mu       sync.Mutex // guards what follows
	shown    Shown
	waiting  bool  // for a command
	relaying bool  // elsewhere has the session
	ending   error // why it is to end; nil: it is not
	cut      bool  // nothing is read any more: writing has failed
}

// enabled is what a client has asked for with ENABLE, or by using it.
type enabled struct {
	condStore, qResync, utf8, rev2, uidOnly, metadata bool
}

// New prepares a session on a connection that is secure already. The caller
// closes the connection after Run.
func New(cfg *Config, conn net.Conn) *Session {
	s := newSession(cfg, conn)
	s.mechanisms = cfg.Backend.Mechanisms()
	return s
}

// Resume prepares a session of a user who has logged in elsewhere: the connection is that
// of package handover. client is what the client has said of itself. The session cannot be
// left with UNAUTHENTICATE.
func Resume(cfg *Config, conn net.Conn, user, client string, opened Opened) *Session {
	resumed := *cfg
	resumed.Backend, resumed.NoGreeting = nil, true
	s := newSession(&resumed, conn)
	s.client = client
	s.enter(user, opened)
	return s
}

func newSession(cfg *Config, conn net.Conn) *Session {
	s := &Session{cfg: cfg, conn: conn, from: conn, to: conn, log: cfg.Logger}
	s.w = wire.NewWriter(sink{s})
	s.lex = wire.NewLexer(source{s}, limitsBefore, func() error {
		s.w.Line("+ go ahead")
		return nil
	})
	return s
}

// Reasons to end a connection.
var (
	errLogout   = errors.New("logout")
	errStopping = errors.New("server is shutting down")
	errKicked   = errors.New("the administrator has ended this session")
	errExpelled = errors.New("the user may not log in any more")
	errTooBad   = errors.New("too many errors")
	errGuessing = errors.New("too many failed logins")
	errTalking  = errors.New("too much before login")
	errGone     = errors.New("the selected mailbox was deleted, renamed or replaced")
)

// fatal is an error of the connection, or one that leaves it in a state that
// cannot be explained to the client.
type fatal struct{ err error }

func (f fatal) Error() string { return f.err.Error() }

func (f fatal) Unwrap() error { return f.err }

// Run speaks with the client until it leaves or is sent away, and says why it
// ended; nil means that the client logged out.
func (s *Session) Run(ctx context.Context) (err error) {
	defer func() {
		reason := "logout"
		if errors.Is(err, errElsewhere) {
			return // that process says it
		}
		if err != nil {
			reason = err.Error()
		}
		s.log.Info("disconnect", "reason", cli.Printable(reason), "sent", s.w.Sent())
	}()
	defer s.leave()
	defer func() {
		if v := recover(); v != nil {
			err = s.panicked(v)
		}
	}()
	s.greeted = time.Now()
	if !s.cfg.NoGreeting {
		s.w.Status("*", "OK", "CAPABILITY "+s.capabilities(), s.cfg.Hostname+" rtls-imapd ready")
	}
	for err == nil {
		err = s.next(ctx)
	}
	s.farewell(err)
	if errors.Is(err, errLogout) {
		return nil
	}
	return err
}

func (s *Session) panicked(v any) error {
	s.log.Error("panic", "value", fmt.Sprint(v), "stack", string(debug.Stack()))
	s.w.Status("*", "BYE", "", "internal error")
	_ = s.w.Flush() // best effort
	return fmt.Errorf("panic: %v", v)
}

// farewell tells the client why it is sent away, where it can be told.
func (s *Session) farewell(err error) {
	switch {
	case errors.Is(err, errStopping):
		s.w.Status("*", "BYE", "UNAVAILABLE", s.cfg.Hostname+" is shutting down")
	case errors.Is(err, os.ErrDeadlineExceeded) && s.w.Err() == nil:
		s.w.Status("*", "BYE", "", "autologout: waited too long")
	case errors.Is(err, errTooBad), errors.Is(err, errGuessing), errors.Is(err, errTalking), errors.Is(err, errExpelled), errors.Is(err, errKicked), errors.Is(err, errGone), errors.Is(err, wire.ErrFlood):
		s.w.Status("*", "BYE", "", err.Error())
	}
	_ = s.w.Flush() // the client may be gone
}

// leave gives back what the session holds.
func (s *Session) leave() {
	s.unselect()
	s.endNotify()
	if s.release != nil {
		s.release()
		s.release, s.account = nil, nil
	}
}
