package config

import (
	"strings"
	"testing"
)

func TestRuleMatch(t *testing.T) {
	m := Message{
		Sender: "Ann@Example.org",
		To:     []string{"b@example.net", "c@sub.example.com"},
		Header: func(name string) []string {
			return map[string][]string{"Subject": {"about [Secret] things"}, "X": {"", "one"}}[name]
		},
	}
	for _, tc := range []struct {
		rule Rule
		want bool
	}{
		{Rule{Sender: "ann@example.org"}, true},
		{Rule{Sender: "*@example.org"}, true},
		{Rule{Sender: "@example.org"}, true},
		{Rule{Sender: "@example.*"}, true},
		{Rule{Sender: "@*.example.org"}, false},
		{Rule{Recipient: "@example.net"}, true},
		{Rule{Recipient: "@*.example.com"}, true},
		{Rule{Recipient: "@example.com"}, false},
		{Rule{Recipient: "b@*"}, true},
		{Rule{Recipient: "@example.net", RequireTLS: "yes"}, true},
		{Rule{Recipient: "@example.net", Account: "a"}, true},
		{Rule{Recipient: "@example.net", RequireTLS: "No"}, false},
		{Rule{Recipient: "@example.net", RequireTLS: "auto"}, false},
		{Rule{Recipient: "*@*example*", RequireTLS: "no"}, true},
		{Rule{Header: "Subject: [secret]"}, true},
		{Rule{Header: "Subject: [secret"}, true},
		{Rule{Header: "Subject: public"}, false},
		{Rule{Header: "X: one"}, true},
		{Rule{Header: "X:"}, true},
		{Rule{Header: "Y:"}, false},
		{Rule{Sender: "@example.org", Recipient: "@example.org"}, false},
	} {
		if got := tc.rule.Match(m); got != tc.want {
			t.Errorf("%+v: %v", tc.rule, got)
		}
	}
	if (&Rule{Recipient: "*", RequireTLS: "no"}).Match(Message{}) || (&Rule{Sender: "*@*"}).Match(Message{}) {
		t.Error("matches nothing")
	}
}

func TestFront(t *testing.T) {
	const account = "[send.account.a]\nhost = \"smtp.example.org\"\n"
	f, err := parse("x", "[send]\naliases = \"/etc/aliases\"\nwish_header = \"X-Require-TLS\"\nplus_requiretls = true\n"+account+"identity = \"account\"\nfrom=\"a@b\"\n[[send.rule]]\nsender = \"*@*\"\naccount = \"a\"\n[[send.rule]]\nrecipient = \"@example.net\"\nrequiretls = \"no\"\n[[send.rule]]\nheader=\"X:\"\n")
	if err != nil || f.Send.Aliases == "" || f.Send.WishHeader == "" || !f.Send.PlusWish || len(f.Send.Rules) != 3 || f.Send.Accounts["a"].Identity != "account" {
		t.Fatalf("%+v, %v", f, err)
	}
	for i, want := range []string{"", "no", "yes"} {
		if w, ok := f.Send.Rules[i].Wish(); ok != (want != "") || ok && w.String() != want {
			t.Errorf("rule %d: %v %v", i, w, ok)
		}
	}
	for text, want := range map[string]string{
		"[send]\naliases = \"aliases\"\n":                                                               "x:2: aliases is an absolute path",
		"[send]\nwish_header = \"a b\"\n":                                                               "x:2: wish_header is the name",
		"[send]\nwish_header = \"tls-required\"\n":                                                      "x:2: wish_header is the name",
		account + "identity = \"me\"\n":                                                                 `x:3: identity is "caller" or "account"`,
		account + "identity = \"account\"\n":                                                            `x:3: identity is "caller" or "account"`,
		account + "[[send.rule]]\nrequiretls = \"yes\"\n":                                               "a rule needs a condition",
		account + "[[send.rule]]\nsender = \"*@*\"\naccount = \"b\"\n":                                  `there is no account "b"`,
		account + "[[send.rule]]\nheader = \"x\"\naccount = \"a\"\n":                                    `header is written as`,
		account + "[[send.rule]]\nsender = \"*@*\"\n[[send.rule]]\nx=1\n":                               "unknown key",
		account + "[[send.rule]]\nsender = \"*@*\"\n[[send.rule]]\nsender=\"@b\"\nrequiretls=\"maybe\"": "requiretls is yes, no or auto",
	} {
		if _, err := parse("x", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
