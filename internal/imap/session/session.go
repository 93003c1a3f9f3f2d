// Package session speaks IMAP with one client over the store: IMAP4rev1 (RFC
// 3501), IMAP4rev2 (RFC 9051) and extensions.
//
// Rules that hold everywhere in it:
//
//   - A command gets exactly one tagged reply, or the connection ends.
//   - A client's sequence numbers change only when it is told so, and it is told
//     only where RFC 9051 section 7.5.1 allows it: never during FETCH, STORE and
//     SEARCH. See view.
//   - No message can make a FETCH fail. BODY[...] is a range of the message's
//     bytes.
//   - The tag of a message is a keyword that clients can read and search, and
//     that no command sets or clears. See flags.go.
package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"rtls/internal/cli"
	"rtls/internal/imap/command"
	"rtls/internal/imap/wire"
	"rtls/store"
)

// Backend opens accounts. It is used by many sessions at once.
type Backend interface {
	// Login checks a password and opens the account: ErrCredentials, ErrThrottled,
	// ErrTooMany.
	// It may take its time to slow down whoever guesses. release is called when
	// the session has no more use for the account.
	Login(ctx context.Context, user, password string) (account *store.Account, release func(), err error)
}

// ErrCredentials says that a user does not exist or that the password is wrong.
var ErrCredentials = errors.New("user name or password is wrong")

// ErrThrottled says that so many logins failed that this one was not tried.
var ErrThrottled = errors.New("too many failed logins, try again later")

// ErrTooMany says that the user has too many sessions.
var ErrTooMany = errors.New("too many sessions of this user")

// Config is what a session needs. All fields are required.
type Config struct {
	Hostname string
	Backend  Backend
	Logger   *slog.Logger // with the attributes that name the connection

	AppendLimit int64 // octets of a message
	MaxFailures int   // failed logins, after which the connection ends

	LoginTimeout time.Duration // from the greeting to a successful login
	IdleTimeout  time.Duration // between commands; 30 minutes at least (RFC 9051 section 5.4)
	DataTimeout  time.Duration // without progress inside a command
	WriteTimeout time.Duration // without progress in sending
	KeepAlive    time.Duration // between signs of life under IDLE
}

const (
	maxBad       = 50 // commands in a row that are BAD, after which the connection ends
	maxBadBefore = 10 // the same, before login
	maxCommands  = 50 // before login
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
	lex    *wire.Lexer
	w      *wire.Writer
	parser command.Parser
	log    *slog.Logger

	user     string
	account  *store.Account // nil before login
	release  func()
	sel      *selected // nil without a selected mailbox
	enabled  enabled
	failures int // of login
	bad      int // commands in a row
	commands int

	greeted   time.Time
	inCommand bool   // a command is being read or run: the client has to go on with it
	sep       string // before the next item of a FETCH response
	idling    bool   // the writer belongs to another goroutine

	code, text string // of the OK to come

	mu       sync.Mutex // guards what follows
	waiting  bool       // for a command
	stopping bool
	cut      bool // nothing is read any more: writing has failed
}

// enabled is what a client has asked for with ENABLE, or by using it.
type enabled struct {
	condStore, qResync, utf8, rev2 bool
}

// New prepares a session on a connection that is secure already. The caller
// closes the connection after Run.
func New(cfg *Config, conn net.Conn) *Session {
	s := &Session{cfg: cfg, conn: conn, log: cfg.Logger}
	s.w = wire.NewWriter(sink{s})
	s.lex = wire.NewLexer(source{s}, limitsBefore, func() error {
		s.w.Line("+ go ahead")
		return nil
	})
	return s
}

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
	return s.conn.Read(p)
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
	case s.waiting && s.stopping:
		return errStopping
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
		m, err = w.s.conn.Write(p[:min(piece, len(p))])
		n, p = n+m, p[m:]
	}
	return n, err
}

// Reasons to end a connection.
var (
	errLogout   = errors.New("logout")
	errStopping = errors.New("server is shutting down")
	errTooBad   = errors.New("too many errors")
	errGuessing = errors.New("too many failed logins")
	errTalking  = errors.New("too many commands before login")
	errGone     = errors.New("the selected mailbox was deleted, renamed or replaced")
)

// fatal is an error of the connection, or one that leaves it in a state that
// cannot be explained to the client.
type fatal struct{ err error }

func (f fatal) Error() string { return f.err.Error() }
func (f fatal) Unwrap() error { return f.err }

// Stop makes the session end as soon as it waits for a command. It may be called
// from any goroutine.
func (s *Session) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	if s.waiting {
		_ = s.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// await says that the client may take its time now.
func (s *Session) await() {
	s.inCommand = false
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = true
}

// awaited says that the client has begun something, and replaces an error that
// Stop provoked.
func (s *Session) awaited(err error) error {
	s.inCommand = true
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = false
	if s.stopping && errors.Is(err, os.ErrDeadlineExceeded) {
		return errStopping
	}
	return err
}

// Run speaks with the client until it leaves or is sent away, and says why it
// ended; nil means that the client logged out.
func (s *Session) Run(ctx context.Context) (err error) {
	defer func() {
		reason := "logout"
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
	s.w.Status("*", "OK", "CAPABILITY "+s.capabilities(), s.cfg.Hostname+" rtls-imapd ready")
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
	case errors.Is(err, errTooBad), errors.Is(err, errGuessing), errors.Is(err, errTalking), errors.Is(err, errGone), errors.Is(err, wire.ErrFlood):
		s.w.Status("*", "BYE", "", err.Error())
	}
	_ = s.w.Flush() // the client may be gone
}

// leave gives back what the session holds.
func (s *Session) leave() {
	s.unselect()
	if s.account != nil {
		s.release()
		s.account = nil
	}
}

// next reads and runs one command.
func (s *Session) next(ctx context.Context) error {
	s.await()
	err := s.awaited(s.lex.Next())
	if err != nil {
		return err
	}
	tag, name, cmd, err := s.parser.Parse(s.lex, s.state())
	if err = s.readError(err); err == nil {
		err = s.countCommand()
	}
	s.code, s.text = "", name+" completed"
	if err == nil {
		err = s.run(ctx, tag, cmd)
	}
	// What is left of the command is read before the reply: a client must not
	// be told to go on while its literals are on their way.
	reply := err
	if f, ok := errors.AsType[fatal](err); ok {
		return f.err
	}
	if err := s.lex.Finish(); err != nil {
		return err
	}
	if err := s.reply(ctx, tag, reply); err != nil {
		return err
	}
	return s.w.Flush()
}

func (s *Session) countCommand() error {
	if s.account != nil {
		return nil
	}
	if s.commands++; s.commands > maxCommands {
		return fatal{errTalking}
	}
	return nil
}

func (s *Session) state() command.State {
	switch {
	case s.account == nil:
		return command.NotAuthenticated
	case s.sel == nil:
		return command.Authenticated
	}
	return command.Selected
}

// reply sends the tagged reply that err asks for.
func (s *Session) reply(ctx context.Context, tag string, err error) error {
	if s.w.Err() != nil {
		return s.w.Err()
	}
	bad, isBad := errors.AsType[*wire.SyntaxError](err)
	if !isBad {
		s.bad = 0
	}
	switch {
	case err == nil:
		s.w.Status(tag, "OK", s.code, s.text)
	case errors.Is(err, errLogout):
		s.w.Status(tag, "OK", "", "LOGOUT completed")
		return err
	case isBad:
		if tag == "" {
			tag = "*"
		}
		s.w.Status(tag, "BAD", bad.Code, bad.Text)
		if s.bad++; s.bad >= maxBad || s.account == nil && s.bad >= maxBadBefore {
			return errTooBad
		}
	default:
		r := s.refusal(ctx, err)
		s.w.Status(tag, "NO", r.code, r.text)
		if s.account == nil && s.failures >= s.cfg.MaxFailures {
			return errGuessing
		}
	}
	return nil
}

// refusal is an error that is answered with NO.
type refusal struct{ code, text string }

func (r *refusal) Error() string { return r.text }

func refuse(code, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// refusal says how an error is told to the client. What it does not know is
// temporary, and logged.
func (s *Session) refusal(ctx context.Context, err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	switch {
	case errors.Is(err, ErrCredentials):
		return &refusal{"AUTHENTICATIONFAILED", ErrCredentials.Error()}
	case errors.Is(err, ErrThrottled):
		return &refusal{"LIMIT", ErrThrottled.Error()}
	case errors.Is(err, ErrTooMany):
		return &refusal{"LIMIT", ErrTooMany.Error()}
	case errors.Is(err, store.ErrNoMailbox):
		return &refusal{"NONEXISTENT", "no such mailbox"}
	case errors.Is(err, store.ErrMailboxExists):
		return &refusal{"ALREADYEXISTS", "mailbox exists already"}
	case errors.Is(err, store.ErrName):
		return &refusal{"CANNOT", "mailbox name is not allowed"}
	case errors.Is(err, store.ErrNoMessage):
		return &refusal{"EXPUNGEISSUED", "a message is gone"}
	case ctx.Err() != nil:
		return &refusal{"UNAVAILABLE", "server is shutting down"}
	}
	s.log.Error("command failed", "err", err)
	return &refusal{"UNAVAILABLE", "temporary failure, try again later"}
}

// ok sets the response code and the text of the OK that will follow.
func (s *Session) ok(code, text string) { s.code, s.text = code, text }

// run runs a command. Commands on a selected mailbox end with news of it.
func (s *Session) run(ctx context.Context, tag string, cmd command.Command) error {
	if s.account == nil {
		return s.runBefore(ctx, tag, cmd)
	}
	err := s.runAfter(ctx, tag, cmd)
	if s.sel == nil {
		return err
	}
	if _, ok := errors.AsType[fatal](err); ok || errors.Is(err, errLogout) {
		return err
	}
	if newsErr := s.news(ctx, cmd); newsErr != nil {
		return newsErr
	}
	return err
}

// runBefore runs a command before login.
func (s *Session) runBefore(ctx context.Context, tag string, cmd command.Command) error {
	switch c := cmd.(type) {
	case command.Login:
		return s.login(ctx, c.User, c.Password)
	case command.Authenticate:
		return s.authenticate(ctx, c)
	}
	return s.runAlways(cmd)
}

func (s *Session) runAlways(cmd command.Command) error {
	switch c := cmd.(type) {
	case command.Capability:
		s.w.Line("* CAPABILITY ", s.capabilities())
		return nil
	case command.Noop, command.Check:
		return nil
	case command.Logout:
		s.w.Status("*", "BYE", "", "see you")
		return errLogout
	case command.ID:
		return s.id(c)
	}
	return fmt.Errorf("command %T is not implemented", cmd)
}

// runAfter runs a command after login.
func (s *Session) runAfter(ctx context.Context, tag string, cmd command.Command) error {
	switch c := cmd.(type) {
	case command.Enable:
		return s.enable(c)
	case command.Unauthenticate:
		return s.unauthenticate()
	case command.Select:
		return s.selectMailbox(ctx, c)
	case command.Create:
		return s.create(ctx, c)
	case command.Delete:
		return s.delete(ctx, c)
	case command.Rename:
		return s.account.RenameMailbox(ctx, trimSeparator(c.From), trimSeparator(c.To))
	case command.Subscribe:
		return s.account.Subscribe(ctx, trimSeparator(c.Mailbox), c.On)
	case command.List:
		return s.list(ctx, c)
	case command.Namespace:
		s.w.Line(`* NAMESPACE (("" "/")) NIL NIL`)
		return nil
	case command.Status:
		return s.status(ctx, c)
	case *command.Append:
		return s.append(ctx, c)
	case command.Idle:
		return s.idle(ctx)
	}
	if s.sel != nil {
		return s.runSelected(ctx, tag, cmd)
	}
	return s.runAlways(cmd)
}

// runSelected runs a command on the selected mailbox.
func (s *Session) runSelected(ctx context.Context, tag string, cmd command.Command) error {
	switch c := cmd.(type) {
	case command.Close:
		return s.close(ctx)
	case command.Unselect:
		s.unselect()
		return nil
	case command.Expunge:
		return s.expunge(ctx, c)
	case command.Search:
		return s.search(ctx, tag, c)
	case command.Fetch:
		return s.fetch(ctx, c)
	case command.Store:
		return s.store(ctx, c)
	case command.Copy:
		return s.copy(ctx, c)
	}
	return s.runAlways(cmd)
}
