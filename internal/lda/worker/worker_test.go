package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"rtls/internal/lda"
	"rtls/store"
)

// TestMain is a worker where a test has started it as one. KIND says which.
func TestMain(m *testing.M) {
	kind := os.Getenv("KIND")
	if kind == "" {
		os.Exit(m.Run())
	}
	conn, err := net.FileConn(os.Stdin)
	if err == nil {
		err = workers[kind](conn)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, kind, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// workers are a right one and such as a user could make of it.
var workers = map[string]func(net.Conn) error{
	"right": func(conn net.Conn) error { return Serve(context.Background(), conn, agentOf) },
	"dies":  func(conn net.Conn) error { return nil },
	"hangs": func(conn net.Conn) error { _, err := io.Copy(io.Discard, conn); time.Sleep(time.Hour); return err },
	"stops": func(conn net.Conn) error { // does nothing until it is told to stop
		_, err := io.Copy(io.Discard, conn)
		fmt.Fprintln(conn, `{"Results":[{"Code":451,"Status":"4.3.2","Text":"stopped"}]}`)
		return err
	},
	"accepts":  says(`{"Results":[null]}`),
	"babbles":  says(`250 ok`),
	"counts":   says(`{"Results":[null,null]}`),
	"succeeds": says(`{"Results":[{"Code":250,"Status":"2.0.0"}]}`),
	"injects":  says(`{"Results":[{"Code":550,"Status":"5.0.0\r\n250 ok","Text":"x"}]}`),
	"mixes":    says(`{"Results":[{"Code":450,"Status":"5.0.0","Text":"x"}]}`),
	"floods":   says(strings.Repeat("x", 1<<20)),
}

// says answers each request, whatever it is.
func says(answer string) func(net.Conn) error {
	return func(conn net.Conn) error {
		for r := bufio.NewReader(conn); ; {
			line, err := r.ReadBytes('\n')
			if err == io.EOF {
				return nil
			}
			var req request
			if err == nil {
				err = json.Unmarshal(line, &req)
			}
			if err == nil {
				_, err = io.CopyN(io.Discard, r, req.Size)
			}
			if err == nil {
				_, err = fmt.Fprintln(conn, answer)
			}
			if err != nil {
				return err
			}
		}
	}
}

// agentOf takes the host's name for settings.
func agentOf(raw json.RawMessage, lookup func(string) (lda.User, bool, error)) (*lda.Agent, error) {
	var hostname string
	err := json.Unmarshal(raw, &hostname)
	return lda.New(lda.Config{Hostname: hostname, Lookup: lookup, Delimiter: "+", DeliverOnce: true}), err
}

// site is a Pool whose users are alice1, bob1, carol2 and so on: the number is the user
// id. All processes are the test's own.
type site struct {
	*Pool
	cfg Config
	dir string

	mu      sync.Mutex // guards what follows
	kinds   map[int]string
	started map[int]int // workers by user id
}

func newSite(t *testing.T, settings ...func(*Config)) *site {
	t.Helper()
	s := &site{dir: t.TempDir(), kinds: make(map[int]string), started: make(map[int]int)}
	user := func(name string) (u lda.User, uid int, ok bool) {
		uid, err := strconv.Atoi(strings.TrimLeft(name, "abcdefghijklmnopqrstuvwxyz"))
		return lda.User{Name: name, Dir: filepath.Join(s.dir, name)}, uid, err == nil
	}
	lookup := func(name string) (lda.User, bool, error) {
		u, _, ok := user(name)
		return u, ok, nil
	}
	aliases := filepath.Join(s.dir, "aliases")
	if err := os.WriteFile(aliases, []byte("team: alice1, carol2\nall: alice1, bob1, carol2, dora3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.cfg = Config{
		Agent:    lda.New(lda.Config{Lookup: lookup, Delimiter: "+", Aliases: lda.OpenAliases(aliases)}),
		Settings: json.RawMessage(`"mx.example.org"`),
		Owner: func(name string) (lda.User, Owner, error) {
			u, uid, ok := user(name)
			if !ok || uid == 0 {
				return u, Owner{}, errors.New("no owner")
			}
			if strings.HasPrefix(name, "full") {
				u.Quota = store.Quota{Bytes: 10}
			}
			return u, Owner{UID: uid, GID: uid}, nil
		},
		Command: func(o Owner) *exec.Cmd {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.started[o.UID]++
			kind := s.kinds[o.UID]
			if kind == "" {
				kind = "right"
			}
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = []string{"KIND=" + kind, "GORACE=atexit_sleep_ms=0"}
			cmd.Stderr = os.Stderr
			return cmd
		},
	}
	for _, set := range settings {
		set(&s.cfg)
	}
	s.Pool = New(s.cfg)
	t.Cleanup(s.Close)
	return s
}

const message = "Received: by relay.example.com id 77; now\r\nSubject: hi\r\n\r\nhello\r\n"

// deliver resolves and delivers as the LMTP server does.
func (s *site) deliver(t *testing.T, message io.Reader, addresses ...string) []error {
	t.Helper()
	return s.deliverIn(t, t.Context(), message, addresses...)
}

func (s *site) deliverIn(t *testing.T, ctx context.Context, message io.Reader, addresses ...string) []error {
	t.Helper()
	var rcpts []lda.Recipient
	for _, a := range addresses {
		r, err := s.Resolve(t.Context(), a)
		if err == nil {
			err = s.Admit(t.Context(), r, 0)
		}
		if err != nil {
			t.Fatalf("%s: %v", a, err)
		}
		r.Notify = "DELAY"
		rcpts = append(rcpts, r)
	}
	results := s.Deliver(ctx, lda.Envelope{
		ID: "1", Sender: "s@example.com", Protocol: "LMTPS", Client: "relay.example.com", Remote: "unix",
		TLS: &lda.TLS{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256"}, RequireTLS: true, EnvID: "E1",
	}, rcpts, message)
	if len(results) != len(addresses) {
		t.Fatalf("%d results for %q", len(results), addresses)
	}
	return results
}

// inbox reads what a user has.
func (s *site) inbox(t *testing.T, user string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, user, "Maildir", "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(f, ",T=re") {
			t.Errorf("the tag is lost: %s", f)
		}
		all = append(all, string(raw))
	}
	return all
}

func (s *site) count(t *testing.T, want map[string]int) {
	t.Helper()
	for user, n := range want {
		if got := s.inbox(t, user); len(got) != n {
			t.Errorf("%s has %d messages, want %d", user, len(got), n)
		}
	}
}

// Each owner has one process, which gets the message whole with all that is known of it.
func TestDeliver(t *testing.T) {
	s := newSite(t)
	big := message + strings.Repeat("0123456789abcde\r\n", 200_000)
	for i, m := range []string{message, big} {
		for j, err := range s.deliver(t, strings.NewReader(m), "alice1", "bob1", "carol2+x@example.org") {
			if err != nil {
				t.Errorf("message %d, recipient %d: %v", i, j, err)
			}
		}
	}
	for user, address := range map[string]string{"alice1": "alice1", "bob1": "bob1", "carol2": "carol2+x@example.org"} {
		var sizes []int
		for _, raw := range s.inbox(t, user) {
			trace, rest, _ := strings.Cut(raw, "Received: by relay")
			for _, want := range []string{
				"Return-Path: <s@example.com>\r\nDelivered-To: " + address + "\r\n", "tag=require; origin=esmtp;", "envid=E1; notify=DELAY;",
				"tls=TLSv1.3; cipher=TLS_AES_128_GCM_SHA256;", "peer=unix;", "from relay.example.com (unix)\r\n\tby mx.example.org (rtls-lda) with LMTPS (requiretls)\r\n\tid 1 for <" + address + ">",
			} {
				if !strings.Contains(trace, want) {
					t.Errorf("%s has no %q:\n%s", user, want, trace)
				}
			}
			sizes = append(sizes, len("Received: by relay"+rest))
		}
		if slices.Sort(sizes); !slices.Equal(sizes, []int{len(message), len(big)}) {
			t.Errorf("%s has messages of %d octets", user, sizes)
		}
	}
	if s.started[1] != 1 || s.started[2] != 1 {
		t.Errorf("workers: %v", s.started)
	}
}

// An alias of several owners is delivered to when one target has the message and none is
// in doubt; one that comes again is stored where it is missing.
func TestAlias(t *testing.T) {
	s := newSite(t)
	s.kinds[2] = "dies"
	results := s.deliver(t, strings.NewReader(message), "team", "alice1+x")
	if e := lda.Classify(results[0]); e == nil || !e.Temporary() || results[1] != nil {
		t.Errorf("%v", results)
	}
	s.kinds[2] = ""
	for range 2 {
		if results = s.deliver(t, strings.NewReader(message), "team"); results[0] != nil {
			t.Errorf("%v", results)
		}
	}
	s.count(t, map[string]int{"alice1": 1, "carol2": 1})
}

// What a worker does not answer for, or answers as no right one does, is in doubt, for
// its owner's mail alone.
func TestWrongWorkers(t *testing.T) {
	for kind := range workers {
		if slices.Contains([]string{"right", "accepts"}, kind) {
			continue
		}
		t.Run(kind, func(t *testing.T) {
			s := newSite(t, func(cfg *Config) { cfg.Timeout = 3 * time.Second })
			s.kinds[2] = kind
			results := s.deliver(t, strings.NewReader(message), "carol2", "alice1")
			e := lda.Classify(results[0])
			if e == nil || e.Code != 451 || e.Status != "4.3.0" || results[1] != nil {
				t.Errorf("%v", results)
			}
			s.count(t, map[string]int{"alice1": 1})
		})
	}
}

// A worker that has gone while it waited is not asked again.
func TestWorkerGone(t *testing.T) {
	s := newSite(t)
	for want := 1; want <= 2; want++ {
		if results := s.deliver(t, strings.NewReader(message), "alice1"); results[0] != nil {
			t.Fatal(results)
		}
		s.mu.Lock()
		started := s.started[1]
		s.mu.Unlock()
		if started != want {
			t.Errorf("%d workers, want %d", started, want)
		}
		s.Pool.mu.Lock()
		w := s.spare[0]
		s.Pool.mu.Unlock()
		if err := w.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		await(t, "the worker is forgotten", func() bool { return s.waits() == 0 })
	}
}

func (s *site) waits() int {
	s.Pool.mu.Lock()
	defer s.Pool.mu.Unlock()
	return len(s.spare)
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to pass that %s", what)
		}
	}
}

// A message that is cut off is nobody's, and no worker hears of it.
func TestCutOff(t *testing.T) {
	s := newSite(t)
	msg := io.MultiReader(strings.NewReader(message), iotest.ErrReader(io.ErrUnexpectedEOF))
	for _, err := range s.deliver(t, msg, "alice1", "carol2") {
		if e := lda.Classify(err); e == nil || !e.Temporary() || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v", err)
		}
	}
	if len(s.started) > 0 {
		t.Errorf("workers: %v", s.started)
	}
}

// A worker that gets no whole message delivers nothing.
func TestServerGone(t *testing.T) {
	s := newSite(t)
	u, o, err := s.cfg.Owner("alice1")
	if err != nil {
		t.Fatal(err)
	}
	w, err := startProcess(o, s.cfg.Command(o), time.Minute, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(request{Settings: s.cfg.Settings, Users: []lda.User{u}, Size: int64(len(message)), Recipients: []lda.Recipient{{User: "alice1", Address: "alice1"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(w.conn, "%s\n%s", line, message[:len(message)-1]); err != nil {
		t.Fatal(err)
	}
	w.dismiss()
	_ = w.cmd.Wait()
	s.count(t, map[string]int{"alice1": 0})
}

// When deliveries have to stop, a worker is told to, and one that does not hear is not
// waited for.
func TestStop(t *testing.T) {
	for kind, status := range map[string]string{"stops": "4.3.2", "hangs": "4.3.0"} {
		t.Run(kind, func(t *testing.T) {
			s := newSite(t, func(cfg *Config) {
				if kind == "hangs" {
					cfg.Abort = 100 * time.Millisecond
				}
			})
			s.kinds[1] = kind
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			results := s.deliverIn(t, ctx, strings.NewReader(message), "alice1")
			if e := lda.Classify(results[0]); e == nil || e.Code != 451 || e.Status != status {
				t.Errorf("%v", results)
			}
		})
	}
}

// There are no more workers at a time than there may be, and those that wait for work
// do so for a while.
func TestBounds(t *testing.T) {
	s := newSite(t, func(cfg *Config) { cfg.Busy, cfg.Spare, cfg.Linger = 2, 3, 50*time.Millisecond })
	var addresses []string
	for uid := range 20 {
		s.kinds[uid+1] = "accepts"
		addresses = append(addresses, fmt.Sprint("a", uid+1))
	}
	for i, err := range s.deliver(t, strings.NewReader(message), addresses...) {
		if err != nil {
			t.Errorf("%s: %v", addresses[i], err)
		}
	}
	if n := s.waits(); n > 3 {
		t.Errorf("%d workers wait", n)
	}
	await(t, "no worker waits", func() bool { return s.waits() == 0 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.slots <- struct{}{}
	s.slots <- struct{}{}
	if results := s.deliverIn(t, ctx, strings.NewReader(message), "a1"); results[0] == nil {
		t.Error("there was no place for a worker, and it was delivered")
	}
	<-s.slots
	<-s.slots
}

// Who has no owner is refused at RCPT, and room is looked for by the owner's worker.
func TestAdmit(t *testing.T) {
	s := newSite(t)
	if _, err := s.Resolve(t.Context(), "root0"); err == nil || !lda.Classify(err).Temporary() {
		t.Errorf("%v", err)
	}
	if _, err := s.Resolve(t.Context(), "mallory"); err == nil || lda.Classify(err).Status != "5.1.1" {
		t.Errorf("%v", err)
	}
	for _, test := range []struct {
		user string
		size int64
		full bool
	}{{"alice1", 1000, false}, {"full1", 10, false}, {"full1", 11, true}} {
		r, err := s.Resolve(t.Context(), test.user)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Admit(t.Context(), r, test.size)
		if got := err != nil && lda.Classify(err).Code == 452; got != test.full || !got && err != nil {
			t.Errorf("%s, %d octets: %v", test.user, test.size, err)
		}
	}
	if s.started[1] != 1 {
		t.Errorf("workers: %v", s.started)
	}
}
