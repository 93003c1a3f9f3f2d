//go:build !plain

package main

import (
	"rtls/internal/cli"
	"rtls/internal/lda"
)

// plain says that this is the small program: see plain.go.
const plain = false

// beyond does what is not the delivery of one message.
func beyond(o *options, env cli.Env) error {
	switch o.mode {
	case modeCheckConfig:
		return checkConfig(o, env)
	case modeServe:
		return serve(cli.Signals(), o, env)
	case modeWorker:
		return work(env)
	default:
		return sieveTest(o, env)
	}
}

// takeOver does nothing: there is nothing that the whole program lacks.
func takeOver(*lda.Agent, lda.Recipient, cli.Env) error { return nil }
