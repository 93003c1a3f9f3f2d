package e2e

import (
	"os"
	"strings"
	"testing"
)

// What rtls-imapd(8) promises of the process.

func TestIMAPDUsersWhileItRuns(t *testing.T) {
	p := newPKI(t)
	d := startIMAPD(t, p)
	before := d.login(t, p, "INBOX")

	d.addUser(t, "bob@example.org")
	c := d.dial(t, p, nil)
	c.ok("LOGIN bob@example.org %q", imapPassword)
	c.ok("LOGOUT")
	c.closed()

	// A user without an account gets one.
	if err := os.RemoveAll(d.path("mail/bob@example.org")); err != nil {
		t.Fatal(err)
	}
	c = d.dial(t, p, nil)
	c.ok("LOGIN bob@example.org %q", imapPassword)
	c.ok("SELECT INBOX")

	// A file that others may read is not used, and who is logged in stays so.
	if err := os.Chmod(d.path("passwd"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.dial(t, p, nil).fails("NO", "[UNAVAILABLE]", "LOGIN bob@example.org %q", imapPassword)
	before.ok("NOOP")
	if err := os.Chmod(d.path("passwd"), 0o600); err != nil {
		t.Fatal(err)
	}

	// Who is taken out of it cannot log in, though the password was right before.
	text, err := os.ReadFile(d.path("passwd"))
	if err != nil {
		t.Fatal(err)
	}
	swap(t, d.path("passwd"), []byte(strings.ReplaceAll(string(text), "bob@example.org:", "bob@example.org:!")))
	d.dial(t, p, nil).fails("NO", "[AUTHENTICATIONFAILED]", "LOGIN bob@example.org %q", imapPassword)
}

func TestIMAPDEndsProperly(t *testing.T) {
	p := newPKI(t)
	d := startIMAPD(t, p)
	waiting, idling := d.login(t, p, "INBOX"), d.login(t, p, "INBOX")
	idling.write("x IDLE\r\n")
	if line := idling.read(); !strings.HasPrefix(line, "+ ") {
		t.Fatal(line)
	}
	d.terminate(t)
	for _, c := range []*imapConn{waiting, idling} {
		if line := c.read(); !strings.HasPrefix(line, "* BYE ") {
			t.Errorf("instead of BYE: %s", line)
		}
		c.closed()
	}
	d.wait(t)
}
