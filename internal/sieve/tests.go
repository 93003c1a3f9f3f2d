package sieve

import (
	"maps"
	"slices"
	"strings"

	"rtls/internal/mimetree"
)

// test is a test that can be run.
type test interface {
	eval(r *run) (bool, error)
	source() *node
}

// step is what commands and tests have in common.
type step struct{ node *node }

func (s step) source() *node { return s.node }

type constantTest struct {
	step
	is bool
}

func (t constantTest) eval(*run) (bool, error) { return t.is, nil }

type notTest struct {
	step
	of test
}

func (t notTest) eval(r *run) (bool, error) {
	ok, err := r.eval(t.of)
	return !ok, err
}

// listTest is allof or anyof: it ends with the first test that yields stop.
type listTest struct {
	step
	of   []test
	stop bool
}

func (t listTest) eval(r *run) (bool, error) {
	for _, of := range t.of {
		if ok, err := r.eval(of); err != nil || ok == t.stop {
			return ok, err
		}
	}
	return !t.stop, nil
}

type sizeTest struct {
	step
	over  bool
	limit int64
}

func (t sizeTest) eval(r *run) (bool, error) {
	size := r.content.WireSize
	if size == 0 {
		size = r.content.Size
	}
	r.saw("%d", size)
	if t.over {
		return size > t.limit, nil
	}
	return size < t.limit, nil
}

type existsTest struct {
	step
	names []text
}

func (t existsTest) eval(r *run) (bool, error) {
	for _, name := range t.names {
		values, err := r.content.values(r.ctx, lower(r.expand(name)))
		if err != nil || len(values) == 0 {
			return false, err
		}
	}
	return true, nil
}

type mailboxTest struct {
	step
	names []text
}

func (t mailboxTest) eval(r *run) (bool, error) {
	for _, name := range t.names {
		there, err := r.mailboxExists(r.expand(name))
		if err != nil || !there {
			return false, err
		}
	}
	return true, nil
}

// compareTest compares the values that a source has with keys.
type compareTest struct {
	step
	matcher
	keys  []text
	words bool // keys are lists of words
	from  valueSource
}

// valueSource is where the values come from that a test compares. count is how
// many there are for :count.
type valueSource interface {
	values(r *run) (list []string, count int, err error)
}

func (t *compareTest) eval(r *run) (bool, error) {
	values, count, err := t.from.values(r)
	if err != nil {
		return false, err
	}
	if t.how == matchCount {
		values = []string{decimal(count)}
	}
	list := r.expandAll(t.keys)
	if t.words && t.how != matchCount {
		list = words(list)
	}
	keys := t.prepare(list, &r.work)
	for _, value := range values {
		r.saw("%q", value)
		matched, ok := keys.match(value, &r.work)
		if ok {
			if matched != nil && r.keepMatches {
				r.matched = matched
			}
			return true, nil
		}
	}
	return false, nil
}

// words splits texts at blanks.
func words(list []string) []string {
	var all []string
	for _, s := range list {
		all = append(all, strings.Fields(s)...)
	}
	return all
}

// headerSource is the test header.
type headerSource struct{ names []text }

func (s headerSource) values(r *run) (list []string, count int, err error) {
	for _, name := range s.names {
		texts, err := r.content.texts(r.ctx, lower(r.expand(name)))
		if err != nil || !r.work.spend(perValue*(len(texts)+1)) {
			return nil, 0, err
		}
		list = append(list, texts...)
	}
	return list, len(list), nil
}

// perValue is the work that it takes to have a value, however short, compared.
const perValue = 256

// stringSource is the test string.
type stringSource struct{ texts []text }

func (s stringSource) values(r *run) (list []string, count int, err error) {
	list = r.expandAll(s.texts)
	for _, value := range list {
		if value != "" {
			count++
		}
	}
	return list, count, nil
}

// knownSource is a value that the delivery knows.
type knownSource struct{ value func(env *Env) string }

func (s knownSource) values(r *run) (list []string, count int, err error) {
	value := s.value(&r.env)
	if value == "" {
		value = unknown
	}
	return []string{value}, 1, nil
}

const unknown = "unknown"

// Values of tlstag and tlsorigin.
var (
	tagValues    = []string{"require", "optional", "none", unknown}
	originValues = []string{"esmtp", "local", "mda", "header", unknown}
)

func tagOf(env *Env) string    { return env.Tag }
func originOf(env *Env) string { return env.Origin }

type bodyTransform uint8

const (
	bodyText bodyTransform = iota
	bodyRaw
	bodyContent
)

type bodyTest struct {
	step
	matcher
	keys  []text
	form  bodyTransform
	types []text
}

func (t *bodyTest) eval(r *run) (bool, error) {
	const perType = 16
	types := []string{"text"} // which is all that :text has to be
	if t.form == bodyContent {
		types = r.expandAll(t.types)
	}
	keys := t.prepare(r.expandAll(t.keys), &r.work)
	sink := &bodySink{keys: &keys, work: &r.work}
	want := func(p *mimetree.Part) bool { return r.work.spend(perType*len(types)) && wanted(p, types) }
	if err := r.content.body(r.ctx, t.form, want, sink); err != nil {
		return false, err
	}
	r.saw("%d texts", sink.texts)
	if t.how == matchCount {
		count := decimal(sink.texts)
		_, ok := keys.match(count, &r.work)
		return ok, nil
	}
	return sink.found, nil
}

// test makes a test runnable.
func (c *compiler) test(n *node) (test, error) {
	s, ok := testSpecs[n.name]
	if !ok {
		return nil, c.noTest(n)
	}
	call, err := c.check(n, s)
	if err != nil {
		return nil, err
	}
	step := step{n}
	switch n.name {
	case "true", "false":
		return constantTest{step, n.name == "true"}, nil
	case "not":
		of, err := c.test(n.tests[0])
		return notTest{step, of}, err
	case "allof", "anyof":
		return c.listTest(call)
	case "size":
		if len(call.tags) == 0 {
			return nil, n.at.errorf("size needs :over or :under before the number")
		}
		return sizeTest{step, call.has("over"), call.pos[0].number}, nil
	case "exists":
		names, err := c.all(call.pos[0])
		return existsTest{step, names}, err
	case "mailboxexists":
		names, err := c.all(call.pos[0])
		return mailboxTest{step, names}, err
	case "body":
		return c.bodyTest(call)
	default:
		return c.compareTest(call)
	}
}

func (c *compiler) noTest(n *node) error {
	if _, isCommand := commandSpecs[n.name]; isCommand {
		return n.at.errorf("%s is a command, and a test has to be here", n.name)
	}
	return n.at.errorf("there is no test %q%s", n.name, choose("", n.name, maps.Keys(testSpecs)))
}

func (c *compiler) listTest(call *call) (test, error) {
	t := listTest{step: step{call.node}, stop: call.name == "anyof"}
	for _, n := range call.tests {
		of, err := c.test(n)
		if err != nil {
			return nil, err
		}
		t.of = append(t.of, of)
	}
	return t, nil
}

func (c *compiler) bodyTest(call *call) (test, error) {
	t := &bodyTest{step: step{call.node}}
	var err error
	if t.matcher, err = c.matcher(call); err != nil {
		return nil, err
	}
	switch arg, ok := call.tags["content"]; {
	case ok:
		t.form = bodyContent
		if t.types, err = c.all(arg); err != nil {
			return nil, err
		}
	case call.has("raw"):
		t.form = bodyRaw
	}
	t.keys, err = c.all(call.pos[0])
	return t, err
}

// compareTest makes a test runnable whose last argument is a list of keys.
func (c *compiler) compareTest(call *call) (test, error) {
	t := &compareTest{step: step{call.node}}
	var err error
	if t.matcher, err = c.matcher(call); err != nil {
		return nil, err
	}
	if t.keys, err = c.all(call.pos[len(call.pos)-1]); err != nil {
		return nil, err
	}
	switch call.name {
	case "header":
		names, nameErr := c.all(call.pos[0])
		t.from, err = headerSource{names}, nameErr
	case "string":
		texts, textErr := c.all(call.pos[0])
		t.from, err = stringSource{texts}, textErr
	case "address":
		t.from, err = c.addressSource(call)
	case "envelope":
		t.from, err = c.envelopeSource(call)
	case "date", "currentdate":
		t.from, err = c.dateSource(call)
	case "hasflag":
		t.words = true
		t.from, err = c.flagSource(call)
	case "tlstag":
		t.from, err = knownSource{tagOf}, t.oneOf(tagValues)
	case "tlsorigin":
		t.from, err = knownSource{originOf}, t.oneOf(originValues)
	}
	return t, err
}

// oneOf refuses a key that the value can never be: with a slip of the pen in it
// the script would do nothing, and say nothing.
func (t *compareTest) oneOf(values []string) error {
	for _, key := range t.keys {
		if t.how == matchIs && t.comparator != asciiNumeric && key.constant() && !slices.Contains(values, lower(key.raw)) {
			return key.at.errorf("%s is never %q: it can be %s", t.node.name, key.raw, strings.Join(values, ", "))
		}
	}
	return nil
}
