package lda

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func testAliases(t testing.TB, text string) *Aliases {
	t.Helper()
	path := filepath.Join(t.TempDir(), "aliases")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return OpenAliases(path)
}

func TestAliases(t *testing.T) {
	deep := ""
	for i := range 30 {
		deep += fmt.Sprintf("d%d: d%d\n", i, i+1)
	}
	text := `# comment
postmaster: u1
ABuse:	u1, u2,
# a comment between

	postmaster
u3: \u3, u4
u5: u5, u6
whole@example.org: alice@example.org
lists: alice+lists@example.org, u1
loop: loop2
loop2: loop
"odd name": u7
gone: mallory
pipe: |program
quoted: "|program with, comma"
include: :include:/etc/list
file: "/var/mail/x"
twice: u1
twice: u2
empty:
bad: a b
` + deep + "d30: u1\n"
	aliases := testAliases(t, text)
	a, _ := newAgent(t, func(c *Config) { c.Aliases = aliases })
	for _, tc := range []struct{ address, want string }{
		{"postmaster@example.com", "u1:"},
		{"POSTMASTER", "u1:"},
		{"postmaster+x", "u1:x"}, // the detail is handed on
		{"abuse", "u1: u2:"},
		{"u3", "u3: u4:"},
		{"u5", "u5: u6:"},
		{"u2", "u2:"},
		{"whole@example.org", "alice@example.org:"},
		{"lists+x", "alice@example.org:lists u1:x"},
		{`"odd name"@example.com`, "u7:"},
		{"nobody@example.com", "550 5.1.1"},
		{"loop", "alias loop2: loop is nobody here"},
		{"gone", "alias gone: mallory is nobody here"},
		{"pipe", "is a program"},
		{"quoted", "is a program"},
		{"include", "lists are for the mail transfer agent"},
		{"file", "is a file"},
		{"twice", "alias twice stands in line 19 already"},
		{"empty", "has no target"},
		{"bad", "holds a space"},
		{"d0", "lead too far"},
		{"d15", "u1:"},
	} {
		r, err := a.Resolve(t.Context(), tc.address)
		var got []string
		if err == nil {
			for _, target := range r.Targets() {
				got = append(got, target.User+":"+target.Folder)
			}
			if s := strings.Join(got, " "); s != tc.want {
				t.Errorf("%s: %s, want %s", tc.address, s, tc.want)
			}
			continue
		}
		e, _ := errors.AsType[*Error](err)
		if !strings.Contains(err.Error(), tc.want) || e.Temporary() == (tc.want == "550 5.1.1") || strings.Contains(e.Text, "/") {
			t.Errorf("%s: %v, want %s", tc.address, err, tc.want)
		}
	}
	if r, err := a.ResolveUser(t.Context(), "u3"); err != nil || len(r.Also) != 0 || r.User != "u3" {
		t.Errorf("%+v, %v", r, err)
	}
	err := aliases.Check()
	if n := strings.Count(err.Error(), "\n") + 1; n != 7 || !strings.Contains(err.Error(), "aliases:16: alias quoted") {
		t.Errorf("%v", err)
	}
}

// An alias file is read again when it changes, and a slip that belongs to no entry
// is everybody's doubt.
func TestAliasesChange(t *testing.T) {
	aliases := testAliases(t, "x: u1\n")
	a, _ := newAgent(t, func(c *Config) { c.Aliases = aliases })
	for _, tc := range []struct{ text, want string }{
		{"x: u1\n", ""},
		{"x: u1\ny: u2, u3\n", ""},
		{"no colon\n", "aliases:1: an alias is written as"},
		{" x: u1\n", "aliases:1: continues nothing"},
		{"\"x: u1\n", "aliases:1: open quote"},
		{": u1\n", "aliases:1: an alias has a name"},
		{"x: u1\x00\n", "aliases:1: control character"},
	} {
		if err := os.WriteFile(aliases.path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := a.Resolve(t.Context(), "u1")
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || !Classify(err).Temporary()) {
			t.Errorf("%q: %v", tc.text, err)
		}
	}
	for _, mode := range []os.FileMode{0o620, 0o602} {
		if err := os.Chmod(aliases.path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Resolve(t.Context(), "u1"); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
			t.Errorf("%v: %v", mode, err)
		}
	}
	if err := os.Remove(aliases.path); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Resolve(t.Context(), "u1"); !Classify(err).Temporary() {
		t.Error(err)
	}
}

func TestDomains(t *testing.T) {
	a, _ := newAgent(t, func(c *Config) { c.Domains = []string{"example.org", "second.example"} })
	for address, ok := range map[string]bool{
		"u1": true, "u1@example.org": true, "u1@SECOND.example": true, "u1@example.net": false,
		"alice@example.org": true, "u1+x@example.net": false,
	} {
		if _, err := a.Resolve(t.Context(), address); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// Whatever stands in a file, what is read of it can be written and read again, and
// resolving ends.
func FuzzAliases(f *testing.F) {
	for _, seed := range []string{"a: b, c\n\td\n", "\"a:b\": \\c\n# x\n", "a: |b\n", "a: b\nb: a\n", "a: a, b\r\nb: \"c d\"@e\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseAliases("aliases", text)
		if err != nil {
			return
		}
		var again strings.Builder
		for _, e := range list {
			if e.err != nil {
				continue
			}
			local, domain := SplitAddress(e.name)
			name := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`
			if domain != "" {
				name += "@" + domain
			}
			var targets []string
			for _, target := range e.targets {
				s := target.address
				if target.final {
					s = `\` + s
				}
				targets = append(targets, s)
			}
			fmt.Fprintf(&again, "%s: %s\n", name, strings.Join(targets, ",\n\t"))
		}
		second, err := parseAliases("aliases", again.String())
		if err != nil {
			t.Fatalf("%q became %q: %v", text, again.String(), err)
		}
		for _, e := range second {
			same := func(f alias) bool { return f.name == e.name && slices.Equal(f.targets, e.targets) }
			if e.err != nil || !slices.ContainsFunc(list, same) {
				t.Fatalf("%q became %q: %+v", text, again.String(), e)
			}
		}
		a, _ := newAgent(t, func(c *Config) { c.Aliases = testAliases(t, text) })
		for _, e := range list {
			_, _ = a.Resolve(t.Context(), e.name)
		}
	})
}
