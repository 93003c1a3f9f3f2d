package sieve

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// mixedMessage is the example of RFC 5173 section 5.2, with more ways to encode.
const mixedMessage = `From: Whomever
Subject: whatever
Content-Type: multipart/mixed; boundary=outer

This is a multi-part message in MIME format.

--outer
Content-Type: multipart/alternative; boundary=inner

This is a nested multi-part message in MIME format.

--inner
Content-Type: text/plain; charset="us-ascii"

Hello

--inner
Content-Type: text/html; charset="us-ascii"

<html><body>Hello</body></html>

--inner--

This is the end of the inner MIME multipart.

--outer
Content-Type: message/rfc822

From: Someone Else
Subject: hello request

Please say Hello

--outer
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Gr=FC=DFe=
 zusammen

--outer
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

AGhpZGRlbgA=
--outer--

This is the end of the outer MIME multipart.
`

// evaluatedBodies are tests, and what they are for mixedMessage.
var evaluatedBodies = []struct {
	test string
	want bool
}{
	{`body :content "multipart" :contains "MIME"`, true},
	{`body :content "multipart" :contains "nested multi-part"`, true},
	{`body :content "multipart" :contains "end of the inner"`, true},
	{`body :content "multipart" :contains "end of the outer"`, true},
	{`body :content "multipart" :contains "Hello"`, false},
	{`body :content "multipart" :contains "outer
Content"`, false},
	{`body :content "multipart" :contains "--"`, false},
	{`body :content "multipart/mixed" :is "This is a multi-part message in MIME format.
"`, true},
	{`body :content "multipart/mixed" :is "
This is the end of the outer MIME multipart.
"`, true},
	{`body :content "text/plain" :contains "Hello"`, true},
	{`body :content "text/plain" :is "Hello
"`, true},
	{`body :content "text/plain" :contains "<html>"`, false},
	{`body :content "text/html" :contains "Hello"`, true},
	{`body :content "text" :contains ["nothing", "body>hello"]`, true},
	{`body :content "message/rfc822" :contains "Hello"`, true},
	{`body :content "message/rfc822" :contains "Please"`, false},
	{`body :content "text/plain" :contains "please say"`, true},
	{`body :content "text" :contains "Grüße zusammen"`, true},
	{`body :contains "Grüße zusammen"`, true},
	{`body :text :matches "*grüße z??ammen*"`, true},
	{`body :comparator "i;octet" :contains "grüße"`, false},
	{`body :text :contains "hidden"`, false},
	{`body :content "application" :contains "hidden"`, true},
	{`body :content "application/octet-stream" :matches "${hex:00}hidden${hex:00}"`, true},
	{`body :content "" :contains "hidden"`, true},
	{`body :content ["/octet-stream", "application/", "application/octet-stream/x", "audio"] :contains ""`, false},
	{`body :content "audio/mp3" :contains ""`, false},
	{`body :content "application" :contains ""`, true},
	{`body :raw :contains "Gr=FC=DFe"`, true},
	{`body :raw :contains "boundary=inner"`, true},
	{`body :raw :contains "boundary=outer"`, false},
	{`body :raw :contains "plain; charset=iso-8859-1
content-transfer-encoding"`, true},
	{`body :raw :matches "This is a multi*MIME multipart.
"`, true},
	{`body :raw :matches "is a multi*"`, false},
	{`body :raw :matches "*This is a multi"`, false},
	{`body :content "text" :count "eq" :comparator "i;ascii-numeric" "4"`, true},
	{`body :content "text/html" :value "gt" "<html><a"`, true},
	{`body :content "text/html" :value "lt" "<html><a"`, false},
}

func TestBody(t *testing.T) {
	for _, c := range evaluatedBodies {
		for name, msg := range map[string]Message{"CRLF": messageOf(mixedMessage), "LF": {Content: strings.NewReader(mixedMessage), Size: int64(len(mixedMessage))}} {
			if got := holds(t, testEnv, msg, c.test); got != c.want {
				t.Errorf("%s: %s: got %t", name, c.test, got)
			}
		}
	}
}

func TestBodyOfNothing(t *testing.T) {
	for text, want := range map[string]bool{"Subject: x\n": false, "": false, "Subject: x": false, "Subject: x\n\n": true, "\n": true, "\nx": true} {
		for _, test := range []string{`body :raw :contains ""`, `body :contains ""`, `body :raw :matches "*"`} {
			if got := holds(t, testEnv, messageOf(text), test); got != want {
				t.Errorf("%q: %s: got %t", text, test, got)
			}
		}
	}
}

// The two ways to match a pattern agree, however the text is cut into pieces.
func FuzzGlob(f *testing.F) {
	f.Add("*a?b*", "xxaybzz", uint64(1))
	f.Add("a*b*c", "abcbc", uint64(2))
	f.Add(`\*?**`, "*x", uint64(3))
	f.Fuzz(func(t *testing.T, pattern, value string, seed uint64) {
		work := budget(DefaultWork)
		g := compileGlob(pattern)
		spans, want := g.match(value, true, &work)
		if want && rebuilt(g, value, spans) != value {
			t.Fatalf("%q matches %q with %v", value, pattern, spans)
		}
		stream := globStream{glob: g, work: &work}
		settled := false
		random := rand.New(rand.NewPCG(seed, 0))
		for rest := value; rest != "" && !settled; {
			n := 1 + random.IntN(len(rest))
			stream.feed(rest[:n])
			rest = rest[n:]
			settled = stream.settled()
		}
		if got := stream.end(); got != want {
			t.Fatalf("%q matches %q: %t at once, %t in pieces", value, pattern, want, got)
		}
	})
}

// rebuilt puts what the wildcards stand for into the pattern.
func rebuilt(g glob, value string, spans []int) string {
	var b strings.Builder
	next := func() {
		b.WriteString(value[spans[0]:spans[1]])
		spans = spans[2:]
	}
	for _, s := range g {
		if s.star {
			next()
		}
		for i := range len(s.text) {
			if s.any != nil && s.any[i] {
				next()
			} else {
				b.WriteByte(s.text[i])
			}
		}
	}
	return b.String()
}

// watched counts how much is asked for at once.
type watched struct {
	r       io.ReaderAt
	largest int
	fail    error
}

func (w *watched) ReadAt(p []byte, off int64) (int, error) {
	w.largest = max(w.largest, len(p))
	if w.fail != nil && off > 100_000 {
		return 0, w.fail
	}
	return w.r.ReadAt(p, off)
}

func large(t testing.TB) (text []byte) {
	t.Helper()
	binary := slices.Repeat([]byte("0123456789abcde\n"), 1<<20/4)
	text = []byte("Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	for chunk := range slices.Chunk(append(binary, "needle in the hay"...), 57) {
		text = append(base64.StdEncoding.AppendEncode(text, chunk), "\r\n"...)
	}
	return text
}

func TestBodyIsStreamed(t *testing.T) {
	text := large(t)
	w := &watched{r: bytes.NewReader(text)}
	msg := Message{Content: w, Size: int64(len(text))}
	if !holds(t, testEnv, msg, `body :matches "*needle in ??? hay"`) || holds(t, testEnv, msg, `body :is "needle"`) {
		t.Error("the end of a large body is not seen")
	}
	if w.largest > 128<<10 {
		t.Errorf("%d octets were asked for at once", w.largest)
	}
}

func TestReadErrorIsNotTheScripts(t *testing.T) {
	text := large(t)
	broken := errors.New("disk on fire")
	msg := Message{Content: &watched{r: bytes.NewReader(text), fail: broken}, Size: int64(len(text))}
	for _, test := range []string{`body :contains "needle"`, `body :raw :contains "needle"`} {
		result, err := mustParse(t, `require "body"; if `+test+` { discard; } discard;`).Run(t.Context(), testEnv, msg)
		var fault *Error
		if show(result) != "keep" || !errors.Is(err, broken) || errors.As(err, &fault) {
			t.Errorf("%s: got %s, %v", test, show(result), err)
		}
	}
}

func BenchmarkBody(b *testing.B) {
	text := large(b)
	msg := Message{Content: bytes.NewReader(text), Size: int64(len(text))}
	for _, test := range []string{`body :contains "nowhere"`, `body :raw :contains "nowhere"`, `body :contains ["a1", "b2", "c3", "d4", "e5"]`} {
		b.Run(test, func(b *testing.B) {
			b.SetBytes(msg.Size)
			b.ReportAllocs()
			for b.Loop() {
				holds(b, testEnv, msg, test)
			}
		})
	}
}
