package e2e

import (
	"net"
	"testing"

	"rtls/internal/testpki"
)

// systemd is told when rtls-imapd can be reached, and when it is about to stop.
func TestIMAPSystemd(t *testing.T) {
	p := newPKI(t)
	path, hear := systemdManager(t)
	d := makeIMAPD(t, p, testpki.Leaf{Names: []string{"localhost"}})
	d.env = []string{"NOTIFY_SOCKET=" + path}
	d.start(t)
	if got := hear(); got != "READY=1" {
		t.Errorf("%q", got)
	}
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	d.terminate(t)
	if got := hear(); got != "STOPPING=1" {
		t.Errorf("%q", got)
	}
	d.wait(t)
}
