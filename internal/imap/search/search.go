// Package search decides which messages a search key means. It looks at what the
// index knows first, then at headers, and at whole messages last.
package search

import (
	"context"
	"errors"
	"slices"
	"time"

	"rtls/internal/imap/command"
	"rtls/internal/imap/wire"
	"rtls/internal/mimetree"
	"rtls/store"
)

// Env is what a search needs to know of the session it runs in. All but Index is
// required.
type Env struct {
	Now time.Time
	// UIDs resolves a set of messages to ascending ranges of UIDs. uid says that
	// the set's numbers are UIDs themselves.
	UIDs    func(set command.NumSet, uid bool) []wire.Range
	HasFlag func(flag string) func(m store.Message) bool
	Recent  func(uid uint32) bool
	Open    func(ctx context.Context, uid uint32) (*store.Content, error)
	Index   TextIndex // nil if there is none
}

// Query is a key made ready to be asked of many messages. It belongs to one
// goroutine.
type Query struct {
	env     Env
	test    test
	common  bool
	message message // that is being looked at
	parser  mimetree.Summarizer
}

// cost orders tests: cheap ones decide first.
type cost uint8

const (
	costMeta cost = iota
	costHeader
	costBody
)

// test is a compiled key.
type test struct {
	cost    cost
	ok      func(m *message) (bool, error)
	without func(store.Message) bool // says, by indexes alone, that it cannot be ok; may be nil
}

// Compile prepares a key.
func Compile(key command.Key, env Env) *Query {
	q := &Query{env: env}
	q.test = q.compile(key)
	return q
}

// LooksAtHeader says whether summaries spare the query a look at messages.
func (q *Query) LooksAtHeader() bool { return q.common }

// LooksAtMessages says whether the query needs more than the index knows.
func (q *Query) LooksAtMessages() bool { return q.test.cost != costMeta }

// MayMatch says whether a message can be meant, by what indexes know.
func (q *Query) MayMatch(m store.Message) bool { return q.test.without == nil || !q.test.without(m) }

// Match reports whether a message is meant. A message that is gone is not. Its
// summary may be nil.
func (q *Query) Match(ctx context.Context, m store.Message, s *mimetree.Summary) (bool, error) {
	q.message = message{Message: m, ctx: ctx, env: &q.env, parser: &q.parser, summary: s}
	defer q.message.close()
	ok, err := q.test.ok(&q.message)
	if errors.Is(err, store.ErrNoMessage) {
		return false, nil
	}
	return ok, err
}

func (q *Query) compile(key command.Key) test {
	switch key.Op {
	case command.And:
		return all(q.compileAll(key.Keys))
	case command.Or:
		return anyOf(q.compileAll(key.Keys))
	case command.Not:
		inner := q.compile(key.Keys[0])
		return test{cost: inner.cost, ok: func(m *message) (bool, error) {
			ok, err := inner.ok(m)
			return !ok, err
		}}
	case command.HeaderField:
		q.common = q.common || mimetree.IsCommon(key.Field)
		return q.headerTest(key.Field, key.Text)
	case command.InBody, command.InText:
		return q.textTest(key.Text, key.Op == command.InText)
	case command.SentBefore, command.SentOn, command.SentSince:
		q.common = true
		return sentTest(key)
	case command.InThread:
		q.common = true
		return threadTest(key.Text)
	}
	ok := q.metaTest(key)
	return test{
		cost:    costMeta,
		ok:      func(m *message) (bool, error) { return ok(m.Message), nil },
		without: func(m store.Message) bool { return !ok(m) },
	}
}

func (q *Query) compileAll(keys []command.Key) []test {
	tests := make([]test, len(keys))
	for i, key := range keys {
		tests[i] = q.compile(key)
	}
	slices.SortStableFunc(tests, func(a, b test) int { return int(a.cost) - int(b.cost) })
	return tests
}

func mostOf(tests []test) cost {
	most := costMeta
	for _, t := range tests {
		most = max(most, t.cost)
	}
	return most
}

func all(tests []test) test {
	if len(tests) == 1 {
		return tests[0]
	}
	ok := func(m *message) (bool, error) {
		for _, t := range tests {
			if ok, err := t.ok(m); err != nil || !ok {
				return false, err
			}
		}
		return true, nil
	}
	asking := slices.DeleteFunc(slices.Clone(tests), func(t test) bool { return t.without == nil })
	if len(asking) == 0 {
		return test{mostOf(tests), ok, nil}
	}
	return test{mostOf(tests), ok, func(m store.Message) bool {
		return slices.ContainsFunc(asking, func(t test) bool { return t.without(m) })
	}}
}

func anyOf(tests []test) test {
	ok := func(m *message) (bool, error) {
		for _, t := range tests {
			if ok, err := t.ok(m); err != nil || ok {
				return ok, err
			}
		}
		return false, nil
	}
	if slices.ContainsFunc(tests, func(t test) bool { return t.without == nil }) {
		return test{mostOf(tests), ok, nil}
	}
	return test{mostOf(tests), ok, func(m store.Message) bool {
		return !slices.ContainsFunc(tests, func(t test) bool { return !t.without(m) })
	}}
}

// metaTest compiles a key that the index answers.
func (q *Query) metaTest(key command.Key) func(store.Message) bool {
	env := &q.env
	switch key.Op {
	case command.SeqSet, command.UIDSet:
		uids := env.UIDs(key.Set, key.Op == command.UIDSet)
		return func(m store.Message) bool { return wire.Contains(uids, m.UID) }
	case command.Keyword:
		return env.HasFlag(key.Flag)
	case command.Recent:
		return func(m store.Message) bool { return env.Recent(m.UID) }
	case command.Larger:
		return func(m store.Message) bool { return uint64(m.Size) > key.Number }
	case command.Smaller:
		return func(m store.Message) bool { return uint64(m.Size) < key.Number }
	case command.Older:
		limit := env.Now.Unix() - int64(min(key.Number, 1<<40))
		return func(m store.Message) bool { return m.InternalDate().Unix() <= limit }
	case command.Younger:
		limit := env.Now.Unix() - int64(min(key.Number, 1<<40))
		return func(m store.Message) bool { return m.InternalDate().Unix() >= limit }
	case command.IsEmail:
		return func(m store.Message) bool { return m.ObjectID() == key.Text }
	case command.ModSeqFrom:
		return func(m store.Message) bool { return m.ModSeq >= key.Number }
	}
	compare := dateTest(key.Op, key.Date)
	switch key.Op {
	case command.SavedBefore, command.SavedOn, command.SavedSince:
		return func(m store.Message) bool { return compare(m.Saved()) }
	}
	return func(m store.Message) bool { return compare(m.InternalDate()) }
}

// dateTest compares calendar days, whatever the zone they are in (RFC 9051
// section 6.4.4).
func dateTest(op command.Op, day time.Time) func(time.Time) bool {
	want := dayNumber(day)
	return func(t time.Time) bool {
		switch got := dayNumber(t); op {
		case command.Before, command.SentBefore, command.SavedBefore:
			return got < want
		case command.On, command.SentOn, command.SavedOn:
			return got == want
		default:
			return got >= want
		}
	}
}

func dayNumber(t time.Time) int {
	y, m, d := t.Date()
	return (y*12+int(m))*31 + d
}
