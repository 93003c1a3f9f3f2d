package report

import (
	"strings"
	"testing"
	"time"
)

func TestInterleave(t *testing.T) {
	var order []string
	n := 0
	step := func(name string, base time.Duration) func() (time.Duration, error) {
		return func() (time.Duration, error) {
			order = append(order, name)
			n++
			return base + time.Duration(n)*time.Millisecond, nil
		}
	}
	a, b, err := Interleave(3, step("a", 0), step("b", time.Second))
	if err != nil || strings.Join(order, "") != "ababab" {
		t.Fatalf("order %q, %v", order, err)
	}
	if a != 3*time.Millisecond || b != time.Second+4*time.Millisecond {
		t.Errorf("medians %v and %v", a, b)
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	table := &Table{w: &b}
	table.Add(Row{Scenario: "s", Ours: 3, Peer: 2, Goal: 1.2, Unit: "ms", PeerName: "p"})
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "1.50") || !strings.Contains(b.String(), "missed") {
		t.Errorf("a missed goal does not show:\n%s", b.String())
	}
	b.Reset()
	table = &Table{w: &b}
	table.Add(Row{Scenario: "above", Ours: 4, Peer: 2, Goal: 3, Most: 3, Unit: "ms", PeerName: "p"})
	table.Add(Row{Scenario: "below", Ours: 1, Peer: 2, Goal: 1, Most: 3, Unit: "ms", PeerName: "p"})
	table.Add(Row{Scenario: "no goal", Ours: 9, Peer: 2, Unit: "KiB", PeerName: "p"})
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"3.00, 3.00 ms missed", " 1.00, 3.00 ms ", "geometric mean of 2 ratios to p: 1.000\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q does not show:\n%s", want, b.String())
		}
	}
}
