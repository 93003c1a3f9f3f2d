// Command demo shows the main job on this machine: mail goes from standard input
// to a mail client with its tag, over TLS on every hop, and does not go at all
// where that cannot be had.
//
// It is run by "make demo". With KEEP=1 in the environment everything it started
// goes on running, for a person to play with.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) > 1 && os.Args[1] == "relay" {
		err = relayMain(ctx, os.Args[2:])
	} else {
		err = run(ctx, os.Stdout, os.Getenv("KEEP") != "")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

var errWrong = errors.New("a row is not what it should be")

func run(ctx context.Context, w io.Writer, keep bool) (err error) {
	s, err := newSite(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if !keep || err != nil {
			s.close()
		}
	}()
	if err := s.start(ctx); err != nil {
		return err
	}
	fmt.Fprintln(w, "Mail that must arrive, each message piped into rtls-send:")
	fmt.Fprintln(w)
	good, err := s.deliverAll(ctx, w)
	if err != nil {
		return err
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, "Mail that must not leave, with --requiretls=yes:")
	fmt.Fprintln(w)
	refused, err := s.refuseAll(ctx, w)
	if err != nil {
		return err
	}
	if !good || !refused {
		return errWrong
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, "Every row is as it should be.")
	if keep {
		return s.explain(w)
	}
	return nil
}
