// Command lda measures rtls-lda against the delivery agents of Debian: how long
// deliveries take, and, with --faults, what becomes of a message when the system
// fails. It is run by "make bench-lda" and "make lda-faults", as root.
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
	faults := flag.Bool("faults", false, "print the table of faults instead")
	only := flag.String("agent", "", "with --faults: this agent only")
	resident := flag.Int("resident", 5_000, "deliveries to watch the memory over")
	scenario := flag.String("scenario", "", "process, lmtp, calls or memory: this only")
	flag.Parse()
	if err := run(context.Background(), *faults, *only, *scenario, *resident); err != nil {
		fmt.Fprintln(os.Stderr, "bench-lda:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, faults bool, only, scenario string, resident int) error {
	dir, remove, err := report.Dir()
	if err != nil {
		return err
	}
	defer remove()
	if err := os.Chmod(dir, 0o755); err != nil { // Dovecot delivers as a user
		return err
	}
	bin := filepath.Join(dir, "rtls-lda")
	build := exec.CommandContext(ctx, "go", "build", "-o", bin, "rtls/cmd/rtls-lda")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build does
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build rtls-lda: %w\n%s", err, out)
	}
	if faults {
		return faultTable(ctx, dir, bin, only)
	}
	table := report.NewTable()
	for _, s := range []struct {
		name    string
		measure func() error
	}{
		{"process", func() error { return processes(ctx, dir, bin, table) }},
		{"lmtp", func() error { return overLMTP(ctx, dir, bin, table) }},
		{"calls", func() error { return systemCalls(ctx, dir, bin, table) }},
		{"memory", func() error { return memory(ctx, dir, bin, table, resident) }},
	} {
		if scenario != "" && scenario != s.name {
			continue
		}
		if err := s.measure(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return table.Flush()
}
