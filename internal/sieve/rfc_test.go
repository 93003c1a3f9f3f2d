package sieve

import (
	"strings"
	"testing"
)

// Messages that RFC 5228 section 1.1 has its examples act on, in our words.
const (
	messageA = `Date: Tue, 1 Apr 1997 09:06:31 -0800 (PST)
From: coyote@desert.example.org
To: roadrunner@acme.example.com
Subject: a present

Take it.
`
	messageB = `From: youcouldberich!@reply-by-postal-mail.invalid
To: rube@landru.example.com
Date: Mon, 31 Mar 1997 18:26:10 -0800
Subject: $$$ YOU, TOO, CAN BE A MILLIONAIRE! $$$

No question.
`
)

// Scripts of the RFCs, or close to them.
func TestExamplesOfRFCs(t *testing.T) {
	extended := `require ["fileinto"];
if header :is "Sender" "owner-ietf-mta-filters@imc.org" { fileinto "filter"; }
elsif address :DOMAIN :is ["From", "To"] "acme.example.com" { keep; }
elsif anyof (not address :all :contains ["To", "Cc", "Bcc"] "me@example.com",
             header :matches "subject" ["*make*money*fast*", "*university*dipl*mas*"]) { fileinto "spam"; }
else { fileinto "personal"; }
`
	flags := `require ["fileinto", "imap4flags", "variables"];
if size :over 1 {
	addflag "MyFlags" "Big";
	if header :is "From" "boss@company.example.com" { addflag "MyFlags" "\\Flagged"; }
	fileinto :flags "${MyFlags}" "Big messages";
}
if header :is "From" "grandma@example.net" {
	addflag "MyFlags" ["\\Answered", "$MDNSent"];
	fileinto :flags "${MyFlags}" "GrandMa";
}
if header :is "Sender" "owner-ietf-mta-filters@example.org" {
	set "MyFlags" "\\Flagged $Work";
	keep :flags "${MyFlags}";
}
`
	postal := `require ["envelope", "subaddress", "fileinto"];
if envelope :user "to" "postmaster" { fileinto "inbox.postmaster"; stop; }
if envelope :detail "to" "mta-filters" { fileinto "inbox.ietf-mta-filters"; }
if envelope :detail "to" "foo" { redirect "ken@example.net"; }
`
	relational := `require ["relational", "comparator-i;ascii-numeric", "fileinto"];
if header :value "lt" :comparator "i;ascii-numeric" ["x-priority"] ["3"] { fileinto "Priority"; }
elsif address :count "gt" :comparator "i;ascii-numeric" ["to"] ["5"] { fileinto "SPAM"; }
elsif address :value "gt" :all :comparator "i;ascii-casemap" ["from"] ["M"] { fileinto "From N-Z"; }
else { fileinto "From A-M"; }
if allof (address :count "eq" :comparator "i;ascii-numeric" ["to", "cc"] ["1"],
          address :all :comparator "i;ascii-casemap" ["to", "cc"] ["rube@landru.example.com"]) { fileinto "Only me"; }
`
	month := `require ["date", "variables", "fileinto"];
if currentdate :matches "month" "*" { set "month" "${1}"; }
if currentdate :matches "year"  "*" { set "year"  "${1}"; }
fileinto "${month}-${year}";`
	for _, c := range []struct{ name, script, message, want string }{
		{"RFC 5228, 9", extended, messageA, "keep"},
		{"RFC 5228, 9", extended, messageB, "file spam"},
		{"RFC 5228, 9", extended, "To: me@example.com\nSubject: Make Much Money Very Fast\n\n", "file spam"},
		{"RFC 5228, 9", extended, "To: me@example.com\nSubject: hello\n\n", "file personal"},
		{"RFC 5228, 9", extended, "Sender: owner-ietf-mta-filters@imc.org\n\n", "file filter"},
		{"RFC 5228, 2.4.2.4", `require "encoded-character"; if header :contains "Subject" "$${hex:24 24}" { discard; }`, messageB, "discard"},
		{"RFC 5228, 4.1", `require "fileinto"; if header :contains ["from"] "coyote" { fileinto "INBOX.harassment"; }`, messageA, "file INBOX.harassment"},
		{"RFC 5228, 5.5", `if not exists ["From","Date"] { discard; }`, messageA, "keep"},
		{"RFC 5232, 9", flags, "From: grandma@example.net\n\n", `file Big messages Big, file GrandMa Big+\Answered+$MDNSent`},
		{"RFC 5232, 9", flags, "From: boss@company.example.com\n\n", `file Big messages Big+\Flagged`},
		{"RFC 5232, 9", flags, "Sender: owner-ietf-mta-filters@example.org\n\n", `file Big messages Big, keep \Flagged+$Work`},
		{"RFC 5233, 4 to postmaster", postal, "\n", "file inbox.postmaster"},
		{"RFC 5233, 4 to ken+mta-filters", postal, "\n", "file inbox.ietf-mta-filters"},
		{"RFC 5233, 4 to ken+foo", postal, "\n", "redirect ken@example.net"},
		{"RFC 5231, 7", relational, messageB, "file From N-Z, file Only me"},
		{"RFC 5231, 7", relational, messageA, "file From A-M"},
		{"RFC 5231, 7", relational, "X-Priority: 1\n\n", "file Priority"},
		{"RFC 5231, 7", relational, "To: a@b,a@b,a@b,a@b,a@b,a@b\n\n", "file SPAM"},
		{"RFC 5260, 5.1", month, messageA, "file 11-2026"},
	} {
		msg := messageOf(c.message)
		if _, local, ok := strings.Cut(c.name, " to "); ok {
			msg.Recipient = local + "@example.org"
		}
		if got := outcomeOf(t, testEnv, msg, c.script); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}
