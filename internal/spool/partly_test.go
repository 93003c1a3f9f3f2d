package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"testing"
	"time"

	"rtls/internal/faultdisk"
)

// partly is a letter for three, and a server that treats them differently. It returns
// the flusher, whose reports go into told.
func partly(t *testing.T, c Config, outcomes ...*Failure) (f *Flusher, to *server, id string, told *[]Failed) {
	t.Helper()
	s := newSpool(t, c)
	r := letter()
	r.To = []string{"bob@example.net", "carol@example.com", "dave@example.com"}
	id = s.put(t, r)
	told = new([]Failed)
	to = &server{outcomes: outcomes}
	return &Flusher{Spool: s, Transport: to, Report: func(_ context.Context, f Failed) error {
		*told = append(*told, f)
		return nil
	}}, to, id, told
}

func refusal(to string) Refused { return Refused{To: to, Status: "5.1.1", Reason: "who?"} }

// Who has the message does not get it again, who never will is reported at once, and
// the others get it later.
func TestSomeRecipients(t *testing.T) {
	clock := newClock()
	f, to, id, told := partly(t, Config{Now: clock.Now},
		&Failure{Err: errors.New("mixed"), Done: []string{"bob@example.net"}, Never: []Refused{refusal("dave@example.com")}}, nil)
	if r := flush(t, f); r.Deferred != 1 || r.Failed != 0 {
		t.Errorf("%+v", r)
	}
	if len(*told) != 1 || !slices.Equal((*told)[0].To, []string{"dave@example.com"}) || (*told)[0].Status != "5.1.1" {
		t.Fatalf("reported %+v", *told)
	}
	if got := statusOf(t, f.Spool, id); got != "deferred" {
		t.Errorf("status %s", got)
	}
	clock.add(2 * time.Minute)
	if r := flush(t, f); r.Failed != 1 || r.Sent != 0 {
		t.Errorf("%+v", r)
	}
	if len(to.got) != 1 || !slices.Equal(to.got[0].To, []string{"carol@example.com"}) || len(*told) != 1 {
		t.Errorf("sent %+v, reported %+v", to.got, *told)
	}

	// It is kept for whom it was refused, and a retry is for that one.
	if got := statusOf(t, f.Spool, id); got != "failed" {
		t.Fatalf("status %s", got)
	}
	must(t, f.Spool.Retry(id, false))
	if r := flush(t, f); r.Sent != 1 {
		t.Errorf("%+v", r)
	}
	if last := to.got[len(to.got)-1]; !slices.Equal(last.To, []string{"dave@example.com"}) {
		t.Errorf("sent %+v", last)
	}
	if got := statusOf(t, f.Spool, id); got != "gone" {
		t.Errorf("status %s", got)
	}
}

// A report that cannot be made leaves the recipient to the next attempt.
func TestSomeRecipientsUnreported(t *testing.T) {
	clock := newClock()
	f, to, id, _ := partly(t, Config{Now: clock.Now},
		&Failure{Err: errors.New("mixed"), Done: []string{"bob@example.net", "carol@example.com"}, Never: []Refused{refusal("dave@example.com")}},
		&Failure{Err: errors.New("no"), Permanent: true, Status: "5.1.1"})
	works := false
	var told []Failed
	f.Report = func(_ context.Context, what Failed) error {
		if !works {
			return errors.New("not now")
		}
		told = append(told, what)
		return nil
	}
	if r := flush(t, f); r.Deferred != 1 {
		t.Errorf("%+v", r)
	}
	works = true
	clock.add(2 * time.Minute)
	if r := flush(t, f); r.Failed != 1 || to.tries != 2 {
		t.Errorf("%+v", r)
	}
	if len(told) != 1 || !slices.Equal(told[0].To, []string{"dave@example.com"}) {
		t.Errorf("reported %+v", told)
	}
	if got := statusOf(t, f.Spool, id); got != "failed" {
		t.Errorf("status %s", got)
	}
}

// Who was not answered for is in doubt, and nobody else.
func TestSomeRecipientsInDoubt(t *testing.T) {
	clock := newClock()
	f, to, id, _ := partly(t, Config{Now: clock.Now}, &Failure{Err: errors.New("lost"), InDoubt: true, Done: []string{"bob@example.net"}}, nil)
	flush(t, f)
	if got := statusOf(t, f.Spool, id); got != "in-doubt" {
		t.Errorf("status %s", got)
	}
	clock.add(time.Hour)
	if r := flush(t, f); r.Sent != 1 {
		t.Errorf("%+v", r)
	}
	if last := to.got[len(to.got)-1]; !slices.Equal(last.To, []string{"carol@example.com", "dave@example.com"}) {
		t.Errorf("sent %+v", last)
	}
}

// choosy is a server that answers for each recipient: bob gets it, dave never will, and
// carol does at the second attempt.
type choosy struct {
	got   map[string]int
	tries int
}

func (c *choosy) Send(_ context.Context, m *Message) error {
	if _, err := m.Content.WriteTo(io.Discard); err != nil {
		return &Failure{Err: err}
	}
	c.tries++
	f := &Failure{Err: errors.New("not for all")}
	for _, to := range m.To {
		switch {
		case to == "dave@example.com":
			f.Never = append(f.Never, refusal(to))
		case to == "bob@example.net" || c.tries > 1:
			c.got[to]++
			f.Done = append(f.Done, to)
		}
	}
	switch {
	case len(f.Done) == len(m.To):
		return nil
	case len(f.Never) == len(m.To): // the same for all is an error as any other
		return &Failure{Err: f.Err, Status: "5.1.1", Permanent: true}
	}
	return f
}

// Wherever the disk or the machine fails, who was to get the message gets it, once unless
// it was in doubt, and who never will is reported and kept.
func TestSomeRecipientsWalk(t *testing.T) {
	for i, fault := range []error{syscall.EIO, faultdisk.ErrCrash, faultdisk.ErrCrash, faultdisk.ErrCrash} {
		t.Run(fmt.Sprintf("%v/%d", fault, i), func(t *testing.T) {
			n := 1
			for ; !t.Failed(); n++ {
				w := newWorld(t)
				s, err := w.open(OS{})
				must(t, err)
				r := letter()
				r.To = []string{"bob@example.net", "carol@example.com", "dave@example.com"}
				w.id = s.put(t, r)
				server := &choosy{got: make(map[string]int)}
				var told []string
				flush := func(s *Spool) error {
					f := &Flusher{Spool: s, Transport: server, Report: func(_ context.Context, f Failed) error {
						if f.Until.IsZero() { // it is not late only
							told = append(told, f.To...)
						}
						return nil
					}}
					r, err := f.Flush(context.Background())
					return errors.Join(err, r.Err)
				}
				broken := &faultFS{faultdisk.New(w.grave, n, fault), OS{}}
				if s, err = w.open(broken); err == nil {
					_ = flush(s)
				}
				if broken.Hit() == "" {
					break
				}
				if errors.Is(fault, faultdisk.ErrCrash) {
					must(t, broken.Lose(some))
				}
				doubt := 0
				for range 5 {
					s, err := w.open(OS{})
					must(t, err)
					items, err := s.List()
					must(t, err)
					for _, item := range items {
						doubt = max(doubt, min(item.State.Doubts, 1))
					}
					w.clock.add(maxWaitJit)
					must(t, flush(s))
				}
				for _, to := range []string{"bob@example.net", "carol@example.com"} {
					if got := server.got[to]; got < 1 || got > 1+doubt {
						t.Errorf("%s: %s got it %d times, in doubt: %d", broken.Hit(), to, got, doubt)
					}
				}
				if len(told) < 1 || len(told) > 2 || slices.ContainsFunc(told, func(to string) bool { return to != "dave@example.com" }) {
					t.Errorf("%s: reported %q", broken.Hit(), told)
				}
				if s, err = w.open(OS{}); err != nil || statusOf(t, s, w.id) != "failed" {
					t.Errorf("%s: status %s, %v", broken.Hit(), statusOf(t, s, w.id), err)
				}
			}
			if n < 10 {
				t.Errorf("only %d calls", n)
			}
		})
	}
}
