package mimetree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"rtls/internal/testmail"
)

// sketch draws a tree: type, what header and body hold, children in braces.
func sketch(raw string, p *Part) string {
	s := fmt.Sprintf("%s/%s %q %q", p.Type, p.Subtype, raw[p.Header.Start:p.Header.End], raw[p.Body.Start:p.Body.End])
	if len(p.Children) == 0 {
		return s
	}
	s = fmt.Sprintf("%s/%s", p.Type, p.Subtype)
	var children []string
	for _, c := range p.Children {
		children = append(children, sketch(raw, c))
	}
	return s + " {" + strings.Join(children, " | ") + "}"
}

func parse(t *testing.T, raw string) *Part {
	t.Helper()
	root, err := Parse(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// crlf makes wire form of a text that is easy to read.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// mixed starts a multipart with a boundary; the second line is the empty one.
func mixed(boundary string) string {
	return "Content-Type: multipart/mixed; boundary=" + boundary + "\n\n"
}

func TestParts(t *testing.T) {
	for _, c := range []struct{ name, raw, want string }{
		{"nothing", "", `text/plain "" ""`},
		{"plain", "A: b\n\nhi\n", `text/plain "A: b\r\n\r\n" "hi\r\n"`},
		{"no header", "\nhi", `text/plain "\r\n" "hi"`},
		{"no body", "A: b\n\n", `text/plain "A: b\r\n\r\n" ""`},
		{"no empty line", "A: b\n", `text/plain "A: b\r\n" ""`},
		{"header cut off", "A: b", `text/plain "A: b" ""`},
		{"continuation first", " x\nContent-Type: a/b\n\nhi", `a/b " x\r\nContent-Type: a/b\r\n\r\n" "hi"`},
		{"line without colon", "x\nContent-Type: a/b\n\nhi", `a/b "x\r\nContent-Type: a/b\r\n\r\n" "hi"`},
		{"line of blanks is a fold", "Content-Type:\n \n a/b\n\nhi", `a/b "Content-Type:\r\n \r\n a/b\r\n\r\n" "hi"`},
		{"type that cannot be read", "Content-Type: text\n\nhi", `text/plain "Content-Type: text\r\n\r\n" "hi"`},
		{"type twice", "Content-Type: a/b\nContent-Type: c/d\n\n", `a/b "Content-Type: a/b\r\nContent-Type: c/d\r\n\r\n" ""`},

		{"multipart", mixed("x") + "preamble\n--x\n\none\n--x\nA: b\n\ntwo\n\n--x--\nepilogue\n",
			`multipart/mixed {text/plain "\r\n" "one" | text/plain "A: b\r\n\r\n" "two\r\n"}`},
		{"delimiter with blanks", mixed("x") + "--x \t \n\none\n--x-- \n--x\n",
			`multipart/mixed {text/plain "\r\n" "one"}`},
		{"delimiter at once, no line end", mixed("x") + "--x\n\none\n--x--",
			`multipart/mixed {text/plain "\r\n" "one"}`},
		{"boundary in quotes with blanks behind", "Content-Type: multipart/mixed; boundary=\"a b  \"\n\n--a b\n\none\n--a b--\n",
			`multipart/mixed {text/plain "\r\n" "one"}`},
		{"not at the start of a line", mixed("x") + "--x\n\n --x\n>--x\n--x--\n",
			`multipart/mixed {text/plain "\r\n" " --x\r\n>--x"}`},
		{"no closing delimiter", mixed("x") + "--x\n\none\n",
			`multipart/mixed {text/plain "\r\n" "one\r\n"}`},
		{"empty multipart", mixed("x") + "--x--\n", `multipart/mixed "Content-Type: multipart/mixed; boundary=x\r\n\r\n" "--x--\r\n"`},
		{"boundary that never occurs", mixed("x") + "--y\n\none\n--y--\n",
			`multipart/mixed "Content-Type: multipart/mixed; boundary=x\r\n\r\n" "--y\r\n\r\none\r\n--y--\r\n"`},
		{"no boundary", "Content-Type: multipart/mixed\n\n--\n\n--\n",
			`multipart/mixed "Content-Type: multipart/mixed\r\n\r\n" "--\r\n\r\n--\r\n"`},
		{"multipart of a header", "Content-Type: multipart/mixed; boundary=x\n",
			`multipart/mixed "Content-Type: multipart/mixed; boundary=x\r\n" ""`},

		{"part of a header", mixed("x") + "--x\nA: b\n--x--\n", `multipart/mixed {text/plain "A: b\r\n" ""}`},
		{"part of a header and an empty line", mixed("x") + "--x\nA: b\n\n--x--\n", `multipart/mixed {text/plain "A: b\r\n\r\n" ""}`},
		{"part of nothing", mixed("x") + "--x\n--x\n\n--x--\n", `multipart/mixed {text/plain "" "" | text/plain "\r\n" ""}`},

		{"start of another, outside", mixed("a") + "--a\n" + mixed("ab") + "--ab\n\none\n--ab--\n--a\n\ntwo\n--a--\n",
			`multipart/mixed {multipart/mixed {text/plain "\r\n" "one"} | text/plain "\r\n" "two"}`},
		{"start of another, inside", mixed("ab") + "--ab\n" + mixed("a") + "--a\n\none\n--a--\n--ab\n\ntwo\n--ab--\n",
			`multipart/mixed {multipart/mixed {text/plain "\r\n" "one"} | text/plain "\r\n" "two"}`},
		{"start of a line of text", mixed("a") + "--a\n\none\n--abc\n--a--\n",
			`multipart/mixed {text/plain "\r\n" "one\r\n--abc"}`},
		{"boundary that ends in dashes", mixed("a") + "--a\n" + mixed("a--") + "--a--\n\none\n--a----\n--a--\n",
			`multipart/mixed {multipart/mixed {text/plain "\r\n" "one"}}`},
		{"same boundary inside", mixed("a") + "--a\n" + mixed("a") + "--a\n\none\n--a--\n--a\n\ntwo\n--a--\n",
			`multipart/mixed {multipart/mixed {text/plain "\r\n" "one"} | text/plain "\r\n" "two"}`},
		{"outer delimiter ends the inner multipart", mixed("a") + "--a\n" + mixed("b") + "--b\n\none\n--a\n\ntwo\n--b\n--a--\n",
			`multipart/mixed {multipart/mixed {text/plain "\r\n" "one"} | text/plain "\r\n" "two\r\n--b"}`},

		{"message", "Content-Type: message/rfc822\n\nA: b\n\nhi\n", `message/rfc822 {text/plain "A: b\r\n\r\n" "hi\r\n"}`},
		{"message, global", "Content-Type: Message/Global\n\nA: b\n\nhi\n", `Message/Global {text/plain "A: b\r\n\r\n" "hi\r\n"}`},
		{"message of nothing", "Content-Type: message/rfc822\n\n", `message/rfc822 {text/plain "" ""}`},
		{"message, header only", "Content-Type: message/rfc822\n", `message/rfc822 {text/plain "" ""}`},
		{"message in a multipart", mixed("x") + "--x\nContent-Type: message/rfc822\n\nA: b\n\nhi\n--x--\n",
			`multipart/mixed {message/rfc822 {text/plain "A: b\r\n\r\n" "hi"}}`},
		{"message whose header the delimiter ends", mixed("x") + "--x\nContent-Type: message/rfc822\n\nA: b\n--x--\n",
			`multipart/mixed {message/rfc822 {text/plain "A: b\r\n" ""}}`},
		{"message part whose header the delimiter ends", mixed("x") + "--x\nContent-Type: message/rfc822\n--x--\n",
			`multipart/mixed {message/rfc822 {text/plain "" ""}}`},
		{"multipart in a message", "Content-Type: message/rfc822\n\n" + mixed("x") + "--x\n\none\n--x--\n",
			`message/rfc822 {multipart/mixed {text/plain "\r\n" "one"}}`},
		{"other message types", "Content-Type: message/delivery-status\n\nA: b\n\n", `message/delivery-status "Content-Type: message/delivery-status\r\n\r\n" "A: b\r\n\r\n"`},

		{"digest", "Content-Type: multipart/digest; boundary=x\n\n--x\n\nA: b\n\nhi\n--x\nContent-Type: text/html\n\nhi\n--x\nContent-Type: ?\n\nhi\n--x--\n",
			`multipart/digest {message/rfc822 {text/plain "A: b\r\n\r\n" "hi"} | text/html "Content-Type: text/html\r\n\r\n" "hi" | text/plain "Content-Type: ?\r\n\r\n" "hi"}`},
		{"digest whose parts are messages of nothing", "Content-Type: multipart/digest; boundary=x\n\n--x\n--x\n\n--x--\n",
			`multipart/digest {message/rfc822 {text/plain "" ""} | message/rfc822 {text/plain "" ""}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := crlf(c.raw)
			root := parse(t, raw)
			if got := sketch(raw, root); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			check(t, []byte(raw), root)
		})
	}
}

// Wire form has no bare line ends, but files are not always what they should be.
func TestLineEnds(t *testing.T) {
	for _, c := range []struct{ name, raw, want string }{
		{"LF", mixed("x") + "--x\n\none\n\n--x--\n", `multipart/mixed {text/plain "\n" "one\n"}`},
		{"LF and CRLF", "Content-Type: multipart/mixed; boundary=x\r\n\n--x\r\n\none\r\n--x\n\r\ntwo\n--x--\r\n", `multipart/mixed {text/plain "\n" "one" | text/plain "\r\n" "two"}`},
		{"CR alone", "Content-Type: a/b\r\rX: y\r\n\r\n\r--x\r", `a/b "Content-Type: a/b\r\rX: y\r\n\r\n" "\r--x\r"`},
		{"CR CR LF is no empty line", "X: y\r\n\r\r\nContent-Type: a/b\r\n\r\n", `a/b "X: y\r\n\r\r\nContent-Type: a/b\r\n\r\n" ""`},
		{"CR before the delimiter", mixed("x") + "--x\n\none\r\r\n--x--\r\r\n", `multipart/mixed {text/plain "\n" "one\r"}`},
		{"NUL", "Content-Type: a/b\x00\r\n\r\n\x00\x00\r\n", `a/b "Content-Type: a/b\x00\r\n\r\n" "\x00\x00\r\n"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := parse(t, c.raw)
			if got := sketch(c.raw, root); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			check(t, []byte(c.raw), root)
		})
	}
}

// Lines that do not fit the buffer, with line ends at its edge and CRLF across it.
func TestLongLines(t *testing.T) {
	for _, n := range []int{lineBuffer - 2, lineBuffer - 1, lineBuffer, lineBuffer + 1, 3*lineBuffer - 1, 3 * lineBuffer} {
		x := strings.Repeat("x", n)
		for _, raw := range []string{
			crlf("Subject: " + x[9:] + "\nContent-Type: a/b\n\nhi\n"),
			crlf(mixed("b") + "--b\n\n" + x + "\n--b\n\n" + x + "\n--b--\n"),
			crlf(mixed("b") + "--b\n\n--b" + x[3:] + "\n--b" + strings.Repeat(" ", n) + "\n--b--\n"),
		} {
			root := parse(t, raw)
			check(t, []byte(raw), root)
			if got := len(root.Children); got != strings.Count(raw, "\n--b\r\n") {
				t.Errorf("%d octets: %d parts", n, got)
			}
			for _, child := range root.Children {
				if end := raw[child.Body.End:]; !strings.HasPrefix(end, "\r\n--b") {
					t.Errorf("%d octets: the body ends before %.10q", n, end)
				}
			}
		}
	}
}

func TestLines(t *testing.T) {
	raw := crlf(mixed("x") + "1\n--x\n\none\n--x\n\none\ntwo\n\n--x\n\n--x--\nend")
	root := parse(t, raw)
	got := []int64{root.Lines, root.Children[0].Lines, root.Children[1].Lines, root.Children[2].Lines}
	if want := []int64{12, 0, 2, 0}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %d, want %d", got, want)
	}
}

func TestContentFields(t *testing.T) {
	raw := crlf(`content-type: Image/PNG;
	name="a.png"
Content-ID: <1@example.com>
Content-Description : =?utf-8?Q?=C3=BC?=
  of two lines
Content-Transfer-Encoding: (really) BASE64 (sic)
Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==
Content-Disposition: attachment; filename=a.png
Content-Language: de, en-GB (British) ,, fr
Content-Location: http://example.com/a.png
Content-Location: second

`)
	got := *parse(t, raw)
	want := Part{
		Header: Span{0, int64(len(raw))}, Body: Span{int64(len(raw)), int64(len(raw))},
		Type: "Image", Subtype: "PNG", Params: []Param{{"name", "a.png"}},
		ID: "<1@example.com>", Description: "=?utf-8?Q?=C3=BC?=  of two lines",
		Encoding: "BASE64", MD5: "Q2hlY2sgSW50ZWdyaXR5IQ==",
		Disposition: "attachment", DispositionParams: []Param{{"filename", "a.png"}},
		Language: []string{"de", "en-GB", "fr"}, Location: "http://example.com/a.png",
		Envelope: &Envelope{},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if !got.Is("image", "png") || !got.Is("IMAGE", "") || got.Is("image", "gif") || got.Param("NAME") != "a.png" || got.Param("x") != "" {
		t.Error("Is or Param does not compare in any case")
	}
}

func text(s *string) string {
	if s == nil {
		return "NIL"
	}
	return fmt.Sprintf("%q", *s)
}

func TestEnvelope(t *testing.T) {
	root := parse(t, crlf("DATE : Mon\n\t, 1\nSubject:\nSubject: second\nIn-Reply-To: <a>\n <b>\n"+
		"From: a@b\nfrom: \"open\nFROM: c@d\nReply-To: \nTo: x@y\nCc: (none)\nBcc: z@w\n\n"+
		"Subject: not this one\n"))
	e := root.Envelope
	got := strings.Join([]string{
		text(e.Date), text(e.Subject), text(e.InReplyTo), text(e.MessageID),
		show(e.From), show(e.Sender), show(e.ReplyTo), show(e.To), show(e.Cc), show(e.Bcc),
	}, "\n")
	const from = `//a/b | //open/ | //c/d`
	want := strings.Join([]string{
		`"Mon\t, 1"`, `""`, `"<a> <b>"`, "NIL", from, from, from, "//x/y", "", "//z/w",
	}, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestEnvelopeHoldsNoControls(t *testing.T) {
	e := parse(t, "Subject: a\x00b\rc\r\n\td\nFrom: \"x\x00\r\" <y@z>\r\n\r\n").Envelope
	if got := text(e.Subject); got != `"a b c\td"` {
		t.Errorf("Subject is %s", got)
	}
	if got := show(e.From); got != "x  //y/z" {
		t.Errorf("From is %s", got)
	}
}

// Only messages have an envelope: the root, and what a message part holds.
func TestWhoHasAnEnvelope(t *testing.T) {
	root := parse(t, crlf("Subject: 1\n"+mixed("x")+"--x\nSubject: 2\nContent-Type: message/rfc822\n\nSubject: 3\n\n\n--x--\n"))
	if s := root.Envelope.Subject; text(s) != `"1"` {
		t.Errorf("the root's subject is %s", text(s))
	}
	if e := root.Children[0].Envelope; e != nil {
		t.Errorf("a message part has an envelope of its own: %+v", e)
	}
	if s := root.Children[0].Children[0].Envelope.Subject; text(s) != `"3"` {
		t.Errorf("the inner subject is %s", text(s))
	}
}

func TestFind(t *testing.T) {
	nested := crlf(mixed("a") +
		"--a\n\n1\n" +
		"--a\nContent-Type: message/rfc822\n\n" + mixed("b") + "--b\n\n2.1\n--b\n" + mixed("c") + "--c\n\n2.2.1\n--c--\n--b--\n" +
		"--a\nContent-Type: message/rfc822\n\nA: b\n\n3.1\n" +
		"--a\nContent-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nA: b\n\n4.1.1\n" +
		"--a--\n")
	plain := crlf("A: b\n\n1\n")
	message := crlf("Content-Type: message/rfc822\n\n" + mixed("a") + "--a\n\n1.1\n--a\n\n1.2\n--a--\n")
	for _, c := range []struct {
		raw  string
		path []int
		want string // the body, "nil", or "*" for any part
	}{
		{nested, nil, "*"},
		{nested, []int{1}, "1"},
		{nested, []int{1, 1}, "nil"},
		{nested, []int{2}, "*"},
		{nested, []int{2, 1}, "2.1"},
		{nested, []int{2, 2}, "*"},
		{nested, []int{2, 2, 1}, "2.2.1"},
		{nested, []int{2, 2, 2}, "nil"},
		{nested, []int{2, 3}, "nil"},
		{nested, []int{3}, "A: b\r\n\r\n3.1"},
		{nested, []int{3, 1}, "3.1"},
		{nested, []int{3, 2}, "nil"},
		{nested, []int{3, 1, 1}, "nil"},
		{nested, []int{4, 1}, "A: b\r\n\r\n4.1.1"},
		{nested, []int{4, 1, 1}, "4.1.1"},
		{nested, []int{4, 1, 1, 1}, "nil"},
		{nested, []int{5}, "nil"},
		{nested, []int{0}, "nil"},
		{nested, []int{-1}, "nil"},
		{plain, nil, "1\r\n"},
		{plain, []int{1}, "1\r\n"},
		{plain, []int{2}, "nil"},
		{plain, []int{1, 1}, "nil"},
		{message, []int{1}, "*"},
		{message, []int{1, 2}, "1.2"},
		{message, []int{2}, "nil"},
		{crlf(mixed("x") + "--x--\n"), []int{1}, "nil"},
	} {
		got := "nil"
		if part := parse(t, c.raw).Find(c.path); part != nil {
			got = c.raw[part.Body.Start:part.Body.End]
		}
		if got != c.want && (c.want != "*" || got == "nil") {
			t.Errorf("%d: got %q, want %q", c.path, got, c.want)
		}
	}
}

func count(p *Part) (parts, depth int) {
	parts = 1
	for _, child := range p.Children {
		n, d := count(child)
		parts += n
		depth = max(depth, d)
	}
	return parts, depth + 1
}

func TestLimits(t *testing.T) {
	var multiparts, messages strings.Builder
	for i := range 3 * MaxDepth {
		fmt.Fprintf(&multiparts, "--%d\n%s", i-1, mixed(fmt.Sprint(i)))
		messages.WriteString("Content-Type: message/rfc822\n\n")
	}
	for _, c := range []struct {
		name, raw    string
		parts, depth int
	}{
		{"multiparts", multiparts.String(), MaxDepth, MaxDepth},
		{"messages", messages.String(), MaxDepth + 1, MaxDepth + 1},
		{"parts", mixed("x") + strings.Repeat("--x\n", 2*MaxParts) + "--x--\n", MaxParts, 2},
		{"parts of a digest", "Content-Type: multipart/digest; boundary=x\n\n" + strings.Repeat("--x\n\n\n", MaxParts), MaxParts + 1, 3},
		{"boundary", mixed(strings.Repeat("x", maxBoundary+1)) + "--" + strings.Repeat("x", maxBoundary+1) + "\n\n", 1, 1},
		{"long boundary", mixed(strings.Repeat("x", maxBoundary)) + "--" + strings.Repeat("x", maxBoundary) + "\n\n", 2, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := crlf(c.raw)
			root := parse(t, raw)
			if parts, depth := count(root); parts != c.parts || depth != c.depth {
				t.Errorf("%d parts, %d deep; want %d, %d", parts, depth, c.parts, c.depth)
			}
			check(t, []byte(raw), root)
		})
	}
}

// What is kept of fields is bounded, one by one and together.
func TestFieldLimits(t *testing.T) {
	long := "Subject: " + strings.Repeat("x", maxField) + "\r\n"
	if s := parse(t, long+long).Envelope.Subject; len(*s) > maxField || len(*s) < maxField-2 {
		t.Errorf("%d octets of a subject were kept", len(*s))
	}
	var b strings.Builder
	b.WriteString(crlf(mixed("x")))
	for range 2 * maxFields / maxField {
		b.WriteString("--x\r\nContent-Description: " + strings.Repeat("x", maxField) + "\r\n\r\n")
	}
	kept := 0
	for _, child := range parse(t, b.String()).Children {
		kept += len(child.Description)
	}
	if kept > maxFields || kept < maxFields-maxField {
		t.Errorf("%d octets were kept", kept)
	}
	e := parse(t, strings.Repeat("To:a\r\n", maxField)).Envelope
	if len(e.To) > maxField/2+1 {
		t.Errorf("%d addresses were kept", len(e.To))
	}
}

func TestReaderError(t *testing.T) {
	broken := errors.New("disk on fire")
	for _, raw := range []string{"", "A: b\r\n", "A: b\r\n\r\nhi", crlf(mixed("x") + "--x\n\none")} {
		root, err := Parse(io.MultiReader(strings.NewReader(raw), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) || root != nil {
			t.Errorf("after %q: %v, %v", raw, root, err)
		}
	}
}

// The corpus in wire form: the tree's properties, and that it has what the message
// is there for.
func TestCorpus(t *testing.T) {
	corpus, err := testmail.All("../../testdata/mail")
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]int{
		"04-alternative": 3, "05-related-inline-image": 3, "07-forward-two-levels": 7,
		"24-empty-multipart": 1, "25-missing-closing-boundary": 3, "26-boundary-never-occurs": 1,
		"37-dsn": 4, "43-deep-nesting": 13, "60-large-attachment": 3,
	}
	for _, m := range corpus {
		t.Run(m.Name, func(t *testing.T) {
			wire := bytes.ReplaceAll(bytes.ReplaceAll(m.Raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
			root, err := Parse(bytes.NewReader(wire))
			if err != nil {
				t.Fatal(err)
			}
			check(t, wire, root)
			if want, ok := parts[m.Name]; ok {
				if got, _ := count(root); got != want {
					t.Errorf("%d parts, want %d", got, want)
				}
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(crlf(mixed("a") + "--a\n" + mixed("ab") + "--ab\nContent-Type: message/rfc822\n\nA: b\n\n--a--\nX")))
	f.Add([]byte(crlf("Content-Type: multipart/digest; boundary=x\n\n--x\n\nFrom: a:b,<c@d>;\n\nhi\n--x--\n")))
	f.Add([]byte("Content-Type:\n \n message/rfc822\n\n\r\n\r--x\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		root, err := Parse(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		check(t, raw, root)
	})
}

// check holds a tree against the properties that every tree has.
func check(t *testing.T, raw []byte, root *Part) {
	t.Helper()
	if root.Header.Start != 0 || root.Body.End != int64(len(raw)) {
		t.Errorf("the root is %d to %d, not 0 to %d", root.Header.Start, root.Body.End, len(raw))
	}
	checkPart(t, raw, root, true)
	checkPaths(t, root, root, nil)
	again, err := Parse(iotest.OneByteReader(bytes.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(root, again) {
		t.Error("octet by octet the tree is another")
	}
}

func checkPart(t *testing.T, raw []byte, p *Part, message bool) {
	t.Helper()
	if p.Header.End != p.Body.Start || p.Header.Size() < 0 || p.Body.Size() < 0 {
		t.Fatalf("header %v and body %v do not follow each other", p.Header, p.Body)
	}
	if want := int64(bytes.Count(raw[p.Body.Start:p.Body.End], []byte("\n"))); p.Lines != want {
		t.Errorf("%d lines in body %v, want %d", p.Lines, p.Body, want)
	}
	if (p.Envelope != nil) != message {
		t.Errorf("part at %v: envelope %v", p.Header, p.Envelope)
	}
	if p.IsMessage() && len(p.Children) != 1 || !p.IsMessage() && !p.IsMultipart() && len(p.Children) > 0 {
		t.Fatalf("%s/%s with %d children", p.Type, p.Subtype, len(p.Children))
	}
	at := p.Body.Start
	for _, child := range p.Children {
		if child.Header.Start < at || child.Body.End > p.Body.End {
			t.Fatalf("child %v %v is not in %v, or not in order", child.Header, child.Body, p.Body)
		}
		if p.IsMessage() && (child.Header.Start != p.Body.Start || child.Body.End != p.Body.End) {
			t.Errorf("the message %v %v is not the body %v", child.Header, child.Body, p.Body)
		}
		at = child.Body.End
		checkPart(t, raw, child, p.IsMessage())
	}
}

// checkPaths finds every part by the number that IMAP gives it. in is the multipart
// or message whose parts are numbered.
func checkPaths(t *testing.T, root, in *Part, path []int) {
	t.Helper()
	if len(path) > 50 {
		return // the deep ones cost a walk each
	}
	expect := func(n int, want *Part) {
		path := append(path[:len(path):len(path)], n)
		if got := root.Find(path); got != want {
			t.Fatalf("part %d is another", path)
		}
		switch {
		case want.IsMultipart():
			checkPaths(t, root, want, path)
		case want.IsMessage():
			checkPaths(t, root, want.Children[0], path)
		}
	}
	if !in.IsMultipart() {
		expect(1, in)
		return
	}
	for i, child := range in.Children {
		expect(i+1, child)
	}
	if root.Find(append(path[:len(path):len(path)], len(in.Children)+1)) != nil {
		t.Fatalf("part %d has one part more", path)
	}
}
