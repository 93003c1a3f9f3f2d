package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/dsn"
	"rtls/internal/owner"
	"rtls/internal/spool"
	"rtls/internal/submit"
)

// flush is the value of -q.
type flush struct {
	every  time.Duration // 0: once
	choose byte          // 'I', 'S' or 'R'; 0: what is due
	text   string        // part of the identifier, the sender or a recipient
}

// longestFlush is the longest time between two flushes.
const longestFlush = 366 * 24 * time.Hour

// parseFlush reads "", "15m" and "1h30m" in sendmail's form, where a number alone is
// minutes, and "Ipart", "Spart", "Rpart".
func parseFlush(s string) (flush, error) {
	if s == "" {
		return flush{}, nil
	}
	if strings.IndexByte("ISR", s[0]) >= 0 && len(s) > 1 {
		return flush{choose: s[0], text: s[1:]}, nil
	}
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	var f flush
	for rest := s; rest != ""; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.Atoi(rest[:digits])
		unit := time.Minute
		if rest = rest[digits:]; rest != "" {
			unit = units[rest[0]]
			rest = rest[1:]
		}
		if err != nil || unit == 0 || time.Duration(n) > longestFlush/unit {
			return flush{}, fmt.Errorf("-q takes a time such as 15m, or I, S or R with a text, not %q", s)
		}
		if f.every += time.Duration(n) * unit; f.every > longestFlush {
			return flush{}, errors.New("-q takes a time of a year at most")
		}
	}
	if f.every < time.Second {
		return flush{}, errors.New("-q takes a time of a second or more")
	}
	return f, nil
}

func (f flush) selector() func(*spool.Record) bool {
	switch f.choose {
	case 'I':
		return func(r *spool.Record) bool { return strings.Contains(r.ID, f.text) }
	case 'S':
		return func(r *spool.Record) bool { return strings.Contains(r.From, f.text) }
	case 'R':
		return func(r *spool.Record) bool {
			return slices.ContainsFunc(r.To, func(to string) bool { return strings.Contains(to, f.text) })
		}
	}
	return nil
}

// flushQueue is -q: once, or until the context ends.
func flushQueue(ctx context.Context, env cli.Env, o *options) error {
	for {
		result, err := flushOnce(ctx, env, o, o.flush.selector())
		if o.flush.every == 0 || errors.Is(err, errNoQueue) {
			return flushError(result, err)
		}
		if err := flushError(result, err); err != nil {
			cli.Report(env.Stderr, name, err)
		}
		timer := time.NewTimer(o.flush.every)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// flushError is for what is wrong with the spool itself. That a message has to wait
// is nothing out of order.
func flushError(r spool.Result, err error) error {
	switch {
	case errors.Is(err, errNoQueue):
		return nil
	case err != nil:
		return spoolError(err)
	case r.Err != nil:
		return spoolError(r.Err)
	case r.Damaged > 0:
		return cli.Errorf(cli.DataErr, "%d files in the queue are damaged and were put aside", r.Damaged).
			WithHint("%s queue list shows them", name)
	}
	return nil
}

var errNoQueue = errors.New("there is no queue")

// openSpool opens the configured spool, for what needs nothing else of the
// configuration.
func openSpool(env cli.Env, o *options) (*spool.Spool, config.Send, error) {
	var none config.Send
	file, _, err := loadConfig(env, o)
	if err != nil {
		return nil, none, cli.Errorf(cli.Config, "%w", err)
	}
	path := spoolPath(env, file)
	if path == "" {
		return nil, none, errNoQueue
	}
	// Root looks after a queue as whoever it belongs to: what root made there, that user
	// could not send.
	if uid, gid, err := owner.Of(path); err == nil {
		if err := owner.Become(uid, gid); err != nil {
			return nil, none, cli.Errorf(cli.OSErr, "%w", err)
		}
	}
	sp, err := spool.Open(path, false, spool.Config{})
	if errors.Is(err, spool.ErrNone) {
		return nil, none, errNoQueue
	}
	if err != nil {
		return nil, none, spoolError(err)
	}
	return sp, file.Send, nil
}

func flushOnce(ctx context.Context, env cli.Env, o *options, choose func(*spool.Record) bool) (spool.Result, error) {
	sp, send, err := openSpool(env, o)
	if err != nil {
		return spool.Result{}, err
	}
	level := slog.LevelWarn
	if o.verbose || o.flush.every > 0 {
		level = slog.LevelInfo
	}
	l := newSendLog(env, o, send)
	defer l.Close()
	t := &transport{env: env, o: o, lines: make(map[spool.Route]*line)}
	defer t.close()
	f := &spool.Flusher{
		Spool: sp, Transport: t, Report: t.report, Hold: send.InDoubt == "hold", Select: choose,
		Log: slog.New(slog.NewMultiHandler(l.logger().Handler(), slog.NewTextHandler(env.Stderr, &slog.HandlerOptions{Level: level}))),
	}
	return f.Flush(ctx)
}

// transport sends what is in the queue, with one login for each way that messages
// take.
type transport struct {
	env   cli.Env
	o     *options
	lines map[spool.Route]*line
}

var _ spool.Transport = (*transport)(nil)

// line is one way, or why it is closed.
type line struct {
	session  *submit.Session
	hostname string // ours
	err      error
}

func (t *transport) close() {
	for _, l := range t.lines {
		if l.session != nil {
			l.session.Close()
		}
	}
}

// open reads the settings that a message's account has now. The account's wish is
// not among what is used of them: the message brings its own.
func (t *transport) open(r spool.Route) *line {
	o := &options{config: t.o.config, account: r.Account, host: r.Host, port: r.Port, tls: r.TLS, verbose: t.o.verbose}
	s, err := loadSettings(t.env, o)
	if err != nil {
		return &line{err: err}
	}
	return &line{session: submit.NewSession(s.targets, submitOptions(t.env, o, s)), hostname: s.hostname}
}

// by is the way that a route is.
func (t *transport) by(r spool.Route) *line {
	l := t.lines[r]
	if l == nil {
		l = t.open(r)
		t.lines[r] = l
	}
	return l
}

// report tells the sender that a message is given up or late, by the way that the
// message was to take. A server that will not have the report ends it: the log and the queue
// have it, and a second one would be refused as well. What is wrong with the login or the
// configuration is tried again.
func (t *transport) report(ctx context.Context, f spool.Failed) error {
	l := t.by(f.Route)
	if l.err != nil {
		return l.err
	}
	failed := &dsn.Failed{
		From: f.From, Wish: f.Wish, EnvelopeID: f.EnvelopeID, MessageID: f.MessageID, Arrived: f.Time, Content: f.Content,
	}
	status := f.Status
	if status == "" {
		status = "5.0.0"
	}
	action := dsn.ActionFailed
	if !f.Until.IsZero() {
		action = dsn.ActionDelayed
	}
	for _, to := range f.To {
		failed.Recipients = append(failed.Recipients, dsn.Recipient{
			Address: to, Notify: f.Notify, Action: action, Status: status, Reason: f.Reason, RetryUntil: f.Until,
		})
	}
	err := dsn.Send(ctx, failed, dsn.Options{Hostname: l.hostname}, func(ctx context.Context, r *dsn.Report) error {
		_, err := l.session.Send(ctx, mailOf(r))
		return err
	})
	switch cli.ExitCode(err) {
	case cli.DataErr, cli.NoUser, cli.Unavailable: // as for a message, all else may heal
		what := "given up"
		if !f.Until.IsZero() {
			what = "late"
		}
		fmt.Fprintf(t.env.Stderr, "%s: message %s is %s, and its sender cannot be told: %s\n", name, f.ID, what, cli.Printable(err.Error()))
		return nil
	}
	return err
}

// mailOf is a report with its envelope.
func mailOf(r *dsn.Report) *submit.Mail {
	return &submit.Mail{
		To: []string{r.To()}, Wish: r.Wish(), Content: r, Size: r.Size(),
		EightBit: r.UTF8(), UTF8: r.UTF8(), MessageID: r.MessageID(),
	}
}

// Send sends one message with the wish that it was queued with.
func (t *transport) Send(ctx context.Context, m *spool.Message) error {
	l := t.by(m.Route)
	if l.err != nil {
		return &spool.Failure{Err: l.err, Route: true}
	}
	receipt, err := l.session.Send(ctx, &submit.Mail{
		From:      m.From,
		To:        m.To,
		Wish:      m.Wish,
		DSN:       submit.DSN{Return: m.Return, EnvelopeID: m.EnvelopeID, Notify: m.Notify},
		Content:   withProgress(t.env, t.o, m.Content, m.Size),
		Size:      m.Size,
		EightBit:  m.EightBit,
		SevenBit:  sevenBit(t.env, m.Content),
		UTF8:      m.UTF8,
		MessageID: m.MessageID,
	})
	if err != nil {
		return failure(err)
	}
	m.About = append([]any{"account", m.Route.Account, "size", m.Size, "msgid", m.MessageID}, received(receipt)...)
	return nil
}
