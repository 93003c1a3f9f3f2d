package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"rtls/bench/report"
	"rtls/store"
)

const (
	rounds     = 5
	perRound   = 600 // deliveries
	messageLen = 4 << 10
)

// deliveries compares a delivery with write, fsync, link, unlink and fsync of
// the directory, done by hand.
func deliveries(ctx context.Context, table *report.Table) error {
	for _, c := range []struct {
		writers int
		goal    float64
	}{{1, 1 / 0.70}, {4, 1 / 0.60}, {16, 1 / 0.50}} {
		dir, remove, err := report.Dir()
		if err != nil {
			return err
		}
		defer remove()
		n := 0
		ours, bare, err := report.Interleave(rounds,
			func() (time.Duration, error) {
				n++
				return deliverOurs(ctx, filepath.Join(dir, fmt.Sprint("ours", n)), c.writers)
			},
			func() (time.Duration, error) {
				return deliverBare(filepath.Join(dir, fmt.Sprint("bare", n)), c.writers)
			})
		if err != nil {
			return err
		}
		table.Add(report.Row{
			Scenario: fmt.Sprintf("deliver 4 KiB, %d writers", c.writers),
			Ours:     perDelivery(ours), Peer: perDelivery(bare), PeerName: "bare system calls",
			Unit: "µs", Goal: c.goal,
		})
	}
	return nil
}

func perDelivery(d time.Duration) float64 { return float64(d.Microseconds()) / perRound }

// spread runs f perRound times, shared among writers.
func spread(writers int, f func() error) (time.Duration, error) {
	var wait sync.WaitGroup
	errs := make(chan error, writers)
	start := time.Now()
	for w := range writers {
		n := perRound / writers
		if w < perRound%writers {
			n++
		}
		wait.Go(func() {
			for range n {
				if err := f(); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wait.Wait()
	select {
	case err := <-errs:
		return 0, err
	default:
		return time.Since(start), nil
	}
}

func deliverOurs(ctx context.Context, dir string, writers int) (time.Duration, error) {
	if err := store.Create(dir, nil); err != nil {
		return 0, err
	}
	account, err := store.Open(dir, nil)
	if err != nil {
		return 0, err
	}
	defer account.Close()
	message := bytesOf(messageLen)
	return spread(writers, func() error {
		d, err := account.Deliver(ctx, "INBOX")
		if err != nil {
			return err
		}
		defer d.Abort()
		if _, err := d.Write(message); err != nil {
			return err
		}
		_, err = d.Commit(store.Meta{Tag: store.TagRequire, Origin: store.OriginESMTP})
		return err
	})
}

func deliverBare(dir string, writers int) (time.Duration, error) {
	for _, sub := range []string{"tmp", "new"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return 0, err
		}
	}
	message := bytesOf(messageLen)
	return spread(writers, func() error { return bareDelivery(dir, message) })
}

func bareDelivery(dir string, message []byte) error {
	var random [8]byte
	rand.Read(random[:])
	name := fmt.Sprintf("%d.R%s.bench", time.Now().Unix(), hex.EncodeToString(random[:]))
	tmp, final := filepath.Join(dir, "tmp", name), filepath.Join(dir, "new", name)
	fd, err := syscall.Open(tmp, syscall.O_CREAT|syscall.O_EXCL|syscall.O_WRONLY|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	if _, err := syscall.Write(fd, message); err != nil {
		return err
	}
	if err := syscall.Fsync(fd); err != nil {
		return err
	}
	if err := syscall.Close(fd); err != nil {
		return err
	}
	if err := syscall.Link(tmp, final); err != nil {
		return err
	}
	if err := syscall.Unlink(tmp); err != nil {
		return err
	}
	d, err := syscall.Open(filepath.Join(dir, "new"), syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(d)
	return syscall.Fsync(d)
}

// bytesOf makes a message of n octets with CRLF line ends.
func bytesOf(n int) []byte {
	text := []byte("From: bob@example.com\r\nTo: alice@example.org\r\nSubject: bench\r\n\r\n")
	for len(text) < n {
		text = append(text, "The quick brown fox jumps over the lazy dog, again and again.\r\n"...)
	}
	return append(text[:n-2], "\r\n"...)
}
