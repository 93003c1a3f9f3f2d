package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// Item is a message as lists show it.
type Item struct {
	ID      string
	Record  *Record // nil where the file cannot be read
	State   State
	Failed  bool   // it is in failed/
	Sending bool   // a process is at it
	Trouble string // why the file cannot be read
}

// Status is one word: queued, deferred, held, sending, in-doubt, failed or damaged.
func (i *Item) Status() string {
	switch {
	case i.Record == nil:
		return "damaged"
	case i.Failed || i.State.Failed:
		return "failed"
	case i.Sending:
		return "sending"
	case i.State.Held:
		return "held"
	case i.State.Doubts > 0:
		return "in-doubt"
	case i.State.Attempts > 0:
		return "deferred"
	}
	return "queued"
}

// List describes all messages, oldest first, those in the queue before those given
// up. Those that are still in drop/ are not in the list.
func (s *Spool) List() ([]Item, error) {
	if !s.Owned() {
		return nil, ErrNotOwner
	}
	var items []Item
	for _, place := range []string{"queue", "failed"} {
		ids, err := s.names(place)
		if err != nil {
			return nil, fmt.Errorf("list the spool: %w", err)
		}
		for _, id := range ids {
			item, err := s.item(place, id)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("list the spool: %w", err)
			}
			items = append(items, *item)
		}
	}
	return items, nil
}

// maxLook is how many messages Due looks at, the oldest.
const maxLook = 100

// Due says whether a flush would find something to send. It does not look far, and
// says no if in trouble.
func (s *Spool) Due() bool {
	if s.drop {
		if names, err := s.names("drop"); err == nil && len(names) > 0 {
			return true
		}
	}
	ids, err := s.names("queue")
	if err != nil {
		return false
	}
	for _, id := range ids[:min(len(ids), maxLook)] {
		if st, err := s.readState(id); err == nil && !st.Held && st.due(s.now()) {
			return true
		}
	}
	return false
}

func (s *Spool) item(place, id string) (*Item, error) {
	f, err := s.c.FS.Open(s.path(place, id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	item := &Item{ID: id, Failed: place == "failed"}
	if err != nil {
		item.Trouble = err.Error()
		return item, nil
	}
	defer f.Close()
	info, err := f.Info()
	if err != nil {
		return nil, err
	}
	if item.Record, _, err = readHead(f, info, id, s.owner); err != nil {
		item.Record, item.Trouble = nil, err.Error()
	}
	st, err := s.readState(id)
	if st == nil {
		return nil, err
	}
	item.State = *st
	if st.Doubts > 0 && !item.Failed {
		free, err := f.Lock(false)
		item.Sending = err == nil && !free
	}
	return item, nil
}

// Show describes one message and writes its text to w, if that is not nil.
func (s *Spool) Show(id string, w io.Writer) (*Item, error) {
	if !s.Owned() {
		return nil, ErrNotOwner
	}
	if !ValidID(id) {
		return nil, ErrNoID
	}
	for _, place := range []string{"queue", "failed"} {
		item, err := s.item(place, id)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || w == nil || item.Record == nil {
			return item, err
		}
		f, err := s.c.FS.Open(s.path(place, id))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		info, err := f.Info()
		if err != nil {
			return nil, err
		}
		start := info.Size - endLen - item.Record.Size
		_, err = io.Copy(w, io.NewSectionReader(f, start, item.Record.Size))
		return item, err
	}
	return nil, ErrNoID
}

// ErrInDoubt is what Retry returns for a message that may have been sent.
var ErrInDoubt = errors.New("it may have been sent already, and can arrive twice")

// Hold keeps a message from being sent until Release or Retry.
func (s *Spool) Hold(id string) error {
	return s.change(id, false, func(e *entry, st *State) error {
		if e.place == "failed" {
			return errors.New("it is given up, so it is not sent anyway")
		}
		if e.lost {
			return nil // it is held as it is
		}
		st.Held = true
		return s.writeState(id, st)
	})
}

// Release undoes Hold.
func (s *Spool) Release(id string) error {
	return s.change(id, false, func(e *entry, st *State) error {
		if !st.Held {
			return errors.New("it is not held")
		}
		if st.Doubts > 0 || e.lost {
			return ErrInDoubt
		}
		st.Held = false
		return s.writeState(id, st)
	})
}

// Retry makes a message due, also one that is held or given up, for all that do not
// have it; five new days begin. One that is in doubt it touches only with force.
func (s *Spool) Retry(id string, force bool) error {
	return s.change(id, false, func(e *entry, st *State) error {
		if (st.Doubts > 0 || st.Sent || e.lost) && !force {
			return ErrInDoubt
		}
		if _, _, err := readHead(e.f, e.info, id, s.owner); err != nil {
			return err
		}
		fresh := State{Since: s.now(), Status: st.Status, Reason: st.Reason, Last: st.Last, Done: st.Done}
		if err := s.writeState(id, &fresh); err != nil || e.place == "queue" {
			return err
		}
		return e.move("queue")
	})
}

// Remove forgets a message, whatever its state.
func (s *Spool) Remove(id string) error {
	return s.change(id, true, func(e *entry, _ *State) error {
		if err := e.remove(); err != nil {
			return err
		}
		_ = s.removeState(id) // the sweep will
		return nil
	})
}

// change does something to a message under its lock.
func (s *Spool) change(id string, anyFile bool, do func(*entry, *State) error) error {
	if !s.Owned() {
		return ErrNotOwner
	}
	if !ValidID(id) {
		return ErrNoID
	}
	for _, place := range []string{"queue", "failed"} {
		e, err := s.claim(place, id)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if _, bad := errors.AsType[*Damage](err); bad && anyFile {
			return (&entry{s: s, place: place, id: id}).remove()
		}
		if err != nil {
			return err
		}
		defer e.close()
		st, err := s.readState(id)
		if st == nil {
			return err
		}
		e.lost = err != nil
		return do(e, st)
	}
	return ErrNoID
}
