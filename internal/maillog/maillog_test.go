package maillog

import (
	"log/slog"
	"net"
	"path/filepath"
	"strings"
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
