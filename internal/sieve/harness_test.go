package sieve

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// messageOf makes a message of a text, with an envelope like that of its header.
func messageOf(text string) Message {
	text = strings.ReplaceAll(text, "\n", "\r\n")
	return Message{
		Content:   strings.NewReader(text),
		Size:      int64(len(text)),
		Sender:    "coyote@desert.example.org",
		Recipient: "roadrunner+birds@acme.example.com",
	}
}

const plainMessage = `Return-Path: <coyote@desert.example.org>
Received: from a by b; Tue, 1 Apr 1997 09:06:40 -0800
Received: from c by d; Mon, 31 Mar 1997 23:59:60 -0800
Date: Tue, 1 Apr 1997 09:06:31 -0800 (PST)
From: "W. Coyote" <coyote@desert.example.org>
To: roadrunner+birds@acme.example.com, Wile <wile@ACME.Example.COM>
Cc: Friends: a@example.net, b@example.net;
Subject: I have a present for you
Resent-To: a+b+c@d.example
Reply-To: root
X-Priority: 02
X-Empty:
X-Words: =?utf-8?q?Gr=C3=BC=C3=9Fe?=  =?iso-8859-1?q?_=E4?=
List-Hint: [acme-users] [fwd]
 version 1.0 is out
Message-ID: <present@desert.example.org>

Look, I'm sorry about the whole anvil thing.
It is yours for $$$.
`

var testEnv = Env{
	Now:       time.Date(2026, 11, 24, 17, 5, 9, 0, time.FixedZone("", 3600)),
	Delimiter: "+",
	Owner:     "roadrunner@acme.example.com",
	Tag:       "require",
	Origin:    "esmtp",
}

func mustParse(t testing.TB, script string) *Script {
	t.Helper()
	s, err := Parse(strings.NewReader(script))
	if err != nil {
		t.Fatalf("%s\n%v", script, err)
	}
	return s
}

// outcomeOf runs a script and shows the result on a line.
func outcomeOf(t testing.TB, env Env, msg Message, script string) string {
	t.Helper()
	result, err := mustParse(t, script).Run(t.Context(), env, msg)
	got := show(result)
	if err != nil {
		got += " error: " + err.Error()
	}
	return got
}

func show(r Result) string {
	var all []string
	for _, a := range r.Actions {
		all = append(all, showAction(a))
	}
	return strings.Join(all, ", ")
}

func showAction(a Action) string {
	flags := func(list []string) string {
		if len(list) == 0 {
			return ""
		}
		return " " + strings.Join(list, "+")
	}
	on := func(b bool, name string) string {
		if b {
			return name
		}
		return ""
	}
	switch a := a.(type) {
	case Keep:
		return "keep" + flags(a.Flags)
	case FileInto:
		return "file " + a.Mailbox + flags(a.Flags) + on(a.Create, " create") + on(a.Copy, " copy")
	case Redirect:
		return "redirect " + a.Address + on(a.Copy, " copy")
	case Reject:
		return fmt.Sprintf("reject %q", a.Reason) + on(a.InSession, " in session")
	case Discard:
		return "discard"
	case Vacation:
		return fmt.Sprintf("answer %s %v %q", a.To, a.Period, a.Subject)
	}
	return fmt.Sprintf("%T", a)
}

// holds evaluates a test, with all extensions there.
func holds(t testing.TB, env Env, msg Message, test string) bool {
	t.Helper()
	got := outcomeOf(t, env, msg, fmt.Sprintf("require [%s];\nif %s { discard; }", requireAll(), test))
	switch got {
	case "discard":
		return true
	case "keep":
		return false
	}
	t.Fatalf("%s: %s", test, got)
	return false
}

func requireAll() string { return `"` + strings.Join(Extensions(), `", "`) + `"` }
