package auth

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script writes a checker for the shell.
func script(t *testing.T, text string) *Command {
	t.Helper()
	path := filepath.Join(t.TempDir(), "checker")
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return &Command{Argv: []string{"/bin/sh", path, "first"}}
}

// alice's password is secret here. What is behind the first argument is run for it.
const honest = `[ "$1" = first ] || exit 111; shift
[ "$(tr '\0' '\n' <&3 | head -n 2 | tr '\n' :)" = alice:secret: ] || exit 1
exec "$@"
`

func TestCommand(t *testing.T) {
	for _, tc := range []struct {
		what, script, password string
		ok                     bool
		err                    string
	}{
		{"right", honest, "secret", true, ""},
		{"wrong", honest, "wrong", false, ""},
		{"long", honest, strings.Repeat("x", maxPassword), false, ""},
		{"the environment", `shift; [ "$PROTO $TCPREMOTEIP $SECRET_OF_OURS" = "TCP 192.0.2.1 " ] && exec "$@"`, "x", true, ""},
		{"a temporary failure", "echo the database is down >&2; exit 111", "secret", false, "exit status 111: the database is down"},
		{"a signal", "kill -9 $$", "secret", false, "signal: killed"},
		{"misused", "exit 2", "secret", false, "exit status 2"},
		{"a program that checks nothing", "exit 0", "secret", false, "has not run the program"},
		{"noise", "yes complaint | head -n 100000 >&2; yes | head -n 100000; exit 3", "secret", false, "exit status 3: complaint"},
	} {
		t.Setenv("SECRET_OF_OURS", "x")
		ok, err := script(t, tc.script).Check(t.Context(), Peer{Addr: here}, "alice", tc.password)
		if ok != tc.ok || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %t, %v", tc.what, ok, err)
		}
		if err != nil && strings.Contains(err.Error(), tc.password) {
			t.Errorf("%s: the error tells the password: %v", tc.what, err)
		}
	}
	if ok, err := (&Command{Argv: []string{"/nonexistent/checker"}}).Check(t.Context(), Peer{}, "alice", "secret"); ok || err == nil {
		t.Errorf("there is no checker: %t, %v", ok, err)
	}
}

func TestCommandTimeout(t *testing.T) {
	c := script(t, "sleep 1000 & sleep 1000")
	b := NewBounded(c, 50*time.Millisecond, 1)
	if ok, err := b.Check(t.Context(), Peer{}, "alice", "secret"); ok || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%t, %v", ok, err)
	}
}

// listen answers each question with what answer makes of it.
func listen(t *testing.T, answer func(string) string) *Socket {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			question, _ := io.ReadAll(conn)
			_, _ = io.WriteString(conn, answer(string(question)))
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return &Socket{path}
}

func TestSocket(t *testing.T) {
	s := listen(t, func(question string) string {
		parts := strings.Split(question, "\x00")
		switch {
		case len(parts) != 4 || parts[0] != "alice" || parts[3] != "":
			return "NO\nand more"
		case parts[1] == "secret":
			return "OK\n"
		case parts[1] == "cut":
			return "OK"
		case parts[1] == "down":
			return ""
		}
		return "NO\n"
	})
	for password, want := range map[string]string{"secret": "true", "wrong": "false", "cut": "error", "down": "error"} {
		ok, err := s.Check(t.Context(), Peer{}, "alice", password)
		if got := map[bool]string{true: "true", false: "false"}[ok]; err == nil && got != want || err != nil && (want != "error" || ok) {
			t.Errorf("%s: %t, %v", password, ok, err)
		}
	}
	if ok, err := s.Check(t.Context(), Peer{}, "bob", "x"); ok || err == nil {
		t.Errorf("more than an answer: %t, %v", ok, err)
	}
	if ok, err := (&Socket{s.Path + "x"}).Check(t.Context(), Peer{}, "alice", "secret"); ok || err == nil {
		t.Errorf("no socket: %t, %v", ok, err)
	}
	wait := make(chan struct{})
	silent := listen(t, func(string) string { <-wait; return "OK\n" })
	if ok, err := NewBounded(silent, 50*time.Millisecond, 1).Check(t.Context(), Peer{}, "alice", "secret"); ok || err == nil {
		t.Errorf("silent: %t, %v", ok, err)
	}
	close(wait)
}

// slow is a checker that answers when it is told.
type slow struct{ begun, end chan struct{} }

func (s slow) Check(context.Context, Peer, string, string) (bool, error) {
	s.begun <- struct{}{}
	<-s.end
	return true, nil
}

func TestBounded(t *testing.T) {
	s := slow{make(chan struct{}, 10), make(chan struct{})}
	b := NewBounded(s, time.Minute, 2)
	results := make(chan bool, 2)
	for range 2 {
		go func() {
			ok, _ := b.Check(context.Background(), Peer{}, "alice", "x")
			results <- ok
		}()
		<-s.begun
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if ok, err := b.Check(ctx, Peer{}, "alice", "x"); ok || !errors.Is(err, context.Canceled) || len(s.begun) > 0 {
		t.Errorf("a third: %t, %v", ok, err)
	}
	close(s.end)
	if !<-results || !<-results {
		t.Error("not answered")
	}
}

// gateElsewhere is a gate whose checker knows alice, bob, carol and ghost, all with the
// password secret.
func gateElsewhere(t *testing.T) *Gate {
	t.Helper()
	g := &Gate{Users: testUsers(t)}
	g.Checker = checkerFunc(func(user, password string) (bool, error) {
		if user == "down" {
			return false, errors.New("the database is down")
		}
		return strings.Contains("alice bob carol ghost", user) && password == "secret", nil
	})
	g.Elsewhere = func(user string) (bool, error) { return user == "carol", nil }
	return g
}

type checkerFunc func(user, password string) (bool, error)

func (f checkerFunc) Check(_ context.Context, _ Peer, user, password string) (bool, error) {
	return f(user, password)
}

// The file comes first; the checker is for those it has no password of.
func TestGateWithChecker(t *testing.T) {
	g := gateElsewhere(t)
	login := func(user, password, want string) {
		t.Helper()
		g.Throttle = Throttle{}
		login, err := g.Login(t.Context(), Peer{Addr: here}, user, password)
		got := "no"
		switch {
		case err == nil:
			got = "yes" + login.App
		case !errors.Is(err, ErrCredentials):
			got = "failure"
		}
		if got != want {
			t.Errorf("%s with %s: %s, %v; want %s", user, password, got, err, want)
		}
	}
	login("carol", "secret", "yes") // there need not be a file
	login("down", "secret", "failure")
	add(t, g.Users, "alice", "own")
	if err := g.Users.AddWithout("bob"); err != nil {
		t.Fatal(err)
	}
	phone, err := g.Users.AddApp("bob", "phone")
	if err != nil {
		t.Fatal(err)
	}
	login("alice", "own", "yes")
	login("alice", "secret", "no")
	login("bob", "secret", "yes")
	login("bob", phone, "yesphone")
	login("bob", "wrong", "no")
	login("ghost", "secret", "no") // the checker knows more users than have accounts
	login("a\x00b", "secret", "no")
	login("carol", "sec\x00ret", "no")
	if err := g.Users.Disable("bob"); err != nil {
		t.Fatal(err)
	}
	login("bob", "secret", "no")
	login("bob", phone, "no")
	if offered := strings.Join(g.Mechanisms(Peer{}), " "); offered != "PLAIN LOGIN" {
		t.Errorf("offered: %s", offered)
	}
	for user, want := range map[string]bool{"alice": true, "bob": false, "carol": true, "ghost": false} {
		if ok, err := g.Admits(user); ok != want || err != nil {
			t.Errorf("%s is admitted: %t, %v", user, ok, err)
		}
	}
}
