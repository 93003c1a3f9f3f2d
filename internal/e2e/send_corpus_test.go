package e2e

import (
	"bytes"
	"io"
	"mime/quotedprintable"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rtls/internal/requiretls"
	"rtls/internal/testmail"
)

// TestSendCorpus sends every message of testdata/mail with every wish. What must
// arrive is computed here, by other means than rtls-send's.
func TestSendCorpus(t *testing.T) {
	p := newPKI(t)
	corpus, err := testmail.All(filepath.Join("..", "..", "testdata", "mail"))
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range corpus {
		wish := []requiretls.Wish{requiretls.Yes, requiretls.No, requiretls.Auto}[i%3]
		t.Run(m.Name+"/"+wish.String(), func(t *testing.T) {
			f := (&fakesub{}).start(t, p)
			r := f.send(t, p, string(m.Raw), "--requiretls="+wish.String(), "-i", "alice@example.org")
			if m.Refused {
				if r.code != 65 || len(f.lines()) > 0 {
					t.Errorf("exit %d, the server heard %q", r.code, f.lines())
				}
				f.nothingCrossed(t)
				return
			}
			if r.code != 0 || r.stderr != "" {
				t.Fatalf("exit %d: %s", r.code, r.stderr)
			}
			checkArrived(t, m, wish, f.one(t))
		})
	}
}

func checkArrived(t *testing.T, m testmail.Message, wish requiretls.Wish, got submitted) {
	t.Helper()
	if !strings.HasPrefix(got.mail, "MAIL FROM:<sender@example.org> ") || strings.HasSuffix(got.mail, " REQUIRETLS") != (wish == requiretls.Yes) {
		t.Errorf("%q", got.mail)
	}
	if len(got.rcpts) != 1 || got.rcpts[0] != "RCPT TO:<alice@example.org>" {
		t.Errorf("%q", got.rcpts)
	}
	header, body := splitRaw(m.Raw)
	arrived := got.body()
	if m.Name == "29-line-20k" { // no line may be that long: it is encoded
		var err error
		if arrived, err = io.ReadAll(quotedprintable.NewReader(bytes.NewReader(arrived))); err != nil {
			t.Fatal(err)
		}
	}
	if want := withCRLF(body); !bytes.Equal(arrived, want) {
		t.Errorf("the body is %q, want %q", clipped(arrived), clipped(want))
	}
	for line := range bytes.Lines(got.raw) {
		if len(line) > 1000 {
			t.Errorf("a line of %d octets was sent", len(line))
		}
	}
	eight := slices.ContainsFunc(m.Raw, func(c byte) bool { return c >= 0x80 })
	if strings.Contains(got.mail, " BODY=8BITMIME") != eight {
		t.Errorf("8-bit is %v: %q", eight, got.mail)
	}
	if strings.Contains(got.mail, " SMTPUTF8") != (m.Name == "14-utf8-addresses") {
		t.Errorf("%q", got.mail)
	}
	if bytes.Contains(bytes.ReplaceAll(got.raw, []byte("\r\n"), nil), []byte("\n")) || bytes.Contains(bytes.ReplaceAll(got.raw, []byte("\r\n"), nil), []byte("\r")) {
		t.Error("a bare CR or LF was sent")
	}
	checkHeader(t, m, wish, header, got.header())
}

// mended are the messages whose headers rtls-send repairs, with what must be in
// them afterwards.
var mended = map[string]string{
	"02-cron":                     "From: Cron Daemon <sender@example.org>\r\nTo: alice@example.org\r\n",
	"21-mbox-from-line":           "From: daemon@db3.example.org\r\n",
	"27-malformed-header-line":    "Subject: Order 5512\r\n this line has no colon and is not folded\r\n",
	"28-leading-space-first-line": "Comments: with a first line that continues nothing\r\n",
	"59-obsolete-syntax":          "To: alice@example.org, , bob @ example.net\r\nSubject: written\r\n \r\n as in 1985\r\n",
}

// checkHeader wants every line of the original in its place, but for the fields that
// stay here, and nothing but the missing fields behind them.
func checkHeader(t *testing.T, m testmail.Message, wish requiretls.Wish, original []byte, got string) {
	t.Helper()
	if want, ok := mended[m.Name]; ok {
		if !strings.Contains("\r\n"+got, "\r\n"+want) {
			t.Errorf("header %q lacks %q", got, want)
		}
		return
	}
	var kept strings.Builder
	here := false
	for line := range strings.Lines(string(withCRLF(original))) {
		if line[0] != ' ' && line[0] != '\t' {
			name, _, _ := strings.Cut(strings.ToLower(line), ":")
			here = slices.Contains([]string{"bcc", "resent-bcc", "return-path", "content-length"}, name)
		}
		if !here {
			kept.WriteString(line)
		}
	}
	added, ok := strings.CutPrefix(got, kept.String())
	if !ok {
		t.Fatalf("header %q does not begin with %q", clipped([]byte(got)), clipped([]byte(kept.String())))
	}
	var names []string
	for line := range strings.Lines(added) {
		name, _, _ := strings.Cut(line, ":")
		names = append(names, name)
	}
	var want []string
	for _, name := range []string{"From", "Date", "Message-ID"} {
		if !hasField(kept.String(), name) {
			want = append(want, name)
		}
	}
	if wish == requiretls.No && !hasField(kept.String(), "TLS-Required") {
		want = append(want, "TLS-Required")
	}
	if m.Name == "29-line-20k" {
		want = append(want, "Content-Transfer-Encoding")
	}
	if !slices.Equal(names, want) {
		t.Errorf("added %q, want %q", names, want)
	}
}

func hasField(header, name string) bool {
	return strings.Contains("\r\n"+strings.ToLower(header), "\r\n"+strings.ToLower(name)+":")
}

func clipped(b []byte) []byte { return b[:min(len(b), 300)] }

// splitRaw splits at the first line that is empty, whatever the line ends.
func splitRaw(raw []byte) (header, body []byte) {
	var at int
	for line := range bytes.Lines(raw) {
		at += len(line)
		if len(bytes.Trim(line, "\r\n")) == 0 {
			return raw[:at-len(line)], raw[at:]
		}
	}
	return raw, nil
}

// withCRLF makes CRLF of every line end and adds a missing last one.
func withCRLF(text []byte) []byte {
	s := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(text))
	if s != "" && !strings.HasSuffix(s, "\n") {
		s += "\n"
	}
	return []byte(strings.ReplaceAll(s, "\n", "\r\n"))
}

// The recipients of the corpus, read from its headers.
func TestSendCorpusRecipients(t *testing.T) {
	p := newPKI(t)
	corpus, err := testmail.All(filepath.Join("..", "..", "testdata", "mail"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"13-encoded-words":  {"alice@example.org", "boris@example.net", "liming@example.com", "lukasz@example.net", "kaete@example.org"},
		"14-utf8-addresses": {"田中@例え.example.net", "alice@example.org"},
		"49-bcc":            {"bob@example.net", "dora@example.com", "alice@example.org", "emil@example.net", "ida@example.com"},
		"50-resent":         {"alice@example.org", "gustav@example.com", "emil@example.net"},
		"53-odd-addresses": {"alice@example.org", `"a,b;c:d"@example.net`, "postmaster@[192.0.2.7]", "operator@[IPv6:2001:db8::7]",
			"!#$%&'*+-/=?^_`{|}~@example.com", `" "@example.org`, "bob@example.net", "dora@example.com", `"a\\b\"c"@example.com`},
		"59-obsolete-syntax": {"alice@example.org", "bob@example.net"},
	}
	for _, m := range corpus {
		to, ok := want[m.Name]
		if !ok {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			f := (&fakesub{}).start(t, p)
			got := f.sent(t, p, string(m.Raw), "-t")
			var rcpts []string
			for _, line := range got.rcpts {
				rcpts = append(rcpts, strings.TrimSuffix(strings.TrimPrefix(line, "RCPT TO:<"), ">"))
			}
			if !slices.Equal(rcpts, to) {
				t.Errorf("recipients %q, want %q", rcpts, to)
			}
			if strings.Contains(strings.ToLower(got.header()), "bcc") {
				t.Errorf("Bcc left: %q", got.header())
			}
		})
	}
	for name, message := range map[string]string{
		"nobody":      "Subject: to nobody\n\nx\n",
		"empty group": "To: undisclosed-recipients:;\n\nx\n",
		"empty input": "",
	} {
		f := (&fakesub{}).start(t, p)
		if r := f.send(t, p, message, "-t"); r.code != 64 || !strings.Contains(r.stderr, "no recipients") {
			t.Errorf("%s: exit %d: %s", name, r.code, r.stderr)
		}
		f.nothingCrossed(t)
	}
}
