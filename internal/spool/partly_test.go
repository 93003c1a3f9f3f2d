package spool

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
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
