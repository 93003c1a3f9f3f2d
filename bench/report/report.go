// Package report measures two programs side by side and prints how they compare.
package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Row is one scenario. Both figures are costs in Unit, so that a ratio below 1
// always means that ours is better.
type Row struct {
	Scenario string  `json:"scenario"`
	Ours     float64 `json:"ours"`
	Peer     float64 `json:"peer"`
	PeerName string  `json:"peer_name"`
	Ratio    float64 `json:"ratio"`
	Unit     string  `json:"unit"`
	Goal     float64 `json:"goal,omitempty"` // the ratio to stay at or below; 0: none
	Most     float64 `json:"most,omitempty"` // what ours has to stay at or below; 0: none
}

// Table prints rows as they come: aligned for a person, or one JSON object a line
// with JSON=1 in the environment.
type Table struct {
	w    io.Writer
	json bool
	rows []Row
}

// NewTable starts a table on standard output.
func NewTable() *Table {
	return &Table{w: os.Stdout, json: os.Getenv("JSON") != ""}
}

// Add computes the ratio and takes the row in.
func (t *Table) Add(r Row) {
	if r.Peer > 0 {
		r.Ratio = r.Ours / r.Peer
	}
	t.rows = append(t.rows, r)
	if t.json {
		_ = json.NewEncoder(t.w).Encode(r) // standard output
		return
	}
	fmt.Fprintf(os.Stderr, "measured: %s: %s %s, ratio %.2f to %s\n", r.Scenario, figure(r.Ours), r.Unit, r.Ratio, r.PeerName)
}

// Flush prints the table.
func (t *Table) Flush() error {
	if t.json {
		return nil
	}
	w := tabwriter.NewWriter(t.w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "scenario\tours\tpeer\tratio\tgoal\tunit\tpeer is\t")
	for _, r := range t.rows {
		peer, ratio := "-", "-"
		if r.Peer > 0 {
			peer, ratio = figure(r.Peer), fmt.Sprintf("%.2f", r.Ratio)
		}
		goal := r.goal()
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", r.Scenario, figure(r.Ours), peer, ratio, goal, r.Unit, r.PeerName)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return t.means()
}

// goal says what is aimed at, and whether it is missed.
func (r *Row) goal() string {
	var goals []string
	if r.Goal > 0 {
		goals = append(goals, fmt.Sprintf("%.2f", r.Goal))
	}
	if r.Most > 0 {
		goals = append(goals, figure(r.Most)+" "+r.Unit)
	}
	text := cmp.Or(strings.Join(goals, ", "), "-")
	if r.Goal > 0 && r.Peer > 0 && r.Ratio > r.Goal || r.Most > 0 && r.Ours > r.Most {
		text += " missed"
	}
	return text
}

// means prints for each peer the geometric mean of the ratios that have a goal.
func (t *Table) means() error {
	type sum struct {
		logs float64
		n    int
	}
	sums := make(map[string]sum)
	var peers []string
	for _, r := range t.rows {
		if r.Goal == 0 || r.Ratio == 0 {
			continue
		}
		s := sums[r.PeerName]
		if s.n == 0 {
			peers = append(peers, r.PeerName)
		}
		sums[r.PeerName] = sum{s.logs + math.Log(r.Ratio), s.n + 1}
	}
	for _, peer := range peers {
		s := sums[peer]
		if _, err := fmt.Fprintf(t.w, "geometric mean of %d ratios to %s: %.3f\n", s.n, peer, math.Exp(s.logs/float64(s.n))); err != nil {
			return err
		}
	}
	return nil
}

func figure(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 1:
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.4f", x)
}

// Interleave runs ours and theirs in turn, A B A B, rounds times each, and
// returns the median of each: what else the machine does hits both alike.
func Interleave(rounds int, ours, theirs func() (time.Duration, error)) (a, b time.Duration, err error) {
	var as, bs []time.Duration
	for range rounds {
		d, err := ours()
		if err != nil {
			return 0, 0, fmt.Errorf("ours: %w", err)
		}
		as = append(as, d)
		if d, err = theirs(); err != nil {
			return 0, 0, fmt.Errorf("theirs: %w", err)
		}
		bs = append(bs, d)
	}
	return median(as), median(bs), nil
}

// Median runs f rounds times and returns the median.
func Median(rounds int, f func() (time.Duration, error)) (time.Duration, error) {
	a, _, err := Interleave(rounds, f, func() (time.Duration, error) { return 0, nil })
	return a, err
}

func median(ds []time.Duration) time.Duration {
	slices.Sort(ds)
	return ds[len(ds)/2]
}

// Dir makes a fresh directory to measure in, below BENCH_DIR if that is set:
// the file system matters more than the program.
func Dir() (path string, remove func(), err error) {
	path, err = os.MkdirTemp(os.Getenv("BENCH_DIR"), "rtls-bench-")
	if err != nil {
		return "", nil, err
	}
	return path, func() { os.RemoveAll(path) }, nil
}
