package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"rtls/internal/cli"
	"rtls/internal/compose"
	"rtls/internal/requiretls"
	"rtls/internal/submit"
)

// runLimit bounds the whole run, from the first byte read. A message of 25 MB over
// a slow line takes half of it.
const runLimit = time.Hour

// command returns the command as it behaves under the name that it was called by.
func command(invoked string) func(context.Context, cli.Env) error {
	return func(ctx context.Context, env cli.Env) error {
		if os.Getuid() != os.Geteuid() || os.Getgid() != os.Getegid() {
			return errPrivileged
		}
		if invoked == name && isQueueCommand(env.Args) {
			return queueCommand(ctx, env, env.Args)
		}
		o, err := parseArgs(invoked, env.Args)
		if err != nil {
			return err
		}
		if o.quiet {
			env.Stderr = io.Discard
		}
		err = run(ctx, env, o)
		if err != nil && o.quiet {
			return &cli.Error{Code: cli.ExitCode(err), Err: errors.New("")}
		}
		return err
	}
}

func run(ctx context.Context, env cli.Env, o *options) error {
	switch o.mode {
	case modeHelp:
		return say(env.Stdout, usage)
	case modeVersion:
		return say(env.Stdout, name+" "+cli.Version()+"\n")
	case modeQueue:
		return listQueue(env, o)
	case modeCount:
		return countQueue(env, o)
	case modeFlush:
		return flushQueue(ctx, env, o)
	case modeAliases:
		return checkAliases(env, o)
	case modeNothing:
		return nil
	case modeCheck:
		ctx, cancel := limited(ctx)
		defer cancel()
		return checkServers(ctx, env, o)
	case modeImport:
		return importMsmtprc(env, o.msmtprc)
	case modeConfigure:
		find, err := newFinder(env, o)
		if err != nil {
			return err
		}
		return configure(ctx, env, o, find)
	}
	unread := func(err error) error {
		if o.mode == modeSend {
			c := newInputCopy(env, o)
			defer c.Close()
			saveLetter(ctx, env, o, c, err)
		}
		return err
	}
	s, err := loadSettings(env, o)
	if err != nil {
		return unread(err)
	}
	defer s.log.Close()
	if o.mode == modeCheckConfig {
		return say(env.Stdout, s.describe())
	}
	if o.transcript != "" {
		f, err := openTranscript(o.transcript)
		if err != nil {
			return unread(err)
		}
		defer f.Close()
		o.log = f
	}
	switch o.mode {
	case modeVerify:
		return verify(env, o, s)
	case modeSMTP:
		return serveSMTP(ctx, env, o, s)
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	return send(ctx, env, o, s)
}

// limited bounds what is done for one message.
func limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, runLimit, fmt.Errorf("it took more than %s", runLimit))
}

func say(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return cli.Errorf(cli.IOErr, "%w", err)
	}
	return nil
}

func send(ctx context.Context, env cli.Env, o *options, s *settings) error {
	c := &composing{env: env, o: o, settings: s, copy: newInputCopy(env, o)}
	defer c.copy.Close()
	m, err := c.read(ctx)
	if err != nil {
		if !o.pretend {
			s.log.refused(nil, err)
			saveLetter(ctx, env, o, c.copy, err)
		}
		return err
	}
	defer m.Close()
	kept, err := c.dispatch(ctx, m)
	switch {
	case err == nil:
	case !kept:
		saveLetter(ctx, env, o, c.copy, err)
	case o.errors == errorsMailedZero: // sendmail's -oee
		cli.Report(env.Stderr, name, err)
		return nil
	}
	return err
}

// dispatch sends the message, or keeps it, and logs which. Kept says of a message with
// an error that the queue has it all the same.
func (c *composing) dispatch(ctx context.Context, m *compose.Message) (kept bool, err error) {
	if c.o.pretend {
		c.debugPlan()
		return false, c.pretend(m)
	}
	receipt, id, kept, err := c.sendOrKeep(ctx, m)
	log, about := c.settings.log, c.about(m)
	if len(c.o.ineffective) > 0 {
		log.ineffective(about, c.o.ineffective)
	}
	switch {
	case receipt != nil:
		log.sent(about, receipt)
	case id != "":
		log.queued(about, id, err)
		if outcome, _ := submit.OutcomeOf(err); len(outcome.Never) == 0 {
			return true, nil
		}
		log.refused(about, err) // for some of its recipients
	case err != nil:
		log.refused(about, err)
	}
	return kept, err
}

// debugPlan says what is going to be done.
func (c *composing) debugPlan() {
	if c.o.debug {
		for line := range strings.Lines(c.plan()) {
			fmt.Fprintf(c.env.Stderr, "%s: %s", name, line)
		}
	}
}

// sendOrKeep ends with a receipt, with the message's identifier in the queue and what
// kept it from being sent now, or with an error. Kept is as of dispatch.
func (c *composing) sendOrKeep(ctx context.Context, m *compose.Message) (receipt *submit.Receipt, id string, kept bool, err error) {
	env, o, s := c.env, c.o, c.settings
	c.debugPlan()
	if s.wish == requiretls.Yes && o.dsn.Return == "FULL" {
		fmt.Fprintf(env.Stderr, "%s: -R full is not possible with REQUIRETLS; asking for headers only (RFC 8689, section 5)\n", name)
	}
	warnUnencrypted(env, s, m)
	q, err := openQueue(env, o, s)
	if err != nil {
		return nil, "", false, err
	}
	if q != nil && q.first() {
		id, err = q.keep(m)
		return nil, id, false, err
	}
	if s.targets == nil {
		if err := s.connect(env); err != nil {
			return nil, "", false, cli.Errorf(cli.Config, "%w", err)
		}
	}
	receipt, err = c.submitNow(ctx, m)
	if q != nil {
		id, err = q.settle(ctx, m, err)
		kept = q.kept()
	}
	return receipt, id, kept, err
}

// submitNow sends the message while the caller waits.
func (c *composing) submitNow(ctx context.Context, m *compose.Message) (*submit.Receipt, error) {
	env, o, s := c.env, c.o, c.settings
	var proof *receiptFile
	if o.receipt != "" {
		var err error
		if proof, err = newReceiptFile(o.receipt); err != nil {
			return nil, err
		}
		defer proof.drop()
	}
	mail := &submit.Mail{
		From:      m.From,
		To:        m.To,
		Wish:      s.wish,
		DSN:       o.dsn,
		Content:   withProgress(env, o, m, m.Size()),
		Size:      m.Size(),
		EightBit:  m.EightBit,
		SevenBit:  sevenBit(env, m),
		UTF8:      m.UTF8,
		MessageID: m.MessageID,
	}
	receipt, err := c.deliver(ctx, mail, submitOptions(env, o, s))
	if err != nil {
		return nil, err
	}
	if proof != nil {
		proof.write(env, mail, receipt)
	}
	if o.verbose {
		fmt.Fprintf(env.Stderr, "%s: accepted by %s over %s, requiretls=%s\n", name, receipt.Target, tlsName(receipt), s.wish)
	}
	return receipt, nil
}

// describe is the answer to --check-config.
func (s *settings) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "account     %s\n", orNone(s.account.Name))
	for _, t := range s.servers {
		fmt.Fprintf(&b, "server      %s\n", serverName(t))
		fmt.Fprintf(&b, "user        %s\n", orNone(t.User))
	}
	fmt.Fprintf(&b, "from        %s\n", orNone(s.account.From))
	fmt.Fprintf(&b, "requiretls  %s\n", s.wish)
	for _, t := range s.servers {
		if t.TLS == "none" && s.wish == requiretls.Yes {
			fmt.Fprintf(&b, "note        without TLS nothing goes to %s that requires it\n", t.Host)
		}
	}
	return b.String()
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

// errPrivileged is for a command that would have rights that its caller has not got. Its
// flags and configuration name files to read and programs to run.
var errPrivileged = cli.Errorf(cli.NoPerm, "this command must not be set-user-ID or set-group-ID").
	WithHint("chmod ug-s it; others can use a queue by its directory drop, see rtls-send(1)")

var errNoServer = errors.New("no submission server is configured")
