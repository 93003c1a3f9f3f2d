package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"rtls/internal/imap/control"
	"rtls/internal/imap/handover"
	"rtls/internal/imap/session"
	"rtls/store"
)

// handedProcess is in the environment of this program where it is to serve clients that
// were handed over.
const handedProcess = "RTLS_TEST_HANDED"

func TestMain(m *testing.M) {
	if os.Getenv(handedProcess) == "" {
		os.Exit(m.Run())
	}
	if err := serveHanded(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// handedSettings are those of a server in another process.
type handedSettings struct {
	MaxPerUser  int
	IdleTimeout time.Duration
}

func serveHanded() error {
	channel, raw, err := handover.Open(os.Stdin)
	if err != nil {
		return err
	}
	var set handedSettings
	if err := json.Unmarshal(raw, &set); err != nil {
		return err
	}
	var mu sync.Mutex
	dirs := make(map[string]string)
	s := &Server{
		Hostname: "localhost", MaxPerUser: set.MaxPerUser, IdleTimeout: set.IdleTimeout, Compress: true, Keep: time.Minute,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		OpenAccount: func(_ context.Context, user string) (*store.Account, error) {
			mu.Lock()
			defer mu.Unlock()
			return store.Open(dirs[user], nil)
		},
	}
	return s.ServeHanded(context.Background(), func() (*handover.Arrival, error) {
		a, err := channel.Next()
		if err == nil {
			mu.Lock()
			dirs[a.User] = a.Dir
			mu.Unlock()
		}
		return a, err
	})
}

// handedSite is a site whose clients are served by other processes.
type handedSite struct {
	*site
	pool *handover.Pool
}

func newHandedSite(t *testing.T, set handedSettings) *handedSite {
	t.Helper()
	raw, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	h := &handedSite{}
	h.site = newSite(t, func(s *Server) {
		dir := filepath.Dir(t.TempDir()) // of all of this test's directories
		s.OpenAccount, s.Compress = nil, true
		s.Hand = func(ctx context.Context, c handover.Client) (*handover.Session, error) {
			c.Dir = filepath.Join(filepath.Dir(h.dir), c.User)
			if !strings.HasPrefix(c.Dir, dir) {
				t.Errorf("account in %s", c.Dir)
			}
			return h.pool.Hand(ctx, handover.Owner{UID: os.Getuid(), GID: os.Getgid()}, c)
		}
	})
	h.pool = handover.New(handover.Config{
		Settings: raw, Logger: h.server.Logger, Linger: 50 * time.Millisecond,
		Command: func(handover.Owner) *exec.Cmd {
			cmd := exec.Command("/bin/sh", "-c", `echo pid $$ >&2; exec "$0"`, os.Args[0])
			cmd.Env = append(os.Environ(), handedProcess+"=1")
			cmd.Stderr = h.log
			return cmd
		},
	})
	t.Cleanup(func() {
		h.stop()
		h.pool.Close()
	})
	return h
}

// processes are those that were started, in this order.
func (h *handedSite) processes() (pids []int) {
	h.t.Helper()
	for line := range strings.Lines(h.log.String()) {
		if word, ok := strings.CutPrefix(strings.TrimSpace(line), "pid "); ok {
			pid, err := strconv.Atoi(word)
			if err != nil {
				h.t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// waitGone waits until a process is none.
func (h *handedSite) waitGone(pid int) {
	h.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); syscall.Kill(pid, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("process %d is still there", pid)
		}
	}
}

// A client does not notice which process serves it, but that it cannot say
// UNAUTHENTICATE. What it has sent behind its login is not lost.
func TestHanded(t *testing.T) {
	s := newHandedSite(t, handedSettings{})
	s.deliverN(2)
	c := s.connect()
	c.script(`
		C: a LOGIN alice wrong
		S: a NO [AUTHENTICATIONFAILED] <*>
	`)
	c.send("b ID (\"name\" \"probe\")\r\nc LOGIN alice secret\r\nd SELECT INBOX\r\ne FETCH 2 BODY.PEEK[TEXT]\r\nf NOOP\r\n")
	c.expect(`* ID ("name" "rtls-imapd" "version" "devel")`)
	c.expect("b OK ID completed")
	line := c.line()
	if !strings.HasPrefix(line, "c OK [CAPABILITY IMAP4rev1 ") || strings.Contains(line, "UNAUTHENTICATE") || !strings.Contains(line, " COMPRESS=DEFLATE") {
		t.Errorf("got %s", line)
	}
	for !strings.HasPrefix(line, "d ") {
		line = c.line()
	}
	c.script(`
		S: * 2 FETCH (BODY[TEXT] {8}
		S: body 2
		S: )
		S: e OK FETCH completed
		S: f OK NOOP completed
		C: g UNAUTHENTICATE
		S: g BAD <*>
		C: h CAPABILITY
	`)
	if line := c.line(); strings.Contains(line, "UNAUTHENTICATE") || !strings.Contains(line, "CONDSTORE") {
		t.Errorf("got %s", line)
	}
	c.script(`
		S: h OK CAPABILITY completed
		C: i IDLE
		S: + idling
	`)
	// Sessions of one user share a process, and hear of each other at once.
	other := s.login("INBOX")
	other.do(`STORE 1 +FLAGS (\Flagged)`)
	c.script(`
		S: * 1 FETCH (FLAGS (\Flagged \Recent))
		C: DONE
		S: i OK IDLE completed
		C: j LOGOUT
		S: * BYE see you
		S: j OK LOGOUT completed
	`)
	c.closed()
	if n := len(s.processes()); n != 1 {
		t.Errorf("%d processes", n)
	}
}

// Large messages go through in both directions, whoever is slow.
func TestHandedLarge(t *testing.T) {
	s := newHandedSite(t, handedSettings{})
	c := s.login("INBOX")
	body := strings.Repeat("0123456789abcdef\r\n", 200_000)
	raw := "Subject: large\r\n\r\n" + body
	c.send(fmt.Sprintf("a APPEND INBOX {%d+}\r\n%s\r\n", len(raw), raw))
	for line := ""; !strings.HasPrefix(line, "a OK "); {
		line = c.line()
	}
	c.send("b FETCH 1 BODY.PEEK[]\r\n")
	time.Sleep(200 * time.Millisecond) // as who takes its time
	c.expect(fmt.Sprintf("* 1 FETCH (BODY[] {%d}", len(raw)))
	got := make([]byte, len(raw))
	if _, err := io.ReadFull(c.r, got); err != nil || string(got) != raw {
		t.Error("it is not what was sent", err)
	}
	c.expect(")")
	c.expect("b OK FETCH completed")
}

// admitting is passwords that admit users for as long as they are to.
type admitting struct {
	passwords
	refuse *atomic.Bool
}

func (a admitting) Admits(string) (bool, error) { return !a.refuse.Load(), nil }

// Who looks at the sessions, and ends them, sees those in other processes.
func TestHandedControl(t *testing.T) {
	s := newHandedSite(t, handedSettings{})
	s.stop()
	path := filepath.Join(t.TempDir(), "control")
	var err error
	if s.server.Control, err = net.Listen("unix", path); err != nil {
		t.Fatal(err)
	}
	var refuse atomic.Bool
	s.server.Auth, s.server.AdmitEvery = admitting{s.server.Auth.(passwords), &refuse}, 10*time.Millisecond
	s.start()
	s.deliverN(1)

	kicked := s.connect()
	kicked.do(`ID ("name" "probe" "version" "7")`)
	kicked.do("LOGIN alice secret")
	kicked.do("EXAMINE INBOX")
	expelled := s.login("INBOX")
	expelled.script(`
		C: a IDLE
		S: + idling
	`)
	var all []control.Session
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if all, err = control.Who(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if len(all) == 2 && all[0].State == "selected" && all[1].State == "idle" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %+v", all)
		}
	}
	if a := all[0]; a.User != "alice" || a.Mailbox != "INBOX" || a.Client != "probe 7" || a.TLS != "TLS 1.3" || a.In == 0 || a.Out == 0 {
		t.Errorf("got %+v", a)
	}
	if n, err := control.Kick(t.Context(), path, "", all[0].ID); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	kicked.expect("* BYE the administrator has ended this session")
	kicked.closed()
	refuse.Store(true)
	expelled.expect("* BYE the user may not log in any more")
	expelled.closed()
}

// A client is refused as by a server of one process.
func TestHandedRefused(t *testing.T) {
	s := newHandedSite(t, handedSettings{MaxPerUser: 1})
	first := s.login("INBOX")
	c := s.connect()
	c.script(`
		C: a LOGIN alice secret
		S: a NO [LIMIT] too many sessions of this user
		C: b LOGIN ghost secret
		S: b NO [UNAVAILABLE] temporary failure, try again later
	`)
	first.do("LOGOUT")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c.send("c LOGIN alice secret\r\n")
		line := c.line()
		if strings.HasPrefix(line, "c OK ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %s", line)
		}
	}
	if !strings.Contains(s.log.String(), session.ErrTooMany.Error()) {
		t.Error("nothing was logged")
	}
}

// A process ends with the last of its sessions, a little later; the next session gets
// another. One that is killed takes its sessions with it, and nothing else.
func TestHandedProcesses(t *testing.T) {
	s := newHandedSite(t, handedSettings{})
	c := s.login("INBOX")
	c.do("LOGOUT")
	s.waitGone(s.processes()[0])
	c = s.login("INBOX")
	if n := len(s.processes()); n != 2 {
		t.Fatalf("%d processes", n)
	}
	if err := syscall.Kill(s.processes()[1], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.closed()
	s.waitLog("a process has ended, and sessions with it")
	c = s.login("INBOX")
	c.do("NOOP")
	// The server says goodbye through it.
	c.script(`
		C: a IDLE
		S: + idling
	`)
	go s.stop()
	c.script(`
		S: * BYE [UNAVAILABLE] localhost is shutting down
	`)
	c.closed()
	s.stop()
	s.pool.Close()
	s.waitGone(s.processes()[2])
}
