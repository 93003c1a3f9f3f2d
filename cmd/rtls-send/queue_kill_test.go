package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The walk of this file is about the real thing: the command runs as a process of
// its own, and is killed at one of its system calls, before the system does anything
// of it.

// killCalls are the system calls about files and the network.
const killCalls = "openat,read,pread64,write,fsync,syncfs,linkat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat," +
	"flock,fchmod,fchmodat,newfstatat,fstat,getdents64,close,socket,connect,setsockopt,getsockname"

const lockEnv = "RTLS_TEST_ONE_THREAD"

// strace counts the calls of each thread for itself, so a process that is traced has
// to do it all in one: the main thread, which an init function can keep.
func init() {
	if os.Getenv(lockEnv) != "" {
		runtime.LockOSThread()
	}
}

// command is the real command, under strace if there are options for it.
func (h home) command(t *testing.T, trace []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(h.dir, name) // the test's binary is the command under this name
	if err := os.Symlink(self, link); err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	argv := append([]string{link}, args...)
	if trace != nil {
		argv = append(append([]string{"strace", "-f", "-s", "64", "-y"}, trace...), argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), lockEnv+"=1", "GORACE=atexit_sleep_ms=0", "HOME="+h.dir)
	cmd.Stdin = strings.NewReader(canary)
	cmd.Stderr = &strings.Builder{}
	return cmd
}

// process runs the command. Killed says that it was.
func (h home) process(t *testing.T, trace []string, args ...string) (code int, killed bool, stderr string) {
	t.Helper()
	cmd := h.command(t, trace, args...)
	err := cmd.Run()
	errs, _ := cmd.Stderr.(*strings.Builder)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		// strace ends as what it has traced ended.
		status, _ := exit.Sys().(syscall.WaitStatus)
		return exit.ExitCode(), status.Signaled() && status.Signal() == syscall.SIGKILL, errs.String()
	}
	if err != nil {
		t.Fatalf("%q: %v; strace, from the package of that name, has to be allowed to trace", cmd.Args, err)
	}
	return 0, false, errs.String()
}

// killPoint is one system call: the n-th of its name that the main thread makes.
type killPoint struct {
	call string
	n    int
	text string
}

var straceLine = regexp.MustCompile(`^(\d+) +([a-z0-9_]+)\((.*)`)

// killPoints are the system calls of a command, from the first that has to do with the
// spool; found by letting it run once.
func (h home) killPoints(t *testing.T, args ...string) (points []killPoint) {
	t.Helper()
	log := filepath.Join(h.dir, "log")
	if code, killed, stderr := h.process(t, []string{"-e", "trace=" + killCalls, "-o", log}, args...); killed || code != 0 {
		t.Fatalf("left alone, it exits with %d: %s", code, stderr)
	}
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	main, started := "", false
	count := make(map[string]int)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		m := straceLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		if main == "" {
			main = m[1]
		}
		if m[1] != main {
			continue
		}
		count[m[2]]++
		started = started || strings.Contains(m[3], "/spool")
		if started {
			points = append(points, killPoint{m[2], count[m[2]], m[2] + "(" + m[3]})
		}
	}
	return points
}

// outcome is what a walk may find behind a command that was killed, or was not.
type killWalk struct {
	name   string
	before []string // a command that is left alone
	args   []string
	lost   bool // the server never answers the final dot
	gone   bool // the recipient does not exist
}

var killWalks = []killWalk{
	{name: "queue", args: []string{"-odq", "bob@example.net"}},
	{name: "send now, unanswered", args: []string{"bob@example.net"}, lost: true},
	{name: "flush", before: []string{"-odq", "bob@example.net"}, args: []string{"-q"}},
	{name: "flush, unanswered", before: []string{"-odq", "bob@example.net"}, args: []string{"-q"}, lost: true},
	{name: "give up", before: []string{"-odq", "nobody@example.net"}, args: []string{"-q"}, gone: true},
}

// all is what is in the queue, as programs see it.
func (h home) all(t *testing.T) (found []entry) {
	t.Helper()
	for line := range strings.Lines(h.must(t, "queue", "list", "--json")) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		found = append(found, e)
	}
	return found
}

func (w killWalk) start(t *testing.T) (*sink, home) {
	s := newSink(t, "PIPELINING", "REQUIRETLS")
	h := newHome(t, s, "", "")
	if w.before != nil {
		h.must(t, append([]string{"--config", h.config()}, w.before...)...)
	}
	s.set(w.lost, "PIPELINING", "REQUIRETLS")
	return s, h
}

// checkGone makes sure that the message is kept and was reported, once, or twice if the
// process was killed behind the report.
func (w killWalk) checkGone(t *testing.T, s *sink, h home) {
	t.Helper()
	h.must(t, "-qRnobody")
	if left := h.all(t); len(left) != 1 || left[0].Status != "failed" || left[0].Code != "5.1.1" {
		t.Errorf("left: %+v", left)
	}
	s.stop()
	reports := s.taken()
	if len(reports) < 1 || len(reports) > 2 {
		t.Errorf("%d reports", len(reports))
	}
	for _, text := range reports {
		if !strings.Contains(text, "nobody@example.net") || strings.Contains(text, "canary-body") {
			t.Errorf("the report is %q", text)
		}
	}
}

// check brings the queue to its end as a person would, and counts.
func (w killWalk) check(t *testing.T, s *sink, h home, code int, killed bool) {
	t.Helper()
	s.set(false, "PIPELINING", "REQUIRETLS")
	if w.gone {
		w.checkGone(t, s, h)
		return
	}
	doubt := false
	for _, e := range h.all(t) {
		if e.Status == "damaged" || e.Status == "failed" || e.RequireTLS != "yes" {
			t.Errorf("in the queue: %+v", e)
		}
		doubt = doubt || e.Unanswered > 0
	}
	if len(h.all(t)) > 0 {
		h.must(t, "queue", "retry", "--force", "all")
	}
	if left := h.all(t); len(left) > 0 {
		t.Errorf("left: %+v", left)
	}
	s.stop()
	least, most := 1, 1
	if killed && w.before == nil {
		least = 0 // its caller was told nothing
	}
	if !killed && code != 0 {
		t.Errorf("exit %d", code)
	}
	if doubt {
		most = 2 // which the queue said
	}
	copies := s.taken()
	if len(copies) < least || len(copies) > most {
		t.Errorf("%d copies, want %d to %d; in doubt %v", len(copies), least, most, doubt)
	}
	for _, text := range copies {
		if !strings.HasSuffix(text, "\r\n\r\ncanary-body\r\n") {
			t.Errorf("the text is %q", text)
		}
	}
	for line := range strings.Lines(s.told()) {
		if strings.HasPrefix(line, "MAIL") && line != "MAIL FROM:<me@example.org> REQUIRETLS\r\n" {
			t.Errorf("the server heard %q", line)
		}
	}
}

// The command is killed at a few of its system calls; at all of them with
// RTLS_TEST_KILLS=all.
func TestQueueKills(t *testing.T) {
	for _, w := range killWalks {
		t.Run(w.name, func(t *testing.T) {
			s, h := w.start(t)
			args := append([]string{"--config", h.config()}, w.args...)
			points := h.killPoints(t, args...)
			w.check(t, s, h, 0, false)
			first, stride := 0, 1
			if os.Getenv("RTLS_TEST_KILLS") != "all" {
				stride = max(1, len(points)/6)
				first = rand.IntN(stride)
			}
			tried, kills, doubts := 0, 0, 0
			for i := first; i < len(points) && !t.Failed(); i += stride {
				p := points[i]
				s, h := w.start(t)
				args := append([]string{"--config", h.config()}, w.args...)
				code, killed, stderr := h.process(t, []string{"-o", "/dev/null", "-e", "trace=" + p.call,
					"-e", "inject=" + p.call + ":signal=KILL:when=" + strconv.Itoa(p.n)}, args...)
				tried++
				if killed {
					kills++
				}
				for _, e := range h.all(t) {
					doubts += e.Unanswered
				}
				w.check(t, s, h, code, killed)
				if t.Failed() {
					t.Logf("killed (%v) at call %d of %d, the %d. of its name: %s; %s", killed, i, len(points), p.n, p.text, stderr)
				}
			}
			t.Logf("%d system calls; %d processes, %d were killed, %d left a doubt", len(points), tried, kills, doubts)
			if !t.Failed() && (kills < tried-tried/5-1 || tried < 5) {
				t.Errorf("only %d of %d processes were killed", kills, tried)
			}
		})
	}
}
