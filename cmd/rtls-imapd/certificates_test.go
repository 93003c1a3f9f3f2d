package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"rtls/internal/testpki"
	"rtls/internal/tlsconf"
)

// I18: a certificate that is not valid is in the log at the start and once a day. The
// clock of synctest begins in 2000, before any certificate is valid.
func TestValidityIsLoggedDaily(t *testing.T) {
	ca, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.WriteFiles(t.TempDir(), "server", testpki.Leaf{Names: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	certs, err := tlsconf.Load(tlsconf.Pair{Cert: cert, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var log lockedLog
		ctx, cancel := context.WithCancel(t.Context())
		hangup := make(chan os.Signal)
		done := make(chan struct{})
		go func() {
			defer close(done)
			keepCertificates(ctx, certs, hangup, slog.New(slog.NewTextHandler(&log, nil)))
		}()
		expect := func(when string, times int) {
			t.Helper()
			synctest.Wait()
			if n := strings.Count(log.String(), `level=ERROR msg="clients cannot connect"`); n != times {
				t.Errorf("%s: %d times in the log, want %d:\n%s", when, n, times, log.String())
			}
		}
		expect("at the start", 1)
		time.Sleep(23 * time.Hour)
		expect("before a day is over", 1)
		time.Sleep(2 * time.Hour)
		expect("after a day", 2)
		time.Sleep(3 * 24 * time.Hour)
		expect("after four days", 5)
		cancel()
		<-done
	})
}

// A pair that does not fit together is passed over, and clients get in with the old one:
// the log says the first and not that they cannot.
func TestReloadOfWhatDoesNotFit(t *testing.T) {
	ca, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.WriteFiles(t.TempDir(), "server", testpki.Leaf{Names: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	_, otherKey, err := ca.WriteFiles(t.TempDir(), "server", testpki.Leaf{Names: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	certs, err := tlsconf.Load(tlsconf.Pair{Cert: cert, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(otherKey, key); err != nil {
		t.Fatal(err)
	}
	var log lockedLog
	ctx, cancel := context.WithCancel(t.Context())
	hangup := make(chan os.Signal)
	done := make(chan struct{})
	go func() {
		defer close(done)
		keepCertificates(ctx, certs, hangup, slog.New(slog.NewTextHandler(&log, nil)))
	}()
	hangup <- syscall.SIGHUP
	before := log.String()
	hangup <- syscall.SIGHUP // the first is done with
	cancel()
	<-done
	text := strings.TrimPrefix(log.String(), before)
	if !strings.Contains(text, `msg="certificates stay as they were"`) || strings.Contains(text, "clients cannot connect") {
		t.Errorf("the log:\n%s", text)
	}
}

// lockedLog is written by one goroutine and read by another.
type lockedLog struct {
	mu sync.Mutex // guards what follows
	b  bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
