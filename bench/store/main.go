// Command store measures the store against the least that could do the same
// work: the bare system calls in a loop. It is run by "make bench-store".
package main

import (
	"context"
	"fmt"
	"os"

	"rtls/bench/report"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "bench-store:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	table := report.NewTable()
	for _, measure := range []func(context.Context, *report.Table) error{
		deliveries, mailboxes,
	} {
		if err := measure(ctx, table); err != nil {
			return err
		}
	}
	return table.Flush()
}
