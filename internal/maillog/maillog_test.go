package maillog

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if l := Open("rtls-lda", []string{path}); l != nil {
		t.Fatal("a log where there is none")
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l := Open("rtls-lda", []string{filepath.Join(t.TempDir(), "missing"), path})
	if l == nil {
		t.Fatal("no log")
	}
	defer l.Close()
	slog.New(l).Info("delivered", "rcpt", "alice")
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1000)
	n, err := conn.Read(buf)
	// 22 is mail.info.
	if got := string(buf[:n]); err != nil || !strings.HasPrefix(got, "<22>") || !strings.Contains(got, " rtls-lda[") || !strings.HasSuffix(got, ": level=INFO msg=delivered rcpt=alice\n") {
		t.Errorf("%q, %v", got, err)
	}
}

func TestLogStartedAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	listen := func() *net.UnixConn {
		t.Helper()
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	first := listen()
	l := Open("rtls-send", []string{path})
	defer l.Close()
	r := slog.NewRecord(time.Now(), slog.LevelInfo, "sent", 0)
	first.Close()
	if err := l.Handle(t.Context(), r); !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a log: %v", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	second := listen()
	defer second.Close()
	if err := l.Handle(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := second.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1000)
	if n, err := second.Read(buf); err != nil || !strings.HasSuffix(string(buf[:n]), "msg=sent\n") {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

// Whoever writes to a log that nobody reads is not held up by it.
func TestLogThatTakesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l, j := Open("rtls-lda", []string{path}), OpenJournal("rtls-send", path)
	if l == nil || j == nil {
		t.Fatal("no log")
	}
	defer l.Close()
	defer j.Close()
	for _, h := range []slog.Handler{l, j} {
		r := slog.NewRecord(time.Now(), slog.LevelInfo, "delivered", 0)
		for err = nil; err == nil; { // until the socket is full
			err = h.Handle(t.Context(), r)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%T: %v", h, err)
		}
	}
}
