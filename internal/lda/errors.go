package lda

import (
	"errors"
	"fmt"
	"syscall"

	"rtls/store"
)

// Error is a failure that a mail transfer agent is told of. Its Text is for the
// peer and holds no paths or internals; those are in Err, for the log.
type Error struct {
	Code   int    // SMTP reply code
	Status string // enhanced status code (RFC 3463)
	Text   string
	Err    error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%d %s %s", e.Code, e.Status, e.Text)
	}
	return fmt.Sprintf("%d %s %s: %v", e.Code, e.Status, e.Text, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Temporary says whether the message is to be kept and tried again.
func (e *Error) Temporary() bool { return e.Code < 500 }

// Classify makes an *Error of any error. What does not say what it is counts as
// temporary: the mail is kept, and never reported as delivered.
func Classify(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	e := &Error{Code: 451, Status: "4.3.0", Text: "cannot deliver now, try again later", Err: err}
	switch {
	case errors.Is(err, syscall.ENOSPC):
		e.Code, e.Status, e.Text = 452, "4.3.1", "no space left, try again later"
	case errors.Is(err, syscall.EDQUOT), errors.Is(err, store.ErrQuota):
		e.Code, e.Status, e.Text = 452, "4.2.2", "mailbox is full, try again later"
	}
	return e
}

// unknownUser says that an address has no account here.
func unknownUser() *Error {
	return &Error{Code: 550, Status: "5.1.1", Text: "no such user here"}
}

// classify is Classify with the agent's rule for full accounts. The error is nil if
// err is, and *Error else.
func (a *Agent) classify(err error) error {
	if err == nil {
		return nil
	}
	e := Classify(err)
	if a.cfg.FullIsPermanent && errors.Is(err, store.ErrQuota) {
		e = &Error{Code: 552, Status: "5.2.2", Text: "mailbox is full", Err: e.Err}
	}
	return e
}
