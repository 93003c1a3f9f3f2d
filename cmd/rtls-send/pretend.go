package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"rtls/internal/cli"
	"rtls/internal/compose"
	"rtls/internal/spool"
)

// pretend prints envelope, way and text of a message, as it would leave.
func (c *composing) pretend(m *compose.Message) error {
	var b strings.Builder
	fmt.Fprintf(&b, "from        <%s>\n", m.From)
	for _, to := range m.To {
		fmt.Fprintf(&b, "to          <%s>\n", to)
	}
	b.WriteString(c.plan())
	fmt.Fprintf(&b, "size        %d octets", m.Size())
	if m.EightBit {
		b.WriteString(", 8-bit")
	}
	if m.UTF8 {
		b.WriteString(", SMTPUTF8")
	}
	b.WriteString("\n\n")
	if err := say(c.env.Stdout, b.String()); err != nil {
		return err
	}
	if _, err := m.WriteTo(&unixLines{c}); err != nil {
		return cli.Errorf(cli.IOErr, "%w", err)
	}
	return nil
}

// unixLines writes text without the CR of its line ends.
type unixLines struct{ c *composing }

func (u *unixLines) Write(p []byte) (int, error) {
	_, err := u.c.env.Stdout.Write(bytes.ReplaceAll(p, []byte("\r"), nil)) // there is none but before a LF
	return len(p), err
}

// verify is -bv: it prints what would become of each recipient, and sends nothing.
// The first address that is wrong gives the exit code.
func verify(env cli.Env, o *options, s *settings) error {
	var first error
	for _, arg := range o.recipients {
		flags := *o
		flags.recipients = []string{arg}
		c := &composing{env: env, o: &flags, settings: s}
		options, err := c.options()
		if err != nil {
			return err
		}
		m, err := compose.Envelope(options)
		if err != nil {
			cli.Report(env.Stderr, name, err)
			if first == nil {
				first = cli.Errorf(cli.ExitCode(err), "%s cannot be sent to", arg)
			}
			continue
		}
		servers := make([]string, 0, len(c.settings.servers))
		for _, t := range c.settings.servers {
			servers = append(servers, serverName(t))
		}
		text := fmt.Sprintf("%s: to <%s> from <%s> by %s, requiretls=%s, says %s\n", arg, strings.Join(m.To, ">, <"), m.From, strings.Join(servers, "; "), c.settings.wish, c.why)
		if err := say(env.Stdout, text); err != nil {
			return err
		}
	}
	return first
}

// countQueue is -bP: the number of messages in the queue.
func countQueue(env cli.Env, o *options) error {
	sp, _, err := openSpool(env, o)
	var items []spool.Item
	if err == nil {
		items, err = sp.List()
	}
	if err != nil && !errors.Is(err, errNoQueue) {
		return spoolError(err)
	}
	return say(env.Stdout, fmt.Sprintf("%d\n", len(items)))
}
