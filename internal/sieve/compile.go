package sieve

import (
	"maps"
	"slices"
	"strings"
)

// block makes commands runnable.
func (c *compiler) block(nodes []*node) ([]command, error) {
	var list []command
	for i := 0; i < len(nodes); i++ {
		n := nodes[i]
		if n.name == "if" {
			end := i + 1
			for end < len(nodes) && (nodes[end].name == "elsif" || nodes[end].name == "else") {
				end++
			}
			cmd, err := c.branches(nodes[i:end])
			if err != nil {
				return nil, err
			}
			list = append(list, cmd)
			i = end - 1
			continue
		}
		cmd, err := c.command(n)
		if err != nil {
			return nil, err
		}
		if cmd != nil {
			list = append(list, cmd)
		}
	}
	return list, nil
}

// branches makes one command of if and what belongs to it.
func (c *compiler) branches(nodes []*node) (*ifCommand, error) {
	c.begun = true
	cmd := &ifCommand{}
	for i, n := range nodes {
		if i > 0 && nodes[i-1].name == "else" {
			return nil, n.at.errorf("%s comes behind else, which has to be the last", n.name)
		}
		call, err := c.check(n, commandSpecs[n.name])
		if err != nil {
			return nil, err
		}
		b := branch{node: n}
		if len(call.tests) > 0 {
			if b.test, err = c.test(call.tests[0]); err != nil {
				return nil, err
			}
		}
		if b.commands, err = c.block(n.block); err != nil {
			return nil, err
		}
		cmd.branches = append(cmd.branches, b)
	}
	return cmd, nil
}

// command makes a command runnable. It returns nil for one that does nothing.
func (c *compiler) command(n *node) (command, error) {
	s, ok := commandSpecs[n.name]
	if !ok {
		if _, isTest := testSpecs[n.name]; isTest {
			return nil, n.at.errorf("%s is a test: put if before it, and a block behind it", n.name)
		}
		return nil, n.at.errorf("there is no command %q%s", n.name, choose("", n.name, maps.Keys(commandSpecs)))
	}
	if n.name == "elsif" || n.name == "else" {
		return nil, n.at.errorf("%s has to come right behind the block of an if or elsif", n.name)
	}
	call, err := c.check(n, s)
	if err != nil {
		return nil, err
	}
	if n.name == "require" {
		return nil, c.require(call)
	}
	c.begun = true
	step := step{n}
	switch n.name {
	case "stop":
		return stopCommand{step}, nil
	case "discard":
		return discardCommand{step}, nil
	case "keep":
		return c.keep(call)
	case "fileinto":
		return c.fileInto(call)
	case "redirect":
		return c.redirect(call)
	case "reject", "ereject":
		reason, err := c.one(call.pos[0])
		return rejectCommand{step, reason, n.name == "ereject"}, err
	case "set":
		return c.set(call)
	case "vacation":
		return c.vacation(call)
	default: // setflag, addflag, removeflag
		return c.changeFlags(call)
	}
}

func (c *compiler) require(call *call) error {
	if c.begun {
		return call.at.errorf("require has to come before all other commands")
	}
	for _, l := range call.pos[0].list {
		if !slices.Contains(extensions, l.text) {
			return l.at.errorf("the extension %q is not to be had here%s", l.text, choose("", l.text, slices.Values(extensions)))
		}
		c.required[l.text] = true
		if l.text == "vacation-seconds" { // RFC 6131 section 2
			c.required["vacation"] = true
		}
	}
	return nil
}

// one prepares the string of an argument.
func (c *compiler) one(arg argument) (text, error) { return c.text(arg.list[0]) }

// all prepares the strings of an argument.
func (c *compiler) all(arg argument) ([]text, error) {
	list := make([]text, 0, len(arg.list))
	for _, l := range arg.list {
		t, err := c.text(l)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}

// constant prepares a string that must not hold variables.
func (c *compiler) constant(arg argument, what string) (string, error) {
	t, err := c.one(arg)
	if err == nil && !t.constant() {
		err = t.at.errorf("%s cannot hold variables", what)
	}
	return t.raw, err
}

// matcher reads the match type and the comparator.
func (c *compiler) matcher(call *call) (matcher, error) {
	var m matcher
	for tag, how := range map[string]matchType{"is": matchIs, "contains": matchContains, "matches": matchMatches, "value": matchValue, "count": matchCount} {
		if call.has(tag) {
			m.how = how
		}
	}
	if m.how == matchValue || m.how == matchCount {
		arg := call.tags[map[matchType]string{matchValue: "value", matchCount: "count"}[m.how]]
		name, err := c.constant(arg, "a relation")
		if err != nil {
			return m, err
		}
		if m.relation = relations[lower(name)]; m.relation == nil {
			return m, arg.at.errorf("%q is no relation%s", name, choose("", name, maps.Keys(relations)))
		}
	}
	arg, ok := call.tags["comparator"]
	if !ok {
		return m, nil
	}
	name, err := c.constant(arg, "the name of a comparator")
	if err != nil {
		return m, err
	}
	if m.comparator, ok = comparators[name]; !ok {
		return m, arg.at.errorf("there is no comparator %q%s", name, choose("", name, maps.Keys(comparators)))
	}
	if m.comparator == asciiNumeric {
		if err := c.need(arg.at, name, "comparator-"+name); err != nil {
			return m, err
		}
		if m.how == matchContains || m.how == matchMatches {
			return m, arg.at.errorf("%s compares numbers, so it goes with :is, :value and :count only", name)
		}
	}
	return m, nil
}

// variable checks the name of a variable that is to be set, and returns it in
// small letters.
func (c *compiler) variable(l literal) (string, error) {
	if err := checkName(l); err != nil {
		return "", err
	}
	name := lower(l.text)
	c.names[name] = true
	if len(c.names) > maxVariables {
		return "", l.at.errorf("too many variables: there can be %d", maxVariables)
	}
	return name, nil
}

func checkName(l literal) error {
	switch {
	case strings.Contains(l.text, "."):
		return l.at.errorf("the variable %q cannot be set: use a name without a dot", l.text)
	case l.text != "" && strings.Trim(l.text, "0123456789") == "":
		return l.at.errorf("the match variable %q cannot be set: use a name that starts with a letter", l.text)
	case !isIdentifier(l.text):
		return l.at.errorf("%q is no name of a variable: use letters, digits and _", l.text)
	case len(l.text) > maxName:
		return l.at.errorf("the name of the variable is too long: it can have %d letters", maxName)
	}
	return nil
}
