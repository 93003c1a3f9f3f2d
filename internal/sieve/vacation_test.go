package sieve

import (
	"io"
	"net/mail"
	"strings"
	"testing"
	"time"

	message "github.com/emersion/go-message"
)

// answerTo runs a script and returns the answer, nil if there is none, with the
// reason.
func answerTo(t *testing.T, env Env, msg Message, script string) (*Vacation, string) {
	t.Helper()
	why := ""
	env.Explain = func(line string) {
		if _, text, ok := strings.Cut(line, ": no answer: "); ok {
			why = text
		}
	}
	result, err := mustParse(t, `require ["vacation", "vacation-seconds", "variables"];`+script).Run(t.Context(), env, msg)
	if err != nil {
		t.Fatal(err)
	}
	if last, ok := result.Actions[len(result.Actions)-1].(Keep); !ok {
		t.Errorf("the message is not kept but %v", last)
	}
	for _, a := range result.Actions {
		if v, ok := a.(Vacation); ok {
			return &v, why
		}
	}
	return nil, why
}

func TestVacationDecision(t *testing.T) {
	const script = `vacation "gone";`
	with := func(header string) Message { return messageOf(header + "\n" + plainMessage) }
	from := func(sender string) Message {
		msg := messageOf(plainMessage)
		msg.Sender = sender
		return msg
	}
	to := func(header string) Message {
		return messageOf(header + "\nSubject: x\n\n")
	}
	for _, c := range []struct {
		name   string
		msg    Message
		script string
		silent string // why there is no answer; empty if there is one
	}{
		{"plain", messageOf(plainMessage), script, ""},
		{"null sender", from(""), script, "the sender is the null one"},
		{"self", from("Roadrunner@ACME.example.com"), script, "the sender is the user"},
		{"self with detail", from("roadrunner+x@acme.example.com"), script, "the sender is the user"},
		{"local sender", from("root"), script, "the sender's address cannot be read"},
		{"daemon", from("MAILER-DAEMON@x.example"), script, "the sender is a program"},
		{"list owner", from("owner-list@x.example"), script, "the sender is a program"},
		{"request", from("list-request@x.example"), script, "the sender is a program"},
		{"noreply", from("NoReply+token@x.example"), script, "the sender is a program"},
		{"postmaster is a person", from("postmaster@x.example"), script, ""},
		{"list", with("List-Id: <x.y>"), script, "the message has a field list-id: it is automatic or of a list"},
		{"unsubscribe", with("list-unsubscribe: <mailto:x>"), script, "the message has a field list-unsubscribe: it is automatic or of a list"},
		{"bulk", with("Precedence: Bulk"), script, "the message has a field precedence: it is automatic or of a list"},
		{"first class", with("Precedence: first-class"), script, ""},
		{"auto", with("Auto-Submitted: auto-generated; x=y"), script, "the message has a field auto-submitted: it is automatic or of a list"},
		{"not auto", with("Auto-Submitted: No (typed)"), script, ""},
		{"suppressed", with("X-Auto-Response-Suppress: DR, OOF"), script, "the message has a field x-auto-response-suppress: it is automatic or of a list"},
		{"not to the user", to("To: somebody@else.example"), script, "no address of the user is in To, Cc or Bcc: name it with :addresses"},
		{"no recipients", to("X: y"), script, "no address of the user is in To, Cc or Bcc: name it with :addresses"},
		{"cc", to("Cc: x@y, Me <ROADRUNNER@acme.example.com>"), script, ""},
		{"bcc", to("Bcc: roadrunner@acme.example.com"), script, ""},
		{"resent", to("Resent-To: roadrunner+other@acme.example.com"), script, ""},
		{"group", to("To: us: a@b, roadrunner@acme.example.com;"), script, ""},
		{"alias of the site", to("To: alias@acme.example.com"), script, ""},
		{"alias of the script", to("To: beep@acme.example.com"), `vacation :addresses ["x@y", "Beep <beep@acme.example.com>"] "gone";`, ""},
		{"only in the comment", to("To: x@y (roadrunner@acme.example.com)"), script, "no address of the user is in To, Cc or Bcc: name it with :addresses"},
	} {
		env := testEnv
		env.Addresses = []string{"alias@acme.example.com"}
		v, why := answerTo(t, env, c.msg, c.script)
		if why != c.silent || (v == nil) != (why != "") {
			t.Errorf("%s: got %v, %q, want %q", c.name, v, why, c.silent)
		}
	}
	msg := messageOf(plainMessage)
	msg.Recipient = ""
	env := testEnv
	env.Owner = ""
	if v, why := answerTo(t, env, msg, script); v != nil || why != "there is no address to answer from" {
		t.Errorf("got %v, %q", v, why)
	}
}

// RFC 5230 section 4.2: what is the same answer.
func TestVacationKey(t *testing.T) {
	key := func(sender, subject, script string) string {
		msg := messageOf("To: roadrunner@acme.example.com\nSubject: " + subject + "\n\n")
		msg.Sender = sender
		v, _ := answerTo(t, testEnv, msg, script)
		return v.Key
	}
	const a, b = "coyote@desert.example.org", "tweety@cage.example.org"
	matched := `if header :matches "subject" "*" { vacation :subject "Automatic response to: ${1}" "I'm away"; }`
	for _, c := range []struct {
		name string
		x, y string
		same bool
	}{
		{"same", key(a, "1", `vacation "x";`), key(a, "2", `vacation "x";`), true},
		{"case of the sender", key(a, "1", `vacation "x";`), key("Coyote@Desert.example.org", "2", `vacation "x";`), true},
		{"other sender", key(a, "1", `vacation "x";`), key(b, "1", `vacation "x";`), false},
		{"other reason", key(a, "1", `vacation "x";`), key(a, "1", `vacation "y";`), false},
		{"values of variables", key(a, "1", matched), key(a, "2", matched), true},
		{"subject is not from", key(a, "1", `vacation :subject "a@b" "x";`), key(a, "1", `vacation :from "a@b" "x";`), false},
		{"subject that looks like none", key(a, "1", `vacation :subject "-" "x";`), key(a, "1", `vacation "x";`), false},
		{"empty subject", key(a, "1", `vacation :subject "" "x";`), key(a, "1", `vacation "x";`), false},
		{"mime", key(a, "1", `vacation :mime "A: b";`), key(a, "1", `vacation "A: b";`), false},
		{"handle", key(a, "1", `vacation :handle "h" "x";`), key(a, "1", `vacation :handle "h" :subject "s" "y";`), true},
		{"other handle", key(a, "1", `vacation :handle "h" "x";`), key(a, "1", `vacation :handle "i" "x";`), false},
		{"handle is not reason", key(a, "1", `vacation :handle "h" "x";`), key(a, "1", `vacation "h";`), false},
		{"period does not count", key(a, "1", `vacation :days 1 "x";`), key(a, "1", `vacation :days 2 "x";`), true},
	} {
		if (c.x == c.y) != c.same {
			t.Errorf("%s: the keys are the same: %t", c.name, c.x == c.y)
		}
	}
}

func TestVacationPeriod(t *testing.T) {
	for script, want := range map[string]time.Duration{
		`vacation "x";`:                     7 * day,
		`vacation :days 0 "x";`:             day,
		`vacation :days 30 "x";`:            30 * day,
		`vacation :days 9G "x";`:            365 * day,
		`vacation :seconds 0 "x";`:          0,
		`vacation :seconds 90 "x";`:         90 * time.Second,
		`vacation :seconds 2147483648 "x";`: 365 * day,
	} {
		if v, _ := answerTo(t, testEnv, messageOf(plainMessage), script); v.Period != want {
			t.Errorf("%s: got %v", script, v.Period)
		}
	}
}

func TestVacationMessage(t *testing.T) {
	msg := messageOf("To: roadrunner@acme.example.com\nMessage-ID: <3@x>\nReferences: <1@x>\n <2@x>\n" +
		"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe=0D=0ABcc:_x@y?=\n\n")
	v, _ := answerTo(t, testEnv, msg, `vacation :from "\"Röad\" <r@acme.example.com>, x@acme.example.com" "Ich bin weg.
..
ü";`)
	got := string(v.Message(testEnv.Now, "<answer@acme.example.com>"))
	want := strings.ReplaceAll(`Date: Tue, 24 Nov 2026 17:05:09 +0100
Message-ID: <answer@acme.example.com>
From: =?utf-8?q?R=C3=B6ad?= <r@acme.example.com>, <x@acme.example.com>
To: <coyote@desert.example.org>
Subject: =?utf-8?q?Auto:_Gr=C3=BC=C3=9Fe__Bcc:_x@y?=
In-Reply-To: <3@x>
References: <1@x> <2@x> <3@x>
Auto-Submitted: auto-replied (vacation)
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Ich bin weg.
..
=C3=BC
`, "\n", "\r\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestVacationContent(t *testing.T) {
	for _, c := range []struct {
		name, header, script string
		subject, contentType string
		body                 string
	}{
		{"plain", "Subject: x", `vacation "gone";`, "Auto: x", "text/plain; charset=us-ascii", "gone\r\n"},
		{"no subject", "X: y", `vacation "gone";`, "Automated reply", "text/plain; charset=us-ascii", "gone\r\n"},
		{"empty subject", "Subject: ", `vacation "gone";`, "Automated reply", "text/plain; charset=us-ascii", "gone\r\n"},
		{"own subject", "Subject: x", `vacation :subject "ü
Bcc: x@y" "gone";`, "ü  Bcc: x@y", "text/plain; charset=us-ascii", "gone\r\n"},
		{"long subject", "Subject: " + strings.Repeat("ä", 500), `vacation "gone";`, "Auto: " + strings.Repeat("ä", 197), "text/plain; charset=us-ascii", "gone\r\n"},
		{"long words", "Subject: x", `vacation "` + strings.Repeat("a", 2000) + `";`, "Auto: x", "text/plain; charset=utf-8", strings.Repeat("a", 2000) + "\r\n"},
		{"mime", "Subject: x", `vacation :mime "Content-Type: text/html;
 charset=utf-8
Subject: injected

<p>ü</p>
";`, "Auto: x", "text/html; charset=utf-8", "<p>ü</p>\r\n"},
		{"mime without header", "Subject: x", `vacation :mime "
text
";`, "Auto: x", "", "text\r\n"},
	} {
		msg := messageOf("To: roadrunner@acme.example.com\n" + c.header + "\n\n")
		v, _ := answerTo(t, testEnv, msg, c.script)
		raw := string(v.Message(testEnv.Now, "<a@b>"))
		for line := range strings.SplitSeq(raw, "\r\n") {
			if len(line) > 998 || strings.ContainsAny(line, "\r\n") {
				t.Errorf("%s: line %q", c.name, line)
			}
		}
		if strings.Contains(raw, "injected") {
			t.Errorf("%s: %s", c.name, raw)
		}
		e, err := message.Read(strings.NewReader(raw))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		subject, _ := e.Header.Text("Subject")
		body, _ := io.ReadAll(e.Body)
		if subject != c.subject || e.Header.Get("Content-Type") != c.contentType || string(body) != c.body || e.Header.Has("Bcc") {
			t.Errorf("%s: got %q, %q, %q", c.name, subject, e.Header.Get("Content-Type"), body)
		}
		if _, err := mail.ReadMessage(strings.NewReader(raw)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestVacationThread(t *testing.T) {
	var many []string
	for i := range 30 {
		many = append(many, "<"+decimal(i)+"@x>")
	}
	for _, c := range []struct {
		header string
		want   []string
	}{
		{"Message-ID: <m@x>", []string{"<m@x>"}},
		{"Message-ID: <m@x>\nIn-Reply-To: <i@x>", []string{"<i@x>", "<m@x>"}},
		{"Message-ID: <m@x>\nIn-Reply-To: <i@x> <j@x>", []string{"<m@x>"}},
		{"Message-ID: <m@x>\nReferences: junk <r@x> <bad id@x> <nothing>\nIn-Reply-To: <i@x>", []string{"<r@x>", "<m@x>"}},
		{"References: <r@x>", nil},
		{"Message-ID: <m@x>\nReferences: " + strings.Join(many, "\n "), append(append([]string{"<0@x>"}, many[12:]...), "<m@x>")},
	} {
		v, _ := answerTo(t, testEnv, messageOf("To: roadrunner@acme.example.com\n"+c.header+"\n\n"), `vacation "x";`)
		if strings.Join(v.References, " ") != strings.Join(c.want, " ") || (v.InReplyTo == "") != (c.want == nil) {
			t.Errorf("%s: got %v, %s", c.header, v.References, v.InReplyTo)
		}
	}
}
