package lda

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rtls/store"
)

func TestReceivedID(t *testing.T) {
	for value, want := range map[string]string{
		"from a (a [192.0.2.1]) by b (Postfix) with ESMTPS id 4abc for <x@y>; Tue": "4abc",
		"by b (id no) id yes; id never":                                            "yes",
		"by b (a (id no) \\) id no) ID yes ; x":                                    "yes",
		"from a\r\n\tby b\r\n\tid\r\n\tQ1\r\n\t; x":                                "Q1",
		"from a by b; Tue":                                                         "",
		"from id":                                                                  "",
		"":                                                                         "",
		"(((":                                                                      "",
	} {
		if got := receivedID(value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

// What names a delivery: all of queue id, sender, recipient and content.
func TestOnceNames(t *testing.T) {
	type message struct {
		env        Envelope
		rcpt, text string
	}
	base := message{Envelope{Sender: "s@x", QueueID: "Q1"}, "u1@x", "Subject: x\n\nbody\n"}
	name := func(m message, change func(*Config)) string {
		a, boxes := newAgent(t, func(c *Config) {
			c.DeliverOnce = true
			if change != nil {
				change(c)
			}
		})
		results := a.Deliver(t.Context(), m.env, []Recipient{{Address: m.rcpt, User: "u1"}}, strings.NewReader(m.text))
		if results[0] != nil {
			t.Fatal(results)
		}
		return boxes.kept["u1/INBOX"][0].meta.Once
	}
	first := name(base, nil)
	if first == "" || first != name(base, nil) {
		t.Errorf("%q", first)
	}
	withBoth := base
	withBoth.text = "Return-Path: <other@x>\n" + base.text // which is not stored
	if name(withBoth, nil) != first {
		t.Error("a Return-Path made another message of it")
	}
	for what, change := range map[string]func(*message){
		"queue id":  func(m *message) { m.env.QueueID = "Q2" },
		"sender":    func(m *message) { m.env.Sender = "" },
		"recipient": func(m *message) { m.rcpt = "u1+x@x" },
		"header":    func(m *message) { m.text = "Subject: y\n\nbody\n" },
		"body":      func(m *message) { m.text = "Subject: x\n\nbody" },
		"long body": func(m *message) { m.text += strings.Repeat("x", 3*chunk) },
	} {
		other := base
		change(&other)
		if name(other, nil) == first {
			t.Errorf("another %s is not another message", what)
		}
	}
	base.env.QueueID = ""
	if got := name(base, nil); got != "" {
		t.Errorf("no queue id: %q", got)
	}
	base.text = "Received: by a id Q9; x\nReceived: by b id Q8\nMessage-ID: <m@x>\n\n"
	if got := name(base, nil); !strings.Contains(got, "Q9") {
		t.Errorf("from Received: %q", got)
	}
	if got := name(base, func(c *Config) { c.DeliverOnce = false }); got != "" {
		t.Errorf("turned off: %q", got)
	}
	if got := name(base, func(c *Config) { c.SuppressDuplicates = true }); got != "message-id\x00<m@x>" {
		t.Errorf("by Message-ID: %q", got)
	}
}

// realAgent delivers into a directory.
func realAgent(t *testing.T, change func(*Config)) (*Agent, string) {
	t.Helper()
	root := t.TempDir()
	cfg := Config{
		Hostname:  "mx.example.org",
		Delimiter: "+",
		Lookup: func(name string) (User, bool, error) {
			return User{Name: name, Dir: filepath.Join(root, name)}, true, nil
		},
	}
	if change != nil {
		change(&cfg)
	}
	return New(cfg), root
}

func files(t *testing.T, root, user string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(root, user, "Maildir", "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Several recipients share one file, which then has nothing of one recipient's.
func TestSingleInstance(t *testing.T) {
	a, root := realAgent(t, func(c *Config) { c.SingleInstance, c.DeliverOnce = true, true })
	rcpts := []Recipient{
		{Address: "u1@x", User: "u1", Notify: "NEVER", ORcpt: "rfc822;info@x"},
		{Address: "u2@x", User: "u2"},
		{Address: "u3@x", User: "u3"},
	}
	message := "Subject: x\r\n\r\nbody\r\n"
	env := Envelope{ID: "id", Protocol: "LMTP", Client: "c", Remote: "unix", QueueID: "Q1", RequireTLS: true}
	for range 2 { // the second time it is known
		for _, err := range a.Deliver(t.Context(), env, rcpts, strings.NewReader(message)) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	var first os.FileInfo
	for _, user := range []string{"u1", "u2", "u3"} {
		all := files(t, root, user)
		if len(all) != 1 {
			t.Fatalf("%s has %q", user, all)
		}
		info, err := os.Stat(all[0])
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = info
		}
		text, err := os.ReadFile(all[0])
		if err != nil || !os.SameFile(first, info) || !strings.HasSuffix(string(text), message) ||
			strings.Contains(string(text), "u1") || strings.Contains(string(text), "notify") || strings.Contains(string(text), "info@x") {
			t.Errorf("%s: same file %t, %v\n%s", user, os.SameFile(first, info), err, text)
		}
	}
	// One recipient alone has all of it.
	if err := a.Deliver(t.Context(), env, rcpts[:1], strings.NewReader("Subject: y\r\n\r\n"))[0]; err != nil {
		t.Fatal(err)
	}
	all := files(t, root, "u1")
	whole := func(path string) bool {
		text, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(text), "Delivered-To: u1@x")
	}
	if len(all) != 2 || !slices.ContainsFunc(all, whole) {
		t.Errorf("%q", all)
	}
}

// A recipient with several targets: what one of them gets, and what the client is
// told.
func TestTargets(t *testing.T) {
	full := errors.Join(store.ErrQuota)
	for _, tc := range []struct {
		name    string
		fails   map[string]error
		perm    bool
		want    int
		copies  int
		targets []Target
	}{
		{"all well", nil, false, 0, 3, nil},
		{"one full", map[string]error{"u2": full}, false, 452, 2, nil},
		{"one full for good", map[string]error{"u2": full}, true, 0, 2, nil},
		{"all full for good", map[string]error{"u1": full, "u2": full, "u3": full}, true, 552, 0, nil},
		{"one gone", nil, false, 451, 2, []Target{{"u2", ""}, {"mallory", ""}}},
		{"one twice", nil, false, 0, 2, []Target{{"u2", ""}, {"u1", ""}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, m := newAgent(t, func(c *Config) { c.FullIsPermanent, c.SingleInstance = tc.perm, true })
			m.fault = func(c call) error {
				if c.op == "commit" {
					return tc.fails[c.user]
				}
				return nil
			}
			if tc.targets == nil {
				tc.targets = []Target{{"u2", ""}, {"u3", ""}}
			}
			rcpt := Recipient{Address: "team@x", User: "u1", Also: tc.targets}
			err := a.Deliver(t.Context(), Envelope{}, []Recipient{rcpt}, strings.NewReader("x\n"))[0]
			e, _ := errors.AsType[*Error](err)
			if (tc.want == 0) != (err == nil) || e != nil && e.Code != tc.want {
				t.Errorf("%v, want %d", err, tc.want)
			}
			n := 0
			for _, kept := range m.kept {
				n += len(kept)
			}
			if n != tc.copies {
				t.Errorf("%d copies, want %d", n, tc.copies)
			}
			if len(tc.targets) == 2 && m.shared == 0 {
				t.Error("nothing was shared")
			}
		})
	}
}

func TestAdmit(t *testing.T) {
	quota := store.Quota{Bytes: 1000, Messages: 2}
	a, root := realAgent(t, nil)
	a.cfg.Lookup = func(name string) (User, bool, error) {
		return User{Name: name, Dir: filepath.Join(root, name), Quota: quota}, true, nil
	}
	rcpt := Recipient{Address: "u1", User: "u1"}
	check := func(size int64, want bool) {
		t.Helper()
		if err := a.Admit(t.Context(), rcpt, size); (err == nil) != want || err != nil && Classify(err).Code != 452 {
			t.Errorf("%d octets: %v", size, err)
		}
	}
	check(1000, true) // there is no account yet
	check(1001, false)
	for range 2 {
		if err := a.Deliver(t.Context(), Envelope{}, []Recipient{rcpt}, strings.NewReader("x\n"))[0]; err != nil {
			t.Fatal(err)
		}
		check(900, false)
	}
	check(0, false)
	quota.Messages = 3
	check(0, true)
	a.cfg.FullIsPermanent = true
	if err := a.Admit(t.Context(), rcpt, 2000); err == nil || Classify(err).Code != 552 {
		t.Error(err)
	}
	quota = store.Quota{}
	check(1<<40, true)
}
