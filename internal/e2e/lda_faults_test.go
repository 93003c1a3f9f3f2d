package e2e

import (
	"os/exec"
	"testing"
)

// Whatever system call of a delivery fails, the message is there once in the end, and
// nobody was told that it is there before. "make lda-faults" does the same with other
// delivery agents; see docs/lda-faults.md.
func TestLDAFaults(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "run", "rtls/bench/lda", "--faults", "--agent", "rtls-lda")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
