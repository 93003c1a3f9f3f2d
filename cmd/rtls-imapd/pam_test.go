//go:build pam && cgo

package main

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rtls/internal/auth"
)

// services writes PAM services and returns their directory. The script of "exec" takes
// the password secret for alice at 192.0.2.1.
func services(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	script := filepath.Join(dir, "check.sh")
	for name, text := range map[string]string{
		"permit":   "auth required pam_permit.so\naccount required pam_permit.so\n",
		"deny":     "auth required pam_deny.so\naccount required pam_permit.so\n",
		"closed":   "auth required pam_permit.so\naccount required pam_deny.so\n",
		"exec":     "auth sufficient pam_exec.so expose_authtok quiet " + script + "\nauth required pam_deny.so\naccount required pam_permit.so\n",
		"sleep":    "auth required pam_exec.so quiet /bin/sleep 1\naccount required pam_permit.so\n",
		"broken":   "auth required pam_no_such_module.so\naccount required pam_permit.so\n",
		"check.sh": "#!/bin/sh\n[ \"$(tr -d '\\000')\" = secret ] && [ \"$PAM_USER $PAM_RHOST\" = 'alice 192.0.2.1' ]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPAM(t *testing.T) {
	dir := services(t)
	peer := auth.Peer{Addr: netip.MustParseAddr("::ffff:192.0.2.1")}
	for _, tc := range []struct {
		service, user, password string
		ok, failure             bool
	}{
		{"permit", "alice", "x", true, false},
		{"deny", "alice", "x", false, false},
		{"closed", "alice", "x", false, false},
		{"exec", "alice", "secret", true, false},
		{"exec", "alice", "wrong", false, false},
		{"exec", "bob", "secret", false, false},
		{"broken", "alice", "x", false, true},
		{"no-such-service", "alice", "x", false, true},
	} {
		c, err := newPAM(tc.service)
		if err != nil {
			t.Fatal(err)
		}
		c.(*pamChecker).dir = dir
		if ok, err := c.Check(t.Context(), peer, tc.user, tc.password); ok != tc.ok || (err != nil) != tc.failure {
			t.Errorf("%s, %s, %s: %t, %v", tc.service, tc.user, tc.password, ok, err)
		}
	}
}

// Who waits is let go, and the transaction keeps its turn.
func TestPAMTimeout(t *testing.T) {
	c := &pamChecker{service: "sleep", dir: services(t), turns: make(chan struct{}, 1)}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for range 2 {
		if ok, err := c.Check(ctx, auth.Peer{}, "alice", "x"); ok || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%t, %v", ok, err)
		}
	}
	c.turns <- struct{}{} // until it is over
}
