package auth

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Checker asks somebody else whether a password is a user's, for users whose password
// is not in the file. It is used by many goroutines at once. An error is a temporary
// failure, and anything that is not a clear answer is an error.
type Checker interface {
	Check(ctx context.Context, peer Peer, user, password string) (bool, error)
}

// Command is a Checker that runs a program by the convention of checkpassword, as
// Dovecot does: name, password and a time, each with a NUL behind it, on descriptor 3,
// and as last arguments a program to run when the password is right. Exit code 0 is yes
// if that program has run, 1 is no, and everything else is a failure. In the environment
// are PROTO, TCPREMOTEIP and PATH, and nothing of ours.
type Command struct {
	Argv []string
	Path string // of the environment; default: that of the system
}

// accepted is run by a checker for a password that is right. It says so on descriptor
// 4: a program that does nothing, and ends well, lets nobody in.
var accepted = []string{"/bin/sh", "-c", "echo yes >&4"}

// Check runs the program. It is killed when ctx ends, with its children.
func (c *Command) Check(ctx context.Context, peer Peer, user, password string) (bool, error) {
	ask, asked, err := os.Pipe()
	if err != nil {
		return false, fmt.Errorf("checker: %w", err)
	}
	defer ask.Close()
	defer asked.Close()
	answer, answers, err := os.Pipe()
	if err != nil {
		return false, fmt.Errorf("checker: %w", err)
	}
	defer answer.Close()
	defer answers.Close()
	var complaint complaint
	cmd := exec.CommandContext(ctx, c.Argv[0], slices.Concat(c.Argv[1:], accepted)...)
	cmd.ExtraFiles = []*os.File{ask, answers} // descriptors 3 and 4
	cmd.Env = []string{"PROTO=TCP", "TCPREMOTEIP=" + peer.Addr.Unmap().String(), "PATH=" + cmp.Or(c.Path, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")}
	cmd.Stderr = &complaint
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return false, fmt.Errorf("checker: %w", err)
	}
	ask.Close()
	answers.Close()
	// A pipe holds more than this. Who does not read it has answered without.
	_, _ = asked.WriteString(request(user, password))
	asked.Close()
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 && ctx.Err() == nil {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("checker %s: %w%s", c.Argv[0], errors.Join(err, ctx.Err()), complaint.text())
	}
	_ = answer.SetReadDeadline(time.Now().Add(time.Second)) // a child that was left behind may hold it open
	said := make([]byte, 4)
	if n, _ := io.ReadFull(answer, said); string(said[:n]) != "yes\n" {
		return false, fmt.Errorf("checker %s ended well, and has not run the program that it was given", c.Argv[0])
	}
	return true, nil
}

// request is what a checker reads. Neither name nor password holds a NUL.
func request(user, password string) string {
	return user + "\x00" + password + "\x00" + strconv.FormatInt(time.Now().Unix(), 10) + "\x00"
}

// complaint keeps the beginning of what a program writes to standard error.
type complaint struct{ b bytes.Buffer }

func (t *complaint) Write(p []byte) (int, error) {
	t.b.Write(p[:min(len(p), 512-min(512, t.b.Len()))])
	return len(p), nil
}

func (t *complaint) text() string {
	if line := strings.TrimSpace(t.b.String()); line != "" {
		return ": " + line
	}
	return ""
}

// Socket is a Checker that asks over a Unix socket. It writes what Command writes on
// descriptor 3, ends its side, and reads one line: OK, NO, or anything else for a
// failure.
type Socket struct{ Path string }

// Check makes a connection for each question.
func (s *Socket) Check(ctx context.Context, _ Peer, user, password string) (bool, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", s.Path)
	if err != nil {
		return false, fmt.Errorf("checker: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(conn, request(user, password)); err != nil {
		return false, fmt.Errorf("checker: %w", err)
	}
	if unix, ok := conn.(*net.UnixConn); ok {
		_ = unix.CloseWrite() // for who reads up to the end
	}
	answer, err := io.ReadAll(io.LimitReader(conn, 64))
	switch {
	case err != nil:
		return false, fmt.Errorf("checker: %w", err)
	case string(answer) == "OK\n":
		return true, nil
	case string(answer) == "NO\n":
		return false, nil
	}
	return false, fmt.Errorf("checker %s answered %q, not OK or NO", s.Path, answer)
}

// Bounded is a Checker that asks another one for a bounded time, and with a bounded
// number of questions at once. Those that do not come up in that time fail.
type Bounded struct {
	checker Checker
	timeout time.Duration
	turns   chan struct{}
}

// NewBounded bounds a checker.
func NewBounded(c Checker, timeout time.Duration, atOnce int) *Bounded {
	return &Bounded{c, timeout, make(chan struct{}, atOnce)}
}

// Check waits for a turn and asks.
func (b *Bounded) Check(ctx context.Context, peer Peer, user, password string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	select {
	case b.turns <- struct{}{}:
	case <-ctx.Done():
		return false, fmt.Errorf("checker: too many wait for it: %w", ctx.Err())
	}
	defer func() { <-b.turns }()
	return b.checker.Check(ctx, peer, user, password)
}
