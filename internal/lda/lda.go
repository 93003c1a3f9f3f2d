// Package lda is final delivery: it finds a recipient's account, judges what the
// message's way here says about TLS, writes the trace header fields on top of the
// message and puts it into the store. LMTP and the command line are its two faces.
package lda

import (
	"context"
	"log/slog"
	"time"

	"rtls/store"
)

// Config is what an Agent needs. Known and AccountDir are required.
type Config struct {
	Hostname   string                          // in Received; default "localhost"
	Known      func(user string) (bool, error) // whether there is such a user; an error is temporary
	AccountDir func(user string) string        // the user's account directory, made on first delivery
	Delimiter  string                          // between user and detail in an address; empty: none
	Clock      func() time.Time                // default time.Now
	Logger     *slog.Logger                    // default: discard
	Store      *store.Options                  // default: none

	// TrustHeader obeys "Require-TLS-ESMTP: yes", the field in which Postfix
	// 3.11 and later keeps a message's REQUIRETLS for agents that have no other
	// way to learn of it. Senders can write it as well, so it is off by default
	// and the tag's origin is then "header".
	TrustHeader bool
}

// Agent delivers messages. It is safe for concurrent use.
type Agent struct {
	cfg  Config
	open func(ctx context.Context, user, mailbox string) (delivery, error)
}

// New makes an agent.
func New(cfg Config) *Agent {
	if cfg.Hostname == "" {
		cfg.Hostname = "localhost"
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Agent{cfg: cfg}
	a.open = a.openStore
	return a
}
