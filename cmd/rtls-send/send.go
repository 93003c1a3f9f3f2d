package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

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
		if invoked == name && len(env.Args) > 0 && env.Args[0] == "queue" {
			return queueCommand(ctx, env, env.Args[1:])
		}
		o, err := parseArgs(invoked, env.Args)
		if err != nil {
			return err
		}
		return run(ctx, env, o)
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
	case modeFlush:
		return flushQueue(ctx, env, o)
	case modeAliases:
		return nil
	}
	s, err := loadSettings(env, o)
	if err != nil {
		return err
	}
	if o.mode == modeCheckConfig {
		return say(env.Stdout, s.describe())
	}
	ctx, cancel := context.WithTimeoutCause(ctx, runLimit, fmt.Errorf("it took more than %s", runLimit))
	defer cancel()
	return send(ctx, env, o, s)
}

func say(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return cli.Errorf(cli.IOErr, "%w", err)
	}
	return nil
}

func send(ctx context.Context, env cli.Env, o *options, s *settings) error {
	m, err := read(ctx, env, o, s)
	if err != nil {
		return err
	}
	defer m.Close()
	if s.wish == requiretls.Yes && o.dsn.Return == "FULL" {
		fmt.Fprintf(env.Stderr, "%s: -R full is not possible with REQUIRETLS; asking for headers only (RFC 8689, section 5)\n", name)
	}
	q, err := openQueue(env, o, s)
	if err != nil {
		return err
	}
	if q != nil && q.first() {
		return q.keep(m)
	}
	err = submitNow(ctx, env, o, s, m)
	if q != nil {
		return q.settle(ctx, m, err)
	}
	return err
}

// submitNow sends the message while the caller waits.
func submitNow(ctx context.Context, env cli.Env, o *options, s *settings, m *compose.Message) error {
	receipt, err := s.deliver(ctx, &submit.Mail{
		From:      m.From,
		To:        m.To,
		Wish:      s.wish,
		DSN:       o.dsn,
		Content:   withProgress(env, o, m, m.Size()),
		Size:      m.Size(),
		EightBit:  m.EightBit,
		UTF8:      m.UTF8,
		MessageID: m.MessageID,
	}, submitOptions(env, o, s))
	if err != nil {
		return err
	}
	if o.verbose {
		fmt.Fprintf(env.Stderr, "%s: accepted by %s over %s, requiretls=%s\n", name, receipt.Target, tls.VersionName(receipt.TLSVersion), s.wish)
	}
	return nil
}

// read reads the message. A read from a terminal or a pipe cannot be interrupted, so
// it has a goroutine of its own, which is left behind when the context ends: the
// process is about to end too, and what was read so far has no name.
func read(ctx context.Context, env cli.Env, o *options, s *settings) (*compose.Message, error) {
	if err := checkInput(env.Stdin); err != nil {
		return nil, err
	}
	type result struct {
		m   *compose.Message
		err error
	}
	done := make(chan result, 1)
	go func() {
		m, err := compose.Read(env.Stdin, compose.Options{
			Recipients: o.recipients,
			FromHeader: o.fromHeader,
			Sender:     o.sender,
			Identity:   s.account.From,
			FullName:   o.fullName,
			User:       s.user,
			Hostname:   s.hostname,
			Wish:       s.wish,
			TempDir:    env.Getenv("TMPDIR"),
		})
		done <- result{m, err}
	}()
	select {
	case r := <-done:
		return r.m, r.err
	case <-ctx.Done():
		return nil, cli.Errorf(cli.TempFail, "read the message: %w", context.Cause(ctx))
	}
}

// checkInput refuses a standard input that was closed. By now it is open again: the
// runtime puts /dev/null, for reading and writing, where one of the first three
// files is missing, so that no socket can take its number. An empty message from
// /dev/null as a shell opens it, for reading, is meant.
func checkInput(f *os.File) error {
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return cli.Errorf(cli.NoInput, "standard input: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return cli.Errorf(cli.NoInput, "standard input: %w", err)
	}
	null, err := os.Stat(os.DevNull)
	if err == nil && os.SameFile(info, null) && flags&unix.O_ACCMODE == unix.O_RDWR {
		return cli.Errorf(cli.NoInput, "standard input is closed").WithHint("pipe the message into %s", name)
	}
	return nil
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
	return b.String()
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

var errNoServer = errors.New("no submission server is configured")
