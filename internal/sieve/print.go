package sieve

import (
	"strconv"
	"strings"
)

// String writes the script in one layout, without comments. Parsed again it is
// the same script.
func (s *Script) String() string {
	var b strings.Builder
	printBlock(&b, s.nodes, 0)
	return b.String()
}

func printBlock(b *strings.Builder, nodes []*node, depth int) {
	indent := strings.Repeat("\t", depth)
	for _, n := range nodes {
		b.WriteString(indent)
		n.print(b)
		if !n.hasBlock {
			b.WriteString(";\n")
			continue
		}
		b.WriteString(" {\n")
		printBlock(b, n.block, depth+1)
		b.WriteString(indent + "}\n")
	}
}

// print writes a node without its block.
func (n *node) print(b *strings.Builder) {
	b.WriteString(n.name)
	for _, arg := range n.args {
		b.WriteByte(' ')
		switch arg.kind {
		case argTag:
			b.WriteString(":" + arg.tag)
		case argNumber:
			b.WriteString(strconv.FormatInt(arg.number, 10))
		case argStrings:
			printStrings(b, arg)
		}
	}
	if len(n.tests) == 0 {
		return
	}
	b.WriteByte(' ')
	if n.testList {
		b.WriteByte('(')
	}
	for i, test := range n.tests {
		if i > 0 {
			b.WriteString(", ")
		}
		test.print(b)
	}
	if n.testList {
		b.WriteByte(')')
	}
}

var escape = strings.NewReplacer(`"`, `\"`, `\`, `\\`)

func printStrings(b *strings.Builder, arg argument) {
	if arg.isList {
		b.WriteByte('[')
	}
	for i, s := range arg.list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(`"` + escape.Replace(s.text) + `"`)
	}
	if arg.isList {
		b.WriteByte(']')
	}
}

// brief is a node on one line, shortened.
func (n *node) brief() string {
	var b strings.Builder
	n.print(&b)
	return oneLine(b.String(), 160)
}

// oneLine makes a text fit to be shown on a line, with at most limit octets of it.
func oneLine(s string, limit int) string {
	cut := truncate(s, limit)
	if len(cut) < len(s) {
		cut += "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, cut)
}
