package sieve

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Scripts and messages that are made to take long end all the same, and the
// message is there. Without a bound each of them would take minutes or all memory.
func TestRunEnds(t *testing.T) {
	many := func(n int, s string) string { return strings.Repeat(s, n) }
	list := func(n int, s string) string { return "[" + many(n-1, `"`+s+`",`) + `"` + s + `"]` }
	parts := "Content-Type: multipart/mixed; boundary=b\n\n" + many(9000, "--b\n\nx\n") + "--b--\n"
	for _, c := range []struct{ name, script, message string }{
		{"keys and fields", `if header "x" ` + list(100_000, "no") + ` { discard; }`, many(50_000, "X: yes\n") + "\n"},
		{"names and fields", `if header ` + list(200_000, "x") + ` "no" { discard; }`, many(50_000, "X: yes\n") + "\n"},
		{"names and a long field", `if header ` + list(200_000, "x") + ` "no" { discard; }`, "X: " + many(900_000, "y") + "\n\n"},
		{"addresses", `if address ` + list(100_000, "to") + ` "no" { discard; }`, "To: " + many(100_000, "a@b,") + "\n\n"},
		{"own addresses", `if true { vacation :addresses ` + list(20_000, "x@y") + ` "away"; }`, "To: " + many(50_000, "a@b,") + "\n\n"},
		{"wildcards", `if header :matches "x" "*` + many(100_000, "?") + `b*" { discard; }`, "X: " + many(900_000, "y") + "\n\n"},
		{"almost", `if header :matches "x" "` + many(50, "*aaaaaaaa?") + `b*" { discard; }`, "X: " + many(900_000, "a") + "\n\n"},
		{"long lists", `set "a" "` + many(16_000, "a") + `"; if header "x" ` + list(100_000, "${a}b") + ` { discard; }`, "X: y\n\n"},
		{"flags", `set "a" "` + many(4000, "a b ") + `"; if hasflag ` + list(100_000, "a") + ` "x" { discard; }`, "\n"},
		{"body tests", many(10_000, `if body :content "text" "no" { discard; }`), parts},
		{"body keys", `if body :contains ` + list(100_000, "no") + ` { discard; }`, "\n" + many(100_000, "some text\n")},
		{"body types", `if body :content ` + list(150_000, "a/b") + ` "no" { discard; }`, parts},
		{"steps", many(100_000, "if true {}"), "\n"},
	} {
		start := time.Now()
		s, err := Parse(strings.NewReader("require [" + requireAll() + "];" + c.script))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		parsed := time.Since(start)
		env := testEnv
		env.Limits.Work = DefaultWork / 40
		result, err := s.Run(t.Context(), env, messageOf(c.message))
		var fault *Error
		if show(result) != "keep" || err != nil && !errors.As(err, &fault) {
			t.Errorf("%s: %s, %v", c.name, show(result), err)
		}
		t.Logf("%s: parsed in %v, all %v, %v", c.name, parsed, time.Since(start), err)
	}
}

func TestParseEnds(t *testing.T) {
	const n = 250_000
	require := "require [" + requireAll() + "];"
	for _, script := range []string{
		`redirect "` + strings.Repeat("${a", n) + `}";`,
		`redirect "` + strings.Repeat("${hex:00 ", n/3) + `}";`,
		`redirect "` + strings.Repeat("a.", n) + `";`,
		`redirect "` + strings.Repeat("(", n) + `";`,
		strings.Repeat("(", n),
		strings.Repeat("[", n),
		strings.Repeat("/**/", n),
		fmt.Sprintf("require [%s\"\"];", strings.Repeat(`"fileinto",`, n/4)),
	} {
		start := time.Now()
		if _, err := Parse(strings.NewReader(require + script)); err == nil {
			t.Logf("%.20s is right", script)
		}
		t.Logf("%.20s: %v", script, time.Since(start))
	}
}

// Looking for a mailbox takes a disk, which no script can keep busy for long.
func TestMailboxExistsIsBounded(t *testing.T) {
	script := `require "mailbox"; if anyof (` + strings.TrimSuffix(strings.Repeat(`not mailboxexists "a", `, 20_000), ", ") + `) { discard; }`
	s, err := Parse(strings.NewReader(script))
	if err != nil {
		t.Fatal(err)
	}
	boxes := &countedMailboxes{}
	_, err = s.Run(t.Context(), Env{Mailboxes: boxes}, Message{Content: strings.NewReader("a: b\n\n"), Size: 6})
	if _, ok := errors.AsType[*Error](err); !ok || boxes.n == 0 || boxes.n > 1000 {
		t.Errorf("%v, %d look-ups", err, boxes.n)
	}
}

type countedMailboxes struct{ n int }

func (c *countedMailboxes) Exists(context.Context, string) (bool, error) { c.n++; return true, nil }
