package auth

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
)

// Throttle slows down those who guess passwords. What is slowed down is a key: the
// peer's address (AddrKey), the user's name.
//
// Each failure raises a key's level by one, and each minute lowers it by one. Up
// to level three nothing happens: people mistype. Above it the attempts on a key
// are spread out, each one, second, two, four and at most fifteen after the last,
// no matter how many connections make them. Whoever would wait too long is refused
// at once. So a guesser gets about 6,000 guesses a day from an address, and as many
// at a user from all addresses together. The price is that a user whom many
// addresses attack at once has to compete with them for an attempt.
//
// Nothing is kept on disk. The zero value is ready, and safe for concurrent use.
type Throttle struct {
	mu   sync.Mutex // guards what follows
	keys map[string]record
}

// record is what is known of a key.
type record struct {
	level int
	since time.Time // when level was right; it has sunk since then
	next  time.Time // no attempt before
}

// ErrThrottled says that there are too many attempts waiting already.
var ErrThrottled = errors.New("too many failed logins; try again later")

const (
	freeLevel = 3
	maxLevel  = 20 // which bounds how long it takes to be forgotten
	sinkTime  = time.Minute
	maxDelay  = 15 * time.Second
	maxWait   = time.Minute
	maxKeys   = 50_000
)

// AddrKey is the key of an address. An IPv6 address is its /64, since one host has
// all of that.
func AddrKey(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		prefix, _ := addr.Prefix(64) // 64 is in range
		return prefix.String()
	}
	return addr.String()
}

// Wait waits until an attempt with these keys may be made. It returns ctx's error,
// or ErrThrottled, without waiting, if it would take more than a minute.
func (t *Throttle) Wait(ctx context.Context, keys ...string) error {
	d, err := t.reserve(time.Now(), keys)
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

// reserve takes a place in the queue of each key and returns how long the longest
// takes.
func (t *Throttle) reserve(now time.Time, keys []string) (time.Duration, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := now
	for _, key := range keys {
		if r := t.keys[key]; r.at(now).delay() > 0 && r.next.After(at) {
			at = r.next
		}
	}
	wait := at.Sub(now)
	if wait > maxWait {
		return 0, ErrThrottled
	}
	for _, key := range keys {
		if r, ok := t.keys[key]; ok {
			r.next = at.Add(r.at(now).delay())
			t.keys[key] = r
		}
	}
	return wait, nil
}

// Fail counts a failed attempt for each key.
func (t *Throttle) Fail(keys ...string) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.keys == nil {
		t.keys = make(map[string]record)
	}
	for _, key := range keys {
		r, ok := t.keys[key]
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
		t.keys[key] = r
	}
}

// OK forgets the failures of the keys. A user's name is one to forget after a
// success; an address is not: a guesser may have an account, too.
func (t *Throttle) OK(keys ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range keys {
		delete(t.keys, key)
	}
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
	if len(t.keys) < maxKeys {
		return
	}
	const sample = 32
	victim, lowest, seen := "", maxLevel+1, 0
	for key, r := range t.keys { // in random order
		level := r.at(now).level
		if level < lowest {
			victim, lowest = key, level
		}
		if seen++; seen == sample || lowest == 0 {
			break
		}
	}
	delete(t.keys, victim)
}
