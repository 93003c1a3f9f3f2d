package sieve

import (
	"fmt"
	"io"
)

// Limits of a script. RFC 5228 section 2.10.7 asks for fifteen levels.
const (
	maxScript = 1 << 20 // octets
	maxNested = 32      // blocks in blocks, and tests in tests
)

// Parse reads a script and checks it. The error is an *Error if the script is at
// fault, otherwise the reader's.
func Parse(r io.Reader) (*Script, error) {
	src, err := io.ReadAll(io.LimitReader(r, maxScript+1))
	if err != nil {
		return nil, fmt.Errorf("read script: %w", err)
	}
	if len(src) > maxScript {
		return nil, place{1, 1}.errorf("the script is too long: it can have %d octets", maxScript)
	}
	p := &parser{lex: newLexer(src)}
	if err := p.advance(); err != nil {
		return nil, err
	}
	nodes, err := p.commands(0)
	if err != nil {
		return nil, err
	}
	if p.token.kind != tokenEnd {
		return nil, p.token.at.errorf(`there is a "}" without a "{" before it`)
	}
	return compile(nodes)
}

// node is a command or a test as it was written (RFC 5228 section 8.2).
type node struct {
	at       place
	name     string
	args     []argument
	tests    []*node
	testList bool // tests stand in parentheses
	block    []*node
	hasBlock bool
}

type argumentKind uint8

const (
	argTag argumentKind = iota
	argNumber
	argStrings
)

func (k argumentKind) String() string { return [...]string{"a tag", "a number", "a string"}[k] }

// argument is a tag, a number or a list of strings.
type argument struct {
	kind   argumentKind
	at     place
	tag    string
	number int64
	list   []literal
	isList bool // in brackets
}

// literal is a string of the script, without its quoting.
type literal struct {
	at   place
	text string
}

type parser struct {
	lex   *lexer
	token token // the next one
}

func (p *parser) advance() (err error) {
	p.token, err = p.lex.next()
	return err
}

func (p *parser) isMark(mark string) bool {
	return p.token.kind == tokenMark && p.token.text == mark
}

// accept passes over a mark if it is next.
func (p *parser) accept(mark string) (bool, error) {
	if !p.isMark(mark) {
		return false, nil
	}
	return true, p.advance()
}

// commands reads commands up to a closing brace or the end.
func (p *parser) commands(depth int) ([]*node, error) {
	var list []*node
	for p.token.kind != tokenEnd && !p.isMark("}") {
		n, err := p.command(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}

func (p *parser) command(depth int) (*node, error) {
	if p.token.kind != tokenIdentifier {
		return nil, p.token.at.errorf("a command such as keep or fileinto has to be here, not %s", p.token.describe())
	}
	n, err := p.call(0)
	if err != nil {
		return nil, err
	}
	ended, err := p.accept(";")
	if ended || err != nil {
		return n, err
	}
	open := p.token.at
	if ok, err := p.accept("{"); err != nil {
		return nil, err
	} else if !ok {
		return nil, p.token.at.errorf(`%s has to end with ";" before %s`, n.name, p.token.describe())
	}
	if depth == maxNested {
		return nil, open.errorf("too many blocks one in the other: %d are allowed", maxNested)
	}
	n.hasBlock = true
	if n.block, err = p.commands(depth + 1); err != nil {
		return nil, err
	}
	if ok, err := p.accept("}"); err != nil {
		return nil, err
	} else if !ok {
		return nil, open.errorf(`the block does not end: close it with "}"`)
	}
	return n, nil
}

// call reads a name with its arguments and tests.
func (p *parser) call(depth int) (*node, error) {
	n := &node{at: p.token.at, name: p.token.text}
	if depth > maxNested {
		return nil, n.at.errorf("too many tests one in the other: %d are allowed", maxNested)
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	for {
		arg, ok, err := p.argument()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		n.args = append(n.args, arg)
	}
	if p.token.kind == tokenIdentifier {
		test, err := p.call(depth + 1)
		n.tests = []*node{test}
		return n, err
	}
	ok, err := p.accept("(")
	if !ok || err != nil {
		return n, err
	}
	n.testList = true
	n.tests, err = p.testList(depth + 1)
	return n, err
}

func (p *parser) testList(depth int) ([]*node, error) {
	var list []*node
	for {
		if p.token.kind != tokenIdentifier {
			return nil, p.token.at.errorf("a test such as header has to be here, not %s", p.token.describe())
		}
		test, err := p.call(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, test)
		if done, err := p.separator(")"); done || err != nil {
			return list, err
		}
	}
}

// separator reads a comma, or what ends a list.
func (p *parser) separator(end string) (done bool, err error) {
	if done, err = p.accept(end); done || err != nil {
		return done, err
	}
	ok, err := p.accept(",")
	if err == nil && !ok {
		err = p.token.at.errorf(`"," or %q has to be here, not %s`, end, p.token.describe())
	}
	return false, err
}

// argument reads an argument if there is one.
func (p *parser) argument() (arg argument, ok bool, err error) {
	arg = argument{at: p.token.at, tag: p.token.text, number: p.token.number}
	switch {
	case p.token.kind == tokenTag:
		arg.kind = argTag
	case p.token.kind == tokenNumber:
		arg.kind = argNumber
	case p.token.kind == tokenString:
		arg.kind = argStrings
		arg.list = []literal{{p.token.at, p.token.text}}
	case p.isMark("["):
		arg.kind, arg.isList = argStrings, true
		arg.list, err = p.strings()
		return arg, true, err
	default:
		return arg, false, nil
	}
	return arg, true, p.advance()
}

// strings reads a list in brackets.
func (p *parser) strings() (list []literal, err error) {
	for {
		if err := p.advance(); err != nil { // over the bracket or the comma
			return nil, err
		}
		if p.token.kind != tokenString {
			return nil, p.token.at.errorf("a string has to be here, not %s", p.token.describe())
		}
		list = append(list, literal{p.token.at, p.token.text})
		if err := p.advance(); err != nil {
			return nil, err
		}
		if p.isMark("]") {
			return list, p.advance()
		}
		if !p.isMark(",") {
			return nil, p.token.at.errorf(`"," or "]" has to be here, not %s`, p.token.describe())
		}
	}
}
