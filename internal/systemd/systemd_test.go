package systemd

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func env(pid int, vars map[string]string) Env {
	return Env{PID: pid, Getenv: func(key string) string { return vars[key] }}
}

func TestNoListeners(t *testing.T) {
	for _, vars := range []map[string]string{
		{},
		{"LISTEN_PID": "7", "LISTEN_FDS": "0"},
		{"LISTEN_PID": "7", "LISTEN_FDS": "x"},
		{"LISTEN_PID": "8", "LISTEN_FDS": "1"},
		{"LISTEN_PID": "8", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "lmtp"},
		{"LISTEN_FDS": "1"},
	} {
		if l, err := env(7, vars).Listeners(""); err == nil || len(l) > 0 {
			t.Errorf("%v: %v, %v", vars, l, err)
		}
	}
}

// The sockets of a process cannot be had in the test itself, whose descriptor 3 is
// somebody's: it runs itself with them.
func TestListeners(t *testing.T) {
	if want := os.Getenv("TEST_LISTENERS"); want != "" {
		for name := range strings.SplitSeq(want, ",") {
			all, err := Env{os.Getpid(), os.Getenv}.Listeners(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range all {
				conn, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				_, _ = conn.Write([]byte(name))
				conn.Close()
				l.Close()
			}
		}
		if _, err := (Env{os.Getpid(), os.Getenv}).Listeners("other"); err == nil || !strings.Contains(err.Error(), `named "other"`) {
			t.Error(err)
		}
		return
	}
	dir := t.TempDir()
	var files []*os.File
	for _, name := range []string{"a", "b"} {
		l, err := net.Listen("unix", filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		f, err := l.(*net.UnixListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	// The shell makes its own process id the one that the variables speak of.
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `export LISTEN_PID=$$; exec "$0" -test.run=TestListeners`, os.Args[0])
	cmd.Env = append(os.Environ(), "LISTEN_FDS=2", "LISTEN_FDNAMES=first:second", "TEST_LISTENERS=second,first")
	cmd.ExtraFiles = files
	done := make(chan error, 1)
	go func() {
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = errors.New(string(out))
		}
		done <- err
	}()
	for _, socket := range []struct{ path, name string }{{"b", "second"}, {"a", "first"}} {
		conn, err := net.Dial("unix", filepath.Join(dir, socket.path))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		if n, err := conn.Read(buf); err != nil || string(buf[:n]) != socket.name {
			t.Errorf("%q, %v", buf[:n], err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a")); err != nil {
		t.Errorf("the socket of systemd is gone: %v", err)
	}
}

// manager listens as systemd does.
func manager(t *testing.T) (path string, hear func() string) {
	path = filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return path, func() string {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
}

func TestNotify(t *testing.T) {
	if err := env(1, nil).Notify(Ready); err != nil {
		t.Error(err)
	}
	if err := env(1, map[string]string{"NOTIFY_SOCKET": filepath.Join(t.TempDir(), "missing")}).Notify(Ready); err == nil {
		t.Error("nobody heard it, and no error")
	}
	path, hear := manager(t)
	e := env(1, map[string]string{"NOTIFY_SOCKET": path})
	for _, state := range []string{Ready, Stopping} {
		if err := e.Notify(state); err != nil {
			t.Error(err)
		}
		if got := hear(); got != state {
			t.Errorf("%q became %q", state, got)
		}
	}
}

func TestWatchdog(t *testing.T) {
	path, hear := manager(t)
	vars := map[string]string{"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "7"}
	broken := make(chan error, 1)
	done := make(chan error)
	go func() {
		done <- env(7, vars).Watchdog(t.Context(), func(context.Context) error {
			select {
			case err := <-broken:
				return err
			default:
				return nil
			}
		})
	}()
	for range 3 {
		if got := hear(); got != alive {
			t.Errorf("%q", got)
		}
	}
	broken <- errors.New("broken")
	if err := <-done; err == nil || err.Error() != "broken" {
		t.Error(err)
	}
	for name, vars := range map[string]map[string]string{
		"no watchdog":         {"NOTIFY_SOCKET": path},
		"somebody else's":     {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "8"},
		"not a time":          {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "-1"},
		"no more than a tick": {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": strconv.Itoa(1)},
	} {
		if err := env(7, vars).Watchdog(t.Context(), nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := env(7, vars).Watchdog(ctx, func(context.Context) error { return nil }); err != nil {
		t.Error(err)
	}
}
