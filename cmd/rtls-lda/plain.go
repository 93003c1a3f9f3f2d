//go:build plain

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"rtls/internal/cli"
	"rtls/internal/lda"
)

// Built with the tag plain this is the small program: without index, filters and LMTP
// it starts in half the time. For what takes one of them it becomes the whole program,
// which is installed beside it, before it has read any of the message.
const plain = true

// beyond does what is not the delivery of one message.
func beyond(_ *options, env cli.Env) error {
	return cli.Errorf(cli.TempFail, "%w", becomeWhole(env))
}

// takeOver does not return where the whole program can deliver and this one cannot.
func takeOver(agent *lda.Agent, rcpt lda.Recipient, env cli.Env) error {
	lacks := agent.Lacks(rcpt)
	if lacks == "" {
		return nil
	}
	return &lda.Error{
		Code: 451, Status: "4.3.5", Text: "the delivery agent is not installed as a whole",
		Err: fmt.Errorf("%s: %w", lacks, becomeWhole(env)),
	}
}

// becomeWhole returns only if there is no whole program. Signals that are ignored stay so
// until that one listens.
func becomeWhole(env cli.Env) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	whole := filepath.Join(filepath.Dir(self), wholeName)
	args := append([]string{whole, handedOver, cli.Version()}, env.Args...)
	return &os.PathError{Op: "start", Path: whole, Err: syscall.Exec(whole, args, os.Environ())}
}
