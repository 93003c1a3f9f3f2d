package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each rule of docs/conformance.md that has a test has a subtest of its name here, and
// each such subtest stands there.
func TestConformanceTable(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "conformance.md"))
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile(`\b[SLBDIE]\d\d\b`)
	listed, _, found := strings.Cut(string(text), "\n## Not yet\n")
	if !found {
		t.Fatal("docs/conformance.md does not say what there is no test of yet")
	}
	rules := make(map[string]bool)
	for line := range strings.Lines(listed) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, id := range rule.FindAllString(cells[1], -1) {
				rules[id] = true
			}
		}
	}
	tests := make(map[string]bool)
	files, err := filepath.Glob("conformance_*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("send_*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`"((?:[SLBDIE]\d\d_)+)`)
	for _, file := range append(files, more...) {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range name.FindAllStringSubmatch(string(source), -1) {
			for id := range strings.SplitSeq(strings.Trim(m[1], "_"), "_") {
				tests[id] = true
			}
		}
	}
	for id := range rules {
		if !tests[id] {
			t.Errorf("%s has no subtest", id)
		}
	}
	for id := range tests {
		if !rules[id] {
			t.Errorf("the subtest %s is in no list of rules", id)
		}
	}
	if len(rules) < 130 {
		t.Errorf("%d rules were found", len(rules))
	}
}
