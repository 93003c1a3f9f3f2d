package spool

import (
	"testing"

	"rtls/internal/compose"
)

// What compose takes for an address, the spool takes from it: nothing that could be
// sent is refused when it is to be kept.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{
		"bob@example.net", "Bob <bob@Example.NET>", "postmaster", `"a b"@example.org`, `"a\"b\\c"@example.org`, `"abc"@x`, `"a."@x`, `""@x`,
		"a@[127.0.0.1]", "a@[IPv6:::1]", "jörg@exämple.org", "a . b @ c . d", "<@x,@y:a@b>", "(c) a (d) @ (e) b", "a@b.", "<>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		found, err := compose.ParseList(s)
		if err != nil {
			return
		}
		for _, address := range found {
			if err := validAddress(address, false); err != nil {
				t.Fatalf("%q, read as %q: %v", s, address, err)
			}
		}
	})
}
