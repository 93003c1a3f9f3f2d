package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"sync"
	"time"
)

// proofs remember for a while which passwords were right, so that a mail client
// which opens five connections, or comes back every minute, does not cost an Argon2
// computation each time.
//
// The price: whoever can read the memory of this process can try guesses against
// what is kept at the speed of SHA-256. Such a reader gets the passwords of all
// who log in anyway. A guess over the network gains nothing: a wrong password is
// never settled here and always costs its computation.
//
// The zero value is ready. It is safe for concurrent use.
type proofs struct {
	mu    sync.Mutex // guards what follows
	key   []byte     // of this process, and known to nobody
	found map[string]proof
}

type proof struct {
	sum   [sha256.Size]byte // over name, hash and password: a new hash makes it void
	until time.Time
}

const (
	proofTime = 10 * time.Minute // counted from the computation
	maxProofs = 10_000
)

func (p *proofs) has(now time.Time, name, field, password string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	known, ok := p.found[name]
	if !ok || !now.Before(known.until) {
		return false
	}
	sum := p.sumLocked(name, field, password)
	return hmac.Equal(sum[:], known.sum[:])
}

func (p *proofs) add(now time.Time, name, field, password string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found == nil {
		p.found = make(map[string]proof)
		p.key = make([]byte, sha256.Size)
		rand.Read(p.key)
	}
	if len(p.found) >= maxProofs {
		clear(p.found) // each costs one computation to get back
	}
	p.found[name] = proof{p.sumLocked(name, field, password), now.Add(proofTime)}
}

// sumLocked must be called with mu held. None of the three holds a NUL.
func (p *proofs) sumLocked(name, field, password string) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, p.key)
	io.WriteString(mac, name+"\x00"+field+"\x00"+password)
	mac.Sum(sum[:0])
	return sum
}
