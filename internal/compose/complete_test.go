package compose

import (
	"strings"
	"testing"

	"rtls/internal/cli"
)

// Whatever stands in the fields that are rewritten, what leaves is a header in which the
// author and the recipients are those that were asked for.
func FuzzComplete(f *testing.F) {
	for _, s := range []string{"root (Cron Daemon)", "A <a@b>", "=?utf-8?q?x?= <a@b>, c@d", "g: a@b, c;", "\"a, b\" <root>", "", "a@b (c", "<>", "root, daemon", "\xff"} {
		f.Add(s, s, s, true, true)
		f.Add(s, "root", s, false, false)
	}
	aliases := &Aliases{entries: map[string]alias{"root": {1, "ann@example.org, bob@example.net"}, "*": {2, "jörg@example.org"}}}
	f.Fuzz(func(t *testing.T, from, to, name string, force, undisclosed bool) {
		if strings.ContainsAny(from+to, "\r\n\x00") {
			return // other fields; FuzzRead has those
		}
		o := options("x@example.net")
		o.Identity, o.Force, o.FullName = "me@example.org", force, name
		o.Aliases, o.AliasHeader, o.Undisclosed, o.LocalDomains = aliases, true, undisclosed, []string{"local.example.org"}
		m, err := Read(strings.NewReader("From: "+from+"\nTo: "+to+"\n\nb\n"), o)
		if err != nil {
			if cli.ExitCode(err) != cli.DataErr {
				t.Fatal(err)
			}
			return
		}
		defer m.Close()
		header, _, _ := strings.Cut(text(t, m), "\r\n\r\n")
		checkFuzzedHeader(t, header, false)
		if authors := fieldsOf(header, "From"); force {
			found, err := ParseList(authors[0])
			if len(authors) != 1 || err != nil || len(found) != 1 || found[0] != "me@example.org" {
				t.Errorf("From %q is %q, %v", from, authors, err)
			}
		}
		shown := fieldsOf(header, "To")
		switch {
		case len(shown) != 1:
			t.Errorf("To %q is %q", to, shown)
		case undisclosed && shown[0] != " undisclosed-recipients:;":
			t.Errorf("To %q is shown: %q", to, shown)
		case to == "root" && !undisclosed && shown[0] != " ann@example.org, bob@example.net":
			t.Errorf("root is %q", shown)
		}
	})
}

// fieldsOf are the bodies of a header's fields of a name, unfolded.
func fieldsOf(header, name string) []string {
	var all []string
	for line := range strings.SplitSeq(strings.ReplaceAll(header, "\r\n ", " "), "\r\n") {
		if field, body, _ := strings.Cut(line, ":"); strings.EqualFold(field, name) {
			all = append(all, body)
		}
	}
	return all
}
