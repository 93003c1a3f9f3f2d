package hops

import (
	"strings"
	"testing"
	"time"
)

// What fields of known programs, and odd ones, say.
func TestReadField(t *testing.T) {
	for _, test := range []struct {
		value string
		want  Evidence
		tls   string // a piece of it
		note  string // a piece of it
	}{
		{"from a.example (a.example [192.0.2.1]) by b.example with ESMTPS id 1; Tue, 24 Nov 2026 12:00:00 +0000", Claimed, "", ""},
		{"from a.example by b.example with ESMTPSA tls TLS_AES_128_GCM_SHA256; now", Claimed, "TLS_AES_128_GCM_SHA256", ""},
		{"from a.example (a.example [192.0.2.1])\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\t key-exchange X25519) (No client certificate requested)\tby b.example (Postfix) with ESMTPS id 4F for <x@y>; now", Claimed, "using TLSv1.3", ""},
		{"from a.example by b.example with esmtps (TLS1.3) tls TLS_AES_256_GCM_SHA384 (Exim 4.96) (envelope-from <x@y>) id 1t-2; now", Claimed, "TLS_AES_256", ""},
		{"by b.example with SMTP id x; (version=TLSv1.2 cipher=ECDHE-RSA bits=128/128)", Claimed, "version=TLSv1.2", ""},
		{"from a.example by b.example with LMTPS (requiretls) id 1 tls TLS_AES_128_GCM_SHA256 ; now", Claimed, "TLS_AES", ""},
		{"from a.example by b.example with UTF8SMTPS; now", Claimed, "", ""},
		{"from a.example by b.example with ESMTP; now", Clear, "", ""},
		{"from a.example by b.example with SMTP", Clear, "", ""},
		{"from a by b with esmtpa; now", Clear, "", ""},
		{"from a (HELO tls1.3) by b with ESMTP", Claimed, "tls1.3", ""}, // a name of the client's own looks like it, and is no more than a claim
		{"from tlsv1.3 by b with ESMTP", Clear, "", ""},
		{"from a by b with ESMTP (ESMTPS)", Clear, "", ""},
		{`from "with ESMTPS" by b with ESMTP`, Clear, "", ""},
		{"from a by b (with ESMTPS) with ESMTP", Clear, "", ""},
		{"from a by b with ESMTP; with ESMTPS", Clear, "", ""},
		{"from a by b with ESMTP tls TLS_AES_128_GCM_SHA256", Unknown, "TLS", "a protocol without TLS"},
		{"from a by b with ESMTP (requiretls)", Unknown, "", "requiretls"},
		{"from a by b with ESMTP with ESMTPS", Unknown, "", "two clauses with"},
		{"from a by b id 4", Unknown, "", "by what protocol"},
		{"by b (Postfix, from userid 1000) id 4; now", Unknown, "", "by what protocol"},
		{"from a by b with CARRIER-PIGEON", Unknown, "", "nobody knows"},
		{"(qmail 1 invoked by uid 1); 24 Nov 2026 12:00:00 -0000", Unknown, "", "not in the form"},
		{"from a by b with", Unknown, "", "with is empty"},
		{"from a by b with id 4", Unknown, "", "with is empty"},
		{"from a (((by b with ESMTPS", Unknown, "", "comment does not end"},
		{`from a by "b with ESMTPS`, Unknown, "", "quoted string does not end"},
		{"", Unknown, "", "not in the form"},
		{strings.Repeat("from a ", 300) + "with ESMTPS", Unknown, "", "it is too long"},
		{strings.Repeat("(", 100_000), Unknown, "", "comment does not end"},
	} {
		h := readField(test.value)
		if h.Evidence != test.want || !strings.Contains(h.TLS, test.tls) || !strings.Contains(h.Note, test.note) || test.note == "" && h.Note != "" {
			t.Errorf("%.120s:\n%+v, want %s, %q, %q", test.value, h, test.want, test.tls, test.note)
		}
	}
}

// Only the first field can be proven, only if it is ours, and by our record of it.
func TestRead(t *testing.T) {
	fields := []string{
		"from a by b (rtls-lda) with LMTPS (requiretls) id 1 tls TLS_AES_128_GCM_SHA256 ; now",
		"from evil by b (rtls-lda) with LMTPS (requiretls) id 1 tls TLS_AES_128_GCM_SHA256 ; now",
	}
	for _, test := range []struct {
		ours     bool
		delivery string
		want     Evidence
	}{
		{true, "tag=require; origin=esmtp; tls=TLSv1.3; cipher=TLS_AES_128_GCM_SHA256; peer=192.0.2.1; time=x", Proven},
		{true, "tag=none; origin=mda; tls=none; peer=pipe; time=x", Proven},
		{true, "tag=none; origin=local; tls=none; peer=unix; time=x", Proven},
		{true, "tag=none; origin=mda; tls=none; peer=192.0.2.1; time=x", Clear},
		{true, "tag=none; tls=none; peer=192.0.2.1; tls=TLSv1.3; peer=pipe", Clear},
		{true, "tag=none; origin=esmtp; envid=x;tls;peer;\torcpt=rfc822;peer;tls;\ttls=TLSv1.3; cipher=TLS_AES_128_GCM_SHA256; peer=unix", Proven}, // ENVID is the sender's
		{true, "", Unknown},
		{false, "tag=require; origin=esmtp; tls=TLSv1.3; peer=192.0.2.1", Claimed},
	} {
		list := Read(fields, test.ours, test.delivery)
		if len(list) != 2 || list[0].Evidence != test.want || list[1].Evidence != Claimed {
			t.Errorf("%t, %q: %+v", test.ours, test.delivery, list)
		}
	}
	if list := Read(nil, true, "tls=TLSv1.3"); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

func TestHeader(t *testing.T) {
	const text = "From x\r\n of mbox\r\nReceived: a\r\n\tb\n c\nno field\nX: y\n z\nreceived : d\nSubject:\n s\n\nReceived: body\n"
	found, err := Header(strings.NewReader(text), "Received", "Subject")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(found["received"], "|"); got != "a\tb c|d" {
		t.Errorf("%q", got)
	}
	if got := strings.Join(found["subject"], "|"); got != " s" {
		t.Errorf("%q", got)
	}
	if found, err := Header(strings.NewReader("Received: "+strings.Repeat("x", 2*maxHeader)), "Received"); err != nil || len(found["received"][0]) >= maxHeader {
		t.Error("there is no limit")
	}
}

// Nothing but what is ours is ever proven, and nothing panics.
func FuzzReadField(f *testing.F) {
	for _, seed := range []string{"from a (b) by c with ESMTPS id 1 tls x; now", `from "a\"b" (c\)(d)) with SMTP`, ";;((\\", "with with with"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		h := readField(value)
		switch h.Evidence {
		case Claimed, Clear:
		case Unknown:
			if h.Note == "" {
				t.Errorf("%q is unknown, and nobody says why", value)
			}
		default:
			t.Errorf("%q: %s", value, h.Evidence)
		}
	})
}

// A field in as many lines as there can be takes no longer than another.
func TestHeaderOfManyLines(t *testing.T) {
	text := "Received: x\n" + strings.Repeat(" y\n", maxHeader/3)
	start := time.Now()
	found, err := Header(strings.NewReader(text), "Received")
	if took := time.Since(start); err != nil || len(found["received"]) != 1 || len(found["received"][0]) < maxHeader/3 || took > 5*time.Second {
		t.Errorf("%v, %v", err, took)
	}
}
