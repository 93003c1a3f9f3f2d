package lda

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"rtls/internal/cli"
)

// reporting is an agent that offers reports, and those that it sends. fails are the
// answers to them, one after the other; then they are taken.
func reporting(t *testing.T, change func(*Config), fails ...error) (*Agent, *mailboxes, *[]sent) {
	t.Helper()
	out := new([]sent)
	a, m := newAgent(t, func(c *Config) {
		c.Reports = true
		c.Send = func(_ context.Context, m Onward) error {
			text, err := io.ReadAll(m.Message)
			*out = append(*out, sent{m.From, m.To, m.Wish.String(), string(text)})
			if len(*out) <= len(fails) {
				return errors.Join(err, fails[len(*out)-1])
			}
			return err
		}
		if change != nil {
			change(c)
		}
	})
	return a, m, out
}

const reported = "Message-ID: <id@example.com>\nSubject: canary-subject\nReturn-Path: <canary-path@example.com>\n\ncanary-body\n"

func TestReportOfSuccess(t *testing.T) {
	lacks := cli.Errorf(cli.Unavailable, "no REQUIRETLS there")
	later := cli.Errorf(cli.TempFail, "not now")
	for _, tc := range []struct {
		name    string
		tag     bool
		message string
		fails   []error
		wishes  string // of the attempts
	}{
		{"untagged", false, reported, nil, "auto"},
		{"optional", false, "TLS-Required: No\n" + reported, nil, "no"},
		{"tagged", true, reported, nil, "yes"},
		{"tagged, the way back lacks it", true, reported, []error{lacks}, "yes auto"},
		{"tagged, the way back is closed", true, reported, []error{later}, "yes"},
		{"tagged, no way back", true, reported, []error{lacks, lacks}, "yes auto"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, _, out := reporting(t, nil, tc.fails...)
			env := Envelope{Sender: "a@example.com", Protocol: "LMTPS", RequireTLS: tc.tag, EnvID: "q+2B1"}
			rcpts := []Recipient{
				{Address: "u1@example.org", User: "u1", Notify: "SUCCESS,FAILURE", ORcpt: "rfc822;o+2Bd@example.net"},
				{Address: "u2@example.org", User: "u2", Notify: "FAILURE"},
				{Address: "u3@example.org", User: "u3", Notify: "NEVER"},
				{Address: "u4@example.org", User: "u4"},
				{Address: "broken", User: "broken", Notify: "SUCCESS"},
			}
			results := a.Deliver(t.Context(), env, rcpts, strings.NewReader(tc.message))
			for i, err := range results {
				if (err != nil) != (i == 4) {
					t.Errorf("recipient %d: %v", i, err)
				}
			}
			var wishes []string
			for _, s := range *out {
				wishes = append(wishes, s.wish)
				if s.from != "" || s.to != "a@example.com" {
					t.Errorf("from %q to %q", s.from, s.to)
				}
				for _, word := range []string{"u2", "u3", "u4", "broken", "canary-body", "canary-path"} {
					if strings.Contains(s.text, word) {
						t.Errorf("the report says %q:\n%s", word, s.text)
					}
				}
				for _, line := range []string{"Original-Envelope-Id: q+1", "Final-Recipient: rfc822; u1@example.org", "Action: delivered", "Status: 2.0.0", "Reporting-MTA: dns; mx.example.org"} {
					if !strings.Contains(s.text, line+"\r\n") {
						t.Errorf("the report does not say %q:\n%s", line, s.text)
					}
				}
				minimal := len(wishes) == 2
				for _, line := range []string{"Subject: canary-subject", "Original-Recipient: rfc822; o+d@example.net"} {
					if strings.Contains(s.text, line+"\r\n") == minimal {
						t.Errorf("%q in attempt %d:\n%s", line, len(wishes), s.text)
					}
				}
			}
			if got := strings.Join(wishes, " "); got != tc.wishes {
				t.Errorf("attempts %q, not %q", got, tc.wishes)
			}
		})
	}
}

// Nobody gets a report that is not owed.
func TestNoReport(t *testing.T) {
	for name, tc := range map[string]struct {
		sender, notify string
		change         func(*Config)
	}{
		"null reverse-path":  {"", "SUCCESS", nil},
		"not asked for":      {"a@example.com", "", nil},
		"not asked for that": {"a@example.com", "FAILURE,DELAY", nil},
		"not offered":        {"a@example.com", "SUCCESS", func(c *Config) { c.Reports = false }},
	} {
		a, m, out := reporting(t, tc.change)
		a.Deliver(t.Context(), Envelope{Sender: tc.sender, Protocol: "LMTPS"}, []Recipient{{Address: "u1@example.org", User: "u1", Notify: tc.notify}}, strings.NewReader(reported))
		if len(*out) != 0 || len(m.kept["u1/INBOX"]) != 1 {
			t.Errorf("%s: %d reports, %d copies", name, len(*out), len(m.kept["u1/INBOX"]))
		}
	}
}

// What a script has sent on is relayed; what it kept as well is delivered.
func TestReportOfRedirect(t *testing.T) {
	for script, want := range map[string]string{
		`redirect "x@example.net";`:                       "relayed",
		`require "copy"; redirect :copy "x@example.net";`: "delivered",
		`discard;`: "delivered",
	} {
		a, _, out := filtered(t, map[string]string{"u1": script}, nil)
		a.cfg.Reports = true
		env := Envelope{Sender: "a@example.com", Protocol: "LMTPS"}
		results := a.Deliver(t.Context(), env, []Recipient{{Address: "u1@example.org", User: "u1", Notify: "SUCCESS"}}, strings.NewReader(reported))
		if results[0] != nil || len(*out) == 0 {
			t.Fatalf("%s: %v, %d sent", script, results, len(*out))
		}
		if last := (*out)[len(*out)-1]; last.to != "a@example.com" || !strings.Contains(last.text, "Action: "+want+"\r\n") {
			t.Errorf("%s: to %s\n%s", script, last.to, last.text)
		}
	}
}

// A report that goes wrong takes nothing of the delivery back.
func TestReportPanics(t *testing.T) {
	a, m, _ := reporting(t, func(c *Config) {
		c.Send = func(context.Context, Onward) error { panic("no memory") }
	})
	err := a.Deliver(t.Context(), Envelope{Sender: "a@example.com", Protocol: "LMTPS"}, []Recipient{{Address: "u1@example.org", User: "u1", Notify: "SUCCESS"}}, strings.NewReader(reported))
	if fmt.Sprint(err) != "[<nil>]" || len(m.kept["u1/INBOX"]) != 1 {
		t.Error(err, len(m.kept["u1/INBOX"]))
	}
}
