package store

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"rtls/store/internal/index"
)

// A message that comes into the index with a name that says all but its date is not
// looked at before somebody asks for the date, or opens it: a first look at a large
// mailbox would take half of its time for dates that most clients do not want at once.
// What has been found out stays in memory, and goes into the index when the message
// changes or the mailbox is closed.

// dates are those that a view has found out since it was loaded.
type dates struct {
	v     *view
	mu    sync.Mutex // guards what follows
	known map[uint32]int64
}

// get returns what is known.
func (d *dates) get(uid uint32) (seconds int64, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	seconds, ok = d.known[uid]
	return seconds, ok
}

// learn returns what is known, or else notes and returns what was found now: the date
// of a message does not change.
func (d *dates) learn(uid uint32, found int64) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if seconds, ok := d.known[uid]; ok {
		return seconds
	}
	if d.known == nil {
		d.known = make(map[uint32]int64)
	}
	d.known[uid] = found
	return found
}

// find looks at the message's file, whatever its name is by now.
func (d *dates) find(uid uint32, key Key) (seconds int64, ok bool) {
	if seconds, ok := d.get(uid); ok {
		return seconds, true
	}
	s := d.v.snap.Load()
	at, ok := s.Find(uid)
	if !ok {
		return 0, false
	}
	if c, i := s.locate(at); c.rows[i].date != index.NoDate {
		return c.rows[i].date, true
	}
	f := d.v.at(s, at)
	info, err := d.v.a.fs.Stat(d.v.path(f.inNew, f.name))
	if errors.Is(err, fs.ErrNotExist) {
		if f, err = d.v.findFile(key); err == nil {
			info, err = d.v.a.fs.Stat(d.v.path(f.inNew, f.name))
		}
	}
	if err != nil {
		return 0, false
	}
	return d.learn(uid, info.ModTime.Unix()), true
}

// uids are those of the messages whose dates were found out.
func (d *dates) uids() []uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.known))
}

// forget drops what the index has by now.
func (d *dates) forget(uids []uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, uid := range uids {
		delete(d.known, uid)
	}
}

// date is the internal date of a row, as far as it is known.
func (s *Snapshot) date(r *row) int64 {
	if r.date == index.NoDate && s.dates != nil {
		if found, ok := s.dates.get(r.uid); ok {
			return found
		}
	}
	return r.date
}

// InternalDate is the message's internal date (RFC 9051 section 2.3.3), in seconds. It
// looks at the file where that has not happened yet; of a message that is gone by then
// it may be that of its name, or that of 1970.
func (m Message) InternalDate() time.Time {
	if m.dates == nil {
		return m.Date
	}
	if seconds, ok := m.dates.find(m.UID, m.Key); ok {
		return time.Unix(seconds, 0)
	}
	if saved, ok := m.Key.seconds(); ok {
		return time.Unix(saved, 0)
	}
	return time.Unix(0, 0)
}
