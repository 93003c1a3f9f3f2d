//go:build pam && cgo

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/msteinert/pam/v2"

	"rtls/internal/auth"
)

// pamChecker is an auth.Checker that asks PAM.
type pamChecker struct {
	service string
	dir     string        // of the service's file; empty: the system's
	turns   chan struct{} // a token for each transaction, which nothing can cut short
}

var _ auth.Checker = (*pamChecker)(nil)

func newPAM(service string) (auth.Checker, error) {
	return &pamChecker{service: service, turns: make(chan struct{}, checkersAtOnce)}, nil
}

// Check asks PAM, and waits for it as long as ctx lets it.
func (p *pamChecker) Check(ctx context.Context, peer auth.Peer, user, password string) (bool, error) {
	select {
	case p.turns <- struct{}{}:
	case <-ctx.Done():
		return false, fmt.Errorf("pam: too many wait for it: %w", ctx.Err())
	}
	done := make(chan error, 1)
	go func() { // left behind when ctx ends; it keeps its turn
		defer func() { <-p.turns }()
		done <- p.ask(peer, user, password)
	}()
	select {
	case err := <-done:
		if refused(err) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("pam: %w", err)
		}
		return true, nil
	case <-ctx.Done():
		return false, fmt.Errorf("pam: %w", ctx.Err())
	}
}

var errOtherUser = errors.New("PAM has made another user of this one")

// ask is one transaction: who it is, and whether the account may be used now.
func (p *pamChecker) ask(peer auth.Peer, user, password string) (err error) {
	answer := func(style pam.Style, _ string) (string, error) {
		switch style {
		case pam.PromptEchoOff:
			return password, nil
		case pam.PromptEchoOn:
			return user, nil
		}
		return "", nil // of what it says nobody hears
	}
	var t *pam.Transaction
	if p.dir != "" {
		t, err = pam.StartConfDir(p.service, user, pam.ConversationFunc(answer), p.dir)
	} else {
		t, err = pam.StartFunc(p.service, user, answer)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.End()) }()
	if err := t.SetItem(pam.Rhost, peer.Addr.Unmap().String()); err != nil {
		return err
	}
	if err := t.Authenticate(pam.Silent | pam.DisallowNullAuthtok); err != nil {
		return err
	}
	if err := t.AcctMgmt(pam.Silent); err != nil {
		return err
	}
	if now, err := t.GetItem(pam.User); err != nil || now != user {
		return errors.Join(errOtherUser, err)
	}
	return nil
}

// refused says whether an error of PAM is an answer. The others may be another one
// later.
func refused(err error) bool {
	for _, no := range []error{pam.ErrAuth, pam.ErrUserUnknown, pam.ErrMaxtries, pam.ErrPermDenied, pam.ErrAcctExpired, pam.ErrNewAuthtokReqd, pam.ErrCredExpired} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}
