//go:build !pam || !cgo

package main

import (
	"errors"

	"rtls/internal/auth"
)

// newPAM says that PAM takes another build: it needs C, which would make every start
// slower, see internal/auth/system.go.
func newPAM(string) (auth.Checker, error) {
	return nil, errors.New("pam under [imapd]: this rtls-imapd was built without PAM; build it with -tags pam and CGO_ENABLED=1, or name a program under checkpassword")
}
