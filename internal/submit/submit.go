// Package submit hands a message to a submission server: over TLS with a verified
// certificate, with REQUIRETLS where that is wished, or not at all. Only what does not
// wish for it may go without TLS, over a Unix socket, where a target says so.
//
// The loop is our own, not a library's, because three things have to be true of it.
// Nothing but EHLO, STARTTLS and QUIT leaves before the guard has passed, which
// looks at the verified chain and at the EHLO reply inside TLS. Where the server
// offers PIPELINING, commands travel in groups. And every read and write has a
// deadline, those of the body too.
//
// Groups are those of RFC 2920 section 3.1: MAIL and the RCPTs are one group, which
// a login of PLAIN or EXTERNAL can lead, since it is over after one reply (RFC 4954
// section 4); and to which DATA belongs only if there is a single recipient. With several, one of them could
// be refused after DATA was sent along; the server would be waiting for text, and
// every way to end that but closing the connection delivers something to those it
// accepted. A round trip is cheaper than that. With a single refused recipient
// nobody was accepted, and if the server wants text all the same, the connection is
// closed without the final dot. So it is after a login that failed.
//
// Send is for one message and one target, a Session for more of either.
//
// A target can be an LMTP server. It refuses recipients after the text too, each for
// itself, so that a message can be taken for some and not for others: see Outcome.
package submit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"rtls/internal/cli"
	"rtls/internal/requiretls"
	"rtls/internal/tlsconf"
)

// Target is a submission server and how to log in there.
type Target struct {
	Host     string // or the path of a Unix socket, behind UnixPrefix
	Port     int
	StartTLS bool // TLS begins with STARTTLS, not at once

	// SRV is a domain whose DNS says what Host, Port and StartTLS are (RFC 6186, RFC
	// 8314 section 5.1); they are empty then. Only a Session looks there.
	SRV      string
	SRVAllow []string // hosts outside the domain that its records may name unproven

	// LMTP says that the server delivers, and answers for each recipient (RFC 2033).
	LMTP bool
	// Clear has no TLS, and works over a Unix socket only. What wishes for REQUIRETLS
	// is not sent there, and nobody logs in.
	Clear bool

	// Name is who the certificate has to be for, if that is not Host. A Unix socket
	// needs one.
	Name string

	// TLS verifies the server; it comes from tlsconf.Client with Host, or Name, as the
	// name.
	TLS *tls.Config
	// DANE verifies the server by TLSA records in place of TLS's authorities, where
	// there are some that DNSSEC proves (RFC 7672).
	DANE bool

	// BDAT sends the text in a chunk where the server offers CHUNKING (RFC 3030).
	BDAT bool

	Login Login
	Dial  Dial // in place of the one of Options; optional
}

// Dial makes a connection, as net.Dialer's DialContext does.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// UnixPrefix stands before the path of a Unix socket where a host could stand.
const UnixPrefix = "unix:"

// socket is the path of a Unix socket.
func (t *Target) socket() (path string, ok bool) { return strings.CutPrefix(t.Host, UnixPrefix) }

// name is who the server has to be.
func (t *Target) name() string {
	if t.Name != "" {
		return t.Name
	}
	return t.Host
}

func (t *Target) addr() string {
	if _, unix := t.socket(); unix {
		return t.Host
	}
	if t.SRV != "" && t.Host == "" {
		return "_submissions._tcp." + t.SRV
	}
	return net.JoinHostPort(t.Host, strconv.Itoa(t.Port))
}

// Mail is one message with its envelope.
type Mail struct {
	From string   // reverse-path; empty is the null reverse-path
	To   []string // at least one

	Wish requiretls.Wish // Yes: with REQUIRETLS or not at all
	DSN  DSN

	Content  io.WriterTo // CRLF line ends, the last line's too; no dot-stuffing
	Size     int64
	EightBit bool // Content holds octets above 127
	// SevenBit returns Content without those, and its size, for a server without
	// 8BITMIME; it replaces Content then. Nil: such a server gets nothing.
	SevenBit func() (io.WriterTo, int64, error)
	UTF8     bool // SMTPUTF8 is needed

	MessageID string // the source of an ENVID where none is given; optional
}

// Options are the same for all targets. The zero value works.
type Options struct {
	Hostname string // our name in EHLO; default: our address in brackets
	Timeouts Timeouts
	Trace    func(line string) // gets each line of the dialogue, without secrets
	Dial     Dial
	Resolver Resolver // for SRV and DANE
	Breaker  *Breaker // for a Session with several targets; optional
}

// Resolver answers what the targets' SRV and DANE ask. Proven means by DNSSEC. A name
// without records is no error.
type Resolver interface {
	SRV(ctx context.Context, service, domain string) (records []net.SRV, proven bool, err error)
	TLSA(ctx context.Context, host string, port int) (records []tlsconf.TLSA, proven bool, err error)
}

// Timeouts bound each step; the context bounds them all together. They are shorter
// than the minutes of RFC 5321 section 4.5.3.2 where a person or a cron job waits.
// Zero means the default.
type Timeouts struct {
	Connect time.Duration // also the TLS handshake; 30 s
	Command time.Duration // from a group of commands to the last of its replies; 60 s
	Write   time.Duration // one piece of the body; 3 min
	Final   time.Duration // from the final dot to its reply; 10 min
}

// quitTimeout bounds the farewell, which decides nothing.
const quitTimeout = 5 * time.Second

func (t Timeouts) withDefaults() Timeouts {
	for _, f := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&t.Connect, 30 * time.Second},
		{&t.Command, time.Minute},
		{&t.Write, 3 * time.Minute},
		{&t.Final, 10 * time.Minute},
	} {
		if *f.value <= 0 {
			*f.value = f.fallback
		}
	}
	return t
}

// Error says why a target did not take a message. It unwraps to a *cli.Error with
// exit code, status and text.
type Error struct {
	Target string // host:port
	Reply  Reply  // of the server; zero if it was not a reply that ended it
	// MaybeSent is set when the connection was lost between the end of the message
	// and the reply to it: the server may have it (RFC 5321 section 4.2.5).
	MaybeSent bool
	// Outcome is what an LMTP server did with a message that was not the same for all
	// recipients.
	Outcome Outcome

	err         *cli.Error
	verdict     bool // the message is at fault, not the target
	again       bool // the login may go better at once, with another secret
	unreachable bool // it was about the target, and may be over soon
	lost        bool // the connection broke before all of the message had left
}

func (e *Error) Error() string { return e.err.Error() }

func (e *Error) Unwrap() error { return e.err }

// Temporary says whether a later attempt at the same target makes sense.
func (e *Error) Temporary() bool { return e.err.Code == cli.TempFail }

// Send hands m to t, to all recipients or to none; but see Outcome. Its errors are of type *Error.
// When it returns without one, the server has taken responsibility; whatever
// happens to the connection after that changes nothing.
//
// When the context ends, the connection is cut, at any point.
func Send(ctx context.Context, t *Target, m *Mail, o Options) (*Receipt, error) {
	return NewSession([]*Target{t}, o).SendLast(ctx, m)
}

// fail gives an error of the session its outer form.
func (s *session) fail(ctx context.Context, err error) *Error {
	out := &Error{Target: s.target.addr(), MaybeSent: s.dotSent}
	r, isRefusal := errors.AsType[*refusal](err)
	if isRefusal {
		out.Reply = r.reply
		out.verdict, out.again = r.verdict, r.again
		out.MaybeSent = false
	}
	if _, ok := errors.AsType[*unreadable](err); ok {
		out.verdict = true
	}
	if s.outcome.mixed() { // another target would give it to those who have it again
		out.Outcome, out.verdict = s.outcome, true
	}
	e, ok := errors.AsType[*cli.Error](err)
	switch {
	case ctx.Err() != nil && out.Reply.Code == 0:
		e = cli.Errorf(cli.TempFail, "%w", context.Cause(ctx)).WithStatus("4.4.2")
	case !ok:
		e = networkError(err)
		s.dead = true
	}
	out.unreachable = e.Code == cli.TempFail && s.at == stageHello && ctx.Err() == nil
	// A server that has had enough of a session says so with a 4yz to MAIL, or hangs up.
	enough := isRefusal && r.at == stageMail && r.reply.Code/100 == 4 && s.taken > 0
	out.lost = !out.MaybeSent && (!ok || out.Reply.Code == 421 || enough)
	text := fmt.Errorf("%s: %w", out.Target, e.Err)
	if out.MaybeSent && out.Outcome.mixed() {
		text = fmt.Errorf("%w; the message was delivered to %s, and may have been to the others", text, list(out.Outcome.Done))
	} else if out.MaybeSent {
		text = fmt.Errorf("%w; the message was sent and not acknowledged, so it may have been taken", text)
	}
	out.err = &cli.Error{Code: e.Code, Status: e.Status, Err: text, Hint: e.Hint}
	if out.MaybeSent && e.Code != cli.TempFail { // a doubt, whatever it comes from
		out.err.Code, out.err.Status = cli.TempFail, "4.4.2"
	}
	return out
}

// networkError is for errors that nobody upstream knew more about.
func networkError(err error) *cli.Error {
	if p, ok := errors.AsType[protocolError](err); ok {
		return cli.Errorf(cli.Protocol, "%w", p).WithStatus("5.5.0")
	}
	if d, ok := errors.AsType[*net.DNSError](err); ok {
		if d.IsNotFound {
			return cli.Errorf(cli.NoHost, "the host does not exist").WithStatus("5.1.2")
		}
		return cli.Errorf(cli.TempFail, "the host's address cannot be looked up: %w", err).WithStatus("4.4.3")
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return cli.Errorf(cli.TempFail, "the server closed the connection").WithStatus("4.4.2")
	}
	return cli.Errorf(cli.TempFail, "%w", err).WithStatus("4.4.2")
}
