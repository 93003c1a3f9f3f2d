package main

import (
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rtls/internal/cli"
	"rtls/internal/requiretls"
	"rtls/internal/spool"
)

// A flush never drops a wish, whatever flags and configuration say by then: what was
// queued with requiretls=yes does not cross to a server without REQUIRETLS.
func TestQueueKeepsWish(t *testing.T) {
	s := newSink(t, "PIPELINING")
	h := newHome(t, s, "", "")
	h.must(t, "-odq", "bob@example.net")
	h.configure(t, s, "", `requiretls = "auto"`)
	for _, args := range [][]string{
		{"-q"}, {"-qI"}, {"-qRbob"}, {"-qRbob", "--requiretls=auto"}, {"-qRbob", "-O", "requiretls=no"}, {"queue", "retry", "all"}, {"queue", "retry", "--force", "all"},
	} {
		h.run(t, args...)
	}
	heard := s.told()
	for _, line := range strings.Split(strings.TrimSpace(heard), "\r\n") {
		if verb, _, _ := strings.Cut(line, " "); verb != "EHLO" && verb != "QUIT" {
			t.Errorf("the server heard %q", line)
		}
	}
	if strings.Count(heard, "EHLO") < 3 {
		t.Errorf("there was no attempt: %q", heard)
	}
	if out := h.must(t, "-bp"); !strings.Contains(out, "requiretls=yes") || !strings.Contains(out, "5.7.30") {
		t.Errorf("the queue is %s", out)
	}
	// In one session with a message that wishes for nothing, which goes.
	h.must(t, "-odq", "--requiretls=auto", "carol@example.com")
	h.run(t, "queue", "retry", "all")
	heard = s.told()
	if !strings.Contains(heard, "RCPT TO:<carol@example.com>") || strings.Contains(heard, "bob@example.net") || strings.Contains(heard, "REQUIRETLS") {
		t.Errorf("the server heard %q", heard)
	}
	s.set(false, "PIPELINING", "REQUIRETLS")
	h.must(t, "queue", "retry", "all")
	if heard = s.told(); !strings.Contains(heard, "MAIL FROM:<me@example.org> REQUIRETLS\r\nRCPT TO:<bob@example.net>\r\n") || !strings.Contains(heard, "canary-body") {
		t.Errorf("the server heard %q", heard)
	}
	if n := len(s.taken()); n != 2 {
		t.Errorf("%d messages were taken", n)
	}
}

// The connection is lost behind the final dot: the caller is told, nothing happens
// before half an hour is over, and nobody sends it again by mistake.
func TestQueueLostAnswer(t *testing.T) {
	for _, policy := range []string{"", `in_doubt = "hold"`} {
		s := newSink(t, "REQUIRETLS")
		s.set(true, "REQUIRETLS")
		h := newHome(t, s, policy, "")
		code, _, stderr := h.run(t, "bob@example.net")
		if code != 0 || !strings.Contains(stderr, "it may arrive twice") {
			t.Errorf("exit %d: %s", code, stderr)
		}
		s.set(false, "REQUIRETLS")
		want := map[string]string{"": "in-doubt", `in_doubt = "hold"`: "held"}[policy]
		if policy == "" {
			h.must(t, "-q")
		}
		h.must(t, "-qRbob") // also where it is chosen
		if out := h.must(t, "-bp"); !strings.Contains(out, want) || !strings.Contains(out, "sent 1 times without an answer") {
			t.Errorf("the queue is %s", out)
		}
		h.must(t, "queue", "retry", "all") // all but such
		id, _, _ := strings.Cut(h.must(t, "-bp"), " ")
		if code, _, stderr := h.run(t, "queue", "retry", id); code != 65 || !strings.Contains(stderr, "retry --force") {
			t.Errorf("exit %d: %s", code, stderr)
		}
		if n := len(s.taken()); n != 1 {
			t.Fatalf("%d copies", n)
		}
		h.must(t, "queue", "retry", "--force", id)
		got := s.taken()
		if len(got) != 2 || got[0] != got[1] || !strings.Contains(got[1], "Message-ID: <canary@example.org>\r\n") {
			t.Errorf("%d copies: %q", len(got), got)
		}
		s.stop()
	}
}

// A signal cuts off a caller's sending, who keeps the message; but a flush waits for
// the answer to what it has sent.
func TestQueueSignals(t *testing.T) {
	for _, tc := range []struct {
		before, args []string
		code         int
		left         string
	}{
		{nil, []string{"bob@example.net"}, 75, "Mail queue is empty\n"},
		{[]string{"-odq", "bob@example.net"}, []string{"-q1s"}, 0, "Mail queue is empty\n"},
	} {
		s := newSink(t, "REQUIRETLS")
		h := newHome(t, s, "", "")
		if tc.before != nil {
			h.must(t, tc.before...)
		}
		cmd := h.command(t, nil, append([]string{"--config", h.config()}, tc.args...)...)
		started, ended := make(chan struct{}), make(chan struct{})
		s.ready = func() { // the message is there, and has no answer yet
			<-started
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			if tc.before == nil {
				<-ended
			}
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		close(started)
		_ = cmd.Wait()
		close(ended)
		if code := cmd.ProcessState.ExitCode(); code != tc.code {
			t.Errorf("%q: exit %d: %s", tc.args, code, cmd.Stderr)
		}
		if out := h.must(t, "-bp"); out != tc.left || len(s.taken()) != 1 {
			t.Errorf("%q: %d copies, the queue is %s", tc.args, len(s.taken()), out)
		}
	}
}

// Several processes flush at once, and each message goes once.
func TestQueueProcesses(t *testing.T) {
	s := newSink(t, "PIPELINING", "REQUIRETLS")
	h := newHome(t, s, "", "")
	const many = 24
	for range many {
		h.must(t, "-odq", "bob@example.net")
	}
	var flushes []*exec.Cmd
	for range 3 {
		cmd := h.command(t, nil, "--config", h.config(), "-q")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		flushes = append(flushes, cmd)
	}
	for _, cmd := range flushes {
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, cmd.Stderr)
		}
	}
	h.must(t, "-q") // what one of them left to another that was about to end
	s.stop()
	if n := len(s.taken()); n != many {
		t.Errorf("%d copies of %d messages", n, many)
	}
	if out := h.must(t, "-bp"); out != "Mail queue is empty\n" {
		t.Errorf("the queue is %s", out)
	}
}

func TestParseFlush(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": 0, "30": 30 * time.Minute, "15m": 15 * time.Minute, "1h30m": 90 * time.Minute, "1d": 24 * time.Hour, "10s": 10 * time.Second, "1w": 168 * time.Hour,
	} {
		if f, err := parseFlush(value); err != nil || f.every != want {
			t.Errorf("%q: %+v, %v", value, f, err)
		}
	}
	for _, value := range []string{"x", "1x", "m", "0", "-1", "1h-1m", "9999999999999999999", "99999999m", "1000000w", "52w52w"} {
		if f, err := parseFlush(value); err == nil {
			t.Errorf("%q: %+v", value, f)
		}
	}
}

func TestChooseDelivery(t *testing.T) {
	for _, tc := range []struct {
		sets []string
		want delivery
	}{
		{nil, deliverNow}, {[]string{"i", "em", "db"}, deliverBehind}, {[]string{"dq", "di"}, deliverNow}, {[]string{"dq", "i"}, deliverLater}, {[]string{"dd"}, deliverNow},
	} {
		if got := chooseDelivery(slices.Clone(tc.sets)); got != tc.want {
			t.Errorf("%q: %c", tc.sets, got)
		}
	}
}

// A flush of many messages logs in once.
func BenchmarkQueueFlush(b *testing.B) {
	const many = 31
	for b.Loop() {
		b.StopTimer()
		s := newSink(b, "PIPELINING", "REQUIRETLS")
		h := newHome(b, s, "", "")
		for range many {
			h.must(b, "-odq", "bob@example.net")
		}
		b.StartTimer()
		h.must(b, "-q")
		b.StopTimer()
		if heard := s.told(); strings.Count(heard, "AUTH") != 1 || len(s.taken()) != many {
			b.Fatalf("the server heard %q", heard)
		}
		s.stop()
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1e3/float64(b.N)/many, "ms/message")
}

// What a sender is told of a message that is late says that, and until when.
func TestQueueReportsDelay(t *testing.T) {
	s := newSink(t, "REQUIRETLS")
	h := newHome(t, s, "", "")
	tr := &transport{env: cli.Env{Getenv: os.Getenv, Stderr: io.Discard}, o: &options{config: h.config()}, lines: make(map[spool.Route]*line)}
	defer tr.close()
	until := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	err := tr.report(t.Context(), spool.Failed{
		Record: spool.Record{From: "me@example.org", To: []string{"bob@example.net"}, Wish: requiretls.Yes, Notify: []string{"DELAY"}, Route: spool.Route{Account: "test"}},
		Status: "4.3.0", Reason: "not now", Until: until, Content: strings.NewReader("Subject: canary\r\n\r\n"),
	})
	if err != nil || len(s.taken()) != 1 {
		t.Fatalf("%v, %d reports", err, len(s.taken()))
	}
	for _, want := range []string{"Action: delayed\r\n", "Status: 4.3.0\r\n", "Will-Retry-Until: Sun, 29 Nov 2026 12:00:00 +0000\r\n"} {
		if !strings.Contains(s.taken()[0], want) {
			t.Errorf("the report lacks %q:\n%s", want, s.taken()[0])
		}
	}
}
