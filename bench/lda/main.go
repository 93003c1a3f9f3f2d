// Command lda measures rtls-lda against the delivery agents of Debian: how long
// deliveries take, and, with --faults, what becomes of a message when the system
// fails. It is run by "make bench-lda" and "make lda-faults", as root.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"rtls/bench/report"
	"rtls/internal/commands"
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
	if err := install(ctx, dir); err != nil {
		return err
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

// install builds rtls-lda and copies it, as "make install" does. The system has what the
// linker wrote in memory page by page, and what was copied, or read from a disk as the
// peers were, in larger pieces: a program starts a fifth faster from those.
func install(ctx context.Context, dir string) error {
	if err := os.Setenv("CGO_ENABLED", "0"); err != nil { // as make build does
		return err
	}
	built := filepath.Join(dir, "built")
	if err := commands.BuildLDA(ctx, built); err != nil {
		return err
	}
	for _, name := range []string{"rtls-lda", "rtls-lda-full"} {
		program, err := os.ReadFile(filepath.Join(built, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), program, 0o755); err != nil {
			return err
		}
	}
	return os.RemoveAll(built)
}
