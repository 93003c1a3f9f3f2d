package sieve

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"
)

// Limits of a run. Those of RFC 5229 section 6 are 128 variables with names of 32
// and values of 4000 characters.
const (
	maxHeader    = 1 << 20  // octets of the header that fields are found in
	maxVariables = 256      // that a script sets
	maxName      = 64       // letters of a variable's name
	maxVariable  = 16 << 10 // octets of a variable's value; more is cut off
	maxExpanded  = 64 << 10 // octets of a string with variables; more is cut off
	maxList      = 4 << 20  // octets of a list of strings with variables
	maxActions   = 64       // that deliver the message
	maxMailbox   = 1024     // octets of a mailbox name

	// DefaultRedirects is how many addresses a script can redirect a message to.
	DefaultRedirects = 4
	// DefaultWork is how much work a script can do, in octets looked at: about a
	// second's. Looking through a body of 25 MB for a text takes a tenth of it.
	DefaultWork = 400 << 20
)

// Limits are what a site can change. Zero values are the defaults.
type Limits struct {
	Redirects int // addresses; negative forbids redirect
	Work      int64
}

// Mailboxes is what a script can ask about the user's mailboxes.
type Mailboxes interface {
	// Exists says whether a message can be delivered into a mailbox, by its name in
	// UTF-8.
	Exists(ctx context.Context, name string) (bool, error)
}

// Env is what a script can learn apart from the message. The zero value works.
type Env struct {
	// Now is the time of delivery, in the zone that dates without one are
	// understood in. Zero is the present, in the local zone.
	Now time.Time
	// Delimiter stands between user and detail in a local part. Without one there
	// are no details.
	Delimiter string
	// Owner is the user's address, which vacation answers come from. Without it
	// they come from the recipient.
	Owner string
	// Addresses are more addresses of the user, for vacation.
	Addresses []string
	// Inbox is the mailbox that keep stands for; empty is INBOX.
	Inbox string
	// Mailboxes answers mailboxexists. Without it there is only Inbox.
	Mailboxes Mailboxes
	// Tag and Origin are what tlstag and tlsorigin compare; empty is "unknown".
	Tag, Origin string
	Limits      Limits
	// Explain, if set, is called with one line for every command and test that is
	// run: "line: what is run: outcome".
	Explain func(line string)
}

// Result is what is to be done with a message.
type Result struct {
	// Actions are to be done in this order. There is at least one; unless one is
	// Discard, Reject or Redirect, one is Keep or FileInto.
	Actions []Action
	// Keep is the implicit keep, whether it is among the actions or not: what is to
	// be done when all actions fail, or are not allowed to cancel it.
	Keep Keep
}

// command is a command that can be run.
type command interface {
	exec(r *run) error
	source() *node
}

// run is a script that is running.
type run struct {
	ctx         context.Context // of the call of Run that it lives in
	env         Env
	content     content
	work        budget
	variables   map[string]string
	keepMatches bool
	matched     []string // behind the whole value what its wildcards stood for
	flags       []string // the internal variable of imap4flags
	outcome
	values []string // what the test under way has seen
}

var errStop = errors.New("stop") // never leaves the package

// Run runs a script on a message that is being delivered. It does nothing itself:
// it returns what is to be done.
//
// Whatever the error, the result is usable, and is then to keep the message. An
// *Error is the script's fault, the same every time, and something for its owner
// to know (RFC 5228 section 2.10.6). Any other error is that of ctx, of the message
// or of env.Mailboxes and may not come again: who can delivers the message later.
func (s *Script) Run(ctx context.Context, env Env, msg Message) (result Result, err error) {
	if env.Now.IsZero() {
		env.Now = time.Now()
	}
	if env.Inbox == "" {
		env.Inbox = inbox
	}
	r := &run{
		ctx:         ctx,
		env:         env,
		content:     content{Message: msg},
		work:        budget(env.Limits.Work),
		variables:   make(map[string]string),
		keepMatches: s.setsVars,
	}
	if r.work == 0 {
		r.work = DefaultWork
	}
	defer func() {
		if v := recover(); v != nil { // a bug here must not cost a message
			result, err = kept(nil), fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	if err := r.block(s.commands); err != nil && !errors.Is(err, errStop) {
		r.explain("error: %v", err)
		return kept(nil), err
	}
	return r.result(), nil
}

func (r *run) block(commands []command) error {
	for _, c := range commands {
		if err := r.check(c.source()); err != nil {
			return err
		}
		if err := c.exec(r); err != nil {
			return err
		}
		if err := r.check(c.source()); err != nil {
			return err
		}
	}
	return nil
}

// check says whether the run may go on.
func (r *run) check(n *node) error {
	const perStep = 64
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if !r.work.spend(perStep) {
		return n.at.errorf("%s: the script takes too long: use fewer keys, or simpler ones", n.name)
	}
	return nil
}

func (r *run) eval(t test) (bool, error) {
	n := t.source()
	if err := r.check(n); err != nil {
		return false, err
	}
	r.values = r.values[:0]
	ok, err := t.eval(r)
	if err != nil {
		return false, err
	}
	if err := r.check(n); err != nil {
		return false, err
	}
	if r.env.Explain != nil && len(n.tests) == 0 { // of the others their tests tell
		seen := ""
		if len(r.values) > 0 {
			seen = ", saw " + strings.Join(r.values, ", ")
		}
		r.say(n, "%t%s", ok, seen)
	}
	return ok, nil
}

// saw notes a value that a test looks at, for Explain.
func (r *run) saw(format string, value any) {
	const most = 5
	switch n := len(r.values); {
	case r.env.Explain == nil || n > most:
	case n == most:
		r.values = append(r.values, "...")
	default:
		r.values = append(r.values, oneLine(fmt.Sprintf(format, value), 80))
	}
}

// say tells the outcome of a command or test.
func (r *run) say(n *node, format string, args ...any) {
	if r.env.Explain != nil {
		r.explain("%d: %s: %s", n.at.line, n.brief(), fmt.Sprintf(format, args...))
	}
}

func (r *run) explain(format string, args ...any) {
	if r.env.Explain != nil {
		r.env.Explain(oneLine(fmt.Sprintf(format, args...), 1000))
	}
}

func (r *run) mailboxExists(name string) (bool, error) {
	if sameMailbox(name, r.env.Inbox) {
		return true, nil
	}
	if r.env.Mailboxes == nil || checkMailbox(name) != "" {
		return false, nil
	}
	const perLookUp = 1 << 20 // a disk may have to be asked
	if !r.work.spend(perLookUp) {
		return false, nil // the run is over
	}
	there, err := r.env.Mailboxes.Exists(r.ctx, name)
	if err != nil {
		return false, fmt.Errorf("look for mailbox: %w", err)
	}
	return there, nil
}
