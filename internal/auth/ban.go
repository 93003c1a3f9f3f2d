package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"time"

	"rtls/internal/users"
)

// Ban is an address that is shut out, or an address or user that is slowed down.
type Ban struct {
	Address string     `json:"address,omitempty"` // or a network: all of an IPv6 /64 is one
	User    string     `json:"user,omitempty"`
	Banned  *time.Time `json:"banned_until"` // nil: only slowed down
	Level   int        `json:"level"`        // of failures
}

// Bans returns what the throttle has written down, the bans first. It is a few seconds
// old where there is no ban.
func (s *State) Bans(now time.Time) ([]Ban, error) {
	text, _, err := users.Read(s.path("throttle"))
	if errors.Is(err, fs.ErrNotExist) {
		return []Ban{}, nil
	}
	if err != nil {
		return nil, err
	}
	saved, _ := parseThrottle(text)
	saved.clip(now)
	bans := []Ban{}
	for key, r := range saved.records {
		r = r.at(now)
		b := Ban{Level: r.level}
		if now.Before(r.banned) {
			until := r.banned
			b.Banned = &until
		}
		if b.Banned == nil && r.delay() == 0 || slices.Contains(saved.lifted, key) {
			continue
		}
		if address, ok := strings.CutPrefix(key, addressPrefix); ok {
			b.Address = address
		} else {
			b.User = strings.TrimPrefix(key, "user ")
		}
		bans = append(bans, b)
	}
	slices.SortFunc(bans, func(a, b Ban) int {
		if (a.Banned == nil) != (b.Banned == nil) {
			if a.Banned != nil {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Address+" "+a.User, b.Address+" "+b.User)
	})
	return bans, nil
}

// Lift forgets the failures of an address, of an IPv6 network, or of a user. It fails
// with fs.ErrNotExist if there are none.
func (s *State) Lift(who string) error {
	key := "user " + who
	if addr, err := netip.ParseAddr(who); err == nil {
		key = addressKey(addr)
	} else if prefix, err := netip.ParsePrefix(who); err == nil {
		key = addressKey(prefix.Addr())
	}
	path := s.path("throttle")
	return locked(path, func() error {
		text, info, err := users.Read(path)
		if err != nil {
			return fmt.Errorf("nobody has failed to log in: %w", err)
		}
		if !bytes.Contains(text, []byte("\n"+key+"\t")) {
			return fmt.Errorf("%s has not failed to log in: %w", who, fs.ErrNotExist)
		}
		uid, gid := ownerOf(info)
		return replace(path, append(text, "lift "+key+"\n"...), uid, gid)
	})
}

// Keep has the throttle kept in the state directory, see Throttle.Keep.
func (s *State) Keep(t *Throttle) error {
	if err := t.Keep(s.path("throttle"), s.logger); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	return nil
}
