//go:build plain

package lda

import (
	"context"
	"errors"
)

// errPlain is for what Lacks has not seen coming, such as a script that is a moment
// old: it is a doubt, and the message comes again.
var errPlain = errors.New("this program is built without filters (tag plain)")

type answer struct{}

func (j *job) filter(context.Context, *outcome, User, placement) ([]placement, error) {
	return nil, errPlain
}

func (j *job) sendAnswer(context.Context, sending) error { return errPlain }
