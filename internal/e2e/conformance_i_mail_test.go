package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rtls/store"
)

// i20: the chain is shown whole, and only the hop that rtls-lda has seen is proven.
func i20(t *testing.T, _ *pki) {
	h := newMailHost(t, t.TempDir())
	h.serve(t)
	const forged = "RTLS-Delivery: tag=require; origin=esmtp; tls=TLSv1.3; peer=192.0.2.9\r\n" +
		"Received: from evil.example by mx.example.org (rtls-lda) with LMTPS (requiretls) id 1 tls TLS_AES_128_GCM_SHA256; now\r\n"
	const way = "Received: from a.example\r\n (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\r\n by b.example with ESMTPS\r\n id 1; now\r\n" +
		"Received: from c.example by a.example with ESMTP; now\r\n" +
		"Received: (qmail 1 invoked by uid 2); now\r\n"
	m := h.secure(t)
	m.Deliver("<a@example.com> REQUIRETLS", forged+way+plainMail, "<alice>")
	plain := h.mta(t)
	plain.LHLO()
	plain.Deliver("<a@example.com>", way+plainMail, "<bob>")
	if r := h.lda(t, forged+plainMail, "-d", "carol@example.org"); r.code != 0 {
		t.Fatalf("%+v", r)
	}

	type hop struct{ Evidence, From, With, TLS, Note string }
	show := func(account string) (tag string, list []hop) {
		t.Helper()
		r := run(t, nil, "rtls-imapd", "--config", h.config, "audit", "--json", account, "INBOX", "1")
		var found struct {
			Tag, Origin string
			Hops        []hop
		}
		if err := json.Unmarshal([]byte(r.stdout), &found); err != nil || r.code != 0 {
			t.Fatalf("%v: %+v", err, r)
		}
		return found.Tag + "/" + found.Origin, found.Hops
	}
	for _, test := range []struct {
		account, tag string
		evidence     []string
	}{
		{"alice", "require/esmtp", []string{"proven", "claimed", "claimed", "clear", "unknown"}},
		{"bob", "none/unknown", []string{"clear", "claimed", "clear", "unknown"}}, // nobody knows who has the socket
		{"carol@example.org", "none/mda", []string{"proven", "claimed"}},
	} {
		tag, list := show(test.account)
		var evidence []string
		for _, hop := range list {
			evidence = append(evidence, hop.Evidence)
		}
		if tag != test.tag || !slices.Equal(evidence, test.evidence) {
			t.Errorf("%s: %s %+v, want %s %q", test.account, tag, list, test.tag, test.evidence)
		}
	}
	if _, list := show("alice"); !strings.HasPrefix(list[0].TLS, "TLSv1.3 TLS_") || list[0].With != "LMTPS" || !strings.Contains(list[2].TLS, "TLSv1.3") {
		t.Errorf("%+v", list)
	}
	r := run(t, nil, "rtls-imapd", "--config", h.config, "audit", "alice")
	if r.code != 0 || strings.Count(r.stdout, "proven") != 1 || !strings.Contains(r.stdout, "Only hop 1 is evidence") {
		t.Errorf("%+v", r)
	}
}

// i21: a message with UTF-8 in its header is hidden from nobody.
func i21(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	const text = "From: Jörg <jörg@müller.example>\r\nSubject: grüße\r\n\r\nhello\r\n"
	c := d.login(t, p, "")
	c.ok("ENABLE UTF8=ACCEPT")
	c.write(fmt.Sprintf("x APPEND INBOX UTF8 (~{%d}\r\n", len(text)))
	if line := c.read(); !strings.HasPrefix(line, "+ ") {
		t.Fatal(line)
	}
	c.write(text + ")\r\n")
	if r := c.tagged("x"); r.status != "OK" {
		t.Fatalf("%+v", r)
	}
	c.ok("SELECT INBOX")
	d.deliver(t, "INBOX", []byte(text), store.TagNone, store.OriginESMTP)
	for _, utf8 := range []bool{true, false} {
		c := d.login(t, p, "")
		if utf8 {
			c.ok("ENABLE UTF8=ACCEPT")
		}
		if lines := c.ok("SELECT INBOX"); !slices.Contains(lines, "* 2 EXISTS") {
			t.Errorf("UTF8=ACCEPT %t: %q", utf8, lines)
		}
		for uid, body := range c.bodies() {
			if body != text {
				t.Errorf("UTF8=ACCEPT %t: UID %d is %q", utf8, uid, body)
			}
		}
		search := `SUBJECT "GRÜ"`
		if !utf8 {
			search = "CHARSET UTF-8 SUBJECT {4+}\r\nGRÜ"
		}
		if got := c.search(search); len(got) != 2 {
			t.Errorf("UTF8=ACCEPT %t: found %d", utf8, got)
		}
		for _, line := range c.ok("FETCH 1:2 ENVELOPE") {
			quoted := strings.Contains(line, `"grüße"`)
			if !strings.Contains(line, "grüße") || !strings.Contains(line, "müller.example") || quoted != utf8 {
				t.Errorf("UTF8=ACCEPT %t: %q", utf8, line)
			}
		}
	}
}
