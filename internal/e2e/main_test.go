// Package e2e tests the three commands as real processes, against each other
// and against real peers. It has tests only.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"rtls/internal/commands"
	"rtls/internal/testpki"
)

// binDir holds the commands, built once for all tests of the package.
var binDir string

func TestMain(m *testing.M) {
	if os.Getenv(terminalHold) != "" { // it needs none of the commands
		os.Exit(m.Run())
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "rtls-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if err := commands.Build(context.Background(), dir, raceFlag...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if err := os.Chmod(dir, 0o755); err != nil { // some tests work as another user
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		binDir = dir
		setUp()
		return m.Run()
	}())
}

// setUp installs the programs that the tests talk to, on a machine where nobody has
// done that. What it cannot install fails the tests that want it.
func setUp() {
	if _, err := os.Stat("../../.peers"); err == nil {
		return
	}
	if out, err := exec.Command("make", "-s", "-C", "../..", "setup").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "make setup: %v\n%s", err, out)
	}
}

func bin(name string) string { return filepath.Join(binDir, name) }

// copyLDA puts rtls-lda, which is two programs, where other users can start it.
func copyLDA(t *testing.T, dir string, mode os.FileMode) {
	t.Helper()
	for _, name := range []string{"rtls-lda", "rtls-lda-full"} {
		program, err := os.ReadFile(bin(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), program, mode); err != nil {
			t.Fatal(err)
		}
	}
}

// result is what a finished command left.
type result struct {
	code           int
	stdout, stderr string
}

// run runs one of our commands to its end. An empty environment but for PATH and
// a HOME of its own, so that nothing of the machine's set-up leaks in.
func run(t *testing.T, stdin io.Reader, name string, args ...string) result {
	t.Helper()
	return runEnv(t, nil, stdin, name, args...)
}

func runEnv(t *testing.T, env []string, stdin io.Reader, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin(name), args...)
	// The race detector makes a process sleep before it ends.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GORACE=atexit_sleep_ms=0"}, env...)
	cmd.Stdin = stdin
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() < 0) {
		t.Fatalf("%s %q: %v\n%s", name, args, err, stderr.String())
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// pki is a private authority with a certificate for localhost, in files.
type pki struct {
	*testpki.CA
	dir       string
	caFile    string
	cert, key string // for localhost and 127.0.0.1
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	ca, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	p := &pki{CA: ca, dir: t.TempDir()}
	p.caFile = filepath.Join(p.dir, "ca.pem")
	if err := os.WriteFile(p.caFile, ca.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	p.cert, p.key, err = ca.WriteFiles(p.dir, "localhost", testpki.Leaf{Names: []string{"localhost", "127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
