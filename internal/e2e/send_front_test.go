package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestSendInterrupted ends rtls-send within the transaction. Before the final dot
// nothing was sent; behind it nobody knows, and it says so.
func TestSendInterrupted(t *testing.T) {
	p := newPKI(t)
	for _, tc := range []struct {
		at    string
		doubt bool
	}{{"DATA", false}, {".", true}} {
		reached, goOn := make(chan struct{}), make(chan struct{})
		f := &fakesub{script: func(line string, _ bool) string {
			if line == tc.at {
				close(reached)
				<-goOn
				return hangUp
			}
			return ""
		}}
		f.start(t, p)
		cmd := exec.CommandContext(t.Context(), bin("rtls-send"), "--config", f.account(t, p), "b@example.net")
		cmd.Env = append([]string{"HOME=" + t.TempDir()}, quickExit...)
		cmd.Stdin = strings.NewReader(canary)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-reached
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		close(goOn)
		if code := cmd.ProcessState.ExitCode(); code != 75 || strings.Contains(stderr.String(), "may have been taken") != tc.doubt {
			t.Errorf("at %s: %v, %q", tc.at, err, stderr.String())
		}
		if f.stop(); len(f.messages) > 0 {
			t.Errorf("at %s: a message was taken", tc.at)
		}
	}
}

// TestSendInterruptedSMTP ends a session on standard input while a message of it is
// under way: its client still gets a reply.
func TestSendInterruptedSMTP(t *testing.T) {
	p := newPKI(t)
	reached, goOn := make(chan struct{}), make(chan struct{})
	f := &fakesub{script: func(line string, _ bool) string {
		if line == "DATA" {
			close(reached)
			<-goOn
			return hangUp
		}
		return ""
	}}
	f.start(t, p)
	cmd := exec.CommandContext(t.Context(), bin("rtls-send"), "--config", f.account(t, p), "-bs")
	cmd.Env = append([]string{"HOME=" + t.TempDir()}, quickExit...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(stdin, "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"+strings.ReplaceAll(canary, "\n", "\r\n")+".\r\n"); err != nil {
		t.Fatal(err)
	}
	<-reached
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	close(goOn)
	if code := cmd.ProcessState.ExitCode(); code != 75 || !strings.HasSuffix(stdout.String(), "\r\n") || !strings.Contains(stdout.String(), "\r\n451 4.") {
		t.Errorf("%v: %q", err, stdout.String())
	}
}

// TestSendMemory: the memory that a message takes does not grow with it, not even
// when it has to be re-encoded.
func TestSendMemory(t *testing.T) {
	if len(raceFlag) > 0 {
		t.Skip("the race detector's memory is another")
	}
	p := newPKI(t)
	peak := func(size int64, line string, offer []string) (kib int) {
		started := make(chan int, 1)
		f := &fakesub{ehlo: offer, script: func(line string, _ bool) string {
			if line == "." {
				kib = highWater(t, <-started)
			}
			return ""
		}}
		f.start(t, p)
		cmd := exec.CommandContext(t.Context(), bin("rtls-send"), "--config", f.account(t, p), "b@example.net")
		cmd.Env = []string{"HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir()}
		cmd.Stdin = io.MultiReader(strings.NewReader("Subject: x\n\n"), io.LimitReader(&repeated{text: line}, size))
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		started <- cmd.Process.Pid
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		f.stop()
		return kib
	}
	const text, eight = "a line of a large message, all of which are alike\n", "Grüße, Grüße, Grüße, Grüße, Grüße, Grüße, all alike\n"
	small := peak(2000, text, everything)
	for name, large := range map[string]int{
		"as it is":   peak(25<<20, text, everything),
		"re-encoded": peak(25<<20, eight, without("8BITMIME")),
		"long lines": peak(25<<20, "without an end ", everything),
	} {
		t.Logf("%s: %d KiB, a small message %d KiB", name, large, small)
		if large > small+8<<10 {
			t.Errorf("%s: 25 MiB take %d KiB, 2 kB take %d", name, large, small)
		}
	}
}

// highWater is the most memory that a process has had so far, in KiB. What wait4
// says counts the process that it was forked from.
func highWater(t *testing.T, pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Error(err)
		return 0
	}
	var kib int
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Error(err)
	}
	return kib
}

// repeated is a text without an end.
type repeated struct {
	text string
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.text[r.at]
		r.at = (r.at + 1) % len(r.text)
	}
	return len(p), nil
}
