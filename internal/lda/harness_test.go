package lda

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"rtls/store"
)

// mailboxes is a store in memory, with faults.
type mailboxes struct {
	mu     sync.Mutex // guards what follows
	kept   map[string][]kept
	open   int              // deliveries neither committed nor closed
	made   []string         // mailboxes that were to be made if need be
	shared int              // deliveries that share another's content
	fault  func(call) error // may panic
}

// kept is a committed message.
type kept struct {
	data string
	meta store.Meta
}

// call is one call of the store, numbered from 1 for each user and operation.
type call struct {
	op, user, mailbox string
	n                 int
}

type memDelivery struct {
	m             *mailboxes
	user, mailbox string
	buf           *bytes.Buffer // shared with those of the same content
	writes        int
	done          bool
}

var _ delivery = (*memDelivery)(nil)

func (m *mailboxes) check(c call) error {
	if m.fault == nil {
		return nil
	}
	return m.fault(c)
}

func (m *mailboxes) deliver(_ context.Context, u User, mailbox string, create bool, like delivery) (delivery, error) {
	user := u.Name
	if create {
		m.made = append(m.made, user+"/"+mailbox)
	}
	if err := m.check(call{"open", user, mailbox, 1}); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open++
	d := &memDelivery{m: m, user: user, mailbox: mailbox, buf: new(bytes.Buffer)}
	if like, ok := like.(*memDelivery); ok {
		d.buf = like.buf
		m.shared++
	}
	return d, nil
}

func (d *memDelivery) Write(p []byte) (int, error) {
	d.writes++
	if err := d.m.check(call{"write", d.user, d.mailbox, d.writes}); err != nil {
		n, _ := d.buf.Write(p[:len(p)/2])
		return n, err
	}
	return d.buf.Write(p)
}

func (d *memDelivery) Commit(meta store.Meta) (store.Key, error) {
	if err := d.m.check(call{"commit", d.user, d.mailbox, 1}); err != nil {
		return "", err
	}
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	d.m.kept[d.user+"/"+d.mailbox] = append(d.m.kept[d.user+"/"+d.mailbox], kept{d.buf.String(), meta})
	return store.Key(fmt.Sprint(d.user, len(d.m.kept))), nil
}

func (d *memDelivery) Close() error {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	if !d.done {
		d.done = true
		d.m.open--
	}
	return d.m.check(call{"close", d.user, d.mailbox, 1})
}

// newAgent makes an agent on a store in memory. Everybody is known whose name
// starts with "u" and everybody@example.org.
func newAgent(t testing.TB, change func(*Config)) (*Agent, *mailboxes) {
	t.Helper()
	cfg := Config{
		Hostname:  "mx.example.org",
		Delimiter: "+",
		Lookup: func(user string) (User, bool, error) {
			if strings.HasPrefix(user, "broken") {
				return User{}, false, errors.New("open passwd: permission denied")
			}
			known := strings.HasPrefix(user, "u") && !strings.Contains(user, "@") || strings.HasSuffix(user, "@example.org") && !strings.Contains(user, "+")
			return User{Name: user, Dir: "/nowhere/" + user}, known, nil
		},
		Clock:  func() time.Time { return time.Date(2026, 11, 24, 12, 0, 0, 0, time.FixedZone("", 3600)) },
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if change != nil {
		change(&cfg)
	}
	m := &mailboxes{kept: make(map[string][]kept)}
	a := New(cfg)
	a.open = m.deliver
	t.Cleanup(func() {
		if m.open != 0 {
			t.Errorf("%d deliveries were not closed", m.open)
		}
	})
	return a, m
}

// deliverOne delivers to one recipient and returns what was stored.
func deliverOne(t testing.TB, a *Agent, m *mailboxes, env Envelope, message string) kept {
	t.Helper()
	results := a.Deliver(context.Background(), env, []Recipient{{Address: "u1@example.org", User: "u1"}}, strings.NewReader(message))
	if len(results) != 1 || results[0] != nil {
		t.Fatal(results)
	}
	all := m.kept["u1/INBOX"]
	return all[len(all)-1]
}

// withoutRemoved is the message as it must be stored, below the trace: the slow
// way, and sharing nothing with the code under test.
func withoutRemoved(message string, mbox bool) string {
	var out strings.Builder
	first, inHeader, dropping := true, true, false
	for line := range strings.SplitAfterSeq(message, "\n") {
		text := strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		ended := strings.HasSuffix(line, "\n")
		switch {
		case !inHeader:
		case first && mbox && ended && strings.HasPrefix(line, "From ") && !strings.HasPrefix(strings.TrimLeft(line[5:], " \t"), ":"):
			first = false
			continue
		case text == "" && ended:
			inHeader = false
		case !first && (strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")):
			if dropping {
				continue
			}
		default:
			name, _, ok := strings.Cut(line, ":")
			name = strings.ToLower(strings.TrimRight(name, " \t"))
			dropping = ok && (name == "return-path" || name == "rtls-delivery")
			if dropping {
				first = false
				continue
			}
		}
		first = false
		out.WriteString(line)
	}
	return out.String()
}
