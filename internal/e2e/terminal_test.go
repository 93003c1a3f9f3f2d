package e2e

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// terminal is a client in a terminal of tmux.
type terminal struct {
	t   *testing.T
	dir string // of the socket, which is nobody else's
}

// startTerminal runs a command in a terminal.
func startTerminal(t *testing.T, dir, command string) *terminal {
	t.Helper()
	term := &terminal{t, dir}
	cmd, stdin, err := serveTerminals(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); _ = cmd.Wait() })
	var out []byte
	for deadline := time.Now().Add(imapTimeout); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if out, err = term.command("new-session", "-d", "-x", "100", "-y", "80", command).CombinedOutput(); err == nil {
			return term
		}
	}
	t.Fatalf("tmux does not start: %v\n%s", err, out)
	return nil
}

// serveTerminals starts the server of tmux for a directory. It ends, and what runs in its
// terminals with it, when its standard input does: also if the test is killed.
func serveTerminals(dir string) (*exec.Cmd, io.Closer, error) {
	const script = `tmux -S tmux -f /dev/null -D & read -r _; kill $!; wait`
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir, cmd.Env = dir, terminalEnv(dir)
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	return cmd, stdin, err
}

func terminalEnv(dir string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C.UTF-8", "TERM=xterm", "SHELL=/bin/sh"}
}

// command is one of tmux's. It starts no server.
func (term *terminal) command(args ...string) *exec.Cmd {
	cmd := exec.Command("tmux", append([]string{"-N", "-S", filepath.Join(term.dir, "tmux")}, args...)...)
	cmd.Dir, cmd.Env = term.dir, terminalEnv(term.dir)
	return cmd
}

func (term *terminal) tmux(args ...string) string {
	term.t.Helper()
	out, err := term.command(args...).CombinedOutput()
	if err != nil {
		term.t.Fatalf("tmux %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// keys types what tmux names keys: text, or Enter and the like.
func (term *terminal) keys(keys ...string) {
	term.t.Helper()
	term.tmux(append([]string{"send-keys"}, keys...)...)
}

// wait waits until the screen matches.
func (term *terminal) wait(pattern string) {
	term.t.Helper()
	re := regexp.MustCompile(pattern)
	var screen string
	for deadline := time.Now().Add(imapTimeout); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if screen = term.tmux("capture-pane", "-p"); re.MatchString(screen) {
			return
		}
	}
	term.t.Fatalf("nothing on the screen matches %s:\n%s", pattern, screen)
}

// until waits until ok.
func (term *terminal) until(ok func() bool) {
	term.t.Helper()
	for deadline := time.Now().Add(2 * imapTimeout); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			term.t.Fatalf("it does not come about:\n%s", term.tmux("capture-pane", "-p"))
		}
	}
}

// end waits until the client has ended, and its terminal with it.
func (term *terminal) end() {
	term.t.Helper()
	for deadline := time.Now().Add(imapTimeout); term.command("has-session").Run() == nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			term.t.Fatalf("it does not end:\n%s", term.tmux("capture-pane", "-p"))
		}
	}
}

// TestTerminalOfKilledTest kills a test of this package and waits for what it ran in a
// terminal.
func TestTerminalOfKilledTest(t *testing.T) {
	dir := t.TempDir()
	self := exec.Command(os.Args[0], "-test.run=^TestTerminalHold$", "-test.v")
	self.Env = append(os.Environ(), terminalHold+"="+dir)
	var out bytes.Buffer
	self.Stdout, self.Stderr = &out, &out
	if err := self.Start(); err != nil {
		t.Fatal(err)
	}
	var client int
	wait := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(imapTimeout); !ok(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				_ = self.Process.Kill()
				t.Fatalf("%s\n%s", what, out.String())
			}
		}
	}
	wait("the client does not start", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "pid"))
		if err == nil {
			client, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return client > 0
	})
	t.Cleanup(func() { _ = syscall.Kill(client, syscall.SIGKILL) })
	if err := self.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = self.Wait()
	wait("the client is still there", func() bool { return syscall.Kill(client, 0) != nil })
}

// terminalHold names a directory, in a process that TestTerminalOfKilledTest starts.
const terminalHold = "RTLS_TEST_TERMINAL"

// TestTerminalHold is that process. By itself it tests that a terminal shows what runs in
// it.
func TestTerminalHold(t *testing.T) {
	dir := os.Getenv(terminalHold)
	if dir == "" {
		startTerminal(t, t.TempDir(), "echo here; read x").wait("here")
		return
	}
	startTerminal(t, dir, "echo $$ >pid.new; mv pid.new pid; exec sleep 600")
	<-t.Context().Done() // it is killed before
}
