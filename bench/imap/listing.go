package main

import (
	"errors"
	"fmt"
	"time"

	"rtls/bench/report"
)

type question struct{ name, command string }

// questions are what mail programs ask to list a mailbox.
var questions = []question{
	{"ENVELOPE", "FETCH 1:* (UID FLAGS ENVELOPE)"},
	{"BODYSTRUCTURE", "FETCH 1:* (UID FLAGS BODYSTRUCTURE)"},
	{"Thunderbird's fields", "UID FETCH 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])"},
	{"mutt's fields", "FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (DATE FROM SENDER SUBJECT TO CC MESSAGE-ID REFERENCES CONTENT-TYPE CONTENT-DESCRIPTION IN-REPLY-TO REPLY-TO LINES LIST-POST LIST-SUBSCRIBE LIST-UNSUBSCRIBE X-LABEL X-ORIGINAL-TO)])"},
	{"SEARCH FROM", "UID SEARCH FROM nobody.has.this"},
	{"SEARCH SUBJECT", "UID SEARCH SUBJECT nobody-has-this"},
}

// ask runs a command in a session of its own.
func (s *site) ask(command string) (time.Duration, error) {
	c, err := s.open("alice", "INBOX")
	if err != nil {
		return 0, err
	}
	took, err := s.timed(func() error { return c.do(command) })
	return took, errors.Join(err, c.leave())
}

// listings asks each question when nothing but the Maildir is there, and again in new
// sessions.
func (b *bench) listings() error {
	for _, q := range questions {
		first := func(s *site) (time.Duration, error) {
			if err := s.forget(b.ctx); err != nil {
				return 0, err
			}
			return s.ask(q.command)
		}
		if err := b.measure(b.rounds(3), report.Row{Scenario: q.name + ", first", Goal: 1}, first); err != nil {
			return err
		}
		again := func(s *site) (time.Duration, error) { return s.ask(q.command) }
		if err := b.measure(b.rounds(9), report.Row{Scenario: q.name + ", again", Goal: 0.5}, again); err != nil {
			return err
		}
		b.add(report.Row{Scenario: fmt.Sprintf("index after %s", q.name)}, b.ours.kib(), b.peer.kib(), "KiB")
	}
	return nil
}

// searches are those that no listing is made of.
func (b *bench) searches() error {
	for _, q := range []struct {
		question
		rounds int
	}{
		{question{"SEARCH UNSEEN", "UID SEARCH UNSEEN"}, 15},
		{question{"SEARCH BODY", "UID SEARCH BODY nobody-has-this"}, 3},
	} {
		again := func(s *site) (time.Duration, error) { return s.ask(q.command) }
		if err := b.measure(b.rounds(q.rounds), report.Row{Scenario: q.name, Goal: 1}, again); err != nil {
			return err
		}
	}
	return nil
}
