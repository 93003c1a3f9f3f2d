package mimetree

import (
	"slices"
	"strings"
	"testing"
)

// show writes addresses the way ENVELOPE does, with | between the elements.
func show(addresses []Address) string {
	var all []string
	for _, a := range addresses {
		switch a.Kind {
		case GroupStart:
			all = append(all, a.Mailbox+":")
		case GroupEnd:
			all = append(all, ";")
		default:
			all = append(all, strings.Join([]string{a.Name, a.Route, a.Mailbox, a.Host}, "/"))
		}
	}
	return strings.Join(all, " | ")
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{"", ""},
		{" , ,, ", ""},
		{"(nobody)", ""},
		{"alice@example.org", "//alice/example.org"},
		{"Alice <alice@example.org>", "Alice//alice/example.org"},
		{"alice@example.org (Alice (on call))", "Alice (on call)//alice/example.org"},
		{"(night shift) alice@example.org", "night shift//alice/example.org"},
		{"<a@b> (Ann)", "Ann//a/b"},
		{`(a\)b) x@y`, "a)b//x/y"},
		{`"Lind, A." <"a,b;c:d"@example.net>`, "Lind, A.//a,b;c:d/example.net"},
		{`"Ida \"the sailor\" Holm" (at sea) <"ida holm"@example.com>`, `Ida "the sailor" Holm//ida holm/example.com`},
		{"John   Q.  Public <jqp@example.com>", "John Q. Public//jqp/example.com"},
		{"=?utf-8?Q?J=C3=BCrg?= <j@example.com>", "=?utf-8?Q?J=C3=BCrg?=//j/example.com"},
		{"Jürg <jürg@exämple.com>", "Jürg//jürg/exämple.com"},
		{"a@b, c@d,e@f", "//a/b | //c/d | //e/f"},
		{"<operator@[IPv6:2001:db8::7]>, x@[192.0.2.7]", "//operator/[IPv6:2001:db8::7] | //x/[192.0.2.7]"},
		{"!#$%&'*+-/=?^_`{|}~@example.com", "//!#$%&'*+-/=?^_`{|}~/example.com"},
		{`" "@example.org`, "// /example.org"},

		// groups
		{"undisclosed-recipients:;", "undisclosed-recipients: | ;"},
		{"Crew: bob@example.net, Dora <d@e>;, Nobody:;, x@y", "Crew: | //bob/example.net | Dora//d/e | ; | Nobody: | ; | //x/y"},
		{"Crew: bob@example.net", "Crew: | //bob/example.net | ;"},
		{"A: B: x@y;", "A: | ; | B: | //x/y | ;"},
		{`"a group": x@y; z@w`, "a group: | //x/y | ; | //z/w"},

		// obsolete syntax
		{"Mary . Shelf <@relay.example.net,@hub.example.net:mary @ example . com>", "Mary . Shelf/@relay.example.net,@hub.example.net/mary/example.com"},
		{"bob . b @ example . net", "//bob.b/example.net"},
		{"<@a , @b : x@y>", "/@a,@b/x/y"},

		// what nobody allows
		{"root", "//root/"},
		{"cron daemon", "//cron daemon/"},
		{"<root>", "//root/"},
		{"Nobody <>", "Nobody///"},
		{"<>", "///"},
		{"@example.org", "///example.org"},
		{"bob@example.com <bob@example.com>", "bob@example.com//bob/example.com"},
		{"a@b; c@d", "//a/b | //c/d"},
		{"a@b c@d, e@f", "//a/b | //e/f"},
		{"<a@b, c@d", "//a/b | //c/d"},
		{"Ann <a@b", "Ann//a/b"},
		{"Ann <a@b>> x, c@d", "Ann//a/b | //c/d"},
		{`"open, a@b`, "//open, a@b/"},
		{"(open, a@b", ""},
		{"x@[192.0.2.7, c@d", "//x/[192.0.2.7, c@d"},
		{"<@a,@b>", "///"},
		{"<@a)b:c@d>", "///"},
		{": a@b, c@d", "//c/d"},
		{")>]", ""},
		{`a\b@c`, `//a\b/c`},
		{`"ends in \`, `//ends in \/`},
	} {
		if got := show(parseAddresses(c.value)); got != c.want {
			t.Errorf("%q: got %q, want %q", c.value, got, c.want)
		}
	}
}

func FuzzAddresses(f *testing.F) {
	f.Add("Crew: bob@example.net, Dora <@a,@b:d@e>;, \"x\" (y) <z@[1.2.3.4]>")
	f.Fuzz(func(t *testing.T, value string) {
		inGroup := false
		for _, a := range parseAddresses(strings.ReplaceAll(value, "\x00", " ")) {
			switch a.Kind {
			case GroupStart:
				if inGroup || a.Mailbox == "" {
					t.Fatalf("%q: a group starts in a group, or has no name", value)
				}
				inGroup = true
			case GroupEnd:
				if !inGroup {
					t.Fatalf("%q: a group ends that did not start", value)
				}
				inGroup = false
			}
		}
		if inGroup {
			t.Fatalf("%q: a group does not end", value)
		}
	})
}

func TestContentType(t *testing.T) {
	for _, c := range []struct {
		value, want string // want is empty for one that cannot be read
		params      []Param
	}{
		{"text/plain", "text/plain", nil},
		{"Text/HTML; Charset=UTF-8", "Text/HTML", []Param{{"Charset", "UTF-8"}}},
		{"text/plain; charset=us-ascii (Plain text)", "text/plain", []Param{{"charset", "us-ascii"}}},
		{"(a) text (b) / (c) plain (d) ; (e) x (f) = (g) y", "text/plain", []Param{{"x", "y"}}},
		{`multipart/mixed; boundary="a \"b\" ;c"`, "multipart/mixed", []Param{{"boundary", `a "b" ;c`}}},
		{"multipart/mixed; boundary=----=_Part_1/x:y", "multipart/mixed", []Param{{"boundary", "----=_Part_1/x:y"}}},
		{"a/b; n*0*=utf-8''x; n*1=y; n*0*=again", "a/b", []Param{{"n*0*", "utf-8''x"}, {"n*1", "y"}, {"n*0*", "again"}}},
		{"a/b;; x; =y; z=", "a/b", []Param{{"z", ""}}},
		{"a/b; x=1; y=2;", "a/b", []Param{{"x", "1"}, {"y", "2"}}},
		{"a/b c=d; x=1", "a/b", []Param{{"x", "1"}}},
		{`a/b; x="open; y=2`, "a/b", []Param{{"x", "open; y=2"}}},
		{"a/b, c/d; x=1", "a/b", []Param{{"x", "1"}}},
		{`a/b; (x; y=1) z=2; w="a" (;) ; v=3`, "a/b", []Param{{"z", "2"}, {"w", "a"}, {"v", "3"}}},
		{"", "", nil},
		{"text", "", nil},
		{"text/", "", nil},
		{"/plain", "", nil},
		{"; charset=x", "", nil},
		{"(text/plain", "", nil},
	} {
		typ, subtype, params, ok := parseType(c.value)
		got := typ + "/" + subtype
		if !ok {
			got = ""
		}
		if got != c.want || !slices.Equal(params, c.params) {
			t.Errorf("%q: got %q %q, want %q %q", c.value, got, params, c.want, c.params)
		}
	}
}

func TestDisposition(t *testing.T) {
	for _, c := range []struct {
		value, want string
		params      []Param
	}{
		{"inline", "inline", nil},
		{`attachment; filename="a b.pdf"; size=10`, "attachment", []Param{{"filename", "a b.pdf"}, {"size", "10"}}},
		{`"attachment"; filename=a`, "attachment", []Param{{"filename", "a"}}},
		{"; filename=a", "", nil},
		{"", "", nil},
	} {
		got, params := parseDisposition(c.value)
		if got != c.want || !slices.Equal(params, c.params) {
			t.Errorf("%q: got %q %q, want %q %q", c.value, got, params, c.want, c.params)
		}
	}
}
