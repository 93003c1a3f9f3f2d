package server

import (
	"errors"
	"io"
	"log/slog"
	"time"

	"rtls/internal/cli"
	"rtls/internal/imap/command"
	"rtls/internal/imap/wire"
)

// A client in clear finds out that STARTTLS is all there is. These bounds leave
// room for that, and for one that tries to log in.
const (
	maxClearCommands = 10
	maxClearOctets   = 8 << 10
)

var clearLimits = wire.Limits{Line: 2 << 10, Held: 2 << 10, Discard: 2 << 10}

const clearCapabilities = "IMAP4rev1 IMAP4rev2 STARTTLS LOGINDISABLED"

// Reasons to end a connection in clear.
var (
	errLeft     = errors.New("logout")
	errInjected = errors.New("octets behind STARTTLS") // RFC 9051 section 6.2.1
	errMuch     = errors.New("too much before STARTTLS")
)

// errPrivacy is the answer to what takes TLS (RFC 9051 section 7.1).
var errPrivacy = errors.New("say STARTTLS first")

// cleartext is a connection before STARTTLS. There is no session yet, and nothing of
// this reaches the one to come: not an octet that was read, nor what was said.
type cleartext struct {
	lex    *wire.Lexer
	w      *wire.Writer
	parser command.Parser
	log    *slog.Logger
}

// untilStartTLS speaks with a client in clear until it may begin with TLS. An error
// ends the connection.
func (c *conn) untilStartTLS(log *slog.Logger) error {
	if err := c.raw.SetDeadline(time.Now().Add(c.pool.cfg.LoginTimeout)); err != nil {
		return err
	}
	in := &io.LimitedReader{R: c.raw, N: maxClearOctets}
	t := &cleartext{w: wire.NewWriter(c.raw), log: log}
	// A client is not asked for a literal, which could be a password.
	t.lex = wire.NewLexer(in, clearLimits, func() error { return errPrivacy })
	t.w.Status("*", "OK", "CAPABILITY "+clearCapabilities, c.pool.cfg.Hostname+" rtls-imapd ready")
	err := t.w.Flush()
	for n := 0; err == nil; n++ {
		var secure bool
		if secure, err = t.next(); secure {
			return err
		}
		if err == nil && n+1 == maxClearCommands || in.N == 0 {
			err = errMuch
		}
	}
	if errors.Is(err, errMuch) || errors.Is(err, wire.ErrFlood) {
		t.w.Status("*", "BYE", "", err.Error())
		_ = t.w.Flush() // best effort
	}
	return err
}

// next answers one command, and says whether TLS begins.
func (t *cleartext) next() (secure bool, err error) {
	if err := t.lex.Next(); err != nil {
		return false, err
	}
	tag, name, cmd, cmdErr := t.parser.Parse(t.lex, command.Clear)
	if cmdErr == nil {
		cmdErr = t.run(cmd)
	}
	if err := t.lex.Finish(); err != nil {
		return false, err
	}
	_, secure = cmd.(command.StartTLS)
	bad, isBad := errors.AsType[*wire.SyntaxError](cmdErr)
	switch {
	case isBad:
		if tag == "" {
			tag = "*"
		}
		t.w.Status(tag, "BAD", bad.Code, bad.Text)
	case errors.Is(cmdErr, errPrivacy):
		t.w.Status(tag, "NO", "PRIVACYREQUIRED", errPrivacy.Error())
	case cmdErr != nil && !errors.Is(cmdErr, errLeft):
		return false, cmdErr
	case secure && t.lex.Buffered() > 0:
		return false, errInjected
	default:
		t.w.Status(tag, "OK", "", name+" completed")
	}
	if err := t.w.Flush(); err != nil {
		return false, err
	}
	if errors.Is(cmdErr, errLeft) {
		return false, errLeft
	}
	return secure, nil
}

func (t *cleartext) run(cmd command.Command) error {
	switch c := cmd.(type) {
	case command.Login:
		t.refuse(c.User)
		return errPrivacy
	case command.Authenticate:
		if c.Initial != nil {
			t.refuse("")
		}
		return errPrivacy
	case command.Capability:
		t.w.Line("* CAPABILITY ", clearCapabilities)
	case command.ID:
		t.w.Line("* ID NIL") // RFC 2971 section 3.2: nobody has to say
	case command.Logout:
		t.w.Status("*", "BYE", "", "see you")
		return errLeft
	}
	return nil
}

// refuse logs that somebody may have to change a password.
func (t *cleartext) refuse(user string) {
	t.log.Warn("login in clear refused: a password may have been seen on the way", "user", cli.Printable(user))
}
