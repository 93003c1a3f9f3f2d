package packaging

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What fish offers behind a word that is being written.
func TestFishCompletion(t *testing.T) {
	for line, want := range map[string]string{
		"rtls-send --receip":   "--receipt",
		"rtls-send --conf":     "--configure",
		"rtls-send --check-co": "--check-config",
		"rtls-imapd user p":    "passwd",
		"rtls-imapd --check":   "--check-config",
	} {
		command, _, _ := strings.Cut(line, " ")
		out, err := exec.Command("fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]", filepath.Join("completions", command+".fish"), line).CombinedOutput()
		skipWithout(t, err)
		if err != nil || !strings.Contains("\n"+string(out), "\n"+want) {
			t.Errorf("%q: %q, %v; want %s", line, out, err, want)
		}
	}
}

// typeInZsh types a line and a tab into an interactive zsh, and waits for a text.
const typeInZsh = `
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PS1='> '; fpath=($1 \$fpath); autoload -U compinit; compinit -D -u; echo REA''DY"
zpty -r z out '*READY*'
zpty -w -n z "$2"$'\t'
zpty -r -m z out "*$3*" && print found
zpty -d z
`

func TestZshCompletion(t *testing.T) {
	dir, err := filepath.Abs("completions")
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"rtls-send --check-co":  "--check-config",
		"rtls-send --receip":    "--receipt",
		"rtls-imapd user passw": "passwd",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		out, err := exec.CommandContext(ctx, "zsh", "-f", "-c", typeInZsh, "zsh", dir, line, want).CombinedOutput()
		cancel()
		skipWithout(t, err)
		if err != nil || !strings.Contains(string(out), "found") {
			t.Errorf("%q does not become %s: %q, %v", line, want, out, err)
		}
	}
}

// skipWithout skips where there is no such shell.
func skipWithout(t *testing.T, err error) {
	t.Helper()
	if e, ok := errors.AsType[*exec.Error](err); ok {
		t.Skipf("%v; make setup installs it on Debian", e)
	}
}
