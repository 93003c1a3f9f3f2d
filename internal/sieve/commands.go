package sieve

import (
	"net/mail"
	"strings"
	"unicode/utf8"
)

// ifCommand is an if with what follows it.
type ifCommand struct{ branches []branch }

// branch is if, elsif or, without a test, else.
type branch struct {
	node     *node
	test     test
	commands []command
}

func (c *ifCommand) source() *node { return c.branches[0].node }

func (c *ifCommand) exec(r *run) error {
	for _, b := range c.branches {
		if b.test != nil {
			ok, err := r.eval(b.test)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
		}
		return r.block(b.commands)
	}
	return nil
}

type stopCommand struct{ step }

func (c stopCommand) exec(r *run) error {
	r.say(c.node, "the script ends")
	return errStop
}

type discardCommand struct{ step }

func (c discardCommand) exec(r *run) error {
	r.cancelled = true
	r.say(c.node, "no implicit keep")
	return nil
}

type keepCommand struct {
	step
	flags *[]text // nil for those of the internal variable
}

func (c *compiler) keep(call *call) (command, error) {
	flags, err := c.flagsTag(call)
	return keepCommand{step{call.node}, flags}, err
}

func (c keepCommand) exec(r *run) error {
	flags := r.deliveryFlags(c.flags)
	if err := r.store(c.node, Keep{flags}); err != nil {
		return err
	}
	r.cancelled = true
	r.say(c.node, "store in %q, flags %q", r.env.Inbox, flags)
	return nil
}

type fileIntoCommand struct {
	step
	mailbox      text
	flags        *[]text
	copy, create bool
}

func (c *compiler) fileInto(call *call) (command, error) {
	cmd := fileIntoCommand{step: step{call.node}, copy: call.has("copy"), create: call.has("create")}
	var err error
	if cmd.flags, err = c.flagsTag(call); err != nil {
		return nil, err
	}
	if cmd.mailbox, err = c.one(call.pos[0]); err != nil {
		return nil, err
	}
	if wrong := checkMailbox(cmd.mailbox.raw); cmd.mailbox.constant() && wrong != "" {
		return nil, cmd.mailbox.at.errorf("the name of the mailbox %s", wrong)
	}
	return cmd, nil
}

func (c fileIntoCommand) exec(r *run) error {
	into := FileInto{Mailbox: r.expand(c.mailbox), Create: c.create, Copy: c.copy, Flags: r.deliveryFlags(c.flags)}
	if wrong := checkMailbox(into.Mailbox); wrong != "" {
		return c.mailbox.at.errorf("fileinto: the name of the mailbox %s", wrong)
	}
	if err := r.store(c.node, into); err != nil {
		return err
	}
	r.cancelled = r.cancelled || !c.copy
	r.say(c.node, "store in %q, flags %q", into.Mailbox, into.Flags)
	return nil
}

type redirectCommand struct {
	step
	address text
	copy    bool
}

func (c *compiler) redirect(call *call) (command, error) {
	address, err := c.one(call.pos[0])
	if err != nil {
		return nil, err
	}
	if address.constant() {
		if _, ok := outbound(address.raw); !ok {
			return nil, badAddress(address.at, address.raw)
		}
	}
	return redirectCommand{step{call.node}, address, call.has("copy")}, nil
}

func badAddress(at place, address string) error {
	return at.errorf(`%q is no address to send mail to: write one, such as "alice@example.org"`, oneLine(address, 200))
}

// outbound reads an address that mail is sent to (RFC 5228 section 2.4.2.3).
func outbound(s string) (address string, ok bool) {
	if !plain(s) {
		return "", false
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		return "", false
	}
	quoted := (&mail.Address{Address: a.Address}).String()
	return quoted[1 : len(quoted)-1], len(quoted) <= 2+512
}

// plain says whether a text can go into a header field: it is UTF-8 without line
// ends and other control characters.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func (c redirectCommand) exec(r *run) error {
	given := r.expand(c.address)
	address, ok := outbound(given)
	if !ok {
		return badAddress(c.address.at, given)
	}
	if err := r.compatible(c.node); err != nil {
		return err
	}
	if err := r.addRedirect(c.node, Redirect{address, c.copy}); err != nil {
		return err
	}
	r.cancelled = r.cancelled || !c.copy
	r.say(c.node, "send to %s", address)
	return nil
}

func (r *run) addRedirect(n *node, added Redirect) error {
	most := r.env.Limits.Redirects
	if most == 0 {
		most = DefaultRedirects
	}
	count := 0
	for i, a := range r.actions {
		other, ok := a.(Redirect)
		if !ok {
			continue
		}
		if sameAddress(other.Address, added.Address) {
			other.Copy = other.Copy && added.Copy
			r.actions[i] = other
			return nil
		}
		count++
	}
	if count >= most {
		return n.at.errorf("redirect: too many addresses: a message can go to %d", max(0, most))
	}
	r.actions = append(r.actions, added)
	return nil
}

// sameAddress compares the domains in any case.
func sameAddress(a, b string) bool {
	i, j := strings.LastIndexByte(a, '@'), strings.LastIndexByte(b, '@')
	return i >= 0 && j >= 0 && a[:i] == b[:j] && strings.EqualFold(a[i:], b[j:])
}

type rejectCommand struct {
	step
	reason    text
	inSession bool
}

func (c rejectCommand) exec(r *run) error {
	if err := r.compatible(c.node); err != nil {
		return err
	}
	if len(r.actions) > 0 || r.vacation {
		return c.node.at.errorf("%s cannot be done to a message that is also stored, redirected or answered: use it alone", c.node.name)
	}
	r.actions = append(r.actions, Reject{strings.ToValidUTF8(r.expand(c.reason), "?"), c.inSession})
	r.cancelled = true
	r.say(c.node, "refuse the message")
	return nil
}

type setCommand struct {
	step
	name      string
	value     text
	modifiers []func(string) string
}

func (c *compiler) set(call *call) (command, error) {
	cmd := setCommand{step: step{call.node}}
	var err error
	if cmd.name, err = c.variable(call.pos[0].list[0]); err != nil {
		return nil, err
	}
	if cmd.value, err = c.one(call.pos[1]); err != nil {
		return nil, err
	}
	if cmd.value.constant() && len(cmd.value.raw) > maxVariable {
		return nil, cmd.value.at.errorf("the value is too long: a variable can have %d octets", maxVariable)
	}
	for _, m := range modifiers {
		if call.has(m.tag) {
			cmd.modifiers = append(cmd.modifiers, m.change)
		}
	}
	return cmd, nil
}

func (c setCommand) exec(r *run) error {
	value := r.expand(c.value)
	for _, change := range c.modifiers {
		value = change(value)
	}
	value = truncate(value, maxVariable)
	r.variables[c.name] = value
	r.say(c.node, "%s is %q", c.name, oneLine(value, 200))
	return nil
}

// modifiers of set, in the order that they are applied in (RFC 5229 section 4.1).
var modifiers = []struct {
	tag    string
	change func(string) string
}{
	{"lower", lower},
	{"upper", upper},
	{"lowerfirst", func(s string) string { return lower(s[:min(1, len(s))]) + s[min(1, len(s)):] }},
	{"upperfirst", func(s string) string { return upper(s[:min(1, len(s))]) + s[min(1, len(s)):] }},
	{"quotewildcard", strings.NewReplacer("*", `\*`, "?", `\?`, `\`, `\\`).Replace},
	{"length", func(s string) string { return decimal(utf8.RuneCountInString(s)) }},
}
