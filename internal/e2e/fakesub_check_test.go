package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rtls/internal/testpki"
)

// lines is what was heard, in TLS and in clear.
func (f *fakesub) lines() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, h := range f.heard {
		all = append(all, h.line)
	}
	return all
}

// commands is what was heard of a verb.
func (f *fakesub) commands(verb string) []string {
	return slices.DeleteFunc(f.lines(), func(line string) bool { return !strings.HasPrefix(line, verb) })
}

// one is the only message that was taken.
func (f *fakesub) one(t *testing.T) submitted {
	t.Helper()
	f.stop()
	if len(f.messages) != 1 {
		t.Fatalf("%d messages were taken, want 1; heard %q", len(f.messages), f.lines())
	}
	return f.messages[0]
}

// nothingCrossed fails if the server learned anything of the message, or was asked
// to take one, or was shown a password.
func (f *fakesub) nothingCrossed(t *testing.T) {
	t.Helper()
	f.stop()
	for _, h := range f.heard {
		verb := strings.ToUpper(strings.SplitN(h.line, " ", 2)[0])
		if !slices.Contains([]string{"EHLO", "LHLO", "STARTTLS", "QUIT"}, verb) {
			t.Errorf("the server heard %q (in TLS: %v)", h.line, h.inTLS)
		}
	}
	for _, word := range []string{"MAIL FROM", "RCPT", "AUTH", "DATA", "HELO localhost", "canary", "secret"} {
		wire := strings.ReplaceAll(f.wire.String(), "EHLO", "")
		if strings.Contains(wire, word) {
			t.Errorf("%q crossed the wire in clear", word)
		}
	}
}

// quickExit spares a command built with -race the second that it sleeps at the end.
var quickExit = []string{"GORACE=atexit_sleep_ms=0"}

// canary is a message whose words must not cross where it is refused.
const canary = "From: a@example.org\nTo: b@example.net\nSubject: canary-subject\n\ncanary-body\n"

// account writes a configuration with an account at f.
func (f *fakesub) account(t *testing.T, p *pki, lines ...string) string {
	t.Helper()
	mode := "implicit"
	if f.starttls {
		mode = "starttls"
	}
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`hostname = "client.example.org"
[send.account.test]
from = "sender@example.org"
host = "localhost"
port = %s
tls = %q
ca_file = %q
user = "sender"
password_file = %q
%s
`, f.port(), mode, p.caFile, secret, strings.Join(lines, "\n"))
	path := filepath.Join(t.TempDir(), "rtls.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// send pipes a message into rtls-send for f.
func (f *fakesub) send(t *testing.T, p *pki, message string, args ...string) result {
	t.Helper()
	return runEnv(t, quickExit, strings.NewReader(message), "rtls-send", append([]string{"--config", f.account(t, p)}, args...)...)
}

// sent is send, for a message that must be taken.
func (f *fakesub) sent(t *testing.T, p *pki, message string, args ...string) submitted {
	t.Helper()
	r := f.send(t, p, message, args...)
	if r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	return f.one(t)
}

// refused checks that the canary was refused, for this reason, and did not cross.
func (f *fakesub) refused(t *testing.T, p *pki, code int, reason string, args ...string) {
	t.Helper()
	r := f.send(t, p, canary, append(args, "b@example.net")...)
	if r.code != code || !strings.Contains(r.stderr, reason) {
		t.Errorf("exit %d, stderr %q; want %d and %q", r.code, r.stderr, code, reason)
	}
	f.nothingCrossed(t)
}

// leaf is a certificate for localhost that is unlike p's in some way.
func leaf(t *testing.T, ca *testpki.CA, l testpki.Leaf) tls.Certificate {
	t.Helper()
	if l.Names == nil {
		l.Names = []string{"localhost", "127.0.0.1"}
	}
	cert, err := ca.TLS(l)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// ended says whether all TLS sessions ended with a close_notify.
func (f *fakesub) closedProperly() error {
	f.stop()
	if len(f.closed) == 0 {
		return errors.New("no session ended")
	}
	for _, err := range f.closed {
		if !errors.Is(err, io.EOF) {
			return err
		}
	}
	return nil
}
