package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const completions = "../../packaging/completions"

// Every flag that --help or the man page tells of can be completed, and the flags
// that can be are flags.
func TestCompletionsAreWhole(t *testing.T) {
	man, err := os.ReadFile("rtls-send.1")
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`--([a-z][a-z0-9-]+)`).FindAllStringSubmatch(usage, -1)
	want = append(want, regexp.MustCompile(`(?m)^\.It Fl.*? -([a-z][a-z0-9-]+)`).FindAllStringSubmatch(string(man), -1)...)
	for _, file := range []string{"rtls-send.bash", "_rtls-send", "rtls-send.fish"} {
		text, err := os.ReadFile(filepath.Join(completions, file))
		if err != nil {
			t.Fatal(err)
		}
		mark := `--`
		if strings.HasSuffix(file, ".fish") {
			mark = `-l `
		}
		var have []string
		for _, m := range regexp.MustCompile(mark+`([a-z][a-z0-9-]+)`).FindAllStringSubmatch(string(text), -1) {
			have = append(have, m[1])
		}
		for _, flag := range want {
			if !slices.Contains(have, flag[1]) {
				t.Errorf("%s lacks --%s", file, flag[1])
			}
		}
		for _, flag := range have {
			_, err := parseArgs(name, []string{"--" + flag + "=1", "b@example.org"})
			if err != nil && strings.Contains(err.Error(), "unknown flag") && flag != "force" {
				t.Errorf("%s has --%s: %v", file, flag, err)
			}
		}
	}
}

// What bash comes to complete; the last word is the one being written.
func TestBashCompletion(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".config/rtls"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".config/rtls/rtls.toml"), []byte("[send.account.work]\n[send.account.\"home\"]\n[[send.account.work.target]]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for words, want := range map[string]string{
		"--reqA":               "",
		"--req":                "--requiretls",
		"--requiretls =":       "yes no auto",
		"--requiretls = y":     "yes",
		"-t --tls s":           "starttls",
		"--account ":           "work home",
		"qu":                   "queue",
		"queue re":             "release retry",
		"-O smtputf8":          "smtputf8=yes smtputf8=no",
		"x@example.org --conf": "--config --configure",
	} {
		script := `. "$1"; shift; COMP_WORDS=(rtls-send "$@"); COMP_CWORD=$#; _rtls_send; echo "${COMPREPLY[*]}"`
		args := append([]string{"--norc", "-c", script, "bash", filepath.Join(completions, "rtls-send.bash")}, strings.Split(words, " ")...)
		cmd := exec.CommandContext(t.Context(), "bash", args...)
		cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
		out, err := cmd.CombinedOutput()
		if errors.Is(err, exec.ErrNotFound) {
			t.Skip("there is no bash")
		}
		got := strings.TrimRight(string(out), "\n")
		if err != nil || got != want && !(words == "--account " && strings.HasPrefix(got, want)) {
			t.Errorf("%q: %q, %v; want %q", words, got, err, want)
		}
	}
}
