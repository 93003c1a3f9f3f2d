package sieve

import (
	"iter"
	"maps"
	"slices"
	"strings"
)

// Script is a script that has been checked. It does not change: any number of
// goroutines can run it at once.
type Script struct {
	nodes    []*node
	commands []command
	setsVars bool // match variables are kept
}

// compiler makes of nodes what can be run.
type compiler struct {
	required map[string]bool
	begun    bool            // there was something else than require
	names    map[string]bool // of variables that are set
}

func compile(nodes []*node) (*Script, error) {
	c := &compiler{required: make(map[string]bool), names: make(map[string]bool)}
	commands, err := c.block(nodes)
	if err != nil {
		return nil, err
	}
	return &Script{nodes, commands, c.required["variables"]}, nil
}

// call is a node whose arguments have been told apart.
type call struct {
	*node
	tags map[string]argument // with the argument that follows the tag
	pos  []argument          // in the places of spec.args; without list where left out
}

func (c *call) has(tag string) bool {
	_, ok := c.tags[tag]
	return ok
}

// check compares a node with what it can be written with.
func (c *compiler) check(n *node, s spec) (*call, error) {
	if err := c.need(n.at, n.name, s.needs); err != nil {
		return nil, err
	}
	call := &call{node: n, tags: make(map[string]argument)}
	args := n.args
	var err error
	for len(args) > 0 && args[0].kind == argTag {
		if args, err = c.tag(call, s, args); err != nil {
			return nil, err
		}
	}
	if call.pos, err = positional(n, s, args); err != nil {
		return nil, err
	}
	return call, n.checkRest(s)
}

// need says whether an extension has been required.
func (c *compiler) need(at place, what, extension string) error {
	if extension == "" || c.required[extension] {
		return nil
	}
	return at.errorf("%s is an extension: put require %q; at the top", what, extension)
}

// tag takes the tag that args starts with, and what follows it.
func (c *compiler) tag(call *call, s spec, args []argument) ([]argument, error) {
	tag := args[0]
	ts, ok := s.tags[tag.tag]
	if !ok {
		return nil, tag.at.errorf("%s has no :%s%s", call.name, tag.tag, choose(":", tag.tag, maps.Keys(s.tags)))
	}
	if err := c.need(tag.at, ":"+tag.tag, ts.needs); err != nil {
		return nil, err
	}
	if call.has(tag.tag) {
		return nil, tag.at.errorf(":%s is there twice: leave one away", tag.tag)
	}
	for other := range call.tags {
		if ts.group != "" && s.tags[other].group == ts.group {
			return nil, tag.at.errorf(":%s and :%s are both the %s: leave one away", other, tag.tag, ts.group)
		}
	}
	args = args[1:]
	value := tag
	if ts.takes != "" {
		if len(args) == 0 {
			return nil, tag.at.errorf("%s has to follow :%s", kindName(ts.takes[0]), tag.tag)
		}
		value, args = args[0], args[1:]
		if !value.fits(ts.takes[0]) {
			return nil, value.at.errorf("%s has to follow :%s, not %s", kindName(ts.takes[0]), tag.tag, value.describe())
		}
	}
	call.tags[tag.tag] = value
	return args, nil
}

func kindName(kind byte) string {
	return map[byte]string{'s': "a string", 'l': "a string or a list of them", 'n': "a number"}[kind]
}

func (a *argument) fits(kind byte) bool {
	switch kind {
	case 's':
		return a.kind == argStrings && !a.isList
	case 'l':
		return a.kind == argStrings
	}
	return a.kind == argNumber
}

func (a *argument) describe() string {
	switch {
	case a.kind == argTag:
		return ":" + a.tag
	case a.isList:
		return "a list of strings"
	}
	return a.kind.String()
}

// positional puts arguments into their places.
func positional(n *node, s spec, args []argument) ([]argument, error) {
	var pos []argument
	if s.optional && len(args) == len(s.args)-1 {
		pos = append(pos, argument{})
	}
	for _, arg := range args {
		if arg.kind == argTag {
			return nil, arg.at.errorf(":%s has to come before the arguments without a colon", arg.tag)
		}
		if len(pos) == len(s.args) {
			return nil, arg.at.errorf("%s here is too much: %s takes %s", arg.describe(), n.name, takes(s))
		}
		if kind := s.args[len(pos)]; !arg.fits(kind) {
			return nil, arg.at.errorf("%s has to be here, not %s: %s takes %s", kindName(kind), arg.describe(), n.name, takes(s))
		}
		pos = append(pos, arg)
	}
	if len(pos) < len(s.args) {
		return nil, n.at.errorf("%s lacks an argument: it takes %s", n.name, takes(s))
	}
	return pos, nil
}

// takes names the positional arguments of a command or test.
func takes(s spec) string {
	if s.args == "" {
		return "none"
	}
	var names []string
	for i := range len(s.args) {
		name := kindName(s.args[i])
		if i == 0 && s.optional {
			name = "perhaps " + name
		}
		names = append(names, name)
	}
	return strings.Join(names, ", then ")
}

// checkRest checks tests and block.
func (n *node) checkRest(s spec) error {
	switch {
	case s.tests == noTest && len(n.tests) > 0:
		return n.tests[0].at.errorf(`%s takes no test: is there a ";" missing?`, n.name)
	case s.tests == oneTest && (len(n.tests) != 1 || n.testList):
		return n.at.errorf("%s takes one test: join several with allof or anyof", n.name)
	case s.tests == manyTests && !n.testList:
		return n.at.errorf("%s takes tests in parentheses", n.name)
	case s.block && !n.hasBlock:
		return n.at.errorf("%s takes a block: put what it is about in { and }", n.name)
	case !s.block && n.hasBlock:
		return n.at.errorf(`%s takes no block: end it with ";"`, n.name)
	}
	return nil
}

// choose ends an error about an unknown name: with the one that it looks like, or
// with all if they are few.
func choose(prefix, name string, known iter.Seq[string]) string {
	all := slices.Sorted(known)
	for limit := 1; limit <= 2; limit++ {
		for _, k := range all {
			if distance(name, k) <= limit && limit < len(name) {
				return ": did you mean " + prefix + k + "?"
			}
		}
	}
	if len(all) == 0 || len(all) > 12 {
		return ""
	}
	return ": it can be " + prefix + strings.Join(all, ", "+prefix)
}

// distance is how many letters are to be changed, added or taken away.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
