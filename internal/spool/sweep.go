package spool

import (
	"errors"
	"io/fs"
	"time"
)

// sweep removes states without a message, and what a killed process left. Nothing
// depends on it.
func (s *Spool) sweep() {
	for _, place := range []string{"state", "queue", "drop"} {
		if place == "drop" && !s.drop {
			continue
		}
		names, err := s.c.FS.Names(s.path(place, ""))
		if err != nil {
			return
		}
		for _, name := range names {
			if place != "state" && (len(name) != idLen+1 || name[0] != '.' || !ValidID(name[1:])) {
				continue
			}
			info, err := s.c.FS.Stat(s.path(place, name))
			if err != nil || !info.Regular || s.now().Unix()-info.ModTimeSecond < int64(orphanAfter/time.Second) {
				continue
			}
			// In this order none is missed that moves meanwhile.
			if place == "state" && (s.exists("failed", name) || s.exists("queue", name) || s.exists("failed", name)) {
				continue
			}
			_ = s.c.FS.Remove(s.path(place, name))
		}
	}
}

// exists says whether a message may be there.
func (s *Spool) exists(place, name string) bool {
	_, err := s.c.FS.Stat(s.path(place, name))
	return !errors.Is(err, fs.ErrNotExist)
}
