package spool

import (
	"context"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

var (
	temporary  = &Failure{Err: errors.New("not now"), Status: "4.3.0"}
	permanent  = &Failure{Err: errors.New("nobody there"), Status: "5.1.1", Permanent: true}
	unanswered = &Failure{Err: errors.New("lost"), Status: "4.4.2", InDoubt: true}
	unusable   = &Failure{Err: errors.New("no such server"), Route: true}
)

// Back-off grows from a minute to four hours, and ends after five days.
func TestBackOff(t *testing.T) {
	c := newClock()
	s := newSpool(t, Config{Now: c.Now, Share: func() float64 { return 0.5 }})
	l := letter()
	l.Notify = nil // of delays, see TestDelay
	id := s.put(t, l)
	to := &server{outcomes: []*Failure{temporary}}
	var reported []Failed
	f := &Flusher{Spool: s, Transport: to, Report: func(_ context.Context, f Failed) error {
		var header strings.Builder
		if _, err := f.Content.WriteTo(&header); err != nil || header.String() != text {
			t.Errorf("content of a report: %q, %v", header.String(), err)
		}
		reported = append(reported, f)
		return nil
	}}
	var waits []time.Duration
	begin := c.Now()
	for statusOf(t, s, id) != "failed" {
		before := to.tries
		flush(t, f)
		if to.tries != before+1 {
			t.Fatalf("after %s: not tried", c.Now().Sub(begin))
		}
		item, err := s.Show(id, nil)
		must(t, err)
		if item.Status() == "failed" {
			break
		}
		wait := item.State.Next.Sub(c.Now())
		waits = append(waits, wait)
		c.add(wait - time.Nanosecond)
		if r := flush(t, f); r.Waiting != 1 || to.tries != before+1 {
			t.Fatalf("tried too early: %+v", r)
		}
		c.add(time.Nanosecond)
	}
	want := []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, 64 * time.Minute, 128 * time.Minute, 4 * time.Hour}
	if len(waits) < len(want) || !reflect.DeepEqual(waits[:len(want)], want) {
		t.Errorf("waited %v", waits)
	}
	if lived := c.Now().Sub(begin); lived < lifetime || lived > lifetime+maxWait {
		t.Errorf("given up after %s", lived)
	}
	if len(reported) != 1 || reported[0].Status != "4.3.0" || !strings.Contains(reported[0].Reason, "five days: not now") || reported[0].InDoubt {
		t.Errorf("%+v", reported)
	}
	flush(t, f)
	if len(reported) != 1 || len(to.got) != 0 {
		t.Error("reported twice, or sent")
	}
	// Five new days, and the first attempt at once.
	must(t, s.Retry(id, false))
	to.outcomes = nil
	flush(t, f)
	if len(to.got) != 1 {
		t.Error("not sent after retry")
	}
}

// Who asked for it is told once that a message is late, and still gets the end.
func TestDelay(t *testing.T) {
	for _, tc := range []struct {
		name    string
		notify  []string
		from    string
		outcome *Failure
		refused int // how often the report is
		want    int // reports of a delay
	}{
		{"asked for", []string{"FAILURE", "DELAY"}, "me@example.org", temporary, 0, 1},
		{"refused at first", []string{"DELAY"}, "me@example.org", temporary, 2, 3},
		{"not asked for", nil, "me@example.org", temporary, 0, 0},
		{"about a report", []string{"DELAY"}, "", temporary, 0, 0},
		{"the way is closed", []string{"DELAY"}, "me@example.org", unusable, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClock()
			s := newSpool(t, Config{Now: c.Now, Share: func() float64 { return 0.5 }})
			r := letter()
			r.Notify, r.From = tc.notify, tc.from
			id := s.put(t, r)
			begin := c.Now()
			var delays, ends int
			f := &Flusher{Spool: s, Transport: &server{outcomes: []*Failure{tc.outcome}}, Report: func(_ context.Context, f Failed) error {
				if f.Until.IsZero() {
					ends++
					return nil
				}
				if delays++; delays <= tc.refused {
					return errors.New("not now")
				}
				if f.Until != begin.Add(lifetime) || c.Now().Sub(begin) < late || !strings.Contains(f.Reason, "not now") {
					t.Errorf("after %s: until %s, %q", c.Now().Sub(begin), f.Until, f.Reason)
				}
				return nil
			}}
			for statusOf(t, s, id) != "failed" {
				flush(t, f)
				c.add(time.Hour)
			}
			if delays != tc.want || ends != min(len(tc.from), 1) {
				t.Errorf("%d reports of a delay, %d of the end; want %d", delays, ends, tc.want)
			}
		})
	}
}

// Jitter is a quarter at most, either way; a clock that was wrong stops nothing.
func TestJitterAndClock(t *testing.T) {
	c := newClock()
	for share, want := range map[float64]time.Duration{0: 45 * time.Second, 0.9999: 75 * time.Second} {
		s := newSpool(t, Config{Now: c.Now, Share: func() float64 { return share }})
		id := s.put(t, letter())
		flush(t, &Flusher{Spool: s, Transport: &server{outcomes: []*Failure{temporary}}})
		item, err := s.Show(id, nil)
		must(t, err)
		if wait := item.State.Next.Sub(c.Now()).Round(time.Second); wait != want {
			t.Errorf("share %v: %s", share, wait)
		}
		c.add(-100 * time.Hour) // it was fast, and is right now
		to := &server{}
		flush(t, &Flusher{Spool: s, Transport: to})
		if len(to.got) != 1 {
			t.Error("a clock that was wrong stops the queue")
		}
	}
}

// What fails for good is kept, and reported until that succeeds. Nobody is told of
// a message without a sender.
func TestPermanent(t *testing.T) {
	c := newClock()
	s := newSpool(t, Config{Now: c.Now})
	id := s.put(t, letter())
	null := letter()
	null.From = ""
	nullID := s.put(t, null)
	reports := 0
	f := &Flusher{Spool: s, Transport: &server{outcomes: []*Failure{permanent}}, Report: func(context.Context, Failed) error {
		if reports++; reports == 1 {
			return errors.New("no space")
		}
		return nil
	}}
	if r := flush(t, f); r.Failed != 1 || r.Deferred != 1 || reports != 1 {
		t.Errorf("%+v, %d reports", r, reports)
	}
	f.Transport = &server{} // which would take it: but it is given up
	if r := flush(t, f); r.Waiting != 1 || r.Sent != 0 || reports != 1 {
		t.Errorf("%+v, %d reports", r, reports)
	}
	c.add(reportWait)
	if r := flush(t, f); r.Failed != 1 || r.Sent != 0 || reports != 2 {
		t.Errorf("%+v, %d reports", r, reports)
	}
	for _, id := range []string{id, nullID} {
		if got := statusOf(t, s, id); got != "failed" {
			t.Errorf("status %s", got)
		}
		if _, err := os.Stat(s.path("failed", id)); err != nil {
			t.Error(err)
		}
	}
}

// A message in doubt is sent again, not at once and four times at most; with Hold
// it is not.
func TestInDoubt(t *testing.T) {
	c := newClock()
	s := newSpool(t, Config{Now: c.Now})
	id := s.put(t, letter())
	to := &server{outcomes: []*Failure{unanswered}}
	f := &Flusher{Spool: s, Transport: to}
	for range 20 {
		before := to.tries
		flush(t, f)
		if to.tries > before {
			c.add(doubtWait - time.Second)
			if flush(t, f); to.tries > before+1 {
				t.Fatal("sent again too early")
			}
		}
		if err := s.Retry(id, false); !errors.Is(err, ErrInDoubt) {
			t.Fatalf("retry: %v", err)
		}
		c.add(maxWaitJit)
	}
	if item, err := s.Show(id, nil); err != nil || len(to.got) != maxDoubts || item.Status() != "failed" || !strings.Contains(item.State.Reason, "may have arrived") {
		t.Errorf("%d copies, %+v, %v", len(to.got), item, err)
	}

	id = s.put(t, letter())
	to.got = nil
	f.Hold = true
	flush(t, f)
	c.add(maxWaitJit)
	flush(t, f)
	if got := statusOf(t, s, id); len(to.got) != 1 || got != "held" {
		t.Errorf("%d copies, %s", len(to.got), got)
	}
	if err := s.Release(id); !errors.Is(err, ErrInDoubt) {
		t.Errorf("release: %v", err)
	}
	must(t, s.Retry(id, true))
	to.outcomes = nil
	flush(t, f)
	if len(to.got) != 2 || statusOf(t, s, id) != "gone" {
		t.Errorf("%d copies after retry with force", len(to.got))
	}
}

// An earlier sending without an answer is not forgotten when a later attempt is
// refused, or does not even get so far.
// To be chosen does not make one in doubt due: who flushes for a domain every minute does
// not know that it may have arrived.
func TestInDoubtChosen(t *testing.T) {
	c := newClock()
	s := newSpool(t, Config{Now: c.Now})
	s.put(t, letter())
	to := &server{outcomes: []*Failure{unanswered, temporary, nil}}
	f := &Flusher{Spool: s, Transport: to, Select: func(*Record) bool { return true }}
	flush(t, f)
	c.add(20 * time.Minute)
	if r := flush(t, f); to.tries != 1 || r.Waiting != 1 {
		t.Errorf("sent %d times, %+v", to.tries, r)
	}
	c.add(maxWaitJit)
	flush(t, f)
	if to.tries != 2 {
		t.Errorf("sent %d times", to.tries)
	}
}

func TestDoubtStays(t *testing.T) {
	c := newClock()
	s := newSpool(t, Config{Now: c.Now})
	id := s.put(t, letter())
	to := &server{outcomes: []*Failure{unanswered, temporary}}
	f := &Flusher{Spool: s, Transport: to}
	flush(t, f)
	c.add(maxWaitJit)
	flush(t, f)
	if item, err := s.Show(id, nil); err != nil || to.tries != 2 || item.State.Doubts != 1 || item.Status() != "in-doubt" {
		t.Errorf("%+v, %v", item, err)
	}
	if s.Due() {
		t.Error("due at once")
	}
	// A message that was in doubt when it was added, too.
	id, err := s.Add(letter(), strings.NewReader(text), unanswered)
	must(t, err)
	if got := statusOf(t, s, id); got != "in-doubt" {
		t.Errorf("status %s", got)
	}
	if flush(t, f); to.tries != 2 {
		t.Error("sent again at once")
	}
}

// A server that is not there is asked once in a pass, not once for each message;
// other ways are not concerned.
func TestRouteDown(t *testing.T) {
	s := newSpool(t, Config{})
	s.put(t, letter())
	s.put(t, letter())
	other := letter()
	other.Route.Account = "other"
	s.put(t, other)
	to := &server{outcomes: []*Failure{unusable, nil}}
	if r := flush(t, &Flusher{Spool: s, Transport: to}); r.Deferred != 1 || r.Waiting != 1 || r.Sent != 1 {
		t.Errorf("%+v", r)
	}
}
