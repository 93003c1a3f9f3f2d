package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// How long to wait, and how often to try.
const (
	firstWait   = time.Minute
	maxWait     = 4 * time.Hour
	doubtWait   = 30 * time.Minute
	maxDoubts   = 4 // sendings without an answer
	lifetime    = 5 * 24 * time.Hour
	late        = 4 * time.Hour // the wait until somebody may want to know
	maxWaitJit  = maxWait * 5 / 4
	reportWait  = time.Hour
	orphanAfter = time.Hour
)

// State is what has become of a message so far.
type State struct {
	Since    time.Time `json:"since,omitzero"` // when its five days began, if not when it was added
	Attempts int       `json:"attempts"`
	Last     time.Time `json:"last,omitzero"` // the last attempt
	Next     time.Time `json:"next,omitzero"` // not before that
	Held     bool      `json:"held"`
	Doubts   int       `json:"doubts"` // how often it was sent without an answer that is known
	Sent     bool      `json:"sent"`   // taken, and its file could not be removed
	Failed   bool      `json:"failed"`
	Reported bool      `json:"reported"`          // the failure was
	Delayed  bool      `json:"delayed,omitempty"` // that it is late was reported
	Done     []string  `json:"done,omitempty"`    // recipients that have it
	Refused  []string  `json:"refused,omitempty"` // recipients that never will, which was reported
	Status   string    `json:"status,omitempty"`
	Reason   string    `json:"reason,omitempty"` // of the last failure, for people
}

// Failure is why a message was not sent, or may not have been.
type Failure struct {
	Err    error
	Status string // enhanced status code, or empty
	// Permanent is for what is wrong with this message: to try again is in vain.
	// Wrong passwords and certificates are not; they heal.
	Permanent bool
	// InDoubt is for a message that was sent whole and not answered.
	InDoubt bool
	// Route is for what other messages of the same Route would meet as well.
	Route bool
	// Done are the recipients that have the message all the same. Never are those that
	// were refused for good, where others were not. Both are for servers that answer for
	// each recipient.
	Done  []string
	Never []Refused
}

// Refused is a recipient, and why it was refused for good.
type Refused struct{ To, Status, Reason string }

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// maxReason bounds what is kept of an error's text.
const maxReason = 2000

func clip(s string) string {
	if len(s) > maxReason {
		return s[:maxReason] + "..."
	}
	return s
}

// after is the state behind a failed attempt. Marked says that it counts as one in
// doubt already.
func (s *Spool) after(before *State, r *Record, why *Failure, marked bool) *State {
	st := *before
	st.Done = append(slices.Clone(st.Done), why.Done...)
	now := s.now()
	st.Attempts++
	st.Last = now
	switch {
	case why.InDoubt && !marked:
		st.Doubts++
	case !why.InDoubt && marked:
		st.Doubts--
	}
	st.Status, st.Reason = why.Status, clip(strings.TrimPrefix(why.Error(), why.Status+" "))
	wait := firstWait << min(st.Attempts-1, 16)
	if why.InDoubt {
		wait = max(wait, doubtWait<<min(st.Doubts-1, 16))
	}
	wait = time.Duration(float64(min(wait, maxWait)) * (0.75 + s.c.Share()/2))
	if why.InDoubt {
		wait = max(wait, doubtWait)
	}
	st.Next = now.Add(wait)
	switch {
	case why.Permanent:
		st.Failed = true
	case now.Sub(st.since(r)) >= lifetime:
		st.Failed = true
		st.Reason = clip("given up after five days: " + st.Reason)
	case st.Doubts >= maxDoubts:
		st.Failed = true
		st.Reason = clip(fmt.Sprintf("given up: sent %d times and never answered, so it may have arrived: %s", st.Doubts, st.Reason))
	}
	if st.Failed {
		st.Next = time.Time{}
	}
	return &st
}

// undone are the recipients that do not have the message, as far as is known.
func (st *State) undone(r *Record) []string {
	return slices.DeleteFunc(slices.Clone(r.To), func(to string) bool { return slices.Contains(st.Done, to) })
}

// pending are those of them that there is something to do for.
func (st *State) pending(r *Record) []string {
	return slices.DeleteFunc(st.undone(r), func(to string) bool { return slices.Contains(st.Refused, to) })
}

// rest is a message for these alone.
func (st *State) rest(r *Record) *Record {
	rest := *r
	rest.To = st.pending(r)
	return &rest
}

// since is when a message's five days began.
func (st *State) since(r *Record) time.Time {
	if st.Since.IsZero() {
		return r.Time
	}
	return st.Since
}

// due says whether it is time to try. A time too far ahead is from a clock that
// was wrong.
func (st *State) due(now time.Time) bool {
	return !st.Next.After(now) || st.Next.Sub(now) > maxWaitJit
}

// readState reads the state of a message. One that never was written is the zero
// state. A damaged one comes with *Damage, and as held: what is not known may be
// that it was sent.
func (s *Spool) readState(id string) (*State, error) {
	f, err := s.c.FS.Open(s.path("state", id))
	if errors.Is(err, fs.ErrNotExist) {
		return &State{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st State
	if _, err = unseal(stateWord, sectionOf(f), &st); err != nil {
		if d, ok := errors.AsType[*Damage](err); ok {
			return &State{Held: true, Reason: "its state was lost, and it may have been sent: " + d.Reason}, err
		}
		return nil, err
	}
	return &st, nil
}

func (s *Spool) writeState(id string, st *State) error {
	text, err := seal(stateWord, st)
	if err != nil {
		return err
	}
	return s.c.FS.WriteFile(s.path("state", id), text)
}

// removeState forgets a state. It need not be durable: a state without a message
// means nothing, and is swept away.
func (s *Spool) removeState(id string) error {
	err := s.c.FS.Remove(s.path("state", id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
