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

// Config is what an Agent needs. Lookup is required.
type Config struct {
	Hostname  string // in Received; default "localhost"
	Lookup    func(name string) (u User, ok bool, err error)
	Aliases   *Aliases         // default: none
	Domains   []string         // ours, in small letters; default: all that we are handed
	Delimiter string           // between user and detail in an address; empty: none
	Clock     func() time.Time // default time.Now
	Logger    *slog.Logger     // default: discard
	Store     *store.Options   // default: none; its Quota does not count

	// TrustHeader obeys "Require-TLS-ESMTP: yes", the field in which Postfix
	// 3.11 and later keeps a message's REQUIRETLS for agents that have no other
	// way to learn of it. Senders can write it as well, so it is off by default
	// and the tag's origin is then "header".
	TrustHeader bool

	// RefuseRequire refuses messages whose tag is "require", where the store is
	// also served without TLS (RFC 8689 section 4.4 asks for RFC 8314).
	RefuseRequire bool

	CreateFolders   bool // make the folder that a message is for
	FullIsPermanent bool // a full account is 552, not 452

	// SingleInstance stores a message to several recipients in one file where
	// links reach. It then has neither Delivered-To nor what else is a
	// recipient's own.
	SingleInstance bool

	// DeliverOnce knows a message that is handed over again, because the answer
	// was lost, and does not store it again. It takes a queue id, on the command
	// line or in the topmost Received field; without one every message is new.
	DeliverOnce bool

	// SuppressDuplicates stores one message of a Message-ID in a mailbox within a
	// week. Who can guess a Message-ID can keep a message out.
	SuppressDuplicates bool

	// Send hands a message to the mail system, for scripts that redirect or answer.
	// nil means that this cannot be done, and what was to be redirected stays here.
	Send func(ctx context.Context, m Onward) error

	// Reports sends a report to who asked for one of success (RFC 3461), by way of
	// Send. Only who offers DSN owes it.
	Reports bool

	DryRun  bool              // store nothing, send nothing
	Explain func(what string) // is told of each decision
}

// User is somebody who has an account.
type User struct {
	Name   string
	Dir    string // the account's directory, made on first delivery
	Quota  store.Quota
	Script string // path of the filter script; empty: none
}

// Agent delivers messages. It is safe for concurrent use.
type Agent struct {
	cfg  Config
	open opener
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
	if cfg.DryRun {
		a.open = a.openDry
	}
	return a
}

// Admit says whether a recipient's account has room for a message of a size in
// octets, 0 if nobody knows. The error is an *Error. Of an alias with several
// targets one with room is enough: the others are the administrator's affair.
func (a *Agent) Admit(ctx context.Context, r Recipient, size int64) error {
	var full error
	for _, t := range r.Targets() {
		err := a.admit(ctx, t, size)
		if err == nil {
			return nil
		}
		full = err
	}
	return full
}
