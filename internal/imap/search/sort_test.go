package search

import (
	"strings"
	"testing"
	"time"

	"rtls/internal/mimetree"
	"rtls/store"
)

// RFC 5256 section 2.1.
func TestBaseSubject(t *testing.T) {
	for subject, want := range map[string]struct {
		base  string
		reply bool
	}{
		"":                                 {"", false},
		"a  b\tc":                          {"a b c", false},
		"Re: a":                            {"a", true},
		"RE : a":                           {"a", true},
		"re:re: FW:fwd: a":                 {"a", true},
		"Re[2]: a":                         {"a", true},
		"[list] Re: [list] a":              {"a", true},
		"[list] a":                         {"a", false},
		"[a] [b]":                          {"[b]", false},
		"[list]":                           {"[list]", false},
		"[list] Re:":                       {"", true},
		"a (fwd)":                          {"a", true},
		"a (FWD) (fwd) ":                   {"a", true},
		"[Fwd: a]":                         {"a", true},
		"[fwd: Re: [x] [fwd: a (fwd)]]":    {"a", true},
		"Fwd: [fwd: [y] a] (fwd)":          {"a", true},
		"Re a":                             {"Re a", false},
		"Reply: a":                         {"Reply: a", false},
		"[a[b] Re: c":                      {"[a[b] Re: c", false},
		"(fwd)":                            {"", true},
		"a (fwd) b":                        {"a (fwd) b", false},
		"[fwd: a":                          {"[fwd: a", false},
		"Re: " + strings.Repeat("é", 2000): {strings.Repeat("é", 510), true},
	} {
		if base, reply := baseSubject(subject); base != want.base || reply != want.reply {
			t.Errorf("%q: %q, %v, want %q, %v", subject, base, reply, want.base, want.reply)
		}
	}
}

// What is taken away once is gone: the base of a base is the same base.
func FuzzBaseSubject(f *testing.F) {
	for _, seed := range []string{"Re: [x] a (fwd)", "[fwd: [fwd: Re[5] : [a][b]]]", "[]", "re:[fwd:]", "fwd[:]:"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		base, reply := baseSubject(subject)
		if again, stillReply := baseSubject(base); again != base || stillReply {
			t.Errorf("%q: %q, but of that %q", subject, base, again)
		}
		if other, _ := baseSubject("Re: " + subject); len(subject) < maxText/2 && other != base {
			t.Errorf("%q: %q, but of the reply %q", subject, base, other)
		}
		if len(base) > maxText || base == subject && reply {
			t.Errorf("%q: %q, %v", subject, base, reply)
		}
	})
}

// RFC 5256 section 2.2.
func TestSentDate(t *testing.T) {
	arrived := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for date, want := range map[string]string{
		"Sat, 14 Mar 2026 15:09:26 +0100":        "2026-03-14T14:09:26Z",
		"14 Mar 2026 15:09 GMT":                  "2026-03-14T15:09:00Z",
		"Sat, 14 Mar 2026 15:09:26 +0100 (CET)":  "2026-03-14T14:09:26Z",
		"Sat, 14 Mar 2026 15:09:26 nowhere/x":    "2026-03-14T15:09:26Z",
		"14 Mar 2026 99:99:99 +0000":             "2026-03-14T00:00:00Z",
		"14 Mar 2026":                            "2026-03-14T00:00:00Z",
		"Sat (Saturday), 14 Mar 26 9 : 00 EST":   "2026-03-14T14:00:00Z",
		"14 Mar 99 9:00:01 PDT":                  "1999-03-14T16:00:01Z",
		"14 Mar 55 09:00:01 Z":                   "1955-03-14T09:00:01Z",
		"Sat, 14 Mar 26 (a (b) , c) 15:09 +0130": "2026-03-14T13:39:00Z",
		"yesterday":                              "2020-01-01T00:00:00Z",
		"":                                       "2020-01-01T00:00:00Z",
	} {
		got := sentDate(store.Message{Date: arrived}, &mimetree.Envelope{Date: &date})
		if got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%q: %s, want %s", date, got.UTC().Format(time.RFC3339), want)
		}
	}
}

func TestFold(t *testing.T) {
	for _, texts := range [][]string{{"apple", "Ärger"}, {"Ärger", "b"}, {"", "a"}} {
		if a, b := fold(texts[0]), fold(texts[1]); a >= b {
			t.Errorf("%q: %q, %q: %q", texts[0], a, texts[1], b)
		}
	}
	if fold("Grüße") != fold("GRüße") || fold("é") != fold("E\u0301") {
		t.Error("case or form makes a difference")
	}
}
