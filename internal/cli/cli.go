// Package cli is what the three commands share at their edge: sysexits codes,
// the table from error to exit code, signals and the version string.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
)

// Exit codes of sysexits.h. They are part of the commands' interface: every
// mail transfer agent maps them to "try again" or "give up", see each man page.
const (
	OK          = 0
	Usage       = 64 // the command line is wrong
	DataErr     = 65 // the message or an address in it is wrong
	NoInput     = 66 // the message cannot be read
	NoUser      = 67 // a recipient does not exist
	NoHost      = 68 // a host name does not exist
	Unavailable = 69 // the service asked for is not to be had, for example REQUIRETLS
	Software    = 70
	OSErr       = 71
	CantCreate  = 73
	IOErr       = 74
	TempFail    = 75 // nothing is lost, try again later; also the answer to every doubt
	Protocol    = 76
	NoPerm      = 77 // refused by policy or by authentication
	Config      = 78 // the configuration is wrong
)

// Error is an error that knows its exit code and, where mail is concerned, its
// enhanced status code (RFC 3463).
type Error struct {
	Code   int    // one of the constants above
	Status string // "5.7.10" and the like, or empty
	Err    error  // what happened; its text is shown to the user
	Hint   string // what to do about it; optional
}

func (e *Error) Error() string {
	if e.Status == "" {
		return e.Err.Error()
	}
	return e.Status + " " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an *Error with a code and a formatted text. %w works.
func Errorf(code int, format string, args ...any) *Error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// WithStatus sets the enhanced status code and returns e.
func (e *Error) WithStatus(status string) *Error { e.Status = status; return e }

// WithHint sets the advice that follows the error text and returns e.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// ExitCode maps an error to an exit code. An error that does not say what it is
// counts as temporary: the caller keeps the mail.
func ExitCode(err error) int {
	if err == nil {
		return OK
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return TempFail
}

// Env is what a command sees of the outside world. Only a main package fills it
// from the process; everything below takes it as an argument.
type Env struct {
	Args   []string // without the program name
	Stdin  *os.File
	Stdout io.Writer
	Stderr io.Writer
	Getenv func(string) string
}

// Main runs a command and exits. SIGINT and SIGTERM cancel the context; a second
// signal ends the process at once.
func Main(name string, run func(ctx context.Context, env Env) error) {
	Run(name, func(env Env) error { return run(Signals(), env) })
}

// Run is Main without the signals.
func Run(name string, run func(env Env) error) {
	err := run(Env{
		Args:   os.Args[1:],
		Stdin:  os.Stdin,
		Stdout: os.Stdout,
		Stderr: os.Stderr,
		Getenv: os.Getenv,
	})
	Report(os.Stderr, name, err)
	os.Exit(ExitCode(err))
}

// Signals returns the context of Main, for who is run by Run. To listen to signals
// takes a thread, a good part of what a short process costs.
func Signals() context.Context {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx
}

// Report writes err the way all three commands do: program name, error text,
// then the advice, one line each and never more than printable text.
func Report(w io.Writer, name string, err error) {
	if err == nil {
		return
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(w, "%s: %s\n", name, Printable(strings.TrimRight(line, "\r\n")))
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Hint != "" {
		fmt.Fprintf(w, "%s: %s\n", name, Printable(e.Hint))
	}
}

// Printable replaces control characters, so that text received from a peer
// cannot drive a terminal.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return '?'
		}
		return r
	}, s)
}

// Version is the module version that the binary was built from, or "devel".
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
