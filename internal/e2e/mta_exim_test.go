package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// eximMain is what surrounds the snippet: SMTP on a port of ours and directories of
// ours. %s: port, shared directory.
const eximMain = `primary_hostname = mx.example.org
domainlist local_domains = example.org : second.example
daemon_smtp_ports = %[1]s
local_interfaces = 127.0.0.1
spool_directory = %[2]s/spool
log_file_path = %[2]s/log/%%slog
acl_smtp_rcpt = accept
allow_utf8_domains
smtputf8_advertise_hosts = *
message_size_limit = 50M
queue_run_max = 1
keep_environment =

`

// eximRetry is not Exim's default, but that of every configuration.
const eximRetry = "\nbegin retry\n* * F,2h,1m\n"

// startExim starts an Exim with a snippet of docs/mta.
func startExim(t *testing.T, h *mailHost, snippet string) *mta {
	t.Helper()
	m := &mta{host: h, port: freePort(t), logFile: filepath.Join(h.dir, "log", "mainlog")}
	for _, d := range []string{"spool", "log"} {
		path := filepath.Join(h.dir, d)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(h.dir, "exim4.conf")
	if err := os.WriteFile(config, []byte(fmt.Sprintf(eximMain, m.port, h.dir)+snippet+eximRetry), 0o644); err != nil {
		t.Fatal(err)
	}
	start := fmt.Sprintf("mkdir -p /etc/exim4 && cp %s /etc/exim4/exim4.conf && exec /usr/sbin/exim4 -bdf -q5s", config)
	startMTA(t, m, inMachine(t, h.dir, "exim4-daemon-light", "Debian-exim", "sh", "-c", start))
	return m
}

// startMTA starts an agent that runs in the foreground, and waits for its greeting.
// The end of the test kills it: its queue goes with it.
func startMTA(t *testing.T, m *mta, cmd *exec.Cmd) {
	t.Helper()
	out, err := os.Create(filepath.Join(m.host.dir, "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
		if t.Failed() {
			said, _ := os.ReadFile(out.Name())
			t.Logf("it said:\n%s\n%s", said, m.log())
		}
	})
	eventually(t, "it listens", func() bool { return greets(m.port) })
}

func testEximPipe(t *testing.T) {
	h := newMTAHost(t)
	m := startExim(t, h, h.snippet(t, "exim-pipe.conf", "/usr/bin/rtls-lda", h.command(), "vmail", mailUser))
	m.exercise(t, habits{})
	for _, got := range h.mail(t, "alice", "INBOX") {
		if got.tag != "none/mda" {
			t.Errorf("tag %s", got.tag)
		}
	}
}

func testEximLMTP(t *testing.T) {
	h := newMTAHost(t)
	server := h.serveAs(t, filepath.Join(h.dir, "run"), "")
	m := startExim(t, h, h.snippet(t, "exim-lmtp.conf", "/run/rtls-lda/lmtp", h.socket, "vmail", mailUser))
	m.exercise(t, habits{noUTF8: true})
	if said := server.said(); strings.Contains(said, "level=ERROR") || strings.Contains(said, "msg=deferred") {
		t.Error(said)
	}
}
