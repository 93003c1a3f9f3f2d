package testmail

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"
)

// contentChecks prove messages that are here for what they say: security, reports,
// lists, header fields.
var contentChecks = map[string]func(t *testing.T, raw []byte){
	"33-pgp-signed": checkPGPSigned,
	"34-pgp-encrypted": func(t *testing.T, raw []byte) {
		contains(t, head(raw), "multipart/encrypted", `protocol="application/pgp-encrypted"`)
		equal(t, types(t, raw), "application/pgp-encrypted application/octet-stream")
		equal(t, mustLeaf(t, raw, 0).text(t), "Version: 1\n")
		startsWith(t, string(dearmor(t, mustLeaf(t, raw, 1).text(t))), "\x84\x5e\x03") // version 3 session key packet
	},
	"35-smime-signed": func(t *testing.T, raw []byte) {
		contains(t, head(raw), "multipart/signed", "micalg=sha-256")
		signature := mustLeaf(t, raw, 1)
		equal(t, signature.mediaType, "application/pkcs7-signature")
		digest := sha256.Sum256(signedPart(raw, "smime-35"))
		contains(t, []byte(signature.text(t)), string(digest[:])) // the messageDigest attribute
	},
	"36-smime-enveloped": func(t *testing.T, raw []byte) {
		p := mustLeaf(t, raw, 0)
		equal(t, p.mediaType, "application/pkcs7-mime")
		equal(t, p.params["smime-type"], "enveloped-data")
		contains(t, []byte(p.text(t)), "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03") // id-envelopedData
	},
	"37-dsn": func(t *testing.T, raw []byte) {
		equal(t, field(t, raw, "Return-Path"), "<>")
		contains(t, head(raw), "report-type=delivery-status")
		equal(t, types(t, raw), "text/plain message/delivery-status text/rfc822-headers")
		contains(t, mustLeaf(t, raw, 1).body, "\n\nFinal-Recipient: rfc822; ", "\nStatus: 5.7.30\n")
	},
	"38-mdn": func(t *testing.T, raw []byte) {
		contains(t, head(raw), "report-type=disposition-notification")
		equal(t, types(t, raw), "text/plain message/disposition-notification")
		contains(t, mustLeaf(t, raw, 1).body, "\nDisposition: manual-action/MDN-sent-manually; displayed\n")
	},
	"39-calendar": func(t *testing.T, raw []byte) {
		equal(t, types(t, raw), "text/plain text/calendar application/ics")
		calendar := mustLeaf(t, raw, 1)
		equal(t, calendar.params["method"], "REQUEST")
		attached := strings.ReplaceAll(mustLeaf(t, raw, 2).text(t), "\r\n", "\n")
		equal(t, attached, string(calendar.body))
	},
	"40-newsletter": func(t *testing.T, raw []byte) {
		equal(t, field(t, raw, "List-Unsubscribe-Post"), "List-Unsubscribe=One-Click")
		contains(t, []byte(field(t, raw, "List-Unsubscribe")), "<https://", "<mailto:")
		equal(t, types(t, raw), "text/plain text/html")
	},
	"41-format-flowed": func(t *testing.T, raw []byte) {
		p := mustLeaf(t, raw, 0)
		equal(t, p.params["format"], "flowed")
		startsWith(t, string(p.body), "> From")
		contains(t, p.body, "> From the pier you can see the lighthouse, and on clear days also the \n> ", "\n From here", "\n-- \n")
	},
	"42-spam-html-only": func(t *testing.T, raw []byte) {
		equal(t, types(t, raw), "text/html")
		contains(t, body(raw), "\x96 \x80 \x93moor\x94")
		startsWith(t, field(t, raw, "Date"), "Wed, 31 Dec 1969")
	},
	"43-deep-nesting": func(t *testing.T, raw []byte) {
		all := mustLeaves(t, raw)
		equal(t, len(all), 1)
		equal(t, all[0].depth, 12)
	},
	"44-tls-required-no": func(t *testing.T, raw []byte) {
		equal(t, field(t, raw, "TLS-Required"), "No")
	},
	"45-tls-required-twice": func(t *testing.T, raw []byte) {
		all := fields(raw, "TLS-Required")
		equal(t, len(all), 2)
		equal(t, strings.Join(all, ","), " No,\n No")
	},
	"46-tls-required-inside": func(t *testing.T, raw []byte) {
		absent(t, raw, "TLS-Required")
		startsWith(t, string(body(raw)), "TLS-Required: No\n") // the preamble
		equal(t, bytes.Count(body(raw), []byte("\nTLS-Required: No\n")), 3)
		equal(t, mustLeaf(t, raw, 0).header.Get("TLS-Required"), "No")
		equal(t, field(t, mustLeaf(t, raw, 1).body, "TLS-Required"), "No")
	},
	"47-forged-require-tls-esmtp": func(t *testing.T, raw []byte) {
		startsWith(t, string(raw), "Require-TLS-ESMTP: yes\n")
	},
	"48-forged-rtls-delivery": func(t *testing.T, raw []byte) {
		equal(t, len(fields(raw, "RTLS-Delivery")), 2)
		equal(t, len(fields(raw, "Return-Path")), 1)
		contains(t, head(raw), "\nrtls-delivery: tag=require;\n ") // another case, folded
		contains(t, body(raw), "\nRTLS-Delivery: ")
	},
	"49-bcc": func(t *testing.T, raw []byte) {
		equal(t, len(fields(raw, "Bcc")), 2)
		contains(t, head(raw), "\nBcc: Alice Lind <alice@example.org>,\n ", "\nBCC: ida@")
		contains(t, body(raw), "\nBcc: this line is body")
	},
	"50-resent": func(t *testing.T, raw []byte) {
		equal(t, len(fields(raw, "Resent-To")), 2)
		equal(t, len(fields(raw, "Resent-Bcc")), 1)
		equal(t, len(fields(raw, "Bcc")), 1)
		startsWith(t, string(raw), "Resent-From: Carol") // the newest block is on top
	},
	"51-no-date-id-from": func(t *testing.T, raw []byte) {
		absent(t, raw, "Date", "Message-ID", "From")
	},
	"52-long-folded-subject": func(t *testing.T, raw []byte) {
		equal(t, strings.Count(strings.Join(fields(raw, "Subject"), ""), "\n"), 59)
		if n := len(field(t, raw, "Subject")); n < 4000 {
			t.Errorf("a subject of %d octets is not long", n)
		}
	},
	"53-odd-addresses": func(t *testing.T, raw []byte) {
		contains(t, head(raw), `<"ida holm"@`, "(she is (mostly) at sea)", `"a,b;c:d"@`, "@[192.0.2.7]",
			"@[IPv6:2001:db8::7]", "!#$%&'*+-/=?^_`{|}~@", `" "@`, "Nobody:;", `"a\\b\"c"@`)
		got := strings.Join(addresses(t, raw, "Cc"), " ")
		equal(t, got, `bob@example.net dora@example.com a\b"c@example.com`)
	},
	"54-duplicate-message-id": func(t *testing.T, raw []byte) {
		for _, name := range []string{"Message-ID", "Subject", "Date"} {
			all := fields(raw, name)
			if len(all) != 2 || all[0] == all[1] {
				t.Errorf("%s: %q, want two different", name, all)
			}
		}
	},
	"55-bare-cr": func(t *testing.T, raw []byte) {
		contains(t, body(raw), "%\rFetch", "\r\r\n", "\n\r.\r\n", "\r\n.\rRCPT TO:")
		equal(t, bytes.IndexByte(head(raw), '\r'), -1)
	},
	"56-trailing-white-space": func(t *testing.T, raw []byte) {
		contains(t, head(raw), ".net \n", ".org\t\n", "columns   \n", "X-Empty: \n", "X-Nothing:\n")
		contains(t, body(raw), "12 m\t\t\n   \n\t\nend \n\n\n\n")
	},
	"57-tab-folded": func(t *testing.T, raw []byte) {
		contains(t, head(raw), "From:\tLars\tNygaard\n\t<", "To:\n\talice", "\n\t \teven", "Message-ID:\n\t<")
		equal(t, strings.Join(addresses(t, raw, "To"), " "), "alice@example.org bob@example.net")
	},
	"58-lying-encoding": checkLies,
	"59-obsolete-syntax": func(t *testing.T, raw []byte) {
		contains(t, head(raw), "From : ", "<@relay.example.net,@hub.example.net:", ", , ", "\n \n as", "Nov 26 9 : 00 EST", "<obs 59 @ ")
	},
	"60-large-attachment": func(t *testing.T, raw []byte) {
		equal(t, types(t, raw), "text/plain application/octet-stream")
	},
}

func checkLies(t *testing.T, raw []byte) {
	equal(t, field(t, raw, "Content-Transfer-Encoding"), "base64") // forbidden for multiparts, RFC 2045 section 6.4
	all := mustLeaves(t, raw)
	equal(t, len(all), 5)
	for i, want := range []struct{ encoding, inBody string }{
		{"7bit", "Gr\xc3\xb6\xc3\x9fe"},
		{"8bit", "Gr\xf6\xdfe"}, // and the charset says utf-8
		{"base64", "plain text, and $o"},
		{"quoted-printable", "=ZZ"},
		{"x-uuencode-or-so", "as it is"},
	} {
		equal(t, all[i].header.Get("Content-Transfer-Encoding"), want.encoding)
		contains(t, all[i].body, want.inBody)
	}
}

// signedPart is the first part of a multipart/signed in the form that is signed:
// CRLF line ends, without the one that belongs to the boundary (RFC 1847 section 2.1).
func signedPart(raw []byte, boundary string) []byte {
	_, rest, _ := bytes.Cut(raw, []byte("\n--"+boundary+"\n"))
	part, _, _ := bytes.Cut(rest, []byte("\n--"+boundary+"\n"))
	return bytes.ReplaceAll(part, []byte("\n"), []byte("\r\n"))
}

// checkPGPSigned proves that the signature is over this very text, by the two octets
// of the digest that a signature shows (RFC 4880 section 5.2.3).
func checkPGPSigned(t *testing.T, raw []byte) {
	contains(t, head(raw), "multipart/signed", "micalg=pgp-sha512", `protocol="application/pgp-signature"`)
	equal(t, types(t, raw), "text/plain application/pgp-keys application/pgp-signature")
	packet := dearmor(t, mustLeaf(t, raw, 2).text(t))
	const textSignatureEdDSASHA512 = "\x04\x01\x16\x0a"
	startsWith(t, string(packet), "\x88") // old format, one octet of length
	packet = packet[2:]
	startsWith(t, string(packet), textSignatureEdDSASHA512)

	hashed := packet[:6+int(binary.BigEndian.Uint16(packet[4:]))]
	rest := packet[len(hashed):]
	shown := rest[2+int(binary.BigEndian.Uint16(rest)):][:2]

	digest := sha512.New()
	digest.Write(signedPart(raw, "sig-33"))
	digest.Write(hashed)
	digest.Write(binary.BigEndian.AppendUint32([]byte{4, 0xff}, uint32(len(hashed))))
	if !bytes.HasPrefix(digest.Sum(nil), shown) {
		t.Error("the signature is over another text")
	}
}

// dearmor reads OpenPGP armour without its checksum.
func dearmor(t *testing.T, text string) []byte {
	t.Helper()
	_, text, found := strings.Cut(text, "-----BEGIN PGP ")
	_, text, _ = strings.Cut(text, "\n\n")
	text, _, closed := strings.Cut(text, "\n=")
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || !found || !closed {
		t.Fatalf("no OpenPGP armour: %v", err)
	}
	return b
}
