package main

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"time"

	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/lda"
)

// sendTimeout is how long a filter's message may take, while the mail transfer agent
// waits for us.
const sendTimeout = 2 * time.Minute

// sendCode is what a program said of a message that it has not taken.
func sendCode(err error) int {
	if e, ok := errors.AsType[*exec.ExitError](err); ok && e.Exited() {
		return e.ExitCode()
	}
	return cli.TempFail
}

// sender hands messages to rtls-send, which reads the same configuration. It has the
// message for good when that exits with 0.
func sender(f *config.File, path string, env cli.Env) func(context.Context, lda.Onward) error {
	program := f.LDA.Send
	if program == "" {
		program = "rtls-send"
	}
	return func(ctx context.Context, m lda.Onward) error {
		ctx, cancel := context.WithTimeout(ctx, sendTimeout)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, "--config", path, "-i", "-f", m.From, "--requiretls="+m.Wish.String(), "--", m.To)
		cmd.Env = []string{"PATH=" + env.Getenv("PATH"), "HOME=" + env.Getenv("HOME")}
		cmd.Stdin = m.Message
		var said bytes.Buffer
		cmd.Stderr = &said
		cmd.WaitDelay = time.Second
		if err := cmd.Run(); err != nil {
			first, _, _ := strings.Cut(said.String(), "\n")
			return cli.Errorf(sendCode(err), "%s: %w: %.300s", program, err, first)
		}
		return nil
	}
}
