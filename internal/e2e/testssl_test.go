package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"rtls/internal/testpki"
)

// TestSSLScan lets testssl.sh look at protocols and ciphers: nothing that it finds may
// weigh more than LOW. With RTLS_TEST_TLS=all it looks at both ports, and for forward
// secrecy and the known attacks as well, which takes minutes.
func TestSSLScan(t *testing.T) {
	p := newPKI(t)
	leaf := testpki.Leaf{Names: []string{"localhost", "127.0.0.1"}, RSA: true}
	d := startIMAPDWith(t, p, leaf, `listen_starttls = ["127.0.0.1:0"]`)
	inClear := d.waitLog(t, regexp.MustCompile(`IMAP with STARTTLS on (127\.0\.0\.1:\d+)`))[1]
	if os.Getenv("RTLS_TEST_TLS") != "all" {
		scanTLS(t, []string{"-p", "-s", d.addr})
		return
	}
	checks := []string{"-p", "-s", "-f", "-P", "-U"}
	t.Run("implicit", func(t *testing.T) { scanTLS(t, append(checks, d.addr)) })
	t.Run("STARTTLS", func(t *testing.T) { scanTLS(t, append(checks, "-t", "imap", inClear)) })
}

func scanTLS(t *testing.T, args []string) {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report.json")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "testssl", append([]string{"--quiet", "--color", "0", "--warnings", "off", "--jsonfile", report}, args...)...)
	out, err := cmd.CombinedOutput() // its exit code counts findings
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("no report: %v\n%s", err, out)
	}
	var findings []struct{ ID, Severity, Finding string }
	if err := json.Unmarshal(text, &findings); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	seen := make(map[string]string)
	for _, f := range findings {
		seen[f.ID] = f.Finding
		switch {
		case slices.Contains([]string{"MEDIUM", "HIGH", "CRITICAL", "FATAL"}, f.Severity):
			t.Errorf("%s: %s: %s", f.Severity, f.ID, f.Finding)
		case f.Severity == "LOW":
			t.Logf("LOW: %s: %s", f.ID, f.Finding)
		}
	}
	if seen["TLS1_2"] != "offered" || seen["TLS1_3"] == "" || seen["TLS1"] != "not offered" {
		t.Errorf("it has not looked: %q\n%s", seen, out)
	}
}
