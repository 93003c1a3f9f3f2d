package compose

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"strings"
	"testing"

	"rtls/internal/cli"
)

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func recode(t *testing.T, in string, need Need) string {
	t.Helper()
	in = crlf(in)
	c, err := Recode(strings.NewReader(in), int64(len(in)), need, t.TempDir())
	if err != nil {
		t.Fatalf("%q: %v", in, err)
	}
	defer c.Close()
	copied, err := RecodeText(bytes.NewReader([]byte(in)), need, t.TempDir())
	if err != nil {
		t.Fatalf("%q: %v", in, err)
	}
	defer copied.Close()
	var b, b2 bytes.Buffer
	if n, err := c.WriteTo(&b); err != nil || n != c.Size() {
		t.Fatalf("wrote %d of %d: %v", n, c.Size(), err)
	}
	if _, err := copied.WriteTo(&b2); err != nil || b2.String() != b.String() {
		t.Errorf("RecodeText: %q, %v", b2.String(), err)
	}
	return b.String()
}

// Parts that have to change do, and nothing else.
func TestRecode(t *testing.T) {
	long := strings.Repeat("0123456789 ", 100)
	for _, tc := range []struct {
		name     string
		need     Need
		in, want string
	}{
		{"nothing to do", SevenBit, "Subject: x\n\nhello\n", "Subject: x\n\nhello\n"},
		{"text without a type", SevenBit, "Subject: x\n\nGrüße\n", "Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe\n"},
		{"text with a type", SevenBit, "MIME-Version: 1.0\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\nGr\xfc\xdfe\n", "MIME-Version: 1.0\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe\n"},
		{"unknown charset", SevenBit, "MIME-Version: 1.0\nContent-Type: text/html\n\nlong enough Gr\xfc\xdfe\n", "MIME-Version: 1.0\nContent-Type: text/html;\n\tcharset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\nlong enough Gr=FC=DFe\n"},
		{"mostly 8-bit text", SevenBit, "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\näöü\n", "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nw6TDtsO8DQo=\n"},
		{"8-bit label on ASCII", SevenBit, "Content-Transfer-Encoding: 8bit\n\nx\n", "Content-Transfer-Encoding: 7bit\n\nx\n"},
		{"8-bit stays", ShortLines, "Subject: ü\n\nGrüße\n", "Subject: ü\n\nGrüße\n"},
		{"subject", SevenBit, "Subject: say Grüße an Ännchen now\n\nx\n", "Subject: say =?utf-8?q?Gr=C3=BC=C3=9Fe_an_=C3=84nnchen?= now\n\nx\n"},
		{"names", SevenBit, "To: Jörg <j@example.org>, \"A, Ü\" <a@example.org>\n\nx\n", "To: =?utf-8?q?J=C3=B6rg?= <j@example.org>,\n =?utf-8?b?QSwgw5w=?= <a@example.org>\n\nx\n"},
		{"parts", SevenBit,
			"Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\n\npreämble\n--b\n\nascii\n--b\nContent-Type: text/plain; charset=utf-8\n\nnot so much ü\n--b\nContent-Type: application/octet-stream\n\nü\n--b--\nepilogue\n",
			"Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 7bit\n\npre??mble\n--b\n\nascii\n--b\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nnot so much =C3=BC\n--b\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\nw7w=\n--b--\nepilogue\n"},
		{"file name", SevenBit, "Content-Type: application/pdf; name=\"Größe.pdf\"\nContent-Disposition: attachment; filename=\"Größe.pdf\"; size=1\n\nx\n", "Content-Type: application/pdf;\n name*=utf-8''Gr%C3%B6%C3%9Fe.pdf\nContent-Disposition: attachment;\n filename*=utf-8''Gr%C3%B6%C3%9Fe.pdf;\n size=1\n\nx\n"},
		{"digest", SevenBit, "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: ü\n\nx\n--b--\n", "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: =?utf-8?q?=C3=BC?=\n\nx\n--b--\n"},
		{"no closing delimiter", SevenBit, "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: image/png\n\nü\n", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\nw7wNCg==\n"},
		{"message in a message", SevenBit,
			"Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nSubject: ü\n\nand the text: ü\n",
			"Content-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n\nSubject: =?utf-8?q?=C3=BC?=\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nand the text: =C3=BC\n"},
		{"long line", ShortLines, "\n" + strings.Repeat("x", 999) + "\n", ""},
		{"998 octets", ShortLines, "\n" + strings.Repeat("x", 998) + "\n", "\n" + strings.Repeat("x", 998) + "\n"},
		{"long field", ShortLines, "References: " + long + "\n\nx\n", ""},
		{"base64 on one line", ShortLines, "Content-Transfer-Encoding: base64\n\n" + strings.Repeat("QUJD", 500) + "\n", ""},
		{"quoted-printable on one line", ShortLines, "Content-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat("=41bcd", 500) + "\n", ""},
		{"signed, and not to be changed", SevenBit, "Subject: ü\nContent-Type: multipart/signed; boundary=b\n\n--b\nContent-Transfer-Encoding: 8bit\n\nx\n--b\n\nsig\n--b--\n", "Subject: =?utf-8?q?=C3=BC?=\nContent-Type: multipart/signed; boundary=b\n\n--b\nContent-Transfer-Encoding: 8bit\n\nx\n--b\n\nsig\n--b--\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := recode(t, tc.in, tc.need)
			if tc.want != "" && got != crlf(tc.want) {
				t.Errorf("got  %q\nwant %q", got, crlf(tc.want))
			}
			if hasLongLine([]byte(got)) || tc.need == SevenBit && hasEightBit([]byte(got)) || !strings.HasSuffix(got, "\r\n") {
				t.Errorf("does not conform: %q", got)
			}
			if again := recode(t, strings.ReplaceAll(got, "\r\n", "\n"), tc.need); again != got {
				t.Errorf("a second time: %q", again)
			}
		})
	}
}

// What a reader gets to see is what it was.
func TestRecodeKeepsText(t *testing.T) {
	body := strings.Repeat("x", 3000) + "\nGrüße = Gruß \n.\n"
	got := recode(t, "Subject: Ä "+strings.Repeat("lang ", 300)+"\n\n"+body, SevenBit)
	m, err := mail.ReadMessage(strings.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil || string(text) != crlf(body) {
		t.Errorf("%.200q, %v", text, err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if want := strings.TrimRight("Ä "+strings.Repeat("lang ", 300), " "); err != nil || subject != want {
		t.Errorf("%q, %v", subject, err)
	}
}

func TestRecodeRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"signed part":                 "Content-Type: multipart/signed; boundary=b\n\n--b\n\nü\n--b\n\nsig\n--b--\n",
		"signed, nested":              "Content-Type: multipart/signed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=c\n\nü\n--c\n\nx\n--c--\n--b\n\nsig\n--b--\n",
		"epilogue within a signature": "Content-Type: multipart/signed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\nx\n--c--\nü\n--b\n\nsig\n--b--\n",
		"signed header":               "Content-Type: multipart/signed; boundary=b\n\n--b\nSubject: ü\n\nx\n--b\n\nsig\n--b--\n",
		"address":                     "To: jörg@example.org\n\nx\n",
		"group":                       "To: Größe: a@example.org;\n\nx\n",
		"boundary":                    "Content-Type: multipart/mixed; boundary=\"ü\"\n\n--ü\n\nx\n--ü--\n",
		"no boundary":                 "Content-Type: multipart/mixed\n\nü\n",
		"partial":                     "Content-Type: message/partial\n\nü\n",
		"base64":                      "Content-Transfer-Encoding: base64\n\nü\n",
		"encoding":                    "Content-Transfer-Encoding: x-uuencode\n\nü\n",
		"long word":                   "Subject: " + strings.Repeat("x", 1000) + "\n\nx\n",
	} {
		in = crlf(in)
		c, err := Recode(strings.NewReader(in), int64(len(in)), SevenBit, t.TempDir())
		if e, ok := errors.AsType[*cli.Error](err); !ok || e.Code != cli.DataErr {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
}

// A message that is read gets short lines, in memory that does not grow with it.
func TestLongLines(t *testing.T) {
	o := options("b@example.net")
	o.TempDir = t.TempDir()
	m := mustRead(t, complete+"\n"+strings.Repeat("x", 200000), o)
	got := text(t, m)
	_, body, _ := strings.Cut(got, "\r\n\r\n")
	decoded, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(body)))
	if err != nil || string(decoded) != strings.Repeat("x", 200000)+"\r\n" || m.EightBit {
		t.Errorf("%.200q, %v", got, err)
	}
	if left, err := os.ReadDir(o.TempDir); err != nil || len(left) > 0 {
		t.Errorf("in the temporary directory: %v, %v", left, err)
	}
	_, err = Read(strings.NewReader("Content-Type: multipart/signed; boundary=b\n\n--b\n\n"+strings.Repeat("x", 999)+"\n--b\n\nsig\n--b--\n"), options("b@example.net"))
	if cli.ExitCode(err) != cli.DataErr || !strings.Contains(err.Error(), "signed") {
		t.Error(err)
	}
}

func FuzzRecode(f *testing.F) {
	f.Add("Content-Type: multipart/mixed; boundary=b\n\npre\n--b\nContent-Type: text/plain\n\nü\n--b--\n")
	f.Add("Subject: ü\nTo: ä <a@b>\n\n" + strings.Repeat("x", 1200))
	f.Add("Content-Type: multipart/signed; boundary=b\n\n--b\n\nü\n--b--\n")
	f.Fuzz(func(t *testing.T, in string) {
		m, err := Read(strings.NewReader(in), options("b@example.net"))
		if err != nil {
			return
		}
		defer m.Close()
		if got := text(t, m); hasLongLine([]byte(got)) {
			t.Errorf("a long line in %q", got)
		}
		c, err := m.Recode(SevenBit)
		if err != nil {
			if e, ok := errors.AsType[*cli.Error](err); !ok || e.Code != cli.DataErr {
				t.Errorf("%q: %v", in, err)
			}
			return
		}
		defer c.Close()
		var b bytes.Buffer
		if _, err := c.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		if hasEightBit(b.Bytes()) || hasLongLine(b.Bytes()) || !bytes.HasSuffix(b.Bytes(), []byte("\r\n")) || bytes.Contains(bytes.ReplaceAll(b.Bytes(), []byte("\r\n"), nil), []byte("\n")) {
			t.Errorf("%q became %q", in, b.String())
		}
	})
}

// What a part decodes to is the same before and after, line feeds that were encoded too.
func TestRecodeKeepsOctets(t *testing.T) {
	body := "a=0Ab=0Dc=0D=0A" + strings.Repeat("x", 1200) + "\r\nd"
	message := "MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + body + "\r\n"
	c, err := Recode(strings.NewReader(message), int64(len(message)), ShortLines, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var out strings.Builder
	if _, err := c.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(out.String(), "\r\n\r\n")
	want, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(body + "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(after)))
	if err != nil || string(got) != string(want) || !strings.HasSuffix(after, "\r\n") {
		t.Errorf("%.60q...%q, want %.60q...%q, %v", got, after[len(after)-10:], want, want[len(want)-5:], err)
	}
}
