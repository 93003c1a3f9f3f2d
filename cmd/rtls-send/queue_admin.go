package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"rtls/internal/cli"
	"rtls/internal/spool"
)

const queueUsage = `usage: rtls-send queue [-C file] [--json] list
       rtls-send queue [-C file] [--json] show ID
       rtls-send queue [-C file] hold | release | rm ID... | all
       rtls-send queue [-C file] retry [--force] ID... | all

  list      what is in the queue and what was given up
  show      one message: envelope, history and text
  hold      do not send it
  release   send it again when it is due
  retry     send it now, also if it was given up; with --force also if it may have
            arrived already
  rm        forget it
`

// queueOptions is a command line of the queue's.
type queueOptions struct {
	options
	force, help bool
}

func (o *queueOptions) flags() *pflag.FlagSet {
	fs := pflag.NewFlagSet(name+" queue", pflag.ContinueOnError)
	fs.Usage = func() {}
	fs.StringVarP(&o.config, "config", "C", "", "")
	fs.StringVar(&o.config, "file", "", "")
	fs.BoolVarP(&o.verbose, "verbose", "v", false, "")
	fs.BoolVar(&o.json, "json", false, "")
	fs.BoolVar(&o.force, "force", false, "")
	fs.BoolVar(&o.help, "help", false, "")
	return fs
}

// isQueueCommand says whether the first word that is no flag is "queue", and whether the
// flags before it are the queue's own. Behind others it is a recipient: a mailer that
// passes -i or -f has a message to send, to a local user of that name.
func isQueueCommand(args []string) bool {
	var o queueOptions
	fs := o.flags()
	fs.SetInterspersed(false)
	return fs.Parse(args) == nil && fs.Arg(0) == "queue" && fs.ArgsLenAtDash() != 0
}

// queueCommand is "rtls-send queue ...".
func queueCommand(ctx context.Context, env cli.Env, args []string) error {
	var o queueOptions
	fs := o.flags()
	err := fs.Parse(args)
	if o.help {
		return say(env.Stdout, queueUsage)
	}
	if err != nil {
		return queueUsageError(err)
	}
	words := fs.Args()[1:]
	if len(words) == 0 {
		words = []string{"list"}
	}
	verb, ids := words[0], words[1:]
	switch verb {
	case "list":
		if len(ids) > 0 {
			return queueUsageError(errors.New("list takes no messages"))
		}
		return listQueue(env, &o.options)
	case "show":
		if len(ids) != 1 {
			return queueUsageError(errors.New("show takes one message"))
		}
		return showMessage(env, &o.options, ids[0])
	case "hold", "release", "retry", "rm":
		if len(ids) == 0 {
			return queueUsageError(fmt.Errorf("%s takes messages, or all", verb))
		}
		return changeQueue(ctx, env, &o.options, verb, ids, o.force)
	}
	return queueUsageError(fmt.Errorf("there is no queue %s", verb))
}

func queueUsageError(err error) error {
	return cli.Errorf(cli.Usage, "%w", err).WithHint("%s queue --help lists what there is", name)
}

// entry is a message in JSON. Its names are part of the command's interface.
type entry struct {
	ID         string     `json:"id"`
	Status     string     `json:"status"`
	Time       *time.Time `json:"time,omitempty"`
	UID        *int       `json:"uid,omitempty"`
	From       *string    `json:"from,omitempty"`
	To         []string   `json:"to,omitempty"`
	Done       []string   `json:"done,omitempty"`    // recipients that have it
	Refused    []string   `json:"refused,omitempty"` // recipients that were refused for good
	RequireTLS string     `json:"requiretls,omitempty"`
	Account    string     `json:"account,omitempty"`
	Host       string     `json:"host,omitempty"`
	Size       int64      `json:"size,omitempty"`
	MessageID  string     `json:"message_id,omitempty"`
	Attempts   int        `json:"attempts"`
	Unanswered int        `json:"unanswered"`
	Held       bool       `json:"held"`
	Last       *time.Time `json:"last,omitempty"`
	Next       *time.Time `json:"next,omitempty"`
	Code       string     `json:"code,omitempty"`
	Reason     string     `json:"reason,omitempty"`
}

func entryOf(i *spool.Item) entry {
	e := entry{
		ID: i.ID, Status: i.Status(), Attempts: i.State.Attempts, Unanswered: i.State.Doubts,
		Held: i.State.Held, Done: i.State.Done, Refused: i.State.Refused, Code: i.State.Status, Reason: i.State.Reason,
	}
	if r := i.Record; r != nil {
		e.Time, e.UID, e.From, e.To = &r.Time, &r.UID, &r.From, r.To
		e.RequireTLS, e.Account, e.Host = r.Wish.String(), r.Route.Account, r.Route.Host
		e.Size, e.MessageID = r.Size, r.MessageID
	} else {
		e.Reason = i.Trouble
	}
	if t := i.State.Last; !t.IsZero() {
		e.Last = &t
	}
	if t := i.State.Next; !t.IsZero() && e.Status != "failed" {
		e.Next = &t
	}
	return e
}

func (e entry) text() string {
	var b strings.Builder
	when, from := "", ""
	if e.Time != nil {
		when = e.Time.Local().Format("2006-01-02 15:04:05")
	}
	if e.From != nil {
		from = "<" + *e.From + ">"
	}
	fmt.Fprintf(&b, "%s  %-8s  %9d  %19s  requiretls=%-4s  %s\n", e.ID, e.Status, e.Size, when, e.RequireTLS, from)
	for _, to := range e.To {
		fate := ""
		switch {
		case slices.Contains(e.Done, to):
			fate = ", has it"
		case slices.Contains(e.Refused, to):
			fate = ", refused"
		}
		fmt.Fprintf(&b, "    to <%s>%s\n", to, fate)
	}
	if e.Reason != "" {
		fmt.Fprintf(&b, "    %s\n", strings.TrimSpace(e.Code+" "+strings.ReplaceAll(e.Reason, "\n", "; ")))
	}
	if e.Unanswered > 0 {
		fmt.Fprintf(&b, "    sent %d times without an answer: it may have arrived\n", e.Unanswered)
	}
	if e.Next != nil && !e.Held {
		fmt.Fprintf(&b, "    next attempt %s\n", e.Next.Local().Format("2006-01-02 15:04:05"))
	}
	var out strings.Builder
	for line := range strings.Lines(b.String()) {
		out.WriteString(cli.Printable(strings.TrimRight(line, "\n")) + "\n")
	}
	return out.String()
}

func (e entry) write(w io.Writer, asJSON bool) error {
	if !asJSON {
		return say(w, e.text())
	}
	text, err := json.Marshal(e)
	if err != nil {
		return cli.Errorf(cli.Software, "%w", err)
	}
	return say(w, string(text)+"\n")
}

// listQueue is mailq.
func listQueue(env cli.Env, o *options) error {
	sp, _, err := openSpool(env, o)
	var items []spool.Item
	if err == nil {
		items, err = sp.List()
	}
	if err != nil && !errors.Is(err, errNoQueue) {
		return spoolError(err)
	}
	if len(items) == 0 && !o.json {
		return say(env.Stdout, "Mail queue is empty\n")
	}
	for i := range items {
		if err := entryOf(&items[i]).write(env.Stdout, o.json); err != nil {
			return err
		}
	}
	return nil
}

func showMessage(env cli.Env, o *options, id string) error {
	sp, _, err := openSpool(env, o)
	if err != nil {
		return noQueue(err)
	}
	item, err := sp.Show(id, nil)
	if err != nil {
		return spoolError(fmt.Errorf("message %s: %w", id, err))
	}
	if err := entryOf(item).write(env.Stdout, o.json); err != nil || o.json {
		return err
	}
	if err := say(env.Stdout, "\n"); err != nil {
		return err
	}
	_, err = sp.Show(id, env.Stdout)
	return spoolError(err)
}

func noQueue(err error) error {
	if errors.Is(err, errNoQueue) {
		return cli.Errorf(cli.DataErr, "%w", err).WithHint(`a queue needs spool = "/path" under [send]; see rtls.toml(5)`)
	}
	return err
}

// changeQueue does the same to several messages. It goes on where one cannot be
// changed, and reports the first.
func changeQueue(ctx context.Context, env cli.Env, o *options, verb string, ids []string, force bool) error {
	sp, _, err := openSpool(env, o)
	if err != nil {
		return noQueue(err)
	}
	if slices.Equal(ids, []string{"all"}) {
		if ids, err = eligible(sp, verb, force); err != nil {
			return spoolError(err)
		}
	}
	do := map[string]func(string) error{
		"hold": sp.Hold, "release": sp.Release, "rm": sp.Remove,
		"retry": func(id string) error { return sp.Retry(id, force) },
	}[verb]
	var first error
	changed := make(map[string]bool)
	for _, id := range ids {
		if err := do(id); err != nil {
			err = spoolError(fmt.Errorf("message %s: %w", id, err))
			if first != nil {
				cli.Report(env.Stderr, name, first)
			}
			first = err
			continue
		}
		changed[id] = true
	}
	if e, ok := errors.AsType[*cli.Error](first); ok && errors.Is(first, spool.ErrInDoubt) {
		_ = e.WithHint("%s queue retry --force sends it all the same", name)
	}
	if verb != "retry" || len(changed) == 0 {
		return first
	}
	result, err := flushOnce(ctx, env, o, func(r *spool.Record) bool { return changed[r.ID] })
	if err := flushError(result, err); err != nil {
		return err
	}
	if first == nil && result.Sent < len(changed) {
		return cli.Errorf(cli.TempFail, "%d of %d messages were not sent", len(changed)-result.Sent, len(changed)).
			WithHint("%s queue list says why", name)
	}
	return first
}

// eligible is what "all" means to a verb.
func eligible(sp *spool.Spool, verb string, force bool) ([]string, error) {
	items, err := sp.List()
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, i := range items {
		switch {
		case verb == "hold" && (i.Failed || i.State.Held):
		case verb == "release" && (!i.State.Held || i.Failed):
		case verb == "retry" && (i.Record == nil || i.State.Doubts > 0 && !force):
		default:
			ids = append(ids, i.ID)
		}
	}
	return ids, nil
}
