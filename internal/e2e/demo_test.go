package e2e

import (
	"os/exec"
	"strings"
	"testing"
)

// The demo judges its own rows; here it must come to the end.
func TestDemo(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "run", "./internal/demo")
	cmd.Dir = "../.."
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := string(out)
	if !strings.Contains(text, "Every row is as it should be.") {
		t.Errorf("the demo does not say that all is well:\n%s", text)
	}
	if n := strings.Count(text, " equal "); n < 40 {
		t.Errorf("%d messages arrived with equal bodies, want at least 40:\n%s", n, text)
	}
	for _, want := range []string{"$RequireTLS", "$TLSOptional", "require/esmtp", "optional/header", "5.7.30", "5.7.10"} {
		if !strings.Contains(text, want) {
			t.Errorf("the demo does not show %s:\n%s", want, text)
		}
	}
}
