package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
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

	"rtls/store/internal/faultfs"
)

// The walk of this file is about the real thing: a process does one operation on
// the real file system, SQLite included, and is killed at one of its system calls,
// before the system does anything of it.

// killCalls are the system calls by which a process changes what is on disk, and
// those that are next to them.
const killCalls = "openat,write,pwrite64,pwritev,fsync,fdatasync,linkat,rename,renameat,renameat2," +
	"unlink,unlinkat,mkdir,mkdirat,rmdir,utimensat,ftruncate,fallocate,fchmod,fchmodat,flock,fcntl,close"

const (
	killStart = "start\n" // the process says that it begins
	killDone  = "done\n"  // the operation has returned nil
)

// strace counts the calls of each thread for itself, so a process that operates
// has to do it all in one: the main thread, which an init function can keep.
func init() {
	if strings.HasPrefix(os.Getenv(processEnv), "operate:") {
		runtime.LockOSThread()
	}
}

// operate does the operation NAME on the account DIR, told as "NAME:DIR".
func operate(argument string) error {
	name, dir, _ := strings.Cut(argument, ":")
	for _, op := range operations {
		if op.name != name {
			continue
		}
		if _, err := os.Stdout.WriteString(killStart); err != nil {
			return err
		}
		a, err := Open(dir, nil)
		if err != nil {
			return err
		}
		if err := op.run(context.Background(), a); err != nil {
			return err
		}
		if _, err := os.Stdout.WriteString(killDone); err != nil {
			return err
		}
		return a.Close()
	}
	return fmt.Errorf("there is no operation %q", name)
}

// killPoint is one system call: the n-th of its name that the main thread makes.
type killPoint struct {
	call string
	n    int
	text string // as strace writes it
}

// operateUnder runs an operation in a process of its own, under strace. It returns
// what the process said, and whether it was killed.
func operateUnder(t *testing.T, op operation, dir string, options ...string) (said string, killed bool) {
	t.Helper()
	args := append([]string{"-f", "-s", "16"}, options...)
	cmd := exec.Command("strace", append(args, os.Args[0])...)
	// The race detector makes a process sleep before it ends.
	cmd.Env = append(os.Environ(), processEnv+"=operate:"+op.name+":"+dir, "GORACE=atexit_sleep_ms=0")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		// strace ends as what it has traced ended.
		status, _ := exit.Sys().(syscall.WaitStatus)
		if status.Signaled() && status.Signal() == syscall.SIGKILL {
			return stdout.String(), true
		}
	}
	if err != nil {
		t.Fatalf("strace, from the package of that name, has to be allowed to trace: %v\n%s", err, stderr.String())
	}
	return stdout.String(), false
}

// straceLine is a call in strace's log, behind the thread that made it.
var straceLine = regexp.MustCompile(`^(\d+) +([a-z0-9_]+)\((.*)`)

// killPoints are the system calls of an operation, found by letting it run once.
func killPoints(t *testing.T, op operation, dir string) (points []killPoint) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	if said, killed := operateUnder(t, op, dir, "-e", "trace="+killCalls, "-o", log); killed || said != killStart+killDone {
		t.Fatalf("left alone, the process says %q", said)
	}
	f, err := os.Open(log)
	must(t, err)
	defer f.Close()
	main, started, others := "", false, 0
	count := make(map[string]int)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		m := straceLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue // a signal, an end, or the end of a call that took a while
		}
		if main == "" {
			main = m[1]
		}
		if m[1] != main {
			if started {
				others++
			}
			continue
		}
		count[m[2]]++
		if started {
			points = append(points, killPoint{m[2], count[m[2]], m[2] + "(" + m[3]})
		}
		started = started || strings.HasPrefix(m[3], `1, "start`)
	}
	t.Logf("%d system calls, and %d of other threads", len(points), others)
	return points
}

// walkKills kills the process at each of its system calls, or at every stride-th,
// each time on a fresh copy of the account.
func walkKills(t *testing.T, op operation, full bool) {
	from := template(t)
	before := examine(t, duplicate(t, from))
	points := killPoints(t, op, duplicate(t, from))
	first, stride := 0, 1
	if !full && len(points) > 40 {
		stride = len(points) / 8
		first = rand.IntN(stride)
	}
	tried, killed, acknowledged := 0, 0, 0
	for i := first; i < len(points) && !t.Failed(); i += stride {
		p := points[i]
		dir := duplicate(t, from)
		said, hit := operateUnder(t, op, dir, "-o", "/dev/null",
			"-e", "trace="+p.call, "-e", "inject="+p.call+":signal=KILL:when="+strconv.Itoa(p.n))
		tried++
		if hit {
			killed++
		}
		err := faultfs.ErrCrash
		switch said {
		case "", killStart:
		case killStart + killDone:
			acknowledged++
			err = nil
		default:
			t.Fatalf("the process says %q", said)
		}
		check(t, op, dir, err, before)
		if t.Failed() {
			t.Logf("killed (%v) at call %d of %d, the %d. of its name: %s; the process said %q", hit, i, len(points), p.n, p.text, said)
		}
	}
	t.Logf("%d processes, %d were killed, %d were done", tried, killed, acknowledged)
	// The calls are not the same each time, to the last one: a few can come to
	// their end.
	if !t.Failed() && killed < tried-tried/10-1 || tried < 5 {
		t.Errorf("only %d of %d processes were killed", killed, tried)
	}
}

// The process is killed at a few of its system calls; at all of them with
// RTLS_TEST_KILLS=all.
func TestCrashWalkProcess(t *testing.T) {
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) { walkKills(t, op, os.Getenv("RTLS_TEST_KILLS") == "all") })
	}
}
