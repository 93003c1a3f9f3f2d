package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// pkg is what "go list" says of a package.
type pkg struct {
	ImportPath string
	Imports    []string // direct
	Deps       []string // all, the direct ones too
}

func listPackages(t *testing.T, flags ...string) map[string]pkg {
	t.Helper()
	args := append([]string{"list", "-json=ImportPath,Imports,Deps"}, flags...)
	cmd := exec.CommandContext(t.Context(), "go", append(args, "rtls/...")...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]pkg)
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		found[p.ImportPath] = p
	}
}

// Imports go one way: commands, then internal packages, then the store. A part
// that must not know of another cannot come to depend on it by accident.
func TestImportRules(t *testing.T) {
	packages := listPackages(t)
	under := func(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }
	for path, p := range packages {
		for _, imported := range p.Imports {
			ours := under(imported, "rtls")
			switch {
			case path == "rtls/store/internal/faultfs" && imported == "rtls/internal/faultdisk": // for tests only
			case under(path, "rtls/store") && ours && !under(imported, "rtls/store"):
				t.Errorf("%s imports %s: the store is a library of its own", path, imported)
			case slices.Contains([]string{"rtls/internal/cli", "rtls/internal/requiretls", "rtls/internal/tlsconf", "rtls/internal/mimetree"}, path) && ours:
				t.Errorf("%s imports %s: it is a leaf", path, imported)
			case under(imported, "rtls/cmd"):
				t.Errorf("%s imports a command, %s", path, imported)
			case strings.Contains(imported, "/store/internal/") && !under(path, "rtls/store"):
				t.Errorf("%s imports the store's inside, %s", path, imported)
			case imported == "github.com/spf13/pflag" && !under(path, "rtls/cmd") && path != "rtls/internal/demo":
				t.Errorf("%s imports pflag: flags are the commands' business", path)
			case under(imported, "modernc.org/sqlite") && !under(path, "rtls/store"):
				t.Errorf("%s imports SQLite: the index is the store's business", path)
			}
		}
		for _, dep := range p.Deps {
			if path == "rtls/cmd/rtls-send" && (under(dep, "rtls/store") || strings.Contains(dep, "go-imap")) {
				t.Errorf("rtls-send depends on %s: a submission client needs no store", dep)
			}
			if under(path, "rtls/store") && (strings.Contains(dep, "emersion/go-imap") || strings.Contains(dep, "emersion/go-smtp")) {
				t.Errorf("%s depends on %s: the store knows no protocol", path, dep)
			}
		}
	}
}

// The small rtls-lda is small because of what it does without: each of these would cost
// a delivery more than it takes to store the message.
func TestPlainDeliveryIsSmall(t *testing.T) {
	deps := listPackages(t, "-tags=plain")["rtls/cmd/rtls-lda"].Deps
	if len(deps) == 0 {
		t.Fatal("there is no such command")
	}
	for _, dep := range deps {
		for _, heavy := range []string{
			"modernc.org", "database/sql", "golang.org/x/text", "golang.org/x/crypto", "crypto/tls", "crypto/x509",
			"net/http", "regexp", "github.com/emersion", "rtls/internal/sieve", "rtls/internal/mimetree", "rtls/internal/lmtp",
		} {
			if dep == heavy || strings.HasPrefix(dep, heavy+"/") {
				t.Errorf("rtls-lda with the tag plain depends on %s", dep)
			}
		}
	}
}

// A few words have one place, or none, in the whole source.
func TestForbiddenWords(t *testing.T) {
	mains := []string{"cmd/", "internal/cli/", "internal/demo/", "bench/"}
	for _, rule := range []struct {
		word    string
		allowed []string // path prefixes
	}{
		{"InsecureSkipVerify", []string{"internal/tlsconf/dane.go"}}, // with a check of its own in the same function
		{"os.Exit(", mains},
		{"log.Fatal", nil},
		{"os.Args", mains},
		{"os.Getenv(", mains},
		{"&tls.Config{", []string{"internal/tlsconf/"}},
	} {
		cmd := exec.CommandContext(t.Context(), "git", "-C", "../..", "grep", "-nF", rule.word, "--", "*.go", ":!*_test.go")
		out, _ := cmd.Output() // grep exits 1 when it finds nothing
		for line := range strings.Lines(string(out)) {
			if !slices.ContainsFunc(rule.allowed, func(prefix string) bool { return strings.HasPrefix(line, prefix) }) {
				t.Errorf("%s does not belong here: %s", rule.word, line)
			}
		}
	}
}
