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

// dovecotAuth is a Dovecot that does nothing but authenticate. %s: its directory.
const dovecotAuth = `base_dir = %[1]s/dovecot
log_path = %[1]s/dovecot.log
protocols =
ssl = no
auth_mechanisms = plain login scram-sha-256
passdb {
  driver = passwd-file
  args = %[1]s/sasl-users
}
userdb {
  driver = static
  args = uid=65534 gid=65534 home=/nonexistent
}
service auth {
  unix_listener %[1]s/auth {
    mode = 0666
  }
}
`

// startDovecotAuth returns the socket.
func startDovecotAuth(t *testing.T, dir string) string {
	t.Helper()
	for name, text := range map[string]string{
		"dovecot.conf": fmt.Sprintf(dovecotAuth, dir),
		"sasl-users":   "sender:{PLAIN}secret\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("dovecot", "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "auth")
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
		if t.Failed() {
			said, _ := os.ReadFile(filepath.Join(dir, "dovecot.log"))
			t.Logf("Dovecot said:\n%s", said)
		}
	})
	eventually(t, "Dovecot listens", func() bool { _, err := os.Stat(socket); return err == nil })
	return socket
}

// Postfix and Dovecot know what we mean by a login: alone, and with the envelope
// behind it.
func TestSendSASL(t *testing.T) {
	p := newPKI(t)
	h := newMTAHost(t)
	socket := startDovecotAuth(t, h.dir)
	m := newPostfix(t, h)
	m.start(t, "",
		"mynetworks =", "smtpd_relay_restrictions = permit_sasl_authenticated, reject",
		"smtpd_sasl_auth_enable = yes", "smtpd_sasl_type = dovecot", "smtpd_sasl_path = "+socket,
		"smtpd_tls_auth_only = yes", "smtpd_tls_security_level = may", "smtpd_tls_cert_file = "+p.cert, "smtpd_tls_key_file = "+p.key)
	for _, tc := range []struct {
		auth, password string
		used           string
		code           int
	}{
		{"", "secret", "SCRAM-SHA-256", 0},
		{"PLAIN", "secret", "PLAIN", 0},
		{"LOGIN", "secret", "LOGIN", 0},
		{"PLAIN", "wrong", "PLAIN", 77},
		{"SCRAM-SHA-256", "wrong", "SCRAM-SHA-256", 77},
	} {
		secret := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(secret, []byte(tc.password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		config := fmt.Sprintf("hostname = \"client.example.org\"\n[send.account.a]\nfrom = \"sender@example.org\"\nhost = \"localhost\"\nport = %s\ntls = \"starttls\"\nca_file = %q\nuser = \"sender\"\npassword_file = %q\nauth = %q\n", m.port, p.caFile, secret, tc.auth)
		r := sends(t, config, canary, auto, "-v", "b@example.net")
		if r.code != tc.code || !strings.Contains(r.stderr, "> AUTH "+tc.used+" ") {
			t.Errorf("%q with %s: exit %d: %s", tc.auth, tc.password, r.code, r.stderr)
		}
		if strings.Contains(r.stderr, " octets)") != (tc.code == 0) {
			t.Errorf("%q with %s: the text: %s", tc.auth, tc.password, r.stderr)
		}
	}
}
