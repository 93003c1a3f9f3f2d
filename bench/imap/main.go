// Command imap measures how long rtls-imapd and Dovecot take to answer what mail
// programs ask to list a mailbox: the first time, when nothing but the Maildir is
// there, and again in a new session. It is run by "make bench-imap", as root, and
// needs Debian's dovecot-imapd.
//
// Both serve the same files over TLS on loopback. MESSAGES sets how many (10000),
// CRLF=1 has them stored in wire form. CPU=1 counts processor time in place of time:
// so a machine that does something else, too, tells the truth.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"rtls/bench/report"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench-imap:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "serve" { // ours, in a process of its own
		return serve(ctx, args[1:])
	}
	n := 10_000
	if s := os.Getenv("MESSAGES"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			return fmt.Errorf("MESSAGES: %w", err)
		}
	}
	dir, remove, err := report.Dir()
	if err != nil {
		return err
	}
	defer remove()
	if err := os.Chmod(dir, 0o711); err != nil { // Dovecot's processes have other users
		return err
	}
	ours, err := startOurs(ctx, dir)
	if err != nil {
		return err
	}
	defer ours.stop()
	peer, err := startDovecot(ctx, dir)
	if err != nil {
		return err
	}
	defer peer.stop()
	if err := fill(n, os.Getenv("CRLF") != "", ours.maildir, peer.maildir); err != nil {
		return err
	}
	if err := peer.own(); err != nil {
		return err
	}
	table := report.NewTable()
	for _, q := range questions {
		if err := ask(table, q, n, ours, peer); err != nil {
			return err
		}
	}
	return table.Flush()
}

type question struct{ name, command string }

var questions = []question{
	{"ENVELOPE", "FETCH 1:* (UID FLAGS ENVELOPE)"},
	{"BODYSTRUCTURE", "FETCH 1:* (UID FLAGS BODYSTRUCTURE)"},
	{"Thunderbird's fields", "UID FETCH 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])"},
	{"mutt's fields", "FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (DATE FROM SENDER SUBJECT TO CC MESSAGE-ID REFERENCES CONTENT-TYPE CONTENT-DESCRIPTION IN-REPLY-TO REPLY-TO LINES LIST-POST LIST-SUBSCRIBE LIST-UNSUBSCRIBE X-LABEL X-ORIGINAL-TO)])"},
	{"SEARCH FROM", "UID SEARCH FROM nobody.has.this"},
	{"SEARCH SUBJECT", "UID SEARCH SUBJECT nobody-has-this"},
}

// ask measures one question, first and again.
func ask(table *report.Table, q question, n int, ours, peer *site) error {
	const firsts, agains = 3, 9
	first := func(s *site) func() (time.Duration, error) {
		return func() (time.Duration, error) {
			if err := s.forget(); err != nil {
				return 0, err
			}
			return s.ask(q.command)
		}
	}
	again := func(s *site) func() (time.Duration, error) {
		return func() (time.Duration, error) { return s.ask(q.command) }
	}
	a, b, err := report.Interleave(firsts, first(ours), first(peer))
	if err != nil {
		return fmt.Errorf("%s: %w", q.name, err)
	}
	table.Add(report.Row{Scenario: fmt.Sprintf("%s of %d, first", q.name, n), Ours: ms(a), Peer: ms(b), PeerName: "Dovecot", Unit: "ms", Goal: 1})
	if a, b, err = report.Interleave(agains, again(ours), again(peer)); err != nil {
		return fmt.Errorf("%s: %w", q.name, err)
	}
	table.Add(report.Row{Scenario: fmt.Sprintf("%s of %d, again", q.name, n), Ours: ms(a), Peer: ms(b), PeerName: "Dovecot", Unit: "ms", Goal: 0.5})
	table.Add(report.Row{Scenario: fmt.Sprintf("index after %s", q.name), Ours: ours.kib(), Peer: peer.kib(), PeerName: "Dovecot", Unit: "KiB"})
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
