package transfer

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
	"testing/iotest"
)

func decoded(t *testing.T, encoding, in string) string {
	t.Helper()
	r, known := NewReader(encoding, strings.NewReader(in))
	if !known {
		t.Errorf("%s is not known", encoding)
	}
	b, err := io.ReadAll(iotest.OneByteReader(r))
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func TestDecode(t *testing.T) {
	for _, test := range []struct{ encoding, in, want string }{
		{"", "a=20\r\n", "a=20\r\n"},
		{"8BIT", "\xff", "\xff"},
		{"BASE64", "aGVs\r\nbG8=\r\n", "hello"},
		{"base64", "aGVsbG8", "hello"},
		{"base64", "a!G V*s\x00bG8=", "hello"},
		{"base64", "aGk=aG8=", "hiho"},
		{"base64", "====", ""},
		{"base64", "a", ""},
		{"quoted-printable", "a=20b=\r\nc=E9\r\n", "a bc\xe9\r\n"},
		{"quoted-printable", "a =\t \r\nb  \r\nc=", "a b\r\nc"},
		{"quoted-printable", "a= \t", "a"},
		{"quoted-printable", "a \t", "a"},
		{"quoted-printable", "a=20 ", "a "},
		{"quoted-printable", "a=2", "a=2"},
		{"quoted-printable", "=", ""},
		{"quoted-printable", " =\r\n \r\n", " \r\n"},
		{"quoted-printable", "=ZZ=4=e9=", "=ZZ=4\xe9"},
		{"quoted-printable", "a\rb \rc\r", "a\rb \rc\r"},
		{"quoted-printable", "a=\nb\n", "ab\n"},
		{"quoted-printable", "", ""},
	} {
		if got := decoded(t, test.encoding, test.in); got != test.want {
			t.Errorf("%s of %q: got %q, want %q", test.encoding, test.in, got, test.want)
		}
	}
	if r, known := NewReader("x-uuencode", strings.NewReader("x")); known || r == nil {
		t.Error("x-uuencode is known")
	}
	broken := errors.New("broken")
	r, _ := NewReader("quoted-printable", io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)))
	if _, err := io.ReadAll(r); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// Where a buffer ends makes no difference.
func TestDecodeAcrossBuffers(t *testing.T) {
	for _, text := range []string{
		"a \t \r\nb=\t \r\nc=E9=C3=A9=\r\n \r\n d=ZZ = e=4\r\n=3D=\nf \n",
		"a" + strings.Repeat(" ", 100) + "\r\nb" + strings.Repeat("\t ", 100) + "=" + strings.Repeat(" ", 100) + "\r\n" + strings.Repeat(" ", 100) + "c" + strings.Repeat(" ", 100),
		strings.Repeat("=", 100) + "\r\n",
		strings.Repeat("\r", 100) + "\n",
	} {
		for size := 16; size < 21; size++ { // 16 is the least that a buffer has
			for start := range len(text) {
				if got, want := sized(t, text[start:], size), sized(t, text[start:], len(text)+1); got != want {
					t.Fatalf("%q with a buffer of %d: got %q, want %q", text[start:], size, got, want)
				}
			}
		}
	}
	if got, want := decoded(t, "quoted-printable", "a"+strings.Repeat(" ", 1<<20)+"b\r\n"), "a"+strings.Repeat(" ", 1<<20)+"b\r\n"; got != want {
		t.Errorf("%d blanks within a line: got %d octets", 1<<20, len(got))
	}
}

func sized(t *testing.T, text string, size int) string {
	t.Helper()
	b, err := io.ReadAll(&quotedReader{r: bufio.NewReaderSize(strings.NewReader(text), size)})
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// Lines longer than any buffer decode as short ones do.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("hello = w\u00f6rld\r\n"), 3)
	f.Fuzz(func(t *testing.T, data []byte, times int) {
		data = bytes.Repeat(data, min(max(times, 1), 2000))
		if len(data) > 1<<20 {
			return
		}
		if got := decoded(t, "base64", base64.StdEncoding.EncodeToString(data)); got != string(data) {
			t.Errorf("base64: %q", got)
		}
		var b bytes.Buffer
		w := quotedprintable.NewWriter(&b)
		w.Binary = true
		_, _ = w.Write(data)
		_ = w.Close()
		if got := decoded(t, "quoted-printable", b.String()); got != string(data) {
			t.Errorf("quoted-printable: %q from %q", got, b.String())
		}
		if got := decoded(t, "quoted-printable", strings.ReplaceAll(b.String(), "=\r\n", "")); got != string(data) {
			t.Errorf("quoted-printable on one line differs")
		}
	})
}
