package sieve

import (
	"fmt"
	"strings"
	"testing"
)

func TestActions(t *testing.T) {
	for _, c := range []struct{ script, want string }{
		{``, "keep"},
		{`keep;`, "keep"},
		{`discard;`, "discard"},
		{`discard; keep;`, "keep"},
		{`stop; discard;`, "keep"},
		{`if true { discard; stop; } keep;`, "discard"},
		{`if false { keep; } elsif true { discard; } else { fileinto "x"; }`, "discard"},
		{`if false { keep; } elsif false { discard; } else { fileinto "x"; }`, "file x"},
		{`if size :over 500K { discard; }`, "keep"},
		{`fileinto "x";`, "file x"},
		{`fileinto "x"; keep;`, "file x, keep"},
		{`fileinto "x"; fileinto "x";`, "file x"},
		{`fileinto "x"; discard;`, "file x"},
		{`fileinto "inbox"; keep;`, "file inbox"},
		{`keep; fileinto :create "INBOX";`, "keep"},
		{`fileinto "x"; fileinto "X";`, "file x, file X"},

		// RFC 3894
		{`fileinto :copy "x";`, "file x copy, keep"},
		{`fileinto :copy "x"; discard;`, "file x copy"},
		{`fileinto :copy "x"; fileinto "x";`, "file x"},
		{`fileinto "x"; fileinto :copy "x";`, "file x"},
		{`redirect :copy "a@b.example";`, "redirect a@b.example copy, keep"},
		{`redirect :copy "a@b.example"; redirect "a@B.example";`, "redirect a@b.example"},
		{`redirect "Bart <bart@example.com>";`, "redirect bart@example.com"},
		{`redirect "\"b c\"@example.com";`, `redirect "b c"@example.com`},
		{`redirect "jürg@exämple.com";`, "redirect jürg@exämple.com"},
		{`redirect "a@x.example"; redirect "b@x.example"; redirect "A@x.example"; redirect "c@x.example";`,
			"redirect a@x.example, redirect b@x.example, redirect A@x.example, redirect c@x.example"},
		{`redirect "a@x"; redirect "b@x"; redirect "c@x"; redirect "d@x"; redirect "e@x";`,
			"keep error: 1:65: redirect: too many addresses: a message can go to 4"},

		// RFC 5490
		{`fileinto :create "x"; fileinto "x";`, "file x create"},

		// RFC 5429
		{`reject "no";`, `reject "no"`},
		{`ereject "no";`, `reject "no" in session`},
		{`reject "no"; discard;`, `reject "no"`},
		{`reject "no"; keep;`, "keep error: 1:14: keep cannot be done to a message that has been rejected: put stop; behind the reject"},
		{`fileinto "x"; reject "no";`, "keep error: 1:15: reject cannot be done to a message that is also stored, redirected or answered: use it alone"},
		{`redirect "a@b"; ereject "no";`, "keep error: 1:17: ereject cannot be done to a message that is also stored, redirected or answered: use it alone"},
		{`vacation "x"; reject "no";`, "keep error: 1:15: reject cannot be done to a message that is also stored, redirected or answered: use it alone"},
		{`reject "no"; vacation "x";`, "keep error: 1:14: vacation cannot be done to a message that has been rejected: put stop; behind the reject"},
		{`reject "no"; reject "no";`, "keep error: 1:14: reject cannot be done to a message that has been rejected: put stop; behind the reject"},

		// RFC 5232
		{`addflag "\\seen"; addflag ["Big", "big", ""];`, `keep \Seen+Big`},
		{`setflag "a b"; removeflag "B"; addflag "c  d ";`, "keep a+c+d"},
		{`addflag "\\Recent \\Other a(b ü ok";`, "keep ok"},
		{`addflag "a"; keep :flags "b"; fileinto "x"; setflag "c"; fileinto "y";`, "keep b, file x a, file y c"},
		{`addflag "a"; keep; setflag "b"; keep;`, "keep b"},
		{`keep :flags "a"; keep :flags "";`, "keep"},
		{`addflag "f" "\\Deleted"; addflag "f" "\\Answered"; fileinto :flags "${f}" "x";`, `file x \Deleted+\Answered`},
		{`set "f" "\\Flagged $Work"; keep :flags "${f}";`, `keep \Flagged+$Work`},
		{`addflag "A B"; if hasflag ["b", "A"] { discard; }`, "discard"},
		{`addflag "A B"; if hasflag :is "b A" { discard; }`, "discard"},
		{`set "v" "NonJunk gnus-forward $Forwarded"; if hasflag :contains "v" ["label", "FORWARD"] { discard; }`, "discard"},
		{`set "v" "NonJunk gnus-forward $Forwarded"; if hasflag :contains "v" ["label", "label2"] { discard; }`, "keep"},
		{`set "v" "A B a"; if hasflag :count "ge" :comparator "i;ascii-numeric" "v" "2" { discard; }`, "discard"},
		{`set "v" "A B a"; if hasflag :count "ge" :comparator "i;ascii-numeric" "v" "3" { discard; }`, "keep"},

		// what only a run can find
		{`fileinto "${nothing}";`, "keep error: 1:10: fileinto: the name of the mailbox is empty"},
		{`set "a" "x${unicode:0}"; fileinto "${a}";`, "keep error: 1:35: fileinto: the name of the mailbox holds control characters"},
		{`set "a" "b"; redirect "${a}";`, `keep error: 1:23: "b" is no address to send mail to: write one, such as "alice@example.org"`},
		{`set "a" "nothing"; if envelope "${a}" "x" { discard; }`, `keep error: 1:32: the envelope has no part "nothing": it can be "from" or "to"`},

		{`vacation "gone"; discard;`, `answer coyote@desert.example.org 168h0m0s "Auto: I have a present for you", discard`},
		{`vacation "gone"; vacation "gone";`, "keep error: 1:18: vacation: a message can be answered only once: put stop; behind the first vacation"},
	} {
		script := "require [" + requireAll() + "];"
		got := outcomeOf(t, testEnv, messageOf(plainMessage), script+"\r\n"+c.script)
		got = strings.Replace(got, "error: 2:", "error: 1:", 1)
		if got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.script, got, c.want)
		}
	}
}

func TestVariables(t *testing.T) {
	for _, c := range []struct{ script, want string }{
		// RFC 5229 section 3
		{`set "v" "&%${}!";`, "&%${}!"},
		{`set "v" "${doh!}";`, "${doh!}"},
		{`set "company" "ACME"; set "v" "${full}";`, ""},
		{`set "company" "ACME"; set "v" "${company}";`, "ACME"},
		{`set "company" "ACME"; set "v" "${BAD${Company}";`, "${BADACME"},
		{`set "company" "ACME"; set "v" "${${Company}}";`, "${ACME}"},
		{`set "company" "ACME"; set "v" "${President, ${Company} Inc.}";`, "${President, ACME Inc.}"},
		{`set "foo" "x"; set "v" "${fo\o}";`, "x"},
		{`set "foo" "x"; set "v" "${fo\\o}";`, `${fo\o}`},
		{`set "foo" "x"; set "v" "\${foo}";`, "x"},
		{`set "foo" "x"; set "v" "\\${foo}";`, `\x`},
		{`set "dollar" "$"; set "v" "regarding ${dollar}{beep}";`, "regarding ${beep}"},
		{`set "name" "Ethelbert"; set "v" "dear${hex:20 24 7b 4e}ame}";`, "dear Ethelbert"},
		{`set "v" "a"; set "V" "b";`, "b"},

		// section 3.2
		{`if header :matches "List-Hint" "[*] *" { set "v" "${1}|${2}|${3}|${0002}"; }`,
			"acme-users|[fwd] version 1.0 is out||[fwd] version 1.0 is out"},
		{`if address :matches ["To", "Cc"] ["coyote@**.com", "wile@**.com"] { set "v" "${0}|${1}|${2}"; }`,
			"wile@ACME.Example.COM||ACME.Example"},
		{`if anyof (true, address :domain :matches "To" "*.com") { set "v" "${1}"; }`, ""},
		{`if header :matches "subject" "I *" { } if header :matches "subject" "nothing *" { } set "v" "${1}";`, "have a present for you"},
		{`if header :matches "subject" "I *" { } if body :matches "*anvil*" { set "v" "${1}"; }`, "have a present for you"},
		{`if header :matches "subject" "I *" { } if header :contains "subject" "have" { set "v" "${1}"; }`, "have a present for you"},

		// section 4.1
		{`set "a" "juMBlEd lETteRS"; set :length "v" "${a}";`, "15"},
		{`set "a" "juMBlEd lETteRS"; set :lower "v" "${a}";`, "jumbled letters"},
		{`set "a" "juMBlEd lETteRS"; set :upperfirst "v" "${a}";`, "JuMBlEd lETteRS"},
		{`set "a" "juMBlEd lETteRS"; set :upperfirst :lower "v" "${a}";`, "Jumbled letters"},
		{`set :quotewildcard "v" "Rock*";`, `Rock\*`},
		{`set :quotewildcard :length :upper "v" "ü?\\";`, "5"},
		{`set :lowerfirst "v" "ÄB";`, "ÄB"},
		{`set :lowerfirst :upper "v" "abc";`, "aBC"},

		// RFC 5228 section 2.4.2.4
		{`set "v" "$${hex:40}";`, "$@"},
		{`set "v" "${hex: 40 }";`, "@"},
		{`set "v" "${HEX: 40}";`, "@"},
		{`set "v" "${hex:40";`, "${hex:40"},
		{`set "v" "${hex:400}";`, "${hex:400}"},
		{`set "v" "${hex:4${hex:30}}";`, "${hex:40}"},
		{`set "v" "${unicode:40}";`, "@"},
		{`set "v" "${ unicode:40}";`, "${ unicode:40}"},
		{`set "v" "${UnICoDE:0000040}";`, "@"},
		{`set "v" "${Unicode:Cool}";`, "${Unicode:Cool}"},
		{`set "v" "${unicode:fc 2460}";`, "ü①"},

		// text
		{"set \"v\" text: # a comment\r\n..dot\r\n.foo\r\nend\r\n.\r\n;", ".dot  .foo  end  "},
		{"set \"v\" \"a\nb\";", "a  b"},
	} {
		got := variableOf(t, mustParse(t, "require ["+requireAll()+"];"+c.script))
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.script, got, c.want)
		}
	}
}

// variableOf shows v at the end of a script, line ends as two blanks.
func variableOf(t *testing.T, s *Script) string {
	v := ""
	env := testEnv
	env.Explain = func(line string) {
		if _, text, ok := strings.Cut(line, ": v is "); ok {
			_, _ = fmt.Sscanf(text, "%q", &v)
		}
	}
	if _, err := s.Run(t.Context(), env, messageOf(plainMessage)); err != nil {
		t.Errorf("%v", err)
	}
	return v
}

func TestVariablesAreBounded(t *testing.T) {
	script := `require ["variables", "fileinto", "relational"]; set "a" "` + strings.Repeat("ü", 4000) + `";` +
		strings.Repeat(`set "a" "${a}${a}${a}${a}";`, 50) +
		`set :length "n" "${a}"; if string "` + strings.Repeat("${a}", 1000) + `" "x" { discard; } fileinto "${n}";`
	if got := outcomeOf(t, testEnv, messageOf(plainMessage), script); got != fmt.Sprintf("file %d", maxVariable/2) {
		t.Errorf("got %s", got)
	}
}

// The budget of a run ends a script that asks for too much, and the message stays.
func TestWorkIsBounded(t *testing.T) {
	env := testEnv
	env.Limits.Work = 1000
	got := outcomeOf(t, env, messageOf(plainMessage), "discard;"+strings.Repeat(`if header "subject" "x" { stop; }`, 100))
	if !strings.HasPrefix(got, "keep error: 1:") || !strings.Contains(got, "takes too long") {
		t.Errorf("got %s", got)
	}
}

func TestActionsAreBounded(t *testing.T) {
	script := `require "fileinto";`
	for i := range maxActions {
		script += fmt.Sprintf(`fileinto "%d";`, i)
	}
	if got := outcomeOf(t, testEnv, messageOf(plainMessage), script); strings.Count(got, "file ") != maxActions {
		t.Errorf("got %s", got)
	}
	got := outcomeOf(t, testEnv, messageOf(plainMessage), script+"\n"+`keep;`)
	if got != "keep error: 2:1: keep: too many actions: there can be 64" {
		t.Errorf("got %s", got)
	}
}

// Vacation and reject do not go together, whether there is an answer or not.
func TestRejectAfterNoAnswer(t *testing.T) {
	got := outcomeOf(t, testEnv, messageOf("Subject: x\n\n"), `require ["reject", "vacation"]; vacation "x"; reject "no";`)
	if !strings.HasPrefix(got, "keep error: 1:47: reject cannot be done") {
		t.Errorf("got %s", got)
	}
}

func TestImplicitKeepOnError(t *testing.T) {
	script := `require ["variables", "imap4flags", "fileinto"]; addflag "a"; fileinto "x"; discard; fileinto "${none}";`
	result, err := mustParse(t, script).Run(t.Context(), testEnv, messageOf(plainMessage))
	if got := show(result); err == nil || got != "keep" {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestInboxOfDelivery(t *testing.T) {
	env := testEnv
	env.Inbox = "lists"
	script := `require ["fileinto", "mailbox"]; fileinto "lists"; if mailboxexists "lists" { keep; }`
	if got := outcomeOf(t, env, messageOf(plainMessage), script); got != "file lists" {
		t.Errorf("got %s", got)
	}
}
