package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// fill writes n messages into Maildirs, the same into each.
func fill(n int, crlf bool, maildirs ...string) error {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		raw := message(r, i)
		wire := len(raw) + bytes.Count(raw, []byte("\n"))
		if crlf {
			raw = bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
		}
		name := fmt.Sprintf("%d.M%dP1Q%dR%016x.bench,S=%d,W=%d:2,S", 1_790_000_000+i, i, i, r.Uint64(), len(raw), wire)
		for _, dir := range maildirs {
			if err := os.WriteFile(filepath.Join(dir, "cur", name), raw, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// message makes one as they come today: three relays, a DKIM and an ARC signature,
// half of them HTML with a text beside, one in eight with an attachment.
func message(r *rand.Rand, i int) []byte {
	var b bytes.Buffer
	date := time.Unix(1_790_000_000+int64(i)*60, 0).UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700")
	words := func(n int) string {
		w := make([]string, n)
		for i := range w {
			w[i] = vocabulary[r.IntN(len(vocabulary))]
		}
		return strings.Join(w, " ")
	}
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	blob := func(n int) string {
		raw := make([]byte, n)
		for i := range raw {
			raw[i] = byte(r.Uint32())
		}
		var lines strings.Builder
		for text := base64.StdEncoding.EncodeToString(raw); text != ""; {
			n := min(72, len(text))
			lines.WriteString("\t" + text[:n] + "\n")
			text = text[n:]
		}
		return strings.TrimSuffix(lines.String(), "\n")
	}
	line("Return-Path: <user%d@example.com>", i%97)
	line("Delivered-To: alice@example.org")
	for hop := range 3 {
		line("Received: from relay%d.example.com (relay%d.example.com [192.0.2.%d])\n\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\n\tby mx%d.example.org (Postfix) with ESMTPS id %08X\n\tfor <alice@example.org>; %s", hop, hop, r.IntN(250)+1, hop, r.Uint32(), date)
	}
	line("DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=2026;\n\th=from:to:subject:date:message-id; b=\n%s", blob(256))
	line("ARC-Seal: i=1; a=rsa-sha256; d=example.org; cv=none; b=\n%s", blob(256))
	line("Authentication-Results: mx.example.org; dkim=pass header.d=example.com;\n\tspf=pass smtp.mailfrom=example.com; dmarc=pass")
	line("From: =?utf-8?q?Person_N=C3=BAmero_%d?= <user%d@example.com>", i%97, i%97)
	line("To: Alice Example <alice@example.org>, team-%d@example.net", i%11)
	if i%3 == 0 {
		line("Cc: \"Smith, Bob\" <bob@example.org>, carol@example.com")
	}
	line("Subject: Re: %s", words(3+r.IntN(6)))
	line("Date: %s", date)
	line("Message-ID: <%016x.%d@mail.example.com>", r.Uint64(), i)
	if i%2 == 0 {
		line("In-Reply-To: <%016x.%d@mail.example.com>", r.Uint64(), i)
		line("References: <%016x@mail.example.com>\n\t<%016x@mail.example.com>\n\t<%016x@mail.example.com>", r.Uint64(), r.Uint64(), r.Uint64())
	}
	if i%4 == 0 {
		line("List-Id: <list%d.example.net>\nList-Unsubscribe: <https://example.net/u/%016x>\nList-Post: <mailto:list%d@example.net>", i%7, r.Uint64(), i%7)
	}
	line("MIME-Version: 1.0\nX-Mailer: bench")
	text := func() {
		for range 5 + r.IntN(60) {
			line("%s", words(10))
		}
	}
	switch {
	case i%8 == 1:
		line("Content-Type: multipart/mixed; boundary=\"mixed-%016x\"\n", i)
		line("--mixed-%016x\nContent-Type: text/plain; charset=utf-8\n", i)
		text()
		line("--mixed-%016x\nContent-Type: application/pdf; name=\"report-%d.pdf\"\nContent-Disposition: attachment; filename=\"report-%d.pdf\"\nContent-Transfer-Encoding: base64\n", i, i, i)
		line("%s", strings.ReplaceAll(blob(10_000+r.IntN(40_000)), "\t", ""))
		line("--mixed-%016x--", i)
	case i%2 == 0:
		line("Content-Type: multipart/alternative;\n boundary=\"alternative-%016x\"\n", i)
		line("--alternative-%016x\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n", i)
		text()
		line("--alternative-%016x\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n", i)
		text()
		text()
		line("--alternative-%016x--", i)
	default:
		line("Content-Type: text/plain; charset=utf-8\n")
		text()
	}
	return b.Bytes()
}

var vocabulary = strings.Fields("the of mail and to house in is river that stone was paper for on are with as letter they be at one have this from or had by word but some what there we can out other were all your when up use how said an each she which do their time if will way about many then them would write like so these her long make thing see him two has look more day could go come did my sound no most number who over know water than call first people may down side been now find")
