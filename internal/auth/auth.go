// Package auth knows the users and whether a password is theirs.
package auth

import (
	"context"
	"time"
)

// Users is the user database: a file with one line per user,
//
//	name:{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>
//
// which is also how Dovecot writes it. Empty lines and lines that start with "#"
// are passed over, as is what follows the hash after another colon. The file is
// read again when it has changed. Users is safe for concurrent use.
type Users struct{}

// Open returns the users in the file at path. It reads nothing yet.
func Open(path string) *Users { panic("stub") }

// Known says whether there is such a user. The error is for a file that cannot be
// read, is open to group or others, or is malformed; its text says what to do. It
// wraps fs.ErrNotExist where there is no file.
func (u *Users) Known(name string) (bool, error) { panic("stub") }

// Verify says whether password is the user's. It takes as long for a user that does
// not exist. The number of computations at one time is bounded, and ctx ends the
// wait for a turn.
func (u *Users) Verify(ctx context.Context, name, password string) (bool, error) { panic("stub") }

// Add makes a user, durably, while other processes may do the same. It fails with
// fs.ErrExist for a name that is there.
func (u *Users) Add(name, password string) error { panic("stub") }

// Throttle slows down those who guess passwords. It is safe for concurrent use.
type Throttle struct {
	Clock func() time.Time // default time.Now
}

// Wait waits as long as earlier failures of any of the keys demand; keys are for
// example the peer's address and the user's name. It returns ctx's error.
func (t *Throttle) Wait(ctx context.Context, keys ...string) error { panic("stub") }

// Fail counts a failed attempt for each key.
func (t *Throttle) Fail(keys ...string) { panic("stub") }

// OK forgets the failures of the keys.
func (t *Throttle) OK(keys ...string) { panic("stub") }
