package sieve

import (
	"slices"
	"strings"
)

const maxFlags = 64 // of one message

// systemFlags are those that can be set (RFC 5232 section 2).
var systemFlags = []string{`\Answered`, `\Deleted`, `\Draft`, `\Flagged`, `\Seen`}

// flagList reads lists of flags: each is there once, and what is no flag is left
// out.
func flagList(lists ...string) []string {
	var flags []string
	for _, word := range words(lists) {
		if i := slices.IndexFunc(systemFlags, func(s string) bool { return strings.EqualFold(s, word) }); i >= 0 {
			word = systemFlags[i]
		} else if !isKeyword(word) {
			continue
		}
		if indexFlag(flags, word) < 0 && len(flags) < maxFlags {
			flags = append(flags, word)
		}
	}
	return flags
}

func indexFlag(flags []string, flag string) int {
	return slices.IndexFunc(flags, func(f string) bool { return strings.EqualFold(f, flag) })
}

// isKeyword says whether s can be an IMAP keyword: an atom (RFC 9051 section 9).
func isKeyword(s string) bool {
	const longest = 128
	return s != "" && len(s) <= longest && strings.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`(){%*"\]`, r)
	}) < 0
}

// flagsTag prepares what follows :flags; nil without it.
func (c *compiler) flagsTag(call *call) (*[]text, error) {
	arg, ok := call.tags["flags"]
	if !ok {
		return nil, nil
	}
	list, err := c.all(arg)
	return &list, err
}

// deliveryFlags are the flags that keep and fileinto store the message with.
func (r *run) deliveryFlags(list *[]text) []string {
	if list == nil {
		return slices.Clone(r.flags)
	}
	return flagList(r.expandAll(*list)...)
}

// flagCommand is setflag, addflag or removeflag.
type flagCommand struct {
	step
	variable string // empty is the internal one
	list     []text
}

func (c *compiler) changeFlags(call *call) (command, error) {
	cmd := flagCommand{step: step{call.node}}
	names, err := c.flagVariables(call)
	if err != nil {
		return nil, err
	}
	if len(names) > 0 {
		cmd.variable = names[0]
	}
	cmd.list, err = c.all(call.pos[1])
	return cmd, err
}

// flagVariables returns the names of the variables that a call names.
func (c *compiler) flagVariables(call *call) ([]string, error) {
	if call.pos[0].list == nil {
		return nil, nil
	}
	if err := c.need(call.pos[0].at, "a variable for flags", "variables"); err != nil {
		return nil, err
	}
	var names []string
	for _, l := range call.pos[0].list {
		name, err := c.variable(l)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

func (c flagCommand) exec(r *run) error {
	now := r.flags
	if c.variable != "" {
		now = flagList(r.variables[c.variable])
	}
	change := flagList(r.expandAll(c.list)...)
	switch c.node.name {
	case "setflag":
		now = change
	case "addflag":
		now = flagList(append(slices.Clone(now), change...)...)
	case "removeflag":
		now = slices.DeleteFunc(slices.Clone(now), func(f string) bool { return indexFlag(change, f) >= 0 })
	}
	r.say(c.node, "flags are %q", now)
	if c.variable == "" {
		r.flags = now
	} else {
		r.variables[c.variable] = strings.Join(now, " ")
	}
	return nil
}

// flagSource is the test hasflag.
type flagSource struct{ variables []string }

func (c *compiler) flagSource(call *call) (valueSource, error) {
	names, err := c.flagVariables(call)
	return flagSource{names}, err
}

func (s flagSource) values(r *run) (list []string, count int, err error) {
	if s.variables == nil {
		return r.flags, len(r.flags), nil
	}
	const perOctet = 32 // a flag may be one, and is compared with all others
	for _, name := range s.variables {
		if !r.work.spend(perOctet * len(r.variables[name])) {
			return nil, 0, nil
		}
		list = append(list, flagList(r.variables[name])...)
	}
	return list, len(list), nil
}
