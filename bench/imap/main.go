// Command imap measures rtls-imapd beside Dovecot: a whole server each, with the same
// mail, over TLS on loopback. It is run by "make bench-imap", as root, and needs
// Debian's dovecot-imapd, which runs with its defaults; site.go has the few settings
// that are not.
//
// CPU=1 counts the servers' processor time in place of time, where a scenario can: so
// a machine that does something else, too, tells the truth. CRLF=1 has the mail
// stored in wire form.
//
// It is no test: a goal that is missed is named in the table, and the exit status is 0.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"time"

	"rtls/bench/report"
)

func main() {
	n := flag.Int("messages", 10_000, "messages of the mailbox, 10 KB each in the mean; at least 2000")
	only := flag.String("scenarios", "", "a regular expression: scenarios of such a name, and no others")
	list := flag.Bool("list", false, "name the scenarios")
	seconds := flag.Int("seconds", 8, "how long many clients work at once, on each server")
	flag.Parse()
	if *list {
		for _, sc := range scenarios {
			fmt.Println(sc.name)
		}
		return
	}
	if err := run(context.Background(), *n, *only, time.Duration(*seconds)*time.Second); err != nil {
		fmt.Fprintln(os.Stderr, "bench-imap:", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	ctx        context.Context
	ours, peer *site
	n          int // messages
	many       time.Duration
	table      *report.Table
	dir        string
}

type scenario struct {
	name string
	run  func(*bench) error
}

// scenarios, in an order in which one leaves the mailbox to the next as it was.
var scenarios = []scenario{
	{"login", (*bench).logins},
	{"select", (*bench).selects},
	{"listing", (*bench).listings},
	{"flags", (*bench).fetchFlags},
	{"bodies", (*bench).bodies},
	{"search", (*bench).searches},
	{"store", (*bench).stores},
	{"append", (*bench).appends},
	{"copy", (*bench).copies},
	{"idle", (*bench).idleMemory},
	{"exists", (*bench).deliveries},
	{"mixed", (*bench).mixed},
	{"texts", (*bench).texts},
}

func run(ctx context.Context, n int, only string, many time.Duration) error {
	if n < 2000 {
		return fmt.Errorf("-messages %d: the scenarios need 2000", n)
	}
	pattern, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-scenarios: %w", err)
	}
	chosen := slices.DeleteFunc(slices.Clone(scenarios), func(sc scenario) bool { return !pattern.MatchString(sc.name) })
	if len(chosen) == 0 {
		return fmt.Errorf("-scenarios %q: there is none of that name; see -list", only)
	}
	dir, remove, err := report.Dir()
	if err != nil {
		return err
	}
	defer remove()
	b := &bench{ctx: ctx, n: n, many: many, table: report.NewTable(), dir: dir}
	if b.ours, b.peer, err = startBoth(ctx, dir, n); err != nil {
		return err
	}
	defer b.ours.stop()
	defer b.peer.stop()
	for _, sc := range chosen {
		start := time.Now()
		if err := sc.run(b); err != nil {
			return fmt.Errorf("%s: %w", sc.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %.0f s\n", sc.name, time.Since(start).Seconds())
	}
	return b.table.Flush()
}

// rounds is how often something is measured that can be measured so often: less
// where there is so much mail that chance plays a smaller part.
func (b *bench) rounds(most int) int {
	if b.n > 20_000 {
		return max(1, most/3)
	}
	return most
}

// tenfold is the goal where Dovecot's work grows with the mailbox and ours has not to:
// ten times as fast in one of 100,000 messages.
func (b *bench) tenfold() float64 {
	if b.n >= 100_000 {
		return 0.1
	}
	return 1
}

// measure adds a row: the median of what f takes with each server.
func (b *bench) measure(rounds int, row report.Row, f func(s *site) (time.Duration, error)) error {
	ours, peer, err := report.Interleave(rounds,
		func() (time.Duration, error) { return f(b.ours) },
		func() (time.Duration, error) { return f(b.peer) })
	if err != nil {
		return fmt.Errorf("%s: %w", row.Scenario, err)
	}
	b.add(row, ms(ours), ms(peer), "ms")
	return nil
}

func (b *bench) add(row report.Row, ours, peer float64, unit string) {
	row.Ours, row.Peer, row.PeerName, row.Unit = ours, peer, "Dovecot", unit
	b.table.Add(row)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
