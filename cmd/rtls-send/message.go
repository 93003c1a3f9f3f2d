package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"rtls/internal/cli"
	"rtls/internal/compose"
	"rtls/internal/config"
	"rtls/internal/requiretls"
	"rtls/internal/submit"
)

// composing is what it takes to make a message of input, and what came of it.
type composing struct {
	env      cli.Env
	o        *options
	settings *settings // of the account that the message has; at first the default's
	why      string    // where the wish comes from, for people
	// sessions are kept for further messages, by account; nil: there will be none.
	sessions map[string]*submit.Session
	// copy is what was read of the input, for a message that its caller wants to be
	// kept whatever happens; else nil.
	copy *inputCopy
}

// deliver sends a message by way of the first server that takes it.
func (c *composing) deliver(ctx context.Context, m *submit.Mail, options submit.Options) (*submit.Receipt, error) {
	if c.sessions == nil {
		return c.settings.deliver(ctx, m, options)
	}
	session := c.sessions[c.settings.account.Name]
	if session == nil {
		session = submit.NewSession(c.settings.targets, options)
		c.sessions[c.settings.account.Name] = session
	}
	return session.Send(ctx, m)
}

// options are those of the compose package.
func (c *composing) options() (compose.Options, error) {
	s := c.settings
	o := compose.Options{
		Recipients: c.o.recipients,
		FromHeader: c.o.fromHeader,
		Sender:     c.o.sender,
		FullName:   c.o.fullName,
		User:       s.user,
		Hostname:   s.hostname,
		Choose:     c.choose,
		WishHeader: s.front.WishHeader,
		PlusWish:   s.front.PlusWish,
		Hops:       c.o.hops,

		LocalDomains:     s.front.LocalDomains,
		AliasHeader:      s.front.AliasesInHeader,
		SenderFromHeader: c.o.senderFromHeader,
		TempDir:          c.env.Getenv("TMPDIR"),
	}
	if s.front.Aliases != "" && !c.o.noAliases {
		var err error
		if o.Aliases, err = compose.LoadAliases(s.front.Aliases); err != nil {
			return o, cli.Errorf(cli.Config, "%w", err)
		}
	}
	return o, nil
}

// choose settles account and wish. A flag counts most, then what the message itself
// wishes, then the first rule that says something, then the account.
func (c *composing) choose(f compose.Facts) (compose.Choice, error) {
	m := config.Message{Sender: f.Sender, To: f.To, Header: f.Header}
	var wish *requiretls.Wish
	account, why := "", ""
	for i, rule := range c.settings.front.Rules {
		if !rule.Match(m) {
			continue
		}
		if w, ok := rule.Wish(); ok && wish == nil {
			wish, why = &w, fmt.Sprintf("rule %d", i+1)
		}
		if account == "" {
			account = rule.Account
		}
	}
	if f.Asked != nil {
		wish, why = f.Asked, "the message"
	}
	if c.o.wish != nil {
		if f.Asked != nil && *f.Asked != *c.o.wish {
			return compose.Choice{}, cli.Errorf(cli.DataErr, "the message wishes for requiretls=%s and the flags for requiretls=%s", *f.Asked, *c.o.wish).WithStatus("5.6.0")
		}
		wish, why = c.o.wish, "a flag"
	}
	s := *c.settings
	if account != "" && c.o.account == "" && c.o.host == "" && account != s.account.Name {
		flags := *c.o
		flags.account = account
		other, err := loadSettings(c.env, &flags)
		if err != nil {
			return compose.Choice{}, err
		}
		s = *other
		s.log = c.settings.log
	}
	if wish != nil {
		s.wish = *wish
	}
	c.settings, c.why = &s, why
	if c.why == "" {
		c.why = "the account"
	}
	return compose.Choice{Identity: s.account.From, Force: s.account.Identity == "account", Wish: s.wish, Undisclosed: s.account.Undisclosed}, nil
}

// read makes a message of standard input. A read from a terminal or a pipe cannot be
// interrupted, so it has a goroutine of its own, which is left behind when the
// context ends: the process is about to end too, and what was read so far has no
// name.
func (c *composing) read(ctx context.Context) (*compose.Message, error) {
	if err := checkInput(c.env.Stdin); err != nil {
		return nil, err
	}
	type result struct {
		m   *compose.Message
		err error
	}
	done := make(chan result, 1)
	go func() {
		m, err := c.readFrom(c.copy.reading(c.env.Stdin))
		done <- result{m, err}
	}()
	select {
	case r := <-done:
		return r.m, r.err
	case <-ctx.Done():
		return nil, cli.Errorf(cli.TempFail, "read the message: %w", context.Cause(ctx))
	}
}

// readFrom makes a message of r, and has the last word on its encoding.
func (c *composing) readFrom(r io.Reader) (*compose.Message, error) {
	o, err := c.options()
	if err != nil {
		return nil, err
	}
	m, err := compose.Read(r, o)
	if err != nil {
		return nil, err
	}
	if err := c.finish(m); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (c *composing) finish(m *compose.Message) error {
	switch {
	case c.o.smtputf8 == "yes":
		m.UTF8 = true
	case c.o.smtputf8 == "no" && m.UTF8:
		return cli.Errorf(cli.DataErr, "an address is not ASCII, and smtputf8=no was asked for").WithStatus("5.6.7")
	}
	if c.o.sevenBit && m.EightBit {
		return m.Convert(compose.SevenBit)
	}
	return nil
}

// sevenBit re-encodes a message when a server turns out to lack 8BITMIME. What it
// makes has no name and ends with the process.
func sevenBit(env cli.Env, text io.WriterTo) func() (io.WriterTo, int64, error) {
	return func() (io.WriterTo, int64, error) {
		c, err := compose.RecodeText(text, compose.SevenBit, env.Getenv("TMPDIR"))
		if err != nil {
			return nil, 0, err
		}
		return c, c.Size(), nil
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

// checkAliases is newaliases: the file is read anew for each message, so all there is
// to do is to say whether it can be.
func checkAliases(env cli.Env, o *options) error {
	file, _, err := loadConfig(env, o)
	if err != nil {
		return cli.Errorf(cli.Config, "%w", err)
	}
	path := file.Send.Aliases
	if path == "" {
		return nil
	}
	aliases, err := compose.LoadAliases(path)
	if err == nil {
		err = aliases.Check()
	}
	if err != nil {
		return cli.Errorf(cli.Config, "%w", err)
	}
	return say(env.Stdout, fmt.Sprintf("%s: %d aliases\n", path, aliases.Len()))
}

// plan says where a message would go, for people.
func (c *composing) plan() string {
	s := c.settings
	var b strings.Builder
	fmt.Fprintf(&b, "account     %s\n", orNone(s.account.Name))
	for _, t := range s.servers {
		fmt.Fprintf(&b, "server      %s\n", serverName(t))
	}
	fmt.Fprintf(&b, "requiretls  %s, says %s\n", s.wish, c.why)
	return b.String()
}
