package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rtls/internal/testpki"
)

// site is a server and the files that its clients need.
type site struct {
	dir          string
	ca           string
	server       *server
	small, large string // messages, with LF for line ends
	timer        string // program that runs another
	nodelay      string // library that turns Nagle's algorithm off
}

func newSite(dir string) (*site, error) {
	ca, err := testpki.New()
	if err != nil {
		return nil, err
	}
	cert, key, err := ca.WriteFiles(dir, "server", testpki.Leaf{Names: []string{"localhost", "127.0.0.1"}})
	if err != nil {
		return nil, err
	}
	s := &site{dir: dir, ca: filepath.Join(dir, "ca.pem"), small: filepath.Join(dir, "small"), large: filepath.Join(dir, "large")}
	const header = "From: sender@example.org\nTo: b@example.net\nSubject: report\nDate: Wed, 25 Nov 2026 01:02:03 +0000\nMessage-ID: <1@example.org>\n\n"
	line := strings.Repeat("0123456789", 7) + "\n"
	for path, text := range map[string][]byte{
		s.ca:                           ca.PEM(),
		filepath.Join(dir, "password"): []byte("secret\n"),
		s.small:                        []byte(header + strings.Repeat(line, 27)),
		s.large:                        []byte(header + strings.Repeat(line, 25<<20/len(line))),
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return nil, err
		}
	}
	if s.timer, err = compile(dir, "timer", timerSource, "-static"); err != nil {
		return nil, err
	}
	if s.nodelay, err = compile(dir, "nodelay.so", noDelaySource, "-shared", "-fPIC"); err != nil {
		return nil, err
	}
	s.server, err = newServer(cert, key)
	return s, err
}

func (s *site) close() { s.server.close() }

// sample is what one run cost.
type sample struct {
	wall, cpu time.Duration
	rss       int64 // KiB
}

type result struct {
	name   string
	median sample // of each figure for itself
}

// measure runs the clients in turn, rounds times each after one for warming up, and
// makes sure that each run brought the message to the server.
func (s *site) measure(ctx context.Context, mode, port, message string, rounds int, clients []client) ([]result, error) {
	info, err := os.Stat(message)
	if err != nil {
		return nil, err
	}
	samples := make([][]sample, len(clients))
	for round := range rounds + 1 {
		for i, c := range clients {
			argv, env, err := c.command(s, mode, port, message)
			if err != nil {
				return nil, err
			}
			messages, octets, tagged := s.server.messages.Load(), s.server.octets.Load(), s.server.tagged.Load()
			one, err := s.runOne(ctx, argv, env, message)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			if n := s.server.messages.Load() - messages; n != 1 || s.server.octets.Load()-octets < info.Size() {
				return nil, fmt.Errorf("%s: %d messages and %d octets arrived", c.name, n, s.server.octets.Load()-octets)
			}
			if i == 0 && s.server.tagged.Load() == tagged {
				return nil, fmt.Errorf("%s: no REQUIRETLS", c.name)
			}
			if round > 0 {
				samples[i] = append(samples[i], one)
			}
		}
	}
	var results []result
	for i, c := range clients {
		results = append(results, result{c.name, medians(samples[i])})
	}
	return results, nil
}

func medians(all []sample) sample {
	var m sample
	pick := func(of func(sample) int64) int64 {
		values := make([]int64, 0, len(all))
		for _, s := range all {
			values = append(values, of(s))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	m.wall = time.Duration(pick(func(s sample) int64 { return int64(s.wall) }))
	m.cpu = time.Duration(pick(func(s sample) int64 { return int64(s.cpu) }))
	m.rss = pick(func(s sample) int64 { return s.rss })
	return m
}

// runOne runs a program to its end with a file for standard input.
func (s *site) runOne(ctx context.Context, argv, env []string, stdin string) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	in, err := os.Open(stdin)
	if err != nil {
		return sample{}, err
	}
	defer in.Close()
	var out, figures bytes.Buffer
	cmd := exec.CommandContext(ctx, s.timer, argv...)
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + s.dir, "LC_ALL=C.UTF-8"}, env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &figures, &out
	if err := cmd.Run(); err != nil {
		return sample{}, fmt.Errorf("%q: %w\n%s", argv, err, out.Bytes())
	}
	var wall, cpu, rss int64
	if _, err := fmt.Sscan(figures.String(), &wall, &cpu, &rss); err != nil {
		return sample{}, fmt.Errorf("%q: %w: %q", argv, err, figures.String())
	}
	return sample{time.Duration(wall) * time.Microsecond, time.Duration(cpu) * time.Microsecond, rss}, nil
}
