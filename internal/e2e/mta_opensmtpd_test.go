package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// openSMTPDMain surrounds the snippet. %s: port.
const openSMTPDMain = `smtp max-message-size 50M
listen on 127.0.0.1 port %s hostname mx.example.org

`

// startOpenSMTPD starts an OpenSMTPD with a snippet of docs/mta, and options of smtpd(8).
func startOpenSMTPD(t *testing.T, h *mailHost, snippet string, options ...string) *mta {
	t.Helper()
	m := &mta{host: h, port: freePort(t), logFile: filepath.Join(h.dir, "output")}
	config := filepath.Join(h.dir, "smtpd.conf")
	if err := os.WriteFile(config, []byte(fmt.Sprintf(openSMTPDMain, m.port)+snippet), 0o644); err != nil {
		t.Fatal(err)
	}
	const start = `mkdir -p -m 711 /var/spool/smtpd && mkdir -p /var/lib/opensmtpd/empty &&
exec /usr/sbin/smtpd -d -f "$0" "$@"`
	command := append([]string{"sh", "-c", start, config}, options...)
	startMTA(t, m, inMachine(t, h.dir, "opensmtpd", "opensmtpd opensmtpq", command...))
	return m
}

func testOpenSMTPDMDA(t *testing.T) {
	h := newMTAHost(t)
	m := startOpenSMTPD(t, h, h.snippet(t, "opensmtpd-mda.conf", "/usr/bin/rtls-lda", h.command(), "vmail", mailUser))
	m.exercise(t, habits{noUTF8: true, noQuotes: true, noLoop: true})
	for _, got := range h.mail(t, "alice", "INBOX") {
		if got.tag != "none/mda" {
			t.Errorf("tag %s", got.tag)
		}
	}
}

func testOpenSMTPDLMTP(t *testing.T) {
	h := newMTAHost(t)
	server := h.serveAs(t, filepath.Join(h.dir, "run"), "")
	m := startOpenSMTPD(t, h, h.snippet(t, "opensmtpd-lmtp.conf", "/run/rtls-lda/lmtp", h.socket, "vmail", mailUser))
	m.exercise(t, habits{noUTF8: true, noQuotes: true, noRefusal: true})
	eventually(t, "its log tells of the refusal", func() bool { return strings.Contains(m.log(), "550 5.1.1 no such user here") })
	if said := server.said(); strings.Contains(said, "level=ERROR") || strings.Contains(said, "msg=deferred") {
		t.Error(said)
	}
}
