package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/maillog"
)

// -L is the tag in the system's log, which is where lines go by default.
func TestSystemLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	old := maillog.Sockets
	maillog.Sockets = []string{path}
	t.Cleanup(func() { maillog.Sockets = old })
	o, err := parseArgs("sendmail", []string{"-L", "cron", "b@example.net"})
	if err != nil {
		t.Fatal(err)
	}
	l := newSendLog(cli.Env{}, o, config.Send{})
	defer l.Close()
	l.refused([]any{"from", "a@example.org"}, cli.Errorf(cli.DataErr, "it is\nbad"))
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1000)
	n, err := conn.Read(buf)
	got := string(buf[:n])
	if err != nil || !strings.Contains(got, " cron[") || !strings.HasSuffix(got, `: level=WARN msg="not sent" from=a@example.org exit=65 err="it is\nbad"`+"\n") {
		t.Errorf("%q, %v", got, err)
	}
}
