package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"rtls/internal/cli"
	"rtls/internal/lda"
	"rtls/internal/maillog"
	"rtls/internal/users"
)

// deliverOne delivers the message on standard input. What it writes to standard
// output is for the mail transfer agent and may end up in a report to the sender:
// a status code and a sentence without internals. Those are in the log.
func deliverOne(o *options, env cli.Env) error {
	ctx, listen := stoppable()
	if !plain {
		listen() // a filter may have a message sent, which takes its time
	}
	logger, closeLog := deliveryLog(o, env)
	defer closeLog()
	var decisions strings.Builder
	err := deliver(ctx, listen, o, env, logger, &decisions)
	if e, ok := errors.AsType[*cli.Error](err); ok && e.Code == cli.Config {
		// A wrong configuration is not the message's fault: it waits until
		// somebody has mended that.
		logger.Error("configuration", "err", err)
		err = &lda.Error{Code: 451, Status: "4.3.5", Text: "configuration is wrong, " + name + " --check-config says where", Err: err}
	}
	if err == nil {
		result := "result: delivered\n"
		if o.dryRun {
			result = "result: would be delivered\n"
		}
		if o.explain {
			_, _ = io.WriteString(env.Stdout, decisions.String()+result) // it is delivered whoever reads this
		}
		return nil
	}
	e := lda.Classify(err)
	fmt.Fprintln(env.Stdout, e.Status, e.Text)
	if o.explain {
		fmt.Fprint(env.Stdout, decisions.String(), "result: ", cli.Printable(e.Error()), "\n")
	}
	if o.reason && !e.Temporary() {
		fmt.Fprintln(env.Stderr, e.Text)
	}
	return said(exitCode(e))
}

// exitCode is what mail transfer agents map to "try again" or "give up".
func exitCode(e *lda.Error) int {
	switch {
	case e.Temporary():
		return cli.TempFail
	case e.Status == "5.1.1":
		return cli.NoUser
	case strings.HasPrefix(e.Status, "5.7."), e.Status == "5.2.2":
		return cli.NoPerm
	}
	return cli.DataErr
}

func deliver(ctx context.Context, listen func(), o *options, env cli.Env, logger *slog.Logger, decisions io.Writer) error {
	f, err := loadConfig(o, false)
	if err != nil {
		return err
	}
	if o.fromEnv {
		if err := o.readEnv(env.Getenv); err != nil {
			logger.Error("environment", "err", err)
			return err
		}
	}
	known := newAccounts(f)
	known.found = make(map[string]users.Record)
	if known.uid == 0 {
		known.uid = -1 // whose mail it is decides
	}
	cfg := agentConfig(f, known, logger)
	cfg.DryRun = o.dryRun
	cfg.Send = sender(f, o.config, env)
	if o.explain {
		cfg.Explain = func(what string) { fmt.Fprintln(decisions, cli.Printable(what)) }
	}
	agent := lda.New(cfg)
	rcpt, err := o.recipient(ctx, agent)
	if err != nil {
		logger.Warn("recipient refused", "user", o.user, "rcpt", o.final, "original", o.original, "err", err)
		return err
	}
	if err := takeOver(agent, rcpt, env); err != nil {
		logger.Error("cannot deliver", "user", rcpt.User, "err", err)
		return err
	}
	names := []string{rcpt.User}
	for _, t := range rcpt.Also {
		names = append(names, t.User)
	}
	if err := known.becomeFor(names); err != nil {
		logger.Error("cannot deliver as the recipient", "user", rcpt.User, "err", err)
		return &lda.Error{Code: 451, Status: "4.3.5", Text: "the delivery agent runs as the wrong user", Err: err}
	}
	return o.hand(ctx, listen, env, logger, agent, rcpt)
}

// hand reads the message and gives it to the agent.
func (o *options) hand(ctx context.Context, listen func(), env cli.Env, logger *slog.Logger, agent *lda.Agent, rcpt lda.Recipient) (err error) {
	in := env.Stdin
	if o.path != "" {
		if in, err = os.Open(o.path); err != nil {
			logger.Error("cannot read the message", "err", err)
			return err
		}
		defer in.Close()
	}
	envelope := lda.Envelope{
		ID:         rand.Text()[:16],
		NoSender:   o.sender == nil,
		RequireTLS: o.requireTLS,
		QueueID:    o.queueID,
	}
	if o.sender != nil {
		envelope.Sender = *o.sender
	}
	return agent.Deliver(ctx, envelope, []lda.Recipient{rcpt}, &input{ctx: ctx, listen: listen, file: in})[0]
}

// readEnv fills in what the command line leaves open from the environment that
// Postfix local(8) and OpenSMTPD set.
func (o *options) readEnv(getenv func(string) string) error {
	orEnv := func(v *string, names ...string) {
		for _, n := range names {
			if *v == "" {
				*v = getenv(n)
			}
		}
	}
	orEnv(&o.user, "USER", "LOGNAME")
	orEnv(&o.final, "RECIPIENT")
	orEnv(&o.original, "ORIGINAL_RECIPIENT")
	orEnv(&o.extension, "EXTENSION")
	orEnv(&o.queueID, "MESSAGE_ID") // Exim's
	if getenv("RTLS_REQUIRETLS") == "1" {
		o.requireTLS = true
	}
	// Postfix puts "_" for what it takes for dangerous. Where that can have
	// happened, the Return-Path that it wrote is the better witness.
	if sender := getenv("SENDER"); o.sender == nil && sender != "" && !strings.Contains(sender, "_") {
		o.sender = &sender
	}
	if o.user == "" && o.final == "" && o.original == "" {
		return errors.New("--from-env: there is neither USER nor RECIPIENT in the environment")
	}
	return o.checkDeliver()
}

// recipient finds the account. The user decides whose it is; the addresses are
// what the trace fields show, and may hold a detail.
func (o *options) recipient(ctx context.Context, agent *lda.Agent) (lda.Recipient, error) {
	address := o.final
	if address == "" {
		address = o.original
	}
	var r lda.Recipient
	var err error
	if o.user != "" {
		r, err = agent.ResolveUser(ctx, o.user)
	} else {
		r, err = agent.Resolve(ctx, address)
	}
	if err != nil {
		return r, err
	}
	if address != "" {
		r.Address = address
	}
	for _, folder := range []string{o.folder, o.extension, agent.Detail(r.Address), agent.Detail(o.original), r.Folder} {
		if folder == "" {
			continue
		}
		r.Folder = folder
		for i := range r.Also {
			if r.Also[i].Folder == "" || o.folder != "" {
				r.Also[i].Folder = folder
			}
		}
		break
	}
	if o.original != "" && o.original != r.Address {
		r.ORcpt = xtext(o.original)
	}
	return r, nil
}

// xtext makes an ORCPT value (RFC 3461 section 4, RFC 6533 section 3).
func xtext(s string) string {
	var b strings.Builder
	b.WriteString("rfc822;")
	if strings.IndexFunc(s, func(r rune) bool { return r > 0x7f }) >= 0 {
		b.Reset()
		b.WriteString("utf-8;")
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f || c == '+' || c == '=' {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// deliveryLog logs to the system's log. Standard error is no place for it unless
// asked: some agents take it for a part of the reason, some for the sign of a
// failure.
func deliveryLog(o *options, env cli.Env) (logger *slog.Logger, closeLog func()) {
	var handlers []slog.Handler
	l := maillog.Open(name, maillog.Sockets)
	if l != nil {
		handlers = append(handlers, l)
	}
	if o.verbose {
		handlers = append(handlers, maillog.Text(env.Stderr))
	}
	return slog.New(slog.NewMultiHandler(handlers...)), l.Close
}
