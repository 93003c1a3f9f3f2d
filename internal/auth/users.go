// Package auth says whether a password is a user's.
package auth

import (
	"runtime"
	"sync"
	"time"

	"rtls/internal/users"
)

// Users is the user database: a file with one line per user,
//
//	name:{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>
//
// which is how Dovecot writes it, too. What follows the hash is described at
// users.File.Lookup and at entry. Empty lines and those that start with "#" are passed over. Where a
// name stands twice the first line counts. A hash that starts with "*", or an empty
// one, fits no password; with "!" in front of the hash the user cannot log in by any
// means. The file is read again when it has changed.
//
// Users is safe for concurrent use, by any number of processes at once.
type Users struct {
	// NoScram leaves what SCRAM takes out of passwords that are set.
	NoScram bool
	// UID and GID are whose a file is that has to be made; UID 0: its maker's.
	UID, GID int

	*users.File
	cost       cost          // of passwords that are set
	iterations int           // of SCRAM, of the same
	turns      chan struct{} // a token for each computation that goes on
	clock      func() time.Time

	mu    sync.Mutex  // guards what follows
	stamp users.Stamp // of the file that what follows came from
	decoy hash        // costs what a user's hash in the file costs
	ready *bool       // see scramReady; nil: not looked at yet

	settled proofs
}

// Open returns the users in the file at path. It reads nothing yet.
func Open(path string) *Users {
	return &Users{
		File:       users.Open(path),
		cost:       defaultCost,
		iterations: scramIterations,
		turns:      make(chan struct{}, runtime.GOMAXPROCS(0)),
		clock:      time.Now,
	}
}

// current returns the file's text and its decoy, read anew if the file has changed.
func (u *Users) current() ([]byte, hash, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	text, err := u.refreshLocked()
	if err != nil {
		return nil, hash{}, err
	}
	return text, u.decoy, nil
}

// refreshLocked returns the file's text. It must be called with mu held.
func (u *Users) refreshLocked() ([]byte, error) {
	text, stamp, err := u.File.Text()
	if err != nil {
		return nil, err
	}
	if stamp != u.stamp {
		u.stamp, u.ready = stamp, nil
		u.decoy = decoyFor(text, u.cost)
	}
	return text, nil
}
