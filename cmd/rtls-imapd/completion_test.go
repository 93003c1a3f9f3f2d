package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const completions = "../../packaging/completions"

// Every flag that --help tells of can be completed, and the flags that can be are flags.
func TestCompletionsAreWhole(t *testing.T) {
	for _, file := range []string{"rtls-imapd.bash", "_rtls-imapd", "rtls-imapd.fish"} {
		text, err := os.ReadFile(filepath.Join(completions, file))
		if err != nil {
			t.Fatal(err)
		}
		mark := `--`
		if strings.HasSuffix(file, ".fish") {
			mark = `-l `
		}
		have := make(map[string]bool)
		for _, m := range regexp.MustCompile(mark+`([a-z][a-z-]+)`).FindAllStringSubmatch(string(text), -1) {
			have[m[1]] = true
			if _, err := parseArgs([]string{"--" + m[1] + "=1"}); err != nil && strings.Contains(err.Error(), "unknown flag") {
				t.Errorf("%s has --%s: %v", file, m[1], err)
			}
		}
		for _, m := range regexp.MustCompile(`--([a-z][a-z-]+)`).FindAllStringSubmatch(usage, -1) {
			if !have[m[1]] {
				t.Errorf("%s lacks --%s", file, m[1])
			}
		}
	}
}

// What bash comes to complete; the last word is the one being written.
func TestBashCompletion(t *testing.T) {
	const script = `source "$1"; shift
rtls-imapd() { case $* in
	'user list') printf 'alice  enabled\nbob  enabled\n' ;;
	'user app-password list alice') printf 'phone  made\n' ;;
	'ban list') printf 'address  192.0.2.1  banned\n' ;;
	esac; }
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_rtls_imapd
printf '%s\n' "${COMPREPLY[*]}"`
	for words, want := range map[string]string{
		"rtls-imapd u":                               "user",
		"rtls-imapd --config x b":                    "ban",
		"rtls-imapd user ad":                         "add",
		"rtls-imapd user add --no-s":                 "--no-scram",
		"rtls-imapd user rm ":                        "alice bob",
		"rtls-imapd user passwd b":                   "bob",
		"rtls-imapd user app-password re":            "revoke",
		"rtls-imapd user app-password revoke ":       "alice bob",
		"rtls-imapd user app-password revoke alice ": "phone",
		"rtls-imapd ban lift ":                       "192.0.2.1",
		"rtls-imapd quota al":                        "alice",
		"rtls-imapd mailbox un":                      "unsubscribe",
		"rtls-imapd mailbox create b":                "bob",
		"rtls-imapd import al":                       "alice",
		"rtls-imapd import --mbox x alice --mai":     "--maildir --mailbox",
		"rtls-imapd store re":                        "repair rebuild",
		"rtls-imapd store check al":                  "alice",
	} {
		args := append([]string{"--norc", "-c", script, "bash", filepath.Join(completions, "rtls-imapd.bash")}, strings.Split(words, " ")...)
		out, err := exec.Command("bash", args...).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", words, got, err, want)
		}
	}
}
