package testmail

import (
	"bytes"
	"mime"
	"net/mail"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// formChecks prove messages that are here for their form: structure, encodings,
// lines.
var formChecks = map[string]func(t *testing.T, raw []byte){
	"01-plain-ascii": func(t *testing.T, raw []byte) {
		if len(fields(raw, "MIME-Version")) > 0 {
			t.Error("plain mail from before MIME has no MIME-Version")
		}
		equal(t, types(t, raw), "text/plain")
		startsWith(t, string(body(raw)), "Alice,\n\n")
	},
	"02-cron": func(t *testing.T, raw []byte) {
		equal(t, field(t, raw, "From"), "root (Cron Daemon)")
		absent(t, raw, "Date", "Message-ID")
	},
	"03-git-patch": func(t *testing.T, raw []byte) {
		contains(t, body(raw), "\n \n-\tfor", "\n-- \n2.", "\n---\n table.c |")
	},
	"04-alternative": func(t *testing.T, raw []byte) {
		equal(t, types(t, raw), "text/plain text/html")
		contains(t, body(raw), "This is a multi-part message")
		contains(t, []byte(mustLeaf(t, raw, 1).text(t)), "1&nbsp;December", "–", "?berth=14&season=winter")
	},
	"05-related-inline-image": func(t *testing.T, raw []byte) {
		equal(t, types(t, raw), "text/html image/png")
		cid := strings.Trim(mustLeaf(t, raw, 1).header.Get("Content-ID"), "<>")
		contains(t, []byte(mustLeaf(t, raw, 0).text(t)), "cid:"+cid)
		startsWith(t, mustLeaf(t, raw, 1).text(t), "\x89PNG\r\n\x1a\n")
	},
	"06-mixed-attachments": func(t *testing.T, raw []byte) {
		equal(t, types(t, raw), "text/plain application/pdf application/zip text/plain")
		startsWith(t, mustLeaf(t, raw, 1).text(t), "%PDF-1.4\n")
		startsWith(t, mustLeaf(t, raw, 2).text(t), "PK\x03\x04")
		disposition := mustLeaf(t, raw, 3).header.Get("Content-Disposition")
		contains(t, []byte(disposition), "filename*0*=", "filename*1*=", "filename*2=")
		_, params, err := mime.ParseMediaType(disposition)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, params["filename"], "Übersicht der Meßwerte für Herbst und Winter 2026 (notes).txt")
	},
	"07-forward-two-levels": func(t *testing.T, raw []byte) {
		first := mustLeaf(t, raw, 1)
		equal(t, first.mediaType, "message/rfc822")
		second := mustLeaf(t, first.body, 1)
		equal(t, second.mediaType, "message/rfc822")
		equal(t, field(t, second.body, "Subject"), "Lantern")
	},
	"08-utf8-body-8bit": func(t *testing.T, raw []byte) {
		equal(t, mustLeaf(t, raw, 0).params["charset"], "utf-8")
		if !utf8.Valid(raw) || ascii(body(raw)) {
			t.Error("the body is not 8-bit UTF-8")
		}
	},
	"09-latin1-body-8bit": func(t *testing.T, raw []byte) {
		equal(t, mustLeaf(t, raw, 0).params["charset"], "ISO-8859-1")
		contains(t, body(raw), "Ch\xe8re", "caf\xe9")
		if utf8.Valid(raw) {
			t.Error("the body is valid UTF-8")
		}
	},
	"10-iso-2022-jp": func(t *testing.T, raw []byte) {
		contains(t, body(raw), "\x1b$B", "\x1b(B")
		startsWith(t, field(t, raw, "Subject"), "=?ISO-2022-JP?B?")
	},
	"11-quoted-printable": func(t *testing.T, raw []byte) {
		contains(t, body(raw), "=\n", "\n=46rom ", "\n=2E\n", "=09\n")
		contains(t, []byte(mustLeaf(t, raw, 0).text(t)), "flood = \"Flut\" in", "Südufer – gültig", "\nFrom the", "\n.\n", " \t\n")
	},
	"12-base64-text": func(t *testing.T, raw []byte) {
		text := mustLeaf(t, raw, 0).text(t)
		contains(t, []byte(text), "Πειραιά", "\r\n")
	},
	"13-encoded-words": checkEncodedWords,
	"14-utf8-addresses": func(t *testing.T, raw []byte) {
		contains(t, head(raw), "<jörg@bücher.example.org>", "<田中@例え.example.net>", "Subject: Neue Bücher")
		if !utf8.Valid(raw) {
			t.Error("not UTF-8")
		}
	},
	"15-undisclosed-recipients": func(t *testing.T, raw []byte) {
		equal(t, field(t, raw, "To"), "undisclosed-recipients:;")
		if list := addresses(t, raw, "To"); len(list) != 0 {
			t.Errorf("recipients %v in an empty group", list)
		}
	},
	"16-header-200k": func(t *testing.T, raw []byte) {
		if n := len(head(raw)); n < 200_000 {
			t.Errorf("%d octets of header", n)
		}
		equal(t, len(fields(raw, "ARC-Seal")), 46)
		equal(t, strings.Count(field(t, raw, "References"), "<"), 1370)
	},
	"17-header-1500-lines": func(t *testing.T, raw []byte) {
		lines := regexp.MustCompile(`(?m)^(X-Scan-Rule-\d+:|Received:|\tby |\tfor )`).FindAll(head(raw), -1)
		equal(t, len(lines), 1500)
		// More would look like a loop: Postfix gives up at 50.
		equal(t, len(fields(raw, "Received")), 20)
	},
	"18-no-final-newline": func(t *testing.T, raw []byte) {
		if !bytes.HasSuffix(raw, []byte("0 errors")) {
			t.Error("something follows the last word")
		}
	},
	"19-crlf": func(t *testing.T, raw []byte) {
		equal(t, bytes.Count(raw, []byte("\n")), bytes.Count(raw, []byte("\r\n")))
		equal(t, types(t, raw), "text/plain image/png")
	},
	"20-crlf-header-lf-body": func(t *testing.T, raw []byte) {
		header, text, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
		equal(t, bytes.Count(header, []byte("\n")), bytes.Count(header, []byte("\r\n")))
		contains(t, text, "Message:\n", "é")
		equal(t, bytes.Count(text, []byte("\r")), 0)
	},
	"21-mbox-from-line": func(t *testing.T, raw []byte) {
		startsWith(t, string(raw), "From daemon@db3.example.org Sat Nov 21 06:25:01 2026\nFrom: ")
	},
	"22-empty-body": func(t *testing.T, raw []byte) {
		if !bytes.HasSuffix(raw, []byte(">\n\n")) {
			t.Error("does not end with the blank line")
		}
	},
	"23-header-only": func(t *testing.T, raw []byte) {
		startsWith(t, field(t, raw, "Subject"), "db3")
		if !bytes.HasSuffix(raw, []byte(">\n")) || bytes.Contains(raw, []byte("\n\n")) {
			t.Error("does not end within the header")
		}
	},
	"24-empty-multipart": func(t *testing.T, raw []byte) {
		equal(t, string(body(raw)), "--nothing--\n")
	},
	"25-missing-closing-boundary": func(t *testing.T, raw []byte) {
		equal(t, bytes.Count(raw, []byte("\n--open-end\n")), 2)
		equal(t, bytes.Count(raw, []byte("--open-end--")), 0)
	},
	"26-boundary-never-occurs": func(t *testing.T, raw []byte) {
		contains(t, head(raw), `boundary="A1"`)
		equal(t, bytes.Count(body(raw), []byte("A1")), 0)
		contains(t, body(raw), "--B2\n", "--B2--\n")
	},
	"27-malformed-header-line": func(t *testing.T, raw []byte) {
		bad := regexp.MustCompile(`(?m)^[^:\s][^:\n]*$`).FindAll(head(raw), -1)
		equal(t, len(bad), 1)
		startsWith(t, field(t, raw, "Date"), "Sat") // so it is in the middle
	},
	"28-leading-space-first-line": func(t *testing.T, raw []byte) {
		startsWith(t, string(raw), " with a first line")
	},
	"29-line-20k": func(t *testing.T, raw []byte) {
		equal(t, longestLine(body(raw)), 20_000)
	},
	"30-nul-bytes": func(t *testing.T, raw []byte) {
		startsWith(t, string(body(raw)), "S\x00e\x00r\x00v\x00")
	},
	"31-dots": func(t *testing.T, raw []byte) {
		startsWith(t, string(body(raw)), ".\n")
		contains(t, body(raw), "\n.hidden\n..\n...three\n", "\n.\n.\nQUIT\nMAIL FROM:", ">\n.\n")
	},
	"32-from-lines-in-body": func(t *testing.T, raw []byte) {
		startsWith(t, string(body(raw)), "From the pier")
		contains(t, body(raw), "\n>From is", "\n\nFrom bob@example.net Sat Nov 21", "\n>>From here")
	},
}

func checkEncodedWords(t *testing.T, raw []byte) {
	to := field(t, raw, "To")
	contains(t, []byte(to+field(t, raw, "From")+field(t, raw, "Cc")),
		"=?windows-1251?B?", "=?KOI8-R?b?", "=?GB2312?B?", "=?ISO-8859-1?Q?", "=?utf-8?q?", "=?utf-8*de?Q?")
	subject := field(t, raw, "Subject")
	contains(t, []byte(subject), "=?ISO-8859-15?Q?", "=?x-unknown-9?Q?")
	if !strings.HasSuffix(subject, "=?UTF-8?Q?broken") {
		t.Errorf("subject %q has no word without an end", subject)
	}
	var dec mime.WordDecoder
	words := strings.Fields(subject)[:2]
	first, err1 := dec.Decode(words[0])
	second, err2 := dec.Decode(words[1])
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	equal(t, first, "Gr\xc3")
	equal(t, second, "\xbcße aus dem Süden")
}

func equal[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("got %#v, want %#v", got, want)
	}
}

func startsWith(t *testing.T, got, want string) {
	t.Helper()
	if !strings.HasPrefix(got, want) {
		t.Errorf("starts with %.40q, want %q", got, want)
	}
}

func contains(t *testing.T, got []byte, want ...string) {
	t.Helper()
	for _, w := range want {
		if !bytes.Contains(got, []byte(w)) {
			t.Errorf("%q is missing", w)
		}
	}
}

func absent(t *testing.T, raw []byte, names ...string) {
	t.Helper()
	for _, name := range names {
		if got := fields(raw, name); len(got) > 0 {
			t.Errorf("%s: %q, want none", name, got)
		}
	}
}

// types are the media types of the leaves, in one line.
func types(t *testing.T, raw []byte) string {
	t.Helper()
	var list []string
	for _, p := range mustLeaves(t, raw) {
		list = append(list, p.mediaType)
	}
	return strings.Join(list, " ")
}

func addresses(t *testing.T, raw []byte, name string) []string {
	t.Helper()
	list, err := mail.ParseAddressList(field(t, raw, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var all []string
	for _, a := range list {
		all = append(all, a.Address)
	}
	return all
}
