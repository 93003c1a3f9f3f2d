//go:build !plain

package lda

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// A message that one target of an alias redirects in vain stays with that target,
// whatever the scripts of the others do.
func TestRedirectOfAliasFails(t *testing.T) {
	for name, other := range map[string]string{"keep": "keep;", "discard": "discard;", "redirect": `redirect "b@example.net";`} {
		t.Run(name, func(t *testing.T) {
			a, root, out := filtered(t, map[string]string{"u1": `redirect "a@example.net";`, "u2": other}, errors.New("no REQUIRETLS"))
			r := Recipient{Address: "team@example.org", User: "u1", Also: []Target{{User: "u2"}}}
			if err := a.Deliver(t.Context(), Envelope{RequireTLS: true}, []Recipient{r}, strings.NewReader("Subject: x\n\nbody\n"))[0]; err != nil {
				t.Fatal(err)
			}
			if n := len(files(t, root, "u1")); n != 1 || len(*out) == 0 {
				t.Errorf("u1 has %d copies, sent %d", n, len(*out))
			}
			if n, want := len(files(t, root, "u2")), map[string]int{"keep": 1, "redirect": 1}[name]; n != want {
				t.Errorf("u2 has %d copies, want %d", n, want)
			}
		})
	}
}

// The memory of answers is no account, and does not keep one from being made.
func TestAnswerBeforeAccount(t *testing.T) {
	a, root, out := filtered(t, map[string]string{
		"u1": `require ["vacation", "variables"]; vacation :addresses "u1@example.org" "away"; if header :contains "subject" "first" { discard; }`,
	}, nil)
	for _, subject := range []string{"first", "second"} {
		message := "From: s@x\nTo: u1@example.org\nSubject: " + subject + "\n\nbody\n"
		if err := deliverTo(t, a, Envelope{Sender: "s@x"}, message, "u1")[0]; err != nil {
			t.Fatal(subject, err)
		}
	}
	if n := len(files(t, root, "u1")); n != 1 || len(*out) != 1 {
		t.Errorf("%d copies, %d answers", n, len(*out))
	}
	if all, err := filepath.Glob(filepath.Join(root, "u1", ".rtls", "vacation", "*")); err != nil || len(all) != 1 {
		t.Error(all, err)
	}
}

// No keyword of a script can say what the tag is, and none keeps a message out.
func TestFilterReservedKeywords(t *testing.T) {
	a, root, _ := filtered(t, map[string]string{
		"u1": `require "imap4flags"; addflag ["$RequireTLS", "$requiretlsunknown", "$TLSOptional", "$Junk"]; keep;`,
	}, nil)
	if err := deliverTo(t, a, Envelope{}, "x: y\n\nbody\n", "u1")[0]; err != nil {
		t.Fatal(err)
	}
	if _, messages := contents(t, root, "u1", inbox); len(messages) != 1 || strings.Join(messages[0].Keywords, " ") != "$Junk" {
		t.Errorf("%+v", messages)
	}
}

// Who gets a message by two ways stores it once, and sends it on once.
func TestRedirectOncePerUser(t *testing.T) {
	for _, fail := range []error{nil, errors.New("no REQUIRETLS")} {
		a, root, out := filtered(t, map[string]string{"u1": `redirect "a@example.net"; redirect "b@example.net";`}, fail)
		rcpts := []Recipient{{Address: "u1@example.org", User: "u1"}, {Address: "u1@example.org", User: "u1"}, {Address: "team@example.org", User: "u1", Also: []Target{{User: "u2"}}}}
		for _, err := range a.Deliver(t.Context(), Envelope{}, rcpts, strings.NewReader("Subject: x\n\nbody\n")) {
			if err != nil {
				t.Error(err)
			}
		}
		want := 0
		if fail != nil {
			want = 1
		}
		if n := len(files(t, root, "u1")); n != want || len(*out) != 2 {
			t.Errorf("%v: %d copies, sent %d times", fail, n, len(*out))
		}
	}
}
