package preview

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"rtls/internal/mimetree"
)

func of(t testing.TB, raw string) string {
	t.Helper()
	r := strings.NewReader(raw)
	root, err := mimetree.Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := Of(r, root)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

const htmlHeader = "Content-Type: text/html; charset=utf-8\r\n\r\n"

func TestOf(t *testing.T) {
	for raw, want := range map[string]string{
		"\r\nHello,\r\n\r\n  how  are\tyou?\r\n":                   "Hello, how are you?",
		"\r\n> quoted\r\n> more\r\nanswer\r\n-- \r\nsignature\r\n": "answer",
		"\r\n": "",
		"\r\nSee:\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nhQEMA\r\n-----END PGP MESSAGE-----\r\n":                                                                         "See:",
		"\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA512\r\n\r\nHello,\r\n- -- me\r\n-----BEGIN PGP SIGNATURE-----\r\n\r\niQ\r\n-----END PGP SIGNATURE-----\r\n": "Hello, -- me",
		"\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n\r\nHello\r\n\r\nyou\r\n":                                                                                            "Hello you",
		"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 x\r\n":                                                                                                  "",
		"Content-Type: image/png\r\n\r\nx": "",
		"\r\n" + strings.Repeat("é", 300):  strings.Repeat("é", 200),
		"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nK=E4se ist =\r\ngut":                   "Käse ist gut",
		"Content-Type: text/plain; charset=nonsense\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=":                                          "hello",
		"Content-Type: text/plain; charset=utf-8\r\n\r\na\xffb\x00c\x1bd":                                                                          "a\uFFFDb c d",
		htmlHeader + "<html><HEAD><title>no</title><style>p > a {x: y}</style></HEAD><body><!-- no > --><p>One<p>T<b>w</b>o &amp; 3 &lt; 4<br>end": "One Two & 3 < 4 end",
		htmlHeader + "a < b <3 <script>if (a</b) {}</SCRIPT >c&nbsp;&zwnj;&#847;&shy;d":                                                            "a < b <3 c d",
		htmlHeader + "text <style>never ends": "text",
		htmlHeader + "text <a href=":          "text",
		"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Disposition: attachment\r\n\r\nno\r\n--x\r\nContent-Type: message/rfc822\r\n\r\n\r\nno\r\n" +
			"--x\r\nContent-Type: multipart/alternative; boundary=y\r\n\r\n--y\r\n\r\n \r\n--y\r\n" + htmlHeader + "<i>yes</i>\r\n--y--\r\n--x--\r\n": "yes",
	} {
		if got := of(t, raw); got != want {
			t.Errorf("%q:\n got %q\nwant %q", raw, got, want)
		}
	}
}

func TestOfReaderError(t *testing.T) {
	failed := errors.New("failed")
	root := &mimetree.Part{Type: "text", Subtype: "plain", Body: mimetree.Span{End: 5}}
	if _, err := Of(failing{failed}, root); !errors.Is(err, failed) {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) ReadAt(p []byte, _ int64) (int, error) { return iotest.ErrReader(f.err).Read(p) }

// Whatever a message is, a preview is one short line.
func FuzzOf(f *testing.F) {
	f.Add("\r\nx")
	f.Add(htmlHeader + "<p>a<style></p></style>&amp;<!-->")
	f.Add("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nx\r\n--x--")
	f.Fuzz(func(t *testing.T, raw string) {
		text := of(t, raw)
		if !utf8.ValidString(text) || utf8.RuneCountInString(text) > maxRunes || strings.ContainsAny(text, "\r\n\x00") || strings.TrimSpace(text) != text {
			t.Errorf("%q", text)
		}
	})
}
