package sieve

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// evaluated are tests, and what they are for plainMessage.
var evaluated = []struct {
	test string
	want bool
}{
	// RFC 5228 section 5
	{`true`, true},
	{`false`, false},
	{`not false`, true},
	{`allof (false, false)`, false},
	{`allof (false, true)`, false},
	{`allof (true, true)`, true},
	{`anyof (false, false)`, false},
	{`anyof (false, true)`, true},
	{`anyof (true, not not false)`, true},
	{`exists ["From", "Date"]`, true},
	{`exists ["From", "X-Nothing"]`, false},
	{`exists "from:"`, false},
	{`size :over 0K`, true},
	{`size :under 1M`, true},
	{`size :over 1G`, false},
	{`header :is "X-Empty" ""`, true},
	{`header :contains "X-Empty" ""`, true},
	{`header :is "X-Nothing" ""`, false},
	{`header :contains "X-Nothing" ""`, false},
	{`header :is "X-Priority" ""`, false},
	{`header :contains "X-Priority" ""`, true},
	{`not header :matches "X-Empty" "?*"`, true},
	{`not header :matches "Subject" "?*"`, false},
	{`header "subject" "i have a PRESENT for you"`, true},
	{`header :comparator "i;octet" "subject" "i have a PRESENT for you"`, false},
	{`header :contains ["To", "Subject"] ["nothing", "present"]`, true},
	{`header :is "X-Words" "Grüße ä"`, true},
	{`header :contains "X-Words" "GRÜSSE"`, false},
	{`header :is "List-Hint" "[acme-users] [fwd] version 1.0 is out"`, true},
	{`header :contains "list-hint" "fwd] version"`, true},

	// addresses
	{`address :is :all "from" "COYOTE@desert.example.org"`, true},
	{`address "from" "W. Coyote"`, false},
	{`address :localpart "from" "coyote"`, true},
	{`address :domain ["to", "cc"] "acme.example.com"`, true},
	{`address :domain :comparator "i;octet" "to" "ACME.Example.COM"`, true},
	{`address "cc" "a@example.net"`, true},
	{`address :contains "cc" "Friends"`, false},
	{`address :count "eq" "cc" "2"`, true},
	{`address :count "ge" :comparator "i;ascii-numeric" ["to", "cc"] "4"`, true},
	{`header :count "eq" ["to", "cc"] "2"`, true},
	{`header :count "ge" :comparator "i;ascii-numeric" ["received"] "3"`, false},
	{`header :count "ge" :comparator "i;ascii-numeric" ["received", "subject"] "3"`, true},

	// RFC 5233
	{`address :user "to" "roadrunner"`, true},
	{`address :detail "to" "birds"`, true},
	{`address :detail "from" ""`, false},
	{`address :user "from" "coyote"`, true},
	{`address :detail "resent-to" "b+c"`, true},
	{`address :user "resent-to" "a"`, true},
	{`address :localpart "resent-to" "a+b+c"`, true},
	{`address :localpart "return-path" "coyote"`, true},
	{`address :localpart "reply-to" "root"`, false},
	{`address :domain "reply-to" ""`, false},
	{`address "reply-to" "root"`, true},
	{`envelope :detail "to" "birds"`, true},
	{`envelope :user "to" "roadrunner"`, true},
	{`envelope "to" "roadrunner+birds@acme.example.com"`, true},
	{`envelope :domain "from" "desert.example.org"`, true},
	{`envelope :count "eq" ["from", "to"] "2"`, true},

	// RFC 5231, RFC 4790
	{`header :value "lt" :comparator "i;ascii-numeric" "x-priority" "3"`, true},
	{`header :value "gt" :comparator "i;ascii-numeric" "x-priority" "3"`, false},
	{`header :is :comparator "i;ascii-numeric" "x-priority" "2"`, true},
	{`header :value "gt" :comparator "i;ascii-numeric" "subject" "3"`, true},
	{`string :value "lt" :comparator "i;ascii-numeric" "0" "1"`, true},
	{`string :value "lt" :comparator "i;ascii-numeric" "1" "4294967298"`, true},
	{`string :is :comparator "i;ascii-numeric" "04294967298" "4294967298b"`, true},
	{`string :value "lt" :comparator "i;ascii-numeric" "04294967298" ""`, true},
	{`string :is :comparator "i;ascii-numeric" ["", "x"] "y"`, true},
	{`string :is :comparator "i;ascii-numeric" "00" "0"`, true},
	{`string :value "gt" "b" "A"`, true},
	{`string :value "ne" "a" "A"`, false},
	{`address :value "gt" :all "from" "M"`, false},
	{`string :count "eq" ["", "a", "b"] "2"`, true},

	// RFC 5260
	{`date :originalzone "date" "hour" "09"`, true},
	{`date :zone "+0000" "date" "hour" "17"`, true},
	{`date "date" "hour" "18"`, true},
	{`date :originalzone "date" "year" "1997"`, true},
	{`date :originalzone "date" "date" "1997-04-01"`, true},
	{`date :originalzone "date" "weekday" "2"`, true},
	{`date :originalzone "date" "julian" "50539"`, true},
	{`date :originalzone "date" "iso8601" "1997-04-01T09:06:31-08:00"`, true},
	{`date :zone "+0000" "date" "iso8601" "1997-04-01T17:06:31Z"`, true},
	{`date :zone "+0530" "date" "zone" "+0530"`, true},
	{`date :originalzone "received" "time" "09:06:40"`, true},
	{`date "subject" "year" "1997"`, false},
	{`date :count "eq" "subject" "year" "0"`, true},
	{`date :count "eq" "date" "year" "1"`, true},
	{`date :value "ge" :originalzone "date" "hour" "09"`, true},
	{`currentdate "date" "2026-11-24"`, true},
	{`currentdate "TIME" "17:05:09"`, true},
	{`currentdate "zone" "+0100"`, true},
	{`currentdate :zone "-0800" "hour" "08"`, true},
	{`currentdate "std11" "Tue, 24 Nov 2026 17:05:09 +0100"`, true},
	{`currentdate :value "le" "date" "2026-12-31"`, true},

	// RFC 5490
	{`mailboxexists "inbox"`, true},
	{`mailboxexists ["INBOX", "Partners"]`, true},
	{`mailboxexists ["Partners", "Nobody"]`, false},

	// the tag
	{`tlstag "require"`, true},
	{`tlstag ["none", "OPTIONAL"]`, false},
	{`tlstag :matches "re*"`, true},
	{`tlsorigin "esmtp"`, true},
	{`tlsorigin :is ["header", "unknown"]`, false},
}

func TestTests(t *testing.T) {
	env := testEnv
	env.Mailboxes = mailboxes{"Partners": nil}
	for _, c := range evaluated {
		if got := holds(t, env, messageOf(plainMessage), c.test); got != c.want {
			t.Errorf("%s: got %t", c.test, got)
		}
	}
}

func TestDates(t *testing.T) {
	for value, want := range map[string]string{
		"Tue, 1 Apr 1997 09:06:31 -0800 (PST)":                              "1997-04-01T09:06:31-08:00",
		"1 Apr 1997 09:06 +0000":                                            "1997-04-01T09:06:00Z",
		"Mon (Monday), 23 Nov 26 9 : 00 EST":                                "2026-11-23T09:00:00-05:00",
		"Mon , 23 Nov 2026 09 :00: 01 pdt":                                  "2026-11-23T09:00:01-07:00",
		"Mon, 23 Nov 2026 09:00:00 GMT":                                     "2026-11-23T09:00:00Z",
		"from a (x; y) by b; Mon, 23 Nov 2026 09:00:00 -0000 (a (b) \\) c)": "2026-11-23T09:00:00Z",
		"a; 1 Jan 2020 00:00:00 +0000; 2 Jan 2020 00:00:00 +0000":           "2020-01-02T00:00:00Z",
		"31 Feb 2026 00:00:00 +0000":                                        "",
		"yesterday":                                                         "",
		"":                                                                  "",
	} {
		msg := messageOf("X-Date: " + value + "\n\n")
		test := `date :originalzone "x-date" "iso8601" "` + want + `"`
		if want == "" {
			test = `date :count "eq" "x-date" "year" "0"`
		}
		if !holds(t, testEnv, msg, test) {
			t.Errorf("%s is not %s", value, want)
		}
	}
}

type mailboxes map[string]error

func (m mailboxes) Exists(_ context.Context, name string) (bool, error) {
	err, ok := m[name]
	return ok, err
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		value, pattern string
		want           string // what the wildcards stand for, with | between; "no" is no match
	}{
		{"frobnitzm", "frob*", "nitzm"},
		{"frobnitzm", "*", "frobnitzm"},
		{"frobnitzm", "FROB?itzm", "n"},
		{"frobnitzm", "frob", "no"},
		{"frobnitzm", "*fbm*", "no"},
		{"frobnitzm", "*bnit*", "fro|zm"},
		{"frobnitzm", "*b?it*m", "fro|n|z"},
		{"", "*", ""},
		{"", "?", "no"},
		{"", "", "(none)"},
		{"a*b", `a\*b`, "(none)"},
		{"axb", `a\*b`, "no"},
		{`a\b`, `a\\b`, "(none)"},
		{"[acme-users] [fwd] version 1.0 is out", "[*] *", "acme-users|[fwd] version 1.0 is out"},
		{"coyote@ACME.Example.COM", "coyote@**.com", "|ACME.Example"},
		{"list <foo@bar>", "*<*@*", "list |foo|bar>"},
		{"abc", "*?*", "|a|bc"},
		{"abc", "*??", "a|b|c"},
		{"aab", "*a*b", "|a"},
		{"ababab", "*ab*ab", "|ab"},
		{"ab", "*ab*ab", "no"},
		{"aXbXc", "a?b?c", "X|X"},
		{"aaa", "a*a*a*a", "no"},
		{"ü", "??", "\xc3|\xbc"},
	} {
		m := matcher{how: matchMatches}
		work := budget(DefaultWork)
		keys := m.prepare([]string{c.pattern}, &work)
		matched, ok := keys.match(c.value, &work)
		got := "no"
		if ok {
			got = "(none)"
			if len(matched) > 1 {
				got = strings.Join(matched[1:], "|")
			}
			if matched[0] != c.value {
				t.Errorf("%q: the whole is %q", c.value, matched[0])
			}
		}
		if got != c.want {
			t.Errorf("%q matches %q: got %q, want %q", c.value, c.pattern, got, c.want)
		}
		for _, size := range []int{1, 2, 3} {
			if matchesInPieces(compileGlob(upper(c.pattern)), upper(c.value), size) != ok {
				t.Errorf("%q matches %q: not so in pieces of %d", c.value, c.pattern, size)
			}
		}
	}
}

func matchesInPieces(g glob, value string, size int) bool {
	work := budget(DefaultWork)
	stream := globStream{glob: g, work: &work}
	for rest := value; rest != "" && !stream.settled(); {
		n := min(size, len(rest))
		stream.feed(rest[:n])
		rest = rest[n:]
	}
	return stream.end()
}

// A pattern that takes other matchers for ever ends, here by the budget.
func TestMatchesIsBounded(t *testing.T) {
	msg := messageOf("Subject: " + strings.Repeat("a", 100_000) + "\n\n")
	script := `if header :matches "subject" "` + strings.Repeat("*a?", 30) + `*b" { discard; } fileinto "x";`
	script = `require "fileinto"; ` + script
	if got := outcomeOf(t, testEnv, msg, script); got != "file x" {
		t.Errorf("got %s", got)
	}
	pattern := strings.Repeat("?", 20_000) + "b"
	env := testEnv
	env.Limits.Work = DefaultWork / 40
	got := outcomeOf(t, env, msg, `if header :matches "subject" "*`+pattern+`*" { discard; }`)
	if !strings.HasPrefix(got, "keep error: 1:1: ") && !strings.HasPrefix(got, "keep error: 1:4: ") || !strings.Contains(got, "too long") {
		t.Errorf("got %s", got)
	}
}

func TestMailboxErrorIsNotTheScripts(t *testing.T) {
	env := testEnv
	broken := errors.New("disk on fire")
	env.Mailboxes = mailboxes{"x": broken}
	result, err := mustParse(t, `require "mailbox"; if mailboxexists "x" { discard; }`).Run(t.Context(), env, messageOf(plainMessage))
	var fault *Error
	if show(result) != "keep" || !errors.Is(err, broken) || errors.As(err, &fault) {
		t.Errorf("got %s, %v", show(result), err)
	}
}

func TestSize(t *testing.T) {
	msg := Message{Content: strings.NewReader("A: b\n\nx\n"), Size: 8, WireSize: 11}
	for test, want := range map[string]bool{"size :over 10": true, "size :over 11": false, "size :under 11": false, "size :under 12": true} {
		if got := holds(t, testEnv, msg, test); got != want {
			t.Errorf("%s: got %t", test, got)
		}
	}
}

func TestHeaderIsBounded(t *testing.T) {
	msg := messageOf("X-First: x\n" + strings.Repeat("X-Many: "+strings.Repeat("y", 90)+"\n", maxHeader/100+1) + "X-Last: x\n\n")
	if !holds(t, testEnv, msg, `exists "x-first"`) || holds(t, testEnv, msg, `exists "x-last"`) {
		t.Error("fields are to be found up to the limit")
	}
}

func TestNullSender(t *testing.T) {
	msg := messageOf(plainMessage)
	msg.Sender = ""
	for test, want := range map[string]bool{
		`envelope "from" ""`:                 true,
		`envelope :localpart "from" ""`:      true,
		`envelope :detail "from" ""`:         true,
		`envelope :count "eq" "from" "0"`:    true,
		`envelope :domain "from" "anything"`: false,
	} {
		if got := holds(t, testEnv, msg, test); got != want {
			t.Errorf("%s: got %t", test, got)
		}
	}
	msg.Sender = "@relay.example,@hub.example:coyote@desert.example.org"
	if !holds(t, testEnv, msg, `envelope :is "from" "coyote@desert.example.org"`) {
		t.Error("the source route is not dropped")
	}
}
