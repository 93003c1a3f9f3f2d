package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"rtls/bench/report"
)

// schedulers are the calls by which the Go runtime spreads work over threads. There
// are more of them the slower a traced process is, so they are not counted.
var schedulers = []string{"futex", "nanosleep", "sched_yield", "tgkill", "getpid", "rt_sigreturn"}

// systemCalls counts the system calls of a delivery over LMTP.
func systemCalls(ctx context.Context, parent, bin string, table *report.Table) error {
	return both(parent, bin, func(ours, theirs *server) error {
		const n = 320
		message := messageOf(4<<10, "\r\n")
		count := func(s *server) (calls, syncs float64, err error) {
			c, err := dial(s.socket)
			if err != nil {
				return 0, 0, err
			}
			defer c.Close()
			for u := range users {
				if err := c.deliver(userName(0, u), message); err != nil {
					return 0, 0, err
				}
			}
			pid, err := s.worker()
			if err != nil {
				return 0, 0, err
			}
			counts, err := traced(ctx, parent, pid, func() error {
				for k := range n {
					if err := c.deliver(userName(0, k%users), message); err != nil {
						return err
					}
				}
				return nil
			})
			for name, k := range counts {
				if !slices.Contains(schedulers, name) {
					calls += float64(k) / n
				}
				if name == "fsync" || name == "fdatasync" {
					syncs += float64(k) / n
				}
			}
			return calls, syncs, err
		}
		a, aSync, err := count(ours)
		if err != nil {
			return err
		}
		b, bSync, err := count(theirs)
		if err != nil {
			return err
		}
		table.Add(report.Row{Scenario: "LMTP, 4 KiB, system calls", Ours: a, Peer: b, PeerName: "Dovecot LMTP", Unit: "calls a message", Goal: 25 / b})
		table.Add(report.Row{Scenario: "LMTP, 4 KiB, fsync and fdatasync", Ours: aSync, Peer: bSync, PeerName: "Dovecot LMTP", Unit: "calls a message", Goal: 2 / bSync})
		return nil
	})
}

// worker is the process that serves the connections: the server itself, or its child
// of that name.
func (s *server) worker() (int, error) {
	found, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, path := range found {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		var pid, parent int
		var state string
		name := raw[bytes.IndexByte(raw, '(')+1 : bytes.LastIndexByte(raw, ')')]
		if _, err := fmt.Sscan(string(raw[bytes.LastIndexByte(raw, ')')+1:]), &state, &parent); err != nil {
			return 0, err
		}
		if _, err := fmt.Sscan(string(raw), &pid); err != nil {
			return 0, err
		}
		if string(name) == "lmtp" && parent == s.cmd.Process.Pid {
			return pid, nil
		}
	}
	return s.cmd.Process.Pid, nil
}

// traced counts the system calls that a process makes during f.
func traced(ctx context.Context, dir string, pid int, f func() error) (map[string]int, error) {
	out := filepath.Join(dir, fmt.Sprint("calls-", pid))
	cmd := exec.CommandContext(ctx, "strace", "-f", "-c", "-o", out, "-p", fmt.Sprint(pid))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line := make([]byte, 512)
	_, err = stderr.Read(line) // "Process N attached"
	if err == nil {
		err = f()
	}
	if err := errors.Join(err, cmd.Process.Signal(syscall.SIGINT)); err != nil {
		return nil, err
	}
	_ = cmd.Wait() // by the signal
	raw, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	// % time, seconds, usecs/call, calls, perhaps errors, name
	counts := make(map[string]int)
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) < 5 || fields[len(fields)-1] == "total" {
			continue
		}
		if n, err := strconv.Atoi(fields[3]); err == nil {
			counts[fields[len(fields)-1]] = n
		}
	}
	return counts, nil
}

// memory looks how much memory a server has taken after many deliveries, beyond what
// it had after a few.
func memory(_ context.Context, parent, bin string, table *report.Table, n int) error {
	parent = filepath.Join(parent, "memory")
	if err := os.Mkdir(parent, 0o755); err != nil {
		return err
	}
	s, err := startOurs(parent, bin)
	if err != nil {
		return err
	}
	message := messageOf(4<<10, "\r\n")
	grown := func() (before, after float64, err error) {
		if _, err := s.load(1, 16, 2000, message); err != nil {
			return 0, 0, err
		}
		if before, err = s.resident(); err != nil {
			return 0, 0, err
		}
		start := time.Now()
		if _, err := s.load(2, 16, n, message); err != nil {
			return 0, 0, err
		}
		fmt.Fprintf(os.Stderr, "%d deliveries in %v\n", n, time.Since(start).Round(time.Millisecond))
		after, err = s.resident()
		return before, after, err
	}
	before, after, err := grown()
	if err := errors.Join(err, s.stop()); err != nil {
		return err
	}
	table.Add(report.Row{Scenario: fmt.Sprintf("LMTP, resident memory after %d messages", n), Ours: after, Peer: before, PeerName: "ours after 2000", Unit: "MiB", Goal: 1.25})
	return nil
}

// resident is the server's resident memory in MiB.
func (s *server) resident() (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(raw), "\nVmRSS:")
	var kib float64
	_, err = fmt.Sscan(rest, &kib)
	return kib / 1024, err
}
