package sieve

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func TestParseErrors(t *testing.T) {
	deep := func(open, inner, shut string, n int) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(shut, n)
	}
	for _, c := range []struct{ script, want string }{
		// lexer
		{`keep; 'x'`, `1:7: '\'' has no meaning here: texts go in double quotes, comments start with #`},
		{"keep;\n\n  /* no end", `3:3: the comment does not end: close it with */`},
		{`redirect "a@b;`, `1:10: the string does not end: close it with a double quote`},
		{"redirect \"a\x00\";", `1:10: the string holds a NUL: write ${hex:00}, with require "encoded-character"`},
		{"redirect \"a\\\x00\";", `1:10: the string holds a NUL: write ${hex:00}, with require "encoded-character"`},
		{"keep\x00;", `1:5: NUL is not allowed: in a string write ${hex:00}, with require "encoded-character"`},
		{`if size :over 1KB { keep; }`, `1:15: "kb" is no unit: a number is followed by K, M, G or nothing`},
		{`if size :over 9999999999999999999 { keep; }`, `1:15: the number is too large: the largest is 9223372036854775807`},
		{`if size :over 9999999999999G { keep; }`, `1:15: the number is too large: the largest is 9223372036854775807`},
		{`if size : over 1 { keep; }`, `1:9: a colon starts a tag such as :contains, but no name follows it`},
		{"require \"reject\"; reject text: x\n.\n;", `1:26: text: has to be the last on its line, but for a # comment: the text starts on the next`},
		{"require \"reject\"; reject text:\nx\n..\n", `1:26: the text does not end: close it with a line that holds only a dot`},
		{`/* ü */ §`, `1:9: '§' has no meaning here: texts go in double quotes, comments start with #`},

		// grammar
		{`keep`, `1:5: keep has to end with ";" before the end of the script`},
		{`keep discard;`, `1:6: keep takes no test: is there a ";" missing?`},
		{`"keep";`, `1:1: a command such as keep or fileinto has to be here, not a string`},
		{`if true { keep; `, `1:9: the block does not end: close it with "}"`},
		{`keep; }`, `1:7: there is a "}" without a "{" before it`},
		{`if anyof (true; false) { }`, `1:15: "," or ")" has to be here, not ";"`},
		{`if anyof () { }`, `1:11: a test such as header has to be here, not ")"`},
		{`if header ["a", 1] "b" { }`, `1:17: a string has to be here, not a number`},
		{`if header ["a" "b"] "b" { }`, `1:16: "," or "]" has to be here, not a string`},
		{deep("if true { ", "", "}", 33), `1:329: too many blocks one in the other: 32 are allowed`},
		{"if " + deep("not ", "true", "", 40) + " {}", `1:132: too many tests one in the other: 32 are allowed`},

		// names
		{`fileino "x";`, `1:1: there is no command "fileino": did you mean fileinto?`},
		{`frobnicate;`, `1:1: there is no command "frobnicate"`},
		{`header "a" "b";`, `1:1: header is a test: put if before it, and a block behind it`},
		{`if keep { }`, `1:4: keep is a command, and a test has to be here`},
		{`if heder "a" "b" { }`, `1:4: there is no test "heder": did you mean header?`},
		{`require "fileintoo";`, `1:9: the extension "fileintoo" is not to be had here: did you mean fileinto?`},
		{`fileinto "x";`, `1:1: fileinto is an extension: put require "fileinto"; at the top`},
		{`keep; require "fileinto";`, `1:7: require has to come before all other commands`},
		{`if true { } require "fileinto";`, `1:13: require has to come before all other commands`},
		{`redirect :copy "a@b";`, `1:10: :copy is an extension: put require "copy"; at the top`},
		{`if header :contain "a" "b" { }`, `1:11: header has no :contain: did you mean :contains?`},
		{`if header :over "a" "b" { }`, `1:11: header has no :over: it can be :comparator, :contains, :count, :is, :matches, :value`},
		{`if header :value "gt" "a" "b" { }`, `1:11: :value is an extension: put require "relational"; at the top`},
		{`if address :user "to" "b" { }`, `1:12: :user is an extension: put require "subaddress"; at the top`},
		{`if string "a" "b" { }`, `1:4: string is an extension: put require "variables"; at the top`},

		// arguments
		{`elsif true { }`, `1:1: elsif has to come right behind the block of an if or elsif`},
		{`if true { } keep; else { }`, `1:19: else has to come right behind the block of an if or elsif`},
		{`if true { } else { } elsif true { }`, `1:22: elsif comes behind else, which has to be the last`},
		{`if { }`, `1:1: if takes one test: join several with allof or anyof`},
		{`if (true, true) { }`, `1:1: if takes one test: join several with allof or anyof`},
		{`if true;`, `1:1: if takes a block: put what it is about in { and }`},
		{`keep { }`, `1:1: keep takes no block: end it with ";"`},
		{`if anyof true { }`, `1:4: anyof takes tests in parentheses`},
		{`if not (true, false) { }`, `1:4: not takes one test: join several with allof or anyof`},
		{`keep "x";`, `1:6: a string here is too much: keep takes none`},
		{`redirect;`, `1:1: redirect lacks an argument: it takes a string`},
		{`redirect ["a@b", "c@d"];`, `1:10: a string has to be here, not a list of strings: redirect takes a string`},
		{`if size 100 { }`, `1:4: size needs :over or :under before the number`},
		{`if size :over :under 1 { }`, `1:15: :over and :under are both the limit: leave one away`},
		{`if size :over "1" { }`, `1:15: a number has to be here, not a string: size takes a number`},
		{`if header "a" :is "b" { }`, `1:15: :is has to come before the arguments without a colon`},
		{`if header :is :is "a" "b" { }`, `1:15: :is is there twice: leave one away`},
		{`if header :is :contains "a" "b" { }`, `1:15: :is and :contains are both the match type: leave one away`},
		{`if address :all :domain "to" "b" { }`, `1:17: :all and :domain are both the part of the address: leave one away`},
		{`if header :comparator :is "a" "b" { }`, `1:23: a string has to follow :comparator, not :is`},
		{`if header :comparator "i;unicode" "a" "b" { }`, `1:23: there is no comparator "i;unicode": it can be i;ascii-casemap, i;ascii-numeric, i;octet`},
		{`if header :comparator "i;ascii-numeric" "a" "b" { }`, `1:23: i;ascii-numeric is an extension: put require "comparator-i;ascii-numeric"; at the top`},
		{`require "comparator-i;ascii-numeric"; if header :contains :comparator "i;ascii-numeric" "a" "b" { }`, `1:71: i;ascii-numeric compares numbers, so it goes with :is, :value and :count only`},
		{`require "relational"; if header :value "bigger" "a" "b" { }`, `1:40: "bigger" is no relation: it can be eq, ge, gt, le, lt, ne`},
		{`redirect "nobody";`, `1:10: "nobody" is no address to send mail to: write one, such as "alice@example.org"`},
		{`redirect "friends: a@b, c@d;";`, `1:10: "friends: a@b, c@d;" is no address to send mail to: write one, such as "alice@example.org"`},
		{`require "fileinto"; fileinto "";`, `1:30: the name of the mailbox is empty`},
		{`if address "subject" "x" { }`, `1:12: address does not look at "subject", which holds no addresses: use header`},
		{`require "envelope"; if envelope "auth" "x" { }`, `1:33: the envelope has no part "auth": it can be "from" or "to"`},
		{`require "imap4flags"; addflag "v" "x";`, `1:31: a variable for flags is an extension: put require "variables"; at the top`},
		{`require "variables"; set "1" "x";`, `1:26: the match variable "1" cannot be set: use a name that starts with a letter`},
		{`require "variables"; set "a.b" "x";`, `1:26: the variable "a.b" cannot be set: use a name without a dot`},
		{`require "variables"; set "${a}" "x";`, `1:26: "${a}" is no name of a variable: use letters, digits and _`},
		{`require "variables"; set :lower :upper "a" "x";`, `1:33: :lower and :upper are both the change of case: leave one away`},
		{`require "variables"; set "a" "${env.x}";`, `1:30: ${env.x}: there are no variables in "env": only names without a dot`},
		{`require "variables"; set "a" "${100}";`, `1:30: ${100} is beyond the last match variable, ${99}`},
		{`require "encoded-character"; redirect "${unicode:200000}";`, `1:39: ${unicode:200000} is no character: they go from 0 to D7FF and from E000 to 10FFFF`},
		{`require "encoded-character"; redirect "${Unicode:DF01}";`, `1:39: ${unicode:DF01} is no character: they go from 0 to D7FF and from E000 to 10FFFF`},
		{`require "date"; if date "date" "week" "1" { }`, `1:32: a date has no part "week": it can be date, day, hour, iso8601, julian, minute, month, second, std11, time, weekday, year, zone`},
		{`require "date"; if date :zone "CET" "date" "hour" "1" { }`, `1:31: "CET" is no time zone: write a sign and four digits, such as +0100`},
		{`require "date"; if date :zone "+0100" :originalzone "date" "hour" "1" { }`, `1:39: :zone and :originalzone are both the time zone: leave one away`},
		{`require "vacation"; vacation :seconds 1 "x";`, `1:30: :seconds is an extension: put require "vacation-seconds"; at the top`},
		{`require "vacation-seconds"; vacation :days 1 :seconds 1 "x";`, `1:46: :days and :seconds are both the period: leave one away`},
		{`require "vacation"; vacation :from "nobody" "x";`, `1:36: vacation: "nobody" is no address to answer from: write one, such as "Alice <alice@example.org>"`},
		{"require \"vacation\"; vacation :mime \"hello\r\n\r\nx\";", `1:36: vacation: with :mime the text starts with header fields and an empty line, but "hello" is no field`},
		{"require \"vacation\"; vacation :mime \"Content-Type: ü\r\n\r\nx\";", `1:36: vacation: the header fields of the text have to be ASCII, but Content-Type is not`},
		{`require "vnd.rtls.tag"; if tlstag "required" { }`, `1:35: tlstag is never "required": it can be require, optional, none, unknown`},
		{`require "vnd.rtls.tag"; if tlsorigin "smtp" { }`, `1:38: tlsorigin is never "smtp": it can be esmtp, local, mda, header, unknown`},
	} {
		_, err := Parse(strings.NewReader(c.script))
		var e *Error
		if !errors.As(err, &e) || err.Error() != c.want {
			t.Errorf("%s\n got %v\nwant %s", c.script, err, c.want)
		}
	}
}

func TestParseTooLong(t *testing.T) {
	_, err := Parse(strings.NewReader(strings.Repeat("\n", maxScript+1)))
	if err == nil || err.Error() != "1:1: the script is too long: it can have 1048576 octets" {
		t.Errorf("got %v", err)
	}
}

// What RFC 5228 section 2.10.7 asks for.
func TestNesting(t *testing.T) {
	mustParse(t, strings.Repeat("if true { ", 15)+"keep;"+strings.Repeat("}", 15))
	mustParse(t, "if "+strings.Repeat("anyof (", 15)+"true"+strings.Repeat(")", 15)+" {}")
}

func TestParse(t *testing.T) {
	for _, script := range []string{
		"",
		"# nothing\n",
		"\ufeffkeep;",
		"KEEP; If TRUE { Discard; } ELSE { keep; }",
		"keep /* this is */ # a comment\r\n;",
		"/* * ** / */ keep;",
		"keep ; if true{stop;}else{}",
		`if header :Contains :COMPARATOR "i;octet" ["a"] "\"b\\" { }`,
		`require "fileinto"; require ["copy", "mailbox"]; fileinto :create :copy "a";`,
		"require \"reject\"; reject text: # why\nno\r\n.\n;",
		"require \"reject\"; reject text:\n.\n;",
	} {
		s := mustParse(t, script)
		if again := mustParse(t, s.String()); again.String() != s.String() {
			t.Errorf("%q is printed as %q and then as %q", script, s, again)
		}
	}
}

func TestPrint(t *testing.T) {
	script := `require ["fileinto","copy"]; if allof(not exists "a", header :is ["b"] ["c","d\\"]) { fileinto :copy "x"; } elsif size :over 2K { stop; } else { }`
	want := `require ["fileinto", "copy"];
if allof (not exists "a", header :is ["b"] ["c", "d\\"]) {
	fileinto :copy "x";
}
elsif size :over 2048 {
	stop;
}
else {
}
`
	got := mustParse(t, script).String()
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range fuzzSeeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, script string) {
		s, err := Parse(strings.NewReader(script))
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 || e.Col < 1 || e.Text == "" {
				t.Fatalf("%q: %v", script, err)
			}
			return
		}
		again, err := Parse(strings.NewReader(s.String()))
		if err != nil {
			t.Fatalf("%q is printed as %q: %v", script, s, err)
		}
		if again.String() != s.String() || len(again.commands) != len(s.commands) {
			t.Fatalf("%q is printed as %q and then as %q", script, s, again)
		}
	})
}

func fuzzSeeds(f *testing.F) []string {
	src, err := os.ReadFile("testdata/all.sieve")
	if err != nil {
		f.Fatal(err)
	}
	seeds := []string{string(src)}
	// A command of its own for each, so that the fuzzer need not cut.
	for part := range strings.SplitSeq(string(src), "\n\n") {
		seeds = append(seeds, "require ["+requireAll()+"];\n"+part)
	}
	return append(seeds, `if not anyof (header :matches "a" "*?\\*", true) { stop; } elsif size :over 1G { redirect "a@b"; }`)
}
