package e2e

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func l26(t *testing.T, h *mailHost) {
	m := h.mta(t)
	m.LHLO()
	old := "Return-Path: <old@example.net>\r\nSubject: hi\r\nreturn-path:\r\n <older@example.net>\r\n\r\nReturn-Path: <body@example.net>\r\n"
	for _, sender := range []string{"<>", "<a@example.com>", `<"a b"@example.com>`, "<-a@example.com>", "<jürgen@exämple.com> SMTPUTF8"} {
		before := h.delivered("alice")
		m.Deliver(sender, old, "<alice>")
		path, _, _ := strings.Cut(sender, " SMTP")
		all := h.mail(t, "alice", "INBOX")
		got := all[len(all)-1].raw
		head, body, _ := strings.Cut(got, "\r\n\r\n")
		if len(all) != before+1 || !strings.HasPrefix(head, "Return-Path: "+path+"\r\n") ||
			strings.Count(strings.ToLower(head), "return-path:") != 1 || strings.Contains(head, "old") || body != "Return-Path: <body@example.net>\r\n" {
			t.Errorf("%s:\n%s", sender, got)
		}
	}
}

func l27(t *testing.T, h *mailHost) {
	clear := h.mta(t)
	clear.LHLO()
	clear.Deliver("<a@example.com>", plainMail, "<alice>")
	clear.Deliver("<ä@example.com> SMTPUTF8", plainMail, "<bob>")
	secure := h.secure(t)
	secure.Deliver("<a@example.com>", plainMail, "<carol@example.org>")
	secure.Deliver("<ä@example.com> SMTPUTF8", plainMail, "<alice+x@example.org>")
	alice := h.mail(t, "alice", "INBOX")
	for _, tc := range []struct{ raw, with, rcpt string }{
		{alice[0].raw, "LMTP", "alice"},
		{h.one(t, "bob").raw, "UTF8LMTP", "bob"},
		{h.one(t, "carol@example.org").raw, "LMTPS", "carol@example.org"},
		{alice[1].raw, "UTF8LMTPS", "alice+x@example.org"},
	} {
		want := "\r\nReceived: from relay.example.com (unix)\r\n\tby mx.example.org (rtls-lda) with " + tc.with + "\r\n\tid "
		if _, rest, ok := strings.Cut(tc.raw, want); !ok || !strings.Contains(rest, " for <"+tc.rcpt+">\r\n") {
			t.Errorf("no %q in\n%s", want, tc.raw)
		}
	}
}

// suites are the names of RFC 8446 and RFC 5289 that Go may choose.
var suites = regexp.MustCompile(`\r\n\ttls (TLS_AES_(128|256)_GCM_SHA(256|384)|TLS_CHACHA20_POLY1305_SHA256)\r\n\t; `)

func l28(t *testing.T, h *mailHost) {
	m := h.secure(t)
	m.Deliver("<a@example.com> REQUIRETLS", plainMail, "<alice>")
	m.Deliver("<a@example.com>", plainMail, "<bob>")
	tagged, plain := h.one(t, "alice").raw, h.one(t, "bob").raw
	if !suites.MatchString(tagged) || !suites.MatchString(plain) {
		t.Errorf("no tls clause:\n%s\n%s", tagged, plain)
	}
	if !strings.Contains(tagged, " with LMTPS (requiretls)\r\n") || strings.Contains(plain, "(requiretls)") {
		t.Errorf("comment:\n%s\n%s", tagged, plain)
	}
}

func l29(t *testing.T, h *mailHost) {
	trace := "Received: from x (x [192.0.2.9])\r\n  by\ty with ESMTP\t; Tue, 24 Nov 2026 12:00:00 +0000 \r\nReceived: (qmail 1 invoked)\r\nX-Received: z\r\n"
	m := h.mta(t)
	m.LHLO()
	m.Deliver("<>", trace+plainMail, "<alice>")
	if got := h.one(t, "alice").raw; !strings.HasSuffix(got, "\r\n"+trace+plainMail) {
		t.Error(got)
	}
}

func l30(t *testing.T, h *mailHost) {
	m := h.mta(t)
	m.LHLO()
	m.Deliver("<>", plainMail, "<alice+x@example.org>", "<bob@example.org>")
	for user, address := range map[string]string{"alice": "alice+x@example.org", "bob": "bob@example.org"} {
		got := h.one(t, user).raw
		if strings.Count(got, "\r\nDelivered-To: ") != 1 || !strings.Contains(got, "\r\nDelivered-To: "+address+"\r\n") {
			t.Error(got)
		}
		// Sent on, it comes back.
		m.Say("MAIL FROM:<>", "250")
		m.Say("RCPT TO:<"+address+">", "250")
		m.Say("DATA", "354")
		m.Say("Received: by relay.example.com\r\n"+got+".", "554 5.4.6 ")
		if r := h.lda(t, "Received: by relay.example.com\r\n"+got, "-d", user, "-a", address); r.code != 65 || !strings.HasPrefix(r.stdout, "5.4.6 ") {
			t.Errorf("%+v", r)
		}
		h.one(t, user)
	}
}

func l31(t *testing.T, _ *mailHost) {
	h := newMailHost(t, t.TempDir(), "deliver_once = false") // names in the order of arrival
	h.serve(t)
	m := h.secure(t)
	n := 0
	for _, message := range corpus(t) {
		wire := withCRLF(message.Raw)
		if !strings.HasSuffix(string(wire), "\r\n") {
			wire = append(wire, "\r\n"...)
		}
		m.Deliver("<a@example.com> BODY=8BITMIME", dotted(string(message.Raw)), "<alice>")
		// Chunks keep even what has no lines.
		m.Say("MAIL FROM:<a@example.com>", "250")
		m.Say("RCPT TO:<bob>", "250")
		m.Write(fmt.Sprintf("BDAT %d LAST\r\n%s", len(message.Raw), message.Raw))
		m.Expect("250 2.0.0 ")
		n++
		for user, want := range map[string]string{"alice": string(wire), "bob": string(message.Raw)} {
			if got := h.newest(t, user); !strings.HasSuffix(got, withoutTrace(want)) {
				t.Errorf("%s for %s became %.2000q", message.Name, user, got)
			}
		}
	}
	if h.delivered("alice") != n || h.delivered("bob") != n || n < 40 {
		t.Errorf("%d messages", n)
	}
}

// newest is the file that was delivered last, byte by byte.
func (h *mailHost) newest(t *testing.T, user string) string {
	t.Helper()
	// SECONDS.MmicrosecondsP... or, of a delivery with a queue id, O...
	stamp := func(path string) string {
		sec, rest, _ := strings.Cut(filepath.Base(path), ".M")
		return fmt.Sprintf("%12s%8s", sec, rest[:strings.IndexAny(rest, "PO")])
	}
	files := h.files(user)
	if len(files) == 0 {
		t.Fatalf("%s has no message", user)
	}
	raw, err := os.ReadFile(slices.MaxFunc(files, func(a, b string) int { return strings.Compare(stamp(a), stamp(b)) }))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// withoutTrace removes from a message what final delivery removes.
func withoutTrace(message string) string {
	return regexp.MustCompile(`(?mi)^(Return-Path|RTLS-Delivery)[ \t]*:.*\n([ \t].*\n)*`).ReplaceAllStringFunc(message, func(field string) string {
		if head, _, _ := strings.Cut(strings.ReplaceAll(message, "\r\n", "\n"), "\n\n"); strings.Contains(head+"\n", strings.ReplaceAll(field, "\r\n", "\n")) {
			return ""
		}
		return field
	})
}

func l34(t *testing.T, h *mailHost) {
	m := h.secure(t)
	for i, tc := range []struct{ params, want string }{
		{"RET=FULL ENVID=QQ314159", "RTLS-Delivery: tag=none; origin=esmtp; ret=FULL;\r\n\tenvid=QQ314159; notify=NEVER;\r\n\torcpt=rfc822;info@example.org;\r\n\ttls=TLSv1.3; cipher="},
		{"RET=FULL ENVID=QQ314159 REQUIRETLS", "RTLS-Delivery: tag=require; origin=esmtp; ret=HDRS;\r\n\tenvid=QQ314159; notify=NEVER;\r\n\torcpt=rfc822;info@example.org;\r\n\ttls=TLSv1.3; cipher="},
		{"REQUIRETLS", "RTLS-Delivery: tag=require; origin=esmtp; ret=HDRS;\r\n\tnotify=NEVER;"},
	} {
		m.Deliver("<a@example.com> "+tc.params, plainMail, "<alice> NOTIFY=NEVER ORCPT=rfc822;info@example.org")
		if got := h.mail(t, "alice", "INBOX")[i].raw; !strings.Contains(got, "\r\n"+tc.want) {
			t.Errorf("%s:\n%s", tc.params, got)
		}
	}
}

func l39(t *testing.T, _ *mailHost) {
	h := newMailHost(t, t.TempDir(), "refuse_requiretls = true", "trust_require_tls_esmtp = true")
	h.serve(t)
	m := h.secure(t)
	m.Open("<a@example.com> REQUIRETLS", "<alice>", "<bob>")
	m.Say("DATA", "354")
	m.Say(plainMail+".", "550 5.7.10 ", "550 5.7.10 ")
	m.Open("<a@example.com>", "<alice>")
	m.Say("DATA", "354")
	m.Say("Require-TLS-ESMTP: yes\r\n"+plainMail+".", "550 5.7.10 ")
	if r := h.lda(t, "Subject: hi\n\n", "-d", "alice", "--requiretls"); r.code != 77 || !strings.HasPrefix(r.stdout, "5.7.10 ") {
		t.Errorf("%+v", r)
	}
	m.Deliver("<a@example.com>", "TLS-Required: No\r\n"+plainMail, "<alice>")
	m.Deliver("<a@example.com>", plainMail, "<bob>")
	if alice, bob := h.one(t, "alice").tag, h.one(t, "bob").tag; alice != "optional/header" || bob != "none/esmtp" {
		t.Error(alice, bob)
	}
}

func l40(t *testing.T, h *mailHost) {
	broken := newMailHost(t, t.TempDir())
	if err := os.Chmod(filepath.Join(broken.dir, "users"), 0o644); err != nil {
		t.Fatal(err)
	}
	closedUp := newMailHost(t, t.TempDir())
	if err := os.WriteFile(filepath.Join(closedUp.root, "alice"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		host   *mailHost
		stdin  string
		args   []string
		code   int
		stdout string
	}{
		{"delivered", h, "Subject: hi\n\n", []string{"-d", "alice"}, 0, ""},
		{"usage", h, "Subject: hi\n\n", []string{"-z"}, 64, "4.3.5 "},
		{"loop", h, "Received: x\nDelivered-To: alice\n\n", []string{"-d", "alice"}, 65, "5.4.6 "},
		{"unknown user", h, "Subject: hi\n\n", []string{"-d", "mallory"}, 67, "5.1.1 "},
		{"no message", h, "", []string{"-d", "alice"}, 75, "4.3.0 "},
		{"user database open to others", broken, "Subject: hi\n\n", []string{"-d", "alice"}, 75, "4.3.0 "},
		{"account is a file", closedUp, "Subject: hi\n\n", []string{"-d", "alice"}, 75, "4.3.0 "},
		{"no configuration", h, "Subject: hi\n\n", []string{"-d", "alice", "-c", "/nonexistent"}, 75, "4.3.5 "},
		{"no configuration, checked", h, "", []string{"--check-config", "-c", "/nonexistent"}, 78, ""},
	} {
		r := tc.host.lda(t, tc.stdin, tc.args...)
		if r.code != tc.code || !strings.HasPrefix(r.stdout, tc.stdout) || tc.code == 75 && strings.Contains(r.stdout+r.stderr, "/") {
			t.Errorf("%s: %+v", tc.name, r)
		}
	}
	h.one(t, "alice")
}

// myself is the user that the test works as.
func myself(t *testing.T) string {
	t.Helper()
	u, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

// serveTrusting starts a server that trusts the processes of a user.
func serveTrusting(t *testing.T, name string) *mailHost {
	h := newMailHost(t, t.TempDir(), fmt.Sprintf("trust_local = [%q]", name))
	h.serve(t)
	return h
}

func l41(t *testing.T, _ *mailHost) {
	other := "nobody"
	if myself(t) == other {
		other = "root"
	}
	m := serveTrusting(t, other).mta(t)
	if slices.Contains(m.LHLO(), "REQUIRETLS") {
		t.Error("REQUIRETLS is offered to a user who is not trusted")
	}
	m.Say("MAIL FROM:<a@example.com> REQUIRETLS", "530 5.7.10 ")
}

func l42(t *testing.T, _ *mailHost) {
	h := serveTrusting(t, myself(t))
	m := h.mta(t)
	if !slices.Contains(m.LHLO(), "REQUIRETLS") {
		t.Error("REQUIRETLS is not offered")
	}
	m.Deliver("<a@example.com> REQUIRETLS", plainMail, "<alice>")
	m.Deliver("<a@example.com>", plainMail, "<bob>")
	if alice, bob := h.one(t, "alice").tag, h.one(t, "bob").tag; alice != "require/local" || bob != "none/local" {
		t.Error(alice, bob)
	}
	// Inside TLS it is worth what it always is.
	m.StartTLS().LHLO()
	m.Deliver("<a@example.com> REQUIRETLS", plainMail, "<carol@example.org>")
	if got := h.one(t, "carol@example.org").tag; got != "require/esmtp" {
		t.Error(got)
	}
}
