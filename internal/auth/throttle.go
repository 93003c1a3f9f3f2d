package auth

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Throttle slows down those who guess passwords, and in the end shuts them out for a
// while.
//
// Each failure raises the level of the peer's address and that of the user by one,
// and each minute lowers it by one. Up to level three nothing happens: people
// mistype. Above it the attempts of one address are spread out, each one, two, four,
// eight and at most fifteen seconds after the last, no matter how many connections
// make them. Whoever would wait longer than a minute is refused. An address that
// reaches level twenty is banned: all its attempts are refused for a quarter of an
// hour, and each time after that, within a day, for twice as long, up to a day.
//
// Attempts on a user are slowed down by as much, but each for itself, and a user is
// never banned: anybody could keep a user out.
//
// An address that a user has logged in from is trusted with that user for a day:
// whoever guesses from behind the same address is not to keep the user out, either. It
// ends with five wrong passwords.
//
// The zero value is ready and keeps nothing on disk; see Keep. It is safe for
// concurrent use.
type Throttle struct {
	mu      sync.Mutex // guards what follows
	records map[string]record
	trusted map[string]trust // by address and user

	file throttleFile
}

// trust is that a user has logged in from an address before.
type trust struct {
	until time.Time
	wrong int
}

// record is what is known of a key.
type record struct {
	level int
	since time.Time // when level was right; it has sunk since then
	next  time.Time // no attempt of this address before

	banned time.Time // until then
	bans   int       // in a row
}

// ErrThrottled says that the address is banned, or that too many of its attempts are
// waiting already.
var ErrThrottled = errors.New("too many failed logins, try again later")

const (
	freeLevel  = 3
	maxLevel   = 20 // which bounds how long it takes to be forgotten
	sinkTime   = time.Minute
	maxDelay   = 15 * time.Second
	maxWait    = time.Minute
	maxRecords = 50_000

	banTime   = 15 * time.Minute // of the first
	maxBan    = 24 * time.Hour
	banMemory = 24 * time.Hour // after the end of one, for the next to be longer

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

const addressPrefix = "address "

func addressKey(peer netip.Addr) string { return addressPrefix + AddrKey(peer) }

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
	t.lookLocked(now)
	wait := t.records[userKey(user)].at(now).delay()
	address := addressKey(peer)
	r := t.records[address].at(now)
	if now.Before(r.banned) {
		return 0, ErrThrottled
	}
	if r.delay() == 0 {
		return wait, nil
	}
	queue := max(0, r.next.Sub(now))
	if queue > maxWait {
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
	t.changedLocked(now)
}

// trusts says whether an attempt may be made without Wait.
func (t *Throttle) trusts(peer netip.Addr, user string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.lookLocked(now)
	return now.Before(t.trusted[trustKey(peer, user)].until)
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
	if r.level == maxLevel && strings.HasPrefix(key, addressPrefix) && !now.Before(r.banned) {
		r = r.ban(now)
		t.file.urgent = true
		if t.file.logger != nil {
			t.file.logger.Warn("banned", "remote", strings.TrimPrefix(key, addressPrefix), "until", r.banned.UTC().Format(time.RFC3339))
		}
	}
	t.records[key] = r
}

// ban begins a ban. The level starts anew after it.
func (r record) ban(now time.Time) record {
	if now.Sub(r.banned) > banMemory {
		r.bans = 0
	}
	r.banned = now.Add(min(banTime<<min(r.bans, 10), maxBan))
	r.bans++
	return r
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
	now := time.Now()
	t.trusted[trustKey(peer, user)] = trust{until: now.Add(trustTime)}
	t.changedLocked(now)
}

// at returns the record with the level it has sunk to.
func (r record) at(now time.Time) record {
	steps := int(now.Sub(r.since) / sinkTime)
	if steps >= r.level {
		return record{next: r.next, banned: r.banned, bans: r.bans}
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
		if now.Before(r.banned) {
			level = maxLevel
		}
		if level < lowest {
			victim, lowest = key, level
		}
		if seen++; seen == sample || lowest == 0 {
			break
		}
	}
	delete(t.records, victim)
}
