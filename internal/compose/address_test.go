package compose

import (
	"slices"
	"strings"
	"testing"
)

func TestParseList(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want []string // nil: an error
	}{
		{"", []string{}},
		{" , ,", []string{}},
		{"a@b.example", []string{"a@b.example"}},
		{"Alice Lind <a@b.example>, c@d", []string{"a@b.example", "c@d"}},
		{`"Lind, A." <a@b.example>`, []string{"a@b.example"}},
		{"J. R. Dobbs <a@b.example>", []string{"a@b.example"}},
		{"(one (two)) a (x\\)) @ (y) b . example (z)", []string{"a@b.example"}},
		{"undisclosed-recipients:;", []string{}},
		{"Crew: a@b, Bo <c@d>;, e@f", []string{"a@b", "c@d", "e@f"}},
		{"Crew: a@b, ;", []string{"a@b"}},
		{"<@x.example,@y.example:a@b>", []string{"a@b"}},
		{"<@x.example:a@b>", []string{"a@b"}},
		{"a@b <a@b>", []string{"a@b"}},
		{"Foo [bar] <a@b>", []string{"a@b"}},
		{"root", []string{"root"}},
		{"root (Cron Daemon)", []string{"root"}},
		{"<root>", []string{"root"}},
		{`"bob"@x.example`, []string{"bob@x.example"}},
		{`"ida holm"@x.example`, []string{`"ida holm"@x.example`}},
		{`"a\"b\\c>"@x.example`, []string{`"a\"b\\c>"@x.example`}},
		{`"a@b"@x.example`, []string{`"a@b"@x.example`}},
		{"o'brien+x=y@x.example", []string{"o'brien+x=y@x.example"}},
		{"=?UTF-8?Q?J=C3=B6rg?= <j@x.example>", []string{"j@x.example"}},
		{"J\xf6rg <j@x.example>", []string{"j@x.example"}}, // Latin-1, in the name only
		{"jörg@bücher.example", []string{"jörg@bücher.example"}},
		{"a@[192.0.2.7]", []string{"a@[192.0.2.7]"}},
		{"a@[IPv6:2001:db8::7]", []string{"a@[IPv6:2001:db8::7]"}},

		{"a@[300.1.1.1]", nil},
		{"a@[2001:db8::7]", nil},
		{"a@[IPv6:192.0.2.7]", nil},
		{"a@[IPv6:fe80::1%eth0]", nil},
		{"a@[x", nil},
		{"a@[smtp:x]", nil},
		{"Alice Lind", nil},
		{"a b@x.example", nil},
		{"a@b c@d", nil},
		{"a@b;", nil},
		{"a@b..example", nil},
		{"a@.example", nil},
		{"a@b.", nil},
		{"a..b@x.example", nil},
		{".a@x.example", nil},
		{"a.@x.example", nil},
		{"@x.example", nil},
		{"a@", nil},
		{"<a@b", nil},
		{"a@b>", nil},
		{"<a@b>>", nil},
		{"<>", nil},
		{"(a@b", nil},
		{`"a@b`, nil},
		{`"a\`, nil},
		{`""@x.example`, nil},
		{"Crew: a@b", nil},
		{"A: B: c@d;;", nil},
		{"a> SIZE=1@b", nil},
		{"a@b> SIZE=1", nil},
		{"a@b SIZE=1", nil},
		{"a@-b.example", nil},
		{"a@b-.example", nil},
		{"a@b_c.example", nil},
		{"a@b\rRCPT", nil},
		{"a\x01@b", nil},
		{"\"a\tb\"@c.example", nil},
		{"\"a\rb\"@c.example", nil},
		{"a@b\u2028c", nil},
		{"a\u0085@b", nil},
		{"j\xf6rg@x.example", nil}, // not UTF-8
		{"a@b\xfc.example", nil},
		{"a@" + strings.Repeat("x", 64) + ".example", nil},
		{strings.Repeat("x", 600) + "@x.example", nil},
		{"a@" + strings.Repeat("x.", 200) + "example", nil},
	} {
		got, err := ParseList(tc.in)
		if (err == nil) != (tc.want != nil) || err == nil && !slices.Equal(got, tc.want) {
			t.Errorf("ParseList(%q) = %q, %v; want %q", tc.in, got, err, tc.want)
		}
	}
}

func TestParseAddress(t *testing.T) {
	for in, want := range map[string]string{"": "", "<>": "", " <> ": "", "A <a@b>": "a@b"} {
		if got, err := ParseAddress(in); err != nil || got != want {
			t.Errorf("ParseAddress(%q) = %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"a@b, c@d", "x:;", ","} {
		if got, err := ParseAddress(in); err == nil {
			t.Errorf("ParseAddress(%q) = %q", in, got)
		}
	}
}

// What an address parser accepts goes into an SMTP command. Nothing may stand there
// that ends the path or the command early, and the address must mean the same when
// it is read again.
func FuzzParseList(f *testing.F) {
	for _, s := range []string{"", "a@b", `"x y>"@b, <c@[192.0.2.1]>`, "G: a@b;, (c) d . e @ f", "<@r:a@b>", "\"\\\"\"@x", "a> SIZE=1@b", "jörg@bücher.example", "root"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		found, err := ParseList(s)
		if err != nil {
			return
		}
		for _, addr := range found {
			checkWireSafe(t, addr)
			again, err := ParseList(addr)
			if err != nil || len(again) != 1 || again[0] != addr {
				t.Errorf("%q from %q reads as %q, %v", addr, s, again, err)
			}
		}
	})
}

func checkWireSafe(t *testing.T, addr string) {
	t.Helper()
	inQuotes := false
	for i := 0; i < len(addr); i++ {
		switch c := addr[i]; {
		case c < ' ' || c == 0x7f:
			t.Errorf("%q holds a control character", addr)
		case c == '"':
			inQuotes = !inQuotes
		case c == '\\' && inQuotes:
			i++
		case !inQuotes && (c == ' ' || c == '>' || c == '<' || c == ','):
			t.Errorf("%q holds %q outside quotes", addr, c)
		}
	}
	if addr == "" || inQuotes {
		t.Errorf("%q is no address", addr)
	}
}
