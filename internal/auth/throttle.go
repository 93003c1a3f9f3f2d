package auth

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
)

// Throttle slows down those who guess passwords.
//
// Each failure raises the level of the peer's address and that of the user by one,
// and each minute lowers it by one. Up to level three nothing happens: people
// mistype. Above it the attempts of one address are spread out, each one, two, four,
// eight and at most fifteen seconds after the last, no matter how many connections
// make them. Whoever would wait longer than a minute is refused. So an address has
// some 6,000 guesses a day.
//
// Attempts on a user are slowed down by as much, but each for itself: where they
// had to queue, anybody could keep a user out.
//
// Nothing is kept on disk. The zero value is ready, and safe for concurrent use.
type Throttle struct {
	mu      sync.Mutex // guards what follows
	records map[string]record
	trusted map[string]trust // by address and user
}

// trust is that a user has logged in from an address before: there the password is
// told apart from a guess before the throttle is asked. It ends with a few wrong ones.
type trust struct {
	until time.Time
	wrong int
}

// record is what is known of a key.
type record struct {
	level int
	since time.Time // when level was right; it has sunk since then
	next  time.Time // no attempt of this address before
}

// ErrThrottled says that too many attempts of the address are waiting already.
var ErrThrottled = errors.New("too many failed logins, try again later")

const (
	freeLevel  = 3
	maxLevel   = 20 // which bounds how long it takes to be forgotten
	sinkTime   = time.Minute
	maxDelay   = 15 * time.Second
	maxWait    = time.Minute
	maxRecords = 50_000

	trustTime  = 24 * time.Hour
	trustWrong = 5
)

// AddrKey is what counts as a peer's address. A host has all of an IPv6 /64.
func AddrKey(peer netip.Addr) string {
	peer = peer.Unmap().WithZone("")
	if peer.Is6() {
		prefix, _ := peer.Prefix(64) // 64 is in range
		return prefix.String()
	}
	return peer.String()
}

func addressKey(peer netip.Addr) string { return "address " + AddrKey(peer) }

// userKey names a user's record. Names that nobody can have share one, so that their
// length is of no concern.
func userKey(user string) string {
	if ValidName(user) != nil {
		return "user"
	}
	return "user " + user
}

// Wait waits until an attempt may be made. It returns ctx's error, or ErrThrottled,
// without waiting, if the address would have to wait for more than a minute.
func (t *Throttle) Wait(ctx context.Context, peer netip.Addr, user string) error {
	d, err := t.reserve(time.Now(), peer, user)
	if err != nil || d <= 0 {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reserve takes a place in the queue of the address and returns how long the
// attempt has to wait.
func (t *Throttle) reserve(now time.Time, peer netip.Addr, user string) (time.Duration, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	wait := t.records[userKey(user)].at(now).delay()
	address := addressKey(peer)
	r := t.records[address].at(now)
	if r.delay() == 0 {
		return wait, nil
	}
	queue := max(0, r.next.Sub(now))
	if queue > maxWait {
		t.distrustLocked(peer, user) // or guesses that are refused would be free
		return 0, ErrThrottled
	}
	r.next = now.Add(queue + r.delay())
	t.records[address] = r
	return max(wait, queue), nil
}

// Fail counts a failed attempt.
func (t *Throttle) Fail(peer netip.Addr, user string) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failLocked(now, addressKey(peer))
	t.failLocked(now, userKey(user))
	t.distrustLocked(peer, user)
}

// trusts says whether the user's password may pass without a wait.
func (t *Throttle) trusts(peer netip.Addr, user string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Now().Before(t.trusted[trustKey(peer, user)].until)
}

func trustKey(peer netip.Addr, user string) string { return AddrKey(peer) + " " + user }

// distrustLocked must be called with mu held.
func (t *Throttle) distrustLocked(peer netip.Addr, user string) {
	key := trustKey(peer, user)
	trust, ok := t.trusted[key]
	if trust.wrong++; !ok {
		return
	}
	if trust.wrong >= trustWrong {
		delete(t.trusted, key)
		return
	}
	t.trusted[key] = trust
}

// failLocked must be called with mu held.
func (t *Throttle) failLocked(now time.Time, key string) {
	if t.records == nil {
		t.records = make(map[string]record)
	}
	r, ok := t.records[key]
	if !ok {
		t.makeRoomLocked(now)
	}
	r = r.at(now)
	if r.level == 0 {
		r.since = now
	}
	r.level = min(r.level+1, maxLevel)
	if next := now.Add(r.delay()); next.After(r.next) {
		r.next = next
	}
	t.records[key] = r
}

// OK forgets the failures of a user who has logged in. Those of the address stay
// until their time is over: a guesser may have an account, too.
func (t *Throttle) OK(peer netip.Addr, user string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.records, userKey(user))
	if t.trusted == nil || len(t.trusted) >= maxRecords {
		t.trusted = make(map[string]trust) // each costs a wait at most to get back
	}
	t.trusted[trustKey(peer, user)] = trust{until: time.Now().Add(trustTime)}
}

// at returns the record with the level it has sunk to.
func (r record) at(now time.Time) record {
	steps := int(now.Sub(r.since) / sinkTime)
	if steps >= r.level {
		return record{next: r.next}
	}
	r.level -= max(steps, 0)
	r.since = r.since.Add(time.Duration(max(steps, 0)) * sinkTime)
	return r
}

// delay is the time between attempts.
func (r record) delay() time.Duration {
	if r.level <= freeLevel {
		return 0
	}
	return min(time.Second<<(r.level-freeLevel-1), maxDelay)
}

// makeRoomLocked must be called with mu held. When the table is full it drops what
// has been forgotten anyway, and failing that, of a few the one with the lowest
// level: an attack from many addresses must not wash out the worst.
func (t *Throttle) makeRoomLocked(now time.Time) {
	if len(t.records) < maxRecords {
		return
	}
	const sample = 32
	victim, lowest, seen := "", maxLevel+1, 0
	for key, r := range t.records { // in random order
		level := r.at(now).level
		if level < lowest {
			victim, lowest = key, level
		}
		if seen++; seen == sample || lowest == 0 {
			break
		}
	}
	delete(t.records, victim)
}
