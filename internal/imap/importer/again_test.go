package importer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"rtls/store"
)

// A connection that ends is followed by another, and the import comes to its end in one
// run. Each message is there once, and counted once.
func TestGoesOn(t *testing.T) {
	const messages = 40
	for _, step := range literalSteps(messages) {
		s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(messages), octets: step}
		cfg := s.serve(t)
		var last store.Step
		cfg.Report.Progress = func(step store.Step) { last = step }
		a := newAccount(t)
		done, err := Run(t.Context(), a, *cfg)
		if err != nil || done.Added != messages || done.Known != 0 || done.Mailboxes != 1 || last.Messages != messages || last.AllMessages != messages {
			t.Errorf("cut off after %d octets: %+v, %+v, %v", step, done, last, err)
		}
		if s.connections() < 3 {
			t.Errorf("only %d connections", s.connections())
		}
		expectOnce(t, a, messages)
	}
}

// What was in before is counted once, however often it is looked at.
func TestKnownCountOnce(t *testing.T) {
	s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(10)}
	cfg := s.serve(t)
	a := newAccount(t)
	if _, err := Run(t.Context(), a, *cfg); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.boxes["INBOX"].messages = inbox(20)["INBOX"].messages
	s.octets = 2000
	s.mu.Unlock()
	if done, err := Run(t.Context(), a, *cfg); err != nil || done.Known != 10 || done.Added != 10 {
		t.Errorf("%+v, %v", done, err)
	}
	if s.connections() < 4 {
		t.Errorf("only %d connections", s.connections())
	}
	expectOnce(t, a, 20)
}

// UIDs that mean something else after a break are not taken for those before it.
func TestOtherUIDValidityBehindBreak(t *testing.T) {
	const messages = 30
	s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(messages), octets: 3000, changes: 1}
	cfg := s.serve(t)
	a := newAccount(t)
	done, err := Run(t.Context(), a, *cfg)
	if err != nil || done.Added != messages || done.Known == 0 || done.Failed != 0 {
		t.Errorf("%+v, %v", done, err)
	}
	if s.connections() < 3 {
		t.Errorf("only %d connections", s.connections())
	}
	expectOnce(t, a, messages)
}

// A mailbox whose UIDs last no longer than a connection is left out when too many of
// those end: all messages would be fetched again and again.
func TestUIDValidityOfEachConnection(t *testing.T) {
	s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(30), octets: 3000, changes: -1}
	s.boxes["Then"] = &badMailbox{validity: 1, messages: []badMessage{{1, "", messageText(4)}}}
	cfg := s.serve(t)
	var left []string
	cfg.Report.Failed = func(message string, err error) { left = append(left, fmt.Sprintf("%s: %v", message, err)) }
	a := newAccount(t)
	done, err := Run(t.Context(), a, *cfg)
	if !errors.Is(err, store.ErrLeftOut) || !slices.Equal(left, []string{"mailbox INBOX: " + errEpochs.Error()}) || done.Mailboxes != 1 {
		t.Errorf("%+v, %v, left out %q", done, err, left)
	}
	expectOnce(t, a, len(bodies(t, a, "INBOX")))
}

// A message that the connection ends in each time is left out by name, and stops
// neither this run nor the next one; the one behind it comes.
func TestMessageThatBreaks(t *testing.T) {
	s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(20), dies: map[int]bool{5: true, 6: true, 7: true, 8: true, 9: true, 15: true}}
	s.boxes["other"] = &badMailbox{validity: 1, messages: []badMessage{{1, "", messageText(100)}}}
	cfg := s.serve(t)
	var left []string
	cfg.Report.Failed = func(message string, err error) { left = append(left, fmt.Sprintf("%s: %v", message, err)) }
	a := newAccount(t)
	want := []string{}
	for _, uid := range slices.Sorted(maps.Keys(s.dies)) {
		want = append(want, fmt.Sprintf("mailbox INBOX, UID %d: %v", uid, errBad))
	}
	done, err := Run(t.Context(), a, *cfg)
	if !errors.Is(err, store.ErrLeftOut) || done.Added != 15 || done.Failed != 6 || done.Mailboxes != 2 || !slices.Equal(left, want) {
		t.Errorf("%+v, %v, left out %q", done, err, left)
	}
	left = nil
	if done, err := Run(t.Context(), a, *cfg); !errors.Is(err, store.ErrLeftOut) || done.Known != 15 || !slices.Equal(left, want) {
		t.Errorf("again: %+v, %v, left out %q", done, err, left)
	}
	s.mu.Lock()
	s.dies = nil
	s.mu.Unlock()
	if done, err := Run(t.Context(), a, *cfg); err != nil || done.Known != 15 || done.Added != 6 {
		t.Errorf("when it breaks no more: %+v, %v", done, err)
	}
	expectOnce(t, a, 20)
}

// A server that ends the connection in every message is given up.
func TestAllMessagesBreak(t *testing.T) {
	s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(2 * mostBad), dies: map[int]bool{}}
	for i := range 2 * mostBad {
		s.dies[i+1] = true
	}
	cfg := s.serve(t)
	done, err := Run(t.Context(), newAccount(t), *cfg)
	if !errors.Is(err, ErrBroken) || done.Failed != mostBad {
		t.Errorf("%+v, %v", done, err)
	}
}

// A mailbox that the connection ends at each time is left out by name. Counting it is
// no reason to.
func TestMailboxThatBreaks(t *testing.T) {
	for _, command := range []string{"EXAMINE", "STATUS"} {
		s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(3), cuts: map[string]int{command + ` "Other"`: -1}}
		s.boxes["Other"] = &badMailbox{validity: 1, messages: []badMessage{{1, "", messageText(3)}}}
		s.boxes["Then"] = &badMailbox{validity: 1, messages: []badMessage{{1, "", messageText(4)}}}
		cfg := s.serve(t)
		var left []string
		cfg.Report.Failed = func(message string, err error) { left = append(left, message) }
		done, err := Run(t.Context(), newAccount(t), *cfg)
		if command == "STATUS" {
			if err != nil || done.Added != 5 || done.MailboxesLeft != 0 {
				t.Errorf("%s: %+v, %v", command, done, err)
			}
		} else if !errors.Is(err, store.ErrLeftOut) || done.Added != 4 || !slices.Equal(left, []string{"mailbox Other"}) {
			t.Errorf("%s: %+v, %v, left out %q", command, done, err, left)
		}
	}
}

// Whatever is being said when the connection ends is said again on the next one.
func TestBreaksAtAnyCommand(t *testing.T) {
	s := &badServer{caps: "IMAP4rev1 NAMESPACE", prefix: "", delim: "/", boxes: inbox(9), refuses: map[int]bool{4: true}, cuts: map[string]int{
		"NAMESPACE": 1, "LIST": 1, "STATUS": 1, "EXAMINE": 1, "UID FETCH 1:*": 1, "NOOP": 2, "UID SEARCH": 1,
	}}
	cfg := s.serve(t)
	a := newAccount(t)
	if done, err := Run(t.Context(), a, *cfg); !errors.Is(err, store.ErrLeftOut) || done.Added != 8 || done.Failed != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for command, n := range s.cuts {
		if n != 0 {
			t.Errorf("%s: %d more times to end", command, n)
		}
	}
}

// A server that is gone is asked for a while, longer and longer, and then given up.
func TestGivesUp(t *testing.T) {
	s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(20), octets: 3000, sinks: true}
	cfg := s.serve(t)
	cfg.Pause = time.Millisecond
	var pauses []time.Duration
	cfg.Again = func(err error, pause time.Duration) {
		if !errors.Is(err, ErrBroken) {
			t.Errorf("%v", err)
		}
		pauses = append(pauses, pause)
	}
	done, err := Run(t.Context(), newAccount(t), *cfg)
	if !errors.Is(err, ErrBroken) || done.Added == 0 {
		t.Errorf("%+v, %v", done, err)
	}
	if len(pauses) != mostIdle-1 || s.connections() != mostIdle {
		t.Errorf("%d pauses, %d connections", len(pauses), s.connections())
	}
	for i, p := range pauses {
		if middle := time.Millisecond << i; p < middle/2 || p >= 2*middle {
			t.Errorf("pause %d is %s", i, p)
		}
	}
}

// There is no other attempt where it would be of no use, nor when we are told to stop.
func TestStopsAtOnce(t *testing.T) {
	for name, change := range map[string]func(s *badServer, cfg *Config, stop func()){
		"login":  func(s *badServer, _ *Config, _ func()) { s.login = "NO [AUTHENTICATIONFAILED] not any more" },
		"TLS":    func(s *badServer, cfg *Config, _ func()) { cfg.TLS.ServerName = "other.example" },
		"cancel": func(_ *badServer, _ *Config, stop func()) { stop() },
	} {
		s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(20), octets: 3000}
		cfg := s.serve(t)
		cfg.Pause = time.Microsecond
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		breaks := 0
		cfg.Again = func(error, time.Duration) {
			breaks++
			s.mu.Lock()
			defer s.mu.Unlock()
			change(s, cfg, stop)
		}
		want := map[string]error{"login": ErrLogin, "TLS": ErrTLS, "cancel": context.Canceled}[name]
		if done, err := Run(ctx, newAccount(t), *cfg); !errors.Is(err, want) || errors.Is(err, ErrBroken) || breaks != 1 || done.Added == 0 {
			t.Errorf("%s: %+v, %v, %d breaks", name, done, err, breaks)
		}
	}
}

// A login that is not possible now is no refusal (RFC 5530).
func TestLoginLater(t *testing.T) {
	for code, want := range map[string]error{"UNAVAILABLE": ErrBroken, "AUTHENTICATIONFAILED": ErrLogin, "LIMIT": ErrBroken} {
		s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(2), login: "NO [" + code + "] no"}
		cfg := s.serve(t)
		if _, err := Run(t.Context(), newAccount(t), *cfg); !errors.Is(err, want) {
			t.Errorf("%s: %v", code, err)
		}
		if s.connections() != 1 {
			t.Errorf("%s: %d connections", code, s.connections())
		}
	}
	s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(20), octets: 3000}
	cfg := s.serve(t)
	breaks := 0
	cfg.Again = func(error, time.Duration) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.login = ""
		if breaks++; breaks == 1 {
			s.login = "NO [UNAVAILABLE] not now"
		}
	}
	if done, err := Run(t.Context(), newAccount(t), *cfg); err != nil || done.Added != 20 || breaks < 2 {
		t.Errorf("%+v, %v, %d breaks", done, err, breaks)
	}
}

// What a server says instead of beginning TLS is no reason to try again.
func TestNoTLS(t *testing.T) {
	for _, clear := range []string{"-", "* OK injected\r\n"} {
		s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(1), useClear: true, clear: clear}
		cfg := s.serve(t)
		if _, err := Run(t.Context(), newAccount(t), *cfg); !errors.Is(err, ErrTLS) || errors.Is(err, ErrBroken) {
			t.Errorf("%q: %v", clear, err)
		}
		if !strings.Contains(ErrTLS.Error(), "TLS") {
			t.Error(ErrTLS)
		}
	}
}
