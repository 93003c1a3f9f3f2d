package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"rtls/internal/cli"
	"rtls/internal/compose"
	"rtls/internal/config"
	"rtls/internal/spool"
	"rtls/internal/submit"
)

// delivery is when a message is sent: sendmail's -od.
type delivery byte

const (
	deliverNow    delivery = 'i' // the default
	deliverBehind delivery = 'b' // in the background
	deliverLater  delivery = 'q' // by a flush
)

// chooseDelivery finds the last -od among all -o options. Another letter than these
// three means now.
func chooseDelivery(sets []string) delivery {
	d := deliverNow
	for _, set := range sets {
		if len(set) == 2 && set[0] == 'd' {
			d = delivery(set[1])
		}
	}
	if d != deliverBehind && d != deliverLater {
		return deliverNow
	}
	return d
}

// spoolPath is the directory that the configuration names, or empty.
func spoolPath(env cli.Env, file *config.File) string { return inHome(env, file.Send.Spool) }

// inHome is a path that the configuration names. It is empty where it is below a home
// that a caller, such as a daemon, has not got.
func inHome(env cli.Env, path string) string {
	if below, ok := strings.CutPrefix(path, "~/"); ok {
		home := env.Getenv("HOME")
		if !filepath.IsAbs(home) {
			return ""
		}
		return filepath.Join(home, below)
	}
	return path
}

// queue is what becomes of a message that is not sent now.
type queue struct {
	env    cli.Env
	o      *options
	s      *settings
	spool  *spool.Spool
	buried bool // what was refused for good is kept, and its sender is told by mail
	lost   bool // something could not be kept
}

// kept says of a message with an error that nobody else need keep it: it is here for all
// whom it did not reach, and its sender will hear of it.
func (q *queue) kept() bool { return q.buried && !q.lost }

// openQueue returns nil where no queue is configured.
func openQueue(env cli.Env, o *options, s *settings) (*queue, error) {
	if s.spool == "" {
		return nil, nil
	}
	sp, err := spool.Open(s.spool, true, spool.Config{})
	if err != nil && o.delivery != deliverNow {
		return nil, spoolError(err)
	}
	if err != nil { // it may not be needed
		fmt.Fprintf(env.Stderr, "%s: the queue cannot be used: %s\n", name, cli.Printable(err.Error()))
		return nil, nil
	}
	return &queue{env: env, o: o, s: s, spool: sp}, nil
}

// spoolError gives an error of the spool its exit code.
func spoolError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, spool.ErrNotOwner):
		return cli.Errorf(cli.NoPerm, "%w", err).WithHint("root and the owner of the queue's directory look after it")
	case errors.Is(err, spool.ErrNoID), errors.Is(err, spool.ErrInDoubt):
		return cli.Errorf(cli.DataErr, "%w", err)
	case errors.Is(err, os.ErrPermission):
		return cli.Errorf(cli.CantCreate, "%w", err)
	}
	return cli.Errorf(cli.TempFail, "%w", err)
}

// first says whether the message goes to the queue before anything else.
func (q *queue) first() bool { return q.o.delivery != deliverNow || !q.spool.Owned() }

// queuesFirst says the same before the queue is open: that nothing is needed to reach
// a server. Who does not own the spool has not got its password either.
func queuesFirst(o *options, s *settings) bool {
	if s.spool == "" || o.delivery != deliverNow {
		return s.spool != ""
	}
	var st unix.Stat_t
	return unix.Stat(s.spool, &st) == nil && int(st.Uid) != os.Geteuid()
}

// keep puts a message into the queue, and starts to send it if that was asked for.
func (q *queue) keep(m *compose.Message) (id string, err error) {
	id, err = q.add(m, m.To, nil)
	if err == nil && q.o.delivery == deliverBehind && q.spool.Owned() {
		q.behind("-qI" + id)
	}
	return id, err
}

func (q *queue) add(m *compose.Message, to []string, why *spool.Failure) (string, error) {
	id, err := q.spool.Add(spool.Record{
		From:       m.From,
		To:         to,
		Wish:       q.s.wish,
		Return:     q.o.dsn.Return,
		EnvelopeID: q.o.dsn.EnvelopeID,
		Notify:     q.o.dsn.Notify,
		Route:      spool.Route{Account: q.s.account.Name, Host: q.o.host, Port: q.o.port, TLS: q.o.tls},
		Size:       m.Size(),
		EightBit:   m.EightBit,
		UTF8:       m.UTF8,
		MessageID:  m.MessageID,
	}, m, why)
	if err != nil {
		return "", spoolError(err)
	}
	if q.o.verbose {
		fmt.Fprintf(q.env.Stderr, "%s: queued as %s, requiretls=%s\n", name, id, q.s.wish)
	}
	return id, nil
}

// settle ends the sending of a message whose caller waits: what may succeed later is
// kept, and then the error says why. Where it was not the same for all recipients, it is
// kept for those it may still reach. Who was interrupted wants it to end, and still has
// the message.
func (q *queue) settle(ctx context.Context, m *compose.Message, err error) (id string, _ error) {
	if err == nil {
		if q.spool.Due() {
			q.behind("-q") // the server is there, so the others may go too
		}
		return "", nil
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return "", err
	}
	outcome, mixed := submit.OutcomeOf(err)
	to := outcome.Rest(m.To)
	if cli.ExitCode(err) != cli.TempFail && !mixed {
		q.bury(m, m.To, err)
		return "", err
	}
	for _, no := range outcome.Never {
		q.bury(m, []string{no.To}, no.Err)
	}
	if len(to) == 0 {
		return "", err
	}
	why := failure(err)
	why.Done, why.Never = nil, nil // it is added without them
	id, addErr := q.add(m, to, why)
	if addErr != nil {
		q.lost = true
		return "", cli.Errorf(cli.TempFail, "%w", errors.Join(err, addErr))
	}
	if len(outcome.Never) > 0 {
		fmt.Fprintf(q.env.Stderr, "%s: kept in the queue as %s for <%s>\n", name, id, strings.Join(to, ">, <"))
	}
	if why.InDoubt {
		fmt.Fprintf(q.env.Stderr, "%s: %s\n%s: kept in the queue as %s; it may arrive twice\n", name, cli.Printable(err.Error()), name, id)
	}
	return id, err
}

// bury keeps a message as given up, for recipients to whom it cannot be sent, if that is
// the caller's wish: -oem. Its sender gets a report then.
func (q *queue) bury(m *compose.Message, to []string, err error) {
	if !q.o.errors.mailed() {
		return
	}
	why := failure(err)
	why.Permanent, why.Done, why.Never = true, nil, nil
	id, addErr := q.add(m, to, why)
	if addErr != nil {
		q.lost = true
		fmt.Fprintf(q.env.Stderr, "%s: the queue: %s\n", name, cli.Printable(addErr.Error()))
		return
	}
	q.buried = true
	fmt.Fprintf(q.env.Stderr, "%s: kept in the queue as %s, which is given up; its sender gets a report\n", name, id)
	q.behind("-qI" + id)
}

// failure tells the queue what an error of sending means.
func failure(err error) *spool.Failure {
	f := &spool.Failure{Err: err}
	code := cli.ExitCode(err)
	e, ok := errors.AsType[*cli.Error](err)
	if ok {
		f.Status = e.Status
	}
	// What is wrong with server, password or configuration is not the message's
	// fault, and whoever wrote it cannot help it: such things are tried again.
	f.Permanent = code == cli.DataErr || code == cli.NoUser
	f.Route = code == cli.NoPerm || code == cli.NoHost || code == cli.Config
	f.InDoubt = submit.MaybeSent(err)
	f.Route = f.Route || code == cli.TempFail && submit.Unreached(err)
	if outcome, mixed := submit.OutcomeOf(err); mixed {
		f.Permanent, f.Done = false, outcome.Done
		if ok && len(outcome.Never) > 0 {
			f.Err, f.Status = e.Err, "" // it is that of the worst, who is not among the rest
		}
		for _, no := range outcome.Never {
			f.Never = append(f.Never, spool.Refused{To: no.To, Status: no.Err.Status, Reason: no.Err.Err.Error()})
		}
	}
	return f
}

// behind starts this program once more, to work on the queue by itself. That it
// cannot be started is no failure: the message is safe, and the next flush sends it.
func (q *queue) behind(flag string) {
	self, err := os.Executable()
	if err != nil {
		return
	}
	args := []string{name, flag}
	if q.o.config != "" {
		path, err := filepath.Abs(q.o.config)
		if err != nil {
			return
		}
		args = append(args, "--config", path)
	}
	cmd := &exec.Cmd{Path: self, Args: args, Dir: "/", SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	if cmd.Start() == nil {
		go func() { _ = cmd.Wait() }() // for -bs, which goes on; nobody needs to know how it ended
	}
}
