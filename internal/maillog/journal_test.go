package maillog

import (
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	if j := OpenJournal("rtls-send", path); j != nil {
		t.Fatal("a journal where there is none")
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	j := OpenJournal("rtls-send", path)
	if j == nil {
		t.Fatal("no journal")
	}
	defer j.Close()
	entry := func() string {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1<<20)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	l := slog.New(j).With("user", "ann")
	l.Warn("not sent", "rcpt", []string{"b@x", "c@x"}, "exit", 65, "err", "one\ntwo", "2nd-key", "v")
	const want = "MESSAGE=level=WARN msg=\"not sent\" rcpt=\"[b@x c@x]\" exit=65 err=\"one\\ntwo\" 2nd-key=v user=ann\nPRIORITY=4\nSYSLOG_FACILITY=2\nSYSLOG_IDENTIFIER=rtls-send\n" +
		"RTLS_RCPT=b@x\nRTLS_RCPT=c@x\nRTLS_EXIT=65\nRTLS_ERR\n\x07\x00\x00\x00\x00\x00\x00\x00one\ntwo\nRTLS_2ND_KEY=v\nRTLS_USER=ann\n"
	if got := entry(); got != want {
		t.Errorf("%q\nwant %q", got, want)
	}

	// Nobody can put a field of his own into an entry.
	l.Info("sent", "from", "x\nPRIORITY=0\n")
	if got := entry(); strings.Contains(got, "\nPRIORITY=0") && !strings.Contains(got, "RTLS_FROM\n\x0d") {
		t.Errorf("%q", got)
	}

	// One that is too large has its text, as far as it goes.
	l.Info("sent", "rcpt", []string{strings.Repeat("x", 10<<20)})
	if got := entry(); !strings.HasPrefix(got, "MESSAGE=level=INFO msg=sent rcpt=[xxx") || len(got) > 2*maxMessage || !strings.HasSuffix(got, "\nSYSLOG_IDENTIFIER=rtls-send\n") {
		t.Errorf("%d octets: %.100q", len(got), got)
	}
}
