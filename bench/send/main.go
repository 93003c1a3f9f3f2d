// Command send measures rtls-send beside other programs that submit mail: whole
// processes, from a message in a file to the server's answer. All talk to one server
// on loopback, over TLS with a login; ours asks for REQUIRETLS on top. It is run by
// "make bench-send", as root. With CGO_ENABLED=0 in the environment ours is a static
// program, which starts faster and needs less memory.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"rtls/bench/report"
)

func main() {
	scenario := flag.String("scenario", "", "small, distance, large or queue: this only")
	rounds := flag.Int("rounds", 21, "runs of each program for a small message; a third of it where a run takes long")
	inside := flag.String("inside", "", "a directory: the queues, in a mount namespace of their own")
	flag.Parse()
	var err error
	if *inside != "" {
		err = queues(context.Background(), *inside, *rounds)
	} else {
		err = run(context.Background(), *scenario, *rounds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-send:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, scenario string, rounds int) error {
	dir, remove, err := report.Dir()
	if err != nil {
		return err
	}
	defer remove()
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, "rtls-send"), "rtls/cmd/rtls-send").CombinedOutput(); err != nil {
		return fmt.Errorf("build rtls-send: %w\n%s", err, out)
	}
	if scenario != "queue" {
		if err := single(ctx, dir, scenario, rounds); err != nil {
			return err
		}
	}
	if scenario != "" && scenario != "queue" {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "unshare", "--mount", self, "--inside", dir, "--rounds", fmt.Sprint(rounds))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// single measures programs that send one message and end.
func single(ctx context.Context, dir, scenario string, rounds int) error {
	s, err := newSite(dir)
	if err != nil {
		return err
	}
	defer s.close()
	table := report.NewTable()
	for _, sc := range []struct {
		name    string
		measure func() error
	}{
		{"small", func() error { return small(ctx, s, table, rounds) }},
		{"distance", func() error { return distance(ctx, s, table, max(rounds/3, 3)) }},
		{"large", func() error { return large(ctx, s, table, max(rounds/5, 3)) }},
	} {
		if scenario == "" || scenario == sc.name {
			if err := sc.measure(); err != nil {
				return fmt.Errorf("%s: %w", sc.name, err)
			}
		}
	}
	return table.Flush()
}

// goals are ratios to stay at, by peer; 0 is none.
type goals map[string]float64

const milli = 1000

// rows adds what was measured: ours beside each peer.
func rows(table *report.Table, scenario, unit string, results []result, of func(sample) float64, goal goals) {
	for _, peer := range results[1:] {
		table.Add(report.Row{
			Scenario: scenario, Ours: of(results[0].median), Peer: of(peer.median),
			PeerName: peer.name, Unit: unit, Goal: goal[peer.name],
		})
	}
}

func wall(s sample) float64 { return s.wall.Seconds() * milli }
func cpu(s sample) float64  { return s.cpu.Seconds() * milli }
func rss(s sample) float64  { return float64(s.rss) / 1024 }

// small is 2 KB on loopback.
func small(ctx context.Context, s *site, table *report.Table, rounds int) error {
	for _, mode := range []string{implicit, starttls} {
		results, err := s.measure(ctx, mode, s.server.port(mode), s.small, rounds, s.clients())
		if err != nil {
			return err
		}
		rows(table, "2 KB, "+mode, "ms", results, wall, goals{msmtp: 0.05, msmtpNoDelay: 0.70})
		if mode == implicit {
			rows(table, "2 KB, processor", "ms", results, cpu, nil)
			rows(table, "2 KB, memory", "MiB", results, rss, goals{msmtp: 1})
		}
	}
	return nil
}

// distance is the same over 50 ms from and back.
func distance(ctx context.Context, s *site, table *report.Table, rounds int) error {
	for _, mode := range []string{implicit, starttls} {
		port, stop, err := delayed(s.server.port(mode))
		if err != nil {
			return err
		}
		results, err := s.measure(ctx, mode, port, s.small, rounds, s.clients())
		stop()
		if err != nil {
			return err
		}
		goal := map[string]float64{implicit: 0.75, starttls: 0.80}[mode]
		rows(table, "2 KB, 50 ms away, "+mode, "ms", results, wall, goals{msmtp: goal, msmtpNoDelay: goal})
	}
	return nil
}

// large is 25 MiB on loopback.
func large(ctx context.Context, s *site, table *report.Table, rounds int) error {
	results, err := s.measure(ctx, implicit, s.server.port(implicit), s.large, rounds, s.clients())
	if err != nil {
		return err
	}
	rows(table, "25 MiB", "ms", results, wall, goals{msmtp: 0.20})
	rows(table, "25 MiB, processor", "ms", results, cpu, goals{msmtp: 0.10})
	rows(table, "25 MiB, memory", "MiB", results, rss, goals{msmtp: 1})
	return nil
}
