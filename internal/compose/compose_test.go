package compose

import (
	"bytes"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"rtls/internal/cli"
	"rtls/internal/requiretls"
)

var now = time.Date(2026, 11, 24, 9, 30, 0, 0, time.FixedZone("", 3600))

// complete is a header that needs nothing added.
const complete = "From: a@example.org\r\nDate: Tue, 24 Nov 2026 09:30:00 +0100\r\nMessage-ID: <1@example.org>\r\n"

func options(args ...string) Options {
	return Options{Recipients: args, Identity: "me@example.org", Now: now, Hostname: "host.example.net", User: "joe"}
}

func text(t *testing.T, m *Message) string {
	t.Helper()
	var b strings.Builder
	n, err := m.WriteTo(&b)
	if err != nil || n != int64(b.Len()) || n != m.Size() {
		t.Errorf("WriteTo: %d octets, %v; Size is %d, written were %d", n, err, m.Size(), b.Len())
	}
	return b.String()
}

func mustRead(t *testing.T, in string, o Options) *Message {
	t.Helper()
	m, err := Read(strings.NewReader(in), o)
	if err != nil {
		t.Fatalf("Read(%q): %v", in, err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func TestBody(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"LF", "a\nb\n", "a\r\nb\r\n"},
		{"CRLF", "a\r\nb\r\n", "a\r\nb\r\n"},
		{"mixed", "a\r\nb\nc\r\n", "a\r\nb\r\nc\r\n"},
		{"bare CR", "a\rb\r", "a\r\nb\r\n"},
		{"CR CR LF", "a\r\r\nb\n", "a\r\n\r\nb\r\n"},
		{"LF CR", "a\n\rb\n", "a\r\n\r\nb\r\n"},
		{"no last line end", "a\nb", "a\r\nb\r\n"},
		{"dots", ".\n..\n.x\n", ".\r\n..\r\n.x\r\n"},
		{"empty", "", ""},
		{"blank lines", "\n\n", "\r\n\r\n"},
		{"large", strings.Repeat("0123456789\n", 20000), strings.Repeat("0123456789\r\n", 20000)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := options("b@example.net")
			o.TempDir = t.TempDir()
			m := mustRead(t, complete+"\n"+tc.in, o)
			if got := text(t, m); got != complete+"\r\n"+tc.want {
				t.Errorf("got %.200q", got)
			}
			if text(t, m) != complete+"\r\n"+tc.want {
				t.Error("WriteTo differs the second time")
			}
			if left, err := os.ReadDir(o.TempDir); err != nil || len(left) > 0 {
				t.Errorf("in the temporary directory: %v, %v", left, err)
			}
		})
	}
}

// A line end may be cut anywhere by the reads.
func TestBodyInPieces(t *testing.T) {
	const in = "a\r\nb\rc\r\r\n\n\rd"
	const want = "a\r\nb\r\nc\r\n\r\n\r\n\r\nd\r\n"
	for cut := range len(in) {
		var b bytes.Buffer
		n := &normaliser{w: &b}
		for _, piece := range []string{in[:cut], "", in[cut:]} {
			if _, err := io.WriteString(n, piece); err != nil {
				t.Fatal(err)
			}
		}
		if err := n.finish(); err != nil || b.String() != want {
			t.Errorf("cut at %d: %q, %v", cut, b.String(), err)
		}
	}
	m, err := Read(iotest.OneByteReader(strings.NewReader(complete+"\n"+in)), options("b@example.net"))
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, m); got != complete+"\r\n"+want {
		t.Errorf("byte by byte: %q", got)
	}
}

func TestHeader(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"From_ line", "From a Sat Nov 21 06:25:01 2026\n" + complete + "\nx\n", complete + "\r\nx\r\n"},
		{"quoted From_ line", ">From a\n" + complete + "\nx\n", complete + "\r\nx\r\n"},
		{"From_ lines", "From a b\n>From c d\n" + complete + "\nx\n", complete + "\r\nx\r\n"},
		{"blank before colon", strings.Replace(complete, "From:", "From \t:", 1) + "\n", complete + "\r\n"},
		{"no colon within", complete + "X: y\njunk\nZ: z\n\nb\n", complete + "X: y\r\n junk\r\nZ: z\r\n\r\nb\r\n"},
		{"no blank line", complete + "hello\nworld\n", complete + "\r\nhello\r\nworld\r\n"},
		{"no blank line, one later", complete + "hello\n\nworld\n", complete + "\r\nhello\r\n\r\nworld\r\n"},
		{"text behind a folded field", complete + "X: y\n z\nhello\n w\n", complete + "X: y\r\n z\r\n\r\nhello\r\n w\r\n"},
		{"continuation of nothing", " lost\n\tand found\n \n" + complete + "\nx\n", "Comments: lost\r\n\tand found\r\n \r\n" + complete + "\r\nx\r\n"},
		{"header only", complete, complete + "\r\n"},
		{"header only, no line end", strings.TrimSuffix(complete, "\r\n"), complete + "\r\n"},
		{"CR CR LF", strings.ReplaceAll(complete, "\r\n", "\r\r\n") + "\r\r\nx\r\n", complete + "\r\nx\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := text(t, mustRead(t, tc.in, options("b@example.net"))); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

// Input that has no header is a body, to the last byte.
func TestNoHeader(t *testing.T) {
	for _, in := range []string{
		"hello\nTo: you\n\nbye\n",
		"From what I hear it is fine\n\nfine\n",
		"From what I hear\n",
		"  PID TTY\n    1 ?\n",
		" x",
		"\nTo: b@example.net\n",
		"http //x: y\n",
	} {
		m := mustRead(t, in, options("b@example.net"))
		header, body, _ := strings.Cut(text(t, m), "\r\n\r\n")
		want := strings.ReplaceAll(strings.TrimPrefix(in, "\n"), "\n", "\r\n")
		if !strings.HasSuffix(want, "\r\n") {
			want += "\r\n"
		}
		if body != want {
			t.Errorf("%q: body %q, want %q", in, body, want)
		}
		if got := names(header); !slices.Equal(got, []string{"From", "Date", "Message-ID"}) {
			t.Errorf("%q: header %q", in, header)
		}
	}
}

func names(header string) []string {
	var all []string
	for line := range strings.Lines(header) {
		if line[0] != ' ' && line[0] != '\t' {
			name, _, _ := strings.Cut(line, ":")
			all = append(all, name)
		}
	}
	return all
}

func TestCompletion(t *testing.T) {
	o := options("b@example.net")
	o.FullName = "Ann Nym"
	got := text(t, mustRead(t, "Subject: s\n\n", o))
	if !strings.HasPrefix(got, "Subject: s\r\nFrom: Ann Nym <me@example.org>\r\nDate: Tue, 24 Nov 2026 09:30:00 +0100\r\nMessage-ID: <20261124083000.") || !strings.HasSuffix(got, "@example.org>\r\n\r\n") {
		t.Errorf("%q", got)
	}
	if again := text(t, mustRead(t, "Subject: s\n\n", o)); again == got {
		t.Error("two messages with one Message-ID")
	}
	for full, want := range map[string]string{
		"":            "",
		"root":        "root ",
		"Ann O. Nym":  `"Ann O. Nym" `,
		`a "b" \c`:    `"a \"b\" \\c" `,
		"Jörg":        "=?utf-8?q?J=C3=B6rg?= ",
		"=?x?q?y?=":   `"=?x?q?y?=" `,
		" a":          `" a" `,
		"bad\xffutf8": "=?utf-8?q?bad=EF=BF=BDutf8?= ",
	} {
		name, err := displayName(full)
		if err != nil || name != strings.TrimSuffix(want, " ") {
			t.Errorf("displayName(%q) = %q, %v", full, name, err)
		}
	}
	if _, err := displayName("a\r\nBcc: x@y"); err == nil {
		t.Error("a name brought a line end into the header")
	}
}

func TestSender(t *testing.T) {
	str := func(s string) *string { return &s }
	const fromHeader = "From: Ann <ann@example.com>\n\n"
	for _, tc := range []struct {
		sender             *string
		identity, in, want string
	}{
		{nil, "me@example.org", fromHeader, "me@example.org"},
		{nil, "", fromHeader, "ann@example.com"},
		{nil, "", "From: a@b, c@d\n\n", "joe@host.example.net"},
		{nil, "", "From: a@b\nFrom: c@d\n\n", "joe@host.example.net"},
		{nil, "", "From: root\n\n", "joe@host.example.net"},
		{nil, "", "\n", "joe@host.example.net"},
		{str("x@example.com"), "me@example.org", fromHeader, "x@example.com"},
		{str("X <x@example.com>"), "", fromHeader, "x@example.com"},
		{str("root"), "me@example.org", fromHeader, "me@example.org"},
		{str("root"), "", "\n", "root@host.example.net"},
		{str(""), "me@example.org", fromHeader, ""},
		{str("<>"), "", fromHeader, ""},
	} {
		o := options("b@example.net")
		o.Sender, o.Identity = tc.sender, tc.identity
		if m := mustRead(t, tc.in, o); m.From != tc.want {
			t.Errorf("%+v: From is %q", tc, m.From)
		}
	}
}

func TestRecipients(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		args     []string
		header   bool
		want     []string
	}{
		{"arguments", "To: x@y\n\n", []string{"a@b", "c@d, E <e@f>"}, false, []string{"a@b", "c@d", "e@f"}},
		{"header", "To: a@b\nCc: c@d\nBcc: e@f\nTo: g@h\n\n", nil, true, []string{"a@b", "c@d", "e@f", "g@h"}},
		{"both", "To: a@b, c@d\n\n", []string{"c@D"}, true, []string{"c@D", "a@b"}},
		{"case of local part counts", "To: A@b, a@b, a@B\n\n", nil, true, []string{"A@b", "a@b"}},
		{"resent", "Resent-To: a@b\nResent-Bcc: c@d\nTo: x@y\nBcc: z@y\n\n", nil, true, []string{"a@b", "c@d"}},
		{"resent twice", "Resent-Date: x\nResent-To: a@b\nResent-Date: y\nResent-To: x@y\n\n", nil, true, []string{"a@b"}},
		{"resent blocks apart", "Resent-To: a@b\nReceived: x\nResent-Cc: x@y\n\n", nil, true, []string{"a@b"}},
		{"folded", "To: a@b,\n c@d\n\t, e@f\n\n", nil, true, []string{"a@b", "c@d", "e@f"}},
		{"postmaster", "\n", []string{"Postmaster"}, false, []string{"Postmaster"}},
	} {
		o := options(tc.args...)
		o.FromHeader = tc.header
		if m := mustRead(t, tc.in, o); !slices.Equal(m.To, tc.want) {
			t.Errorf("%s: To is %q, want %q", tc.name, m.To, tc.want)
		}
	}
}

// What a message has from the place where it was kept is not for its way (RFC 5321
// section 4.4).
func TestStoredFieldsDoNotLeave(t *testing.T) {
	in := "Return-Path: <old@example.net>\nreceived: x\n" + complete + "Content-length: 7\n\nReturn-Path: stays\n"
	m := mustRead(t, in, options("b@example.net"))
	if got, want := text(t, m), "received: x\r\n"+complete+"\r\nReturn-Path: stays\r\n"; got != want || m.From != "me@example.org" {
		t.Errorf("%q, want %q; from %q", got, want, m.From)
	}
}

func TestBccNeverLeaves(t *testing.T) {
	in := "To: b@example.net\nBCC: c@example.net,\n\td@example.net\nbcc : e@example.net\nresent-BCC: f@example.net\n" + complete + "\nBcc: stays\n"
	for _, header := range []bool{true, false} {
		o := options("b@example.net")
		o.FromHeader = header
		if got, want := text(t, mustRead(t, in, o)), "To: b@example.net\r\n"+complete+"\r\nBcc: stays\r\n"; got != want {
			t.Errorf("-t %v: %q", header, got)
		}
	}
}

func TestTLSRequired(t *testing.T) {
	const field = "TLS-Required: No\r\n"
	for _, tc := range []struct {
		wish     requiretls.Wish
		in, want string
	}{
		{requiretls.No, complete, complete + field},
		{requiretls.No, field + complete, field + complete},
		{requiretls.Auto, complete, complete},
		{requiretls.Auto, field + complete, field + complete},
		{requiretls.Yes, complete, complete},
		{requiretls.Yes, field + complete, field + complete},
	} {
		o := options("b@example.net")
		o.Wish = tc.wish
		if got := text(t, mustRead(t, tc.in+"\n", o)); got != tc.want+"\r\n" {
			t.Errorf("%s of %q: %q", tc.wish, tc.in, got)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, tc := range []struct {
		in          string
		to          string
		eight, utf8 bool
	}{
		{"Subject: s\n\nx\n", "b@example.net", false, false},
		{"Subject: s\n\n" + strings.Repeat("xxxxxxx\n", 5000) + "\xe4\n", "b@example.net", true, false},
		{"Subject: Störung\n\nx\n", "b@example.net", true, false},
		{"To: Jörg <b@example.net>\n\nx\n", "b@example.net", true, false},
		{"To: jörg@example.net\n\nx\n", "b@example.net", true, true},
		{"Resent-Sender: jörg@example.net\n\nx\n", "b@example.net", true, true},
		{"Subject: s\n\nx\n", "jörg@example.net", false, true},
	} {
		if m := mustRead(t, tc.in, options(tc.to)); m.EightBit != tc.eight || m.UTF8 != tc.utf8 {
			t.Errorf("%.60q to %s: %v, %v", tc.in, tc.to, m.EightBit, m.UTF8)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   string
		args []string
		code int
	}{
		{"NUL in body", "S: x\n\na\x00", []string{"a@b"}, cli.DataErr},
		{"NUL far in body", "S: x\n\n" + strings.Repeat("x\n", 1<<17) + "\x00", []string{"a@b"}, cli.DataErr},
		{"NUL in header", "S: x\x00\n\n", []string{"a@b"}, cli.DataErr},
		{"NUL in Bcc", "Bcc: x\x00\n\n", []string{"a@b"}, cli.DataErr},
		{"CR in header", "S: x\rBcc: c@d\n\n", []string{"a@b"}, cli.DataErr},
		{"two TLS-Required", "TLS-Required: No\nTLS-Required: No\n\n", []string{"a@b"}, cli.DataErr},
		{"TLS-Required: yes", "TLS-Required: yes\n\n", []string{"a@b"}, cli.DataErr},
		{"header too large", "S: x\n" + strings.Repeat("X: y\n", maxHeader/5), []string{"a@b"}, cli.DataErr},
		{"field too large", "S: " + strings.Repeat("x", maxHeader), []string{"a@b"}, cli.DataErr},
		{"no recipients", "To: a@b\n\n", nil, cli.Usage},
		{"empty recipient", "\n", []string{""}, cli.Usage},
		{"bad recipient", "\n", []string{"a@b c"}, cli.DataErr},
		{"local recipient", "\n", []string{"root"}, cli.NoUser},
	} {
		o := options(tc.args...)
		o.TempDir = t.TempDir()
		m, err := Read(strings.NewReader(tc.in), o)
		if m != nil || err == nil || cli.ExitCode(err) != tc.code {
			t.Errorf("%s: %v, %v; want exit code %d", tc.name, m, err, tc.code)
		}
		if left, err := os.ReadDir(o.TempDir); err != nil || len(left) > 0 {
			t.Errorf("%s: in the temporary directory: %v, %v", tc.name, left, err)
		}
	}
	o := options()
	o.FromHeader = true
	if _, err := Read(strings.NewReader("To: a@b, c@\n\n"), o); cli.ExitCode(err) != cli.DataErr {
		t.Errorf("bad To: %v", err)
	}
}

// Where the blank line is missing in a very long text, the text is not lost.
func TestMissingBlankLineInLongText(t *testing.T) {
	long := strings.Repeat("no field here\n", maxHeader/14+1000)
	m := mustRead(t, complete+long, options("b@example.net"))
	if got, want := text(t, m), complete+"\r\n"+strings.ReplaceAll(long, "\n", "\r\n"); got != want {
		t.Errorf("%d octets, want %d", len(got), len(want))
	}
}

func TestInputErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, in := range []string{"", "S: x\n", "S: x\n\nbody"} {
		_, err := Read(io.MultiReader(strings.NewReader(in), iotest.ErrReader(broken)), options("a@b"))
		if !errors.Is(err, broken) || cli.ExitCode(err) != cli.NoInput {
			t.Errorf("after %q: %v", in, err)
		}
	}
	o := options("a@b")
	o.TempDir = "/nonexistent"
	if _, err := Read(strings.NewReader("S: x\n\n"+strings.Repeat("x", maxMemory+1)), o); cli.ExitCode(err) != cli.TempFail {
		t.Errorf("no temporary directory: %v", err)
	}
}

// The message that leaves is one that every reader understands alike, and says what
// was asked for.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"", "S: x\n\nb\n", complete + "\nx", "From a\nS: x\n\n", " x\nS: y\n\n", "S: x\njunk\nT: y\n\n", "Bcc: a@b\n\n.\r\n", "TLS-Required: No\n\n", "a\rb\r\n\r\n", "S:x\r\r\n\r\r\n\r"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, in string, no bool) {
		o := options("b@example.net")
		if no {
			o.Wish = requiretls.No
		}
		m, err := Read(strings.NewReader(in), o)
		if err != nil {
			if e, ok := errors.AsType[*cli.Error](err); !ok || e.Code != cli.DataErr {
				t.Fatalf("%v", err)
			}
			return
		}
		defer m.Close()
		out := text(t, m)
		if bare := strings.ReplaceAll(out, "\r\n", ""); strings.ContainsAny(bare, "\r\n\x00") || !strings.HasSuffix(out, "\r\n") {
			t.Errorf("%q holds a bare CR or LF, a NUL, or has no end", out)
		}
		header, _, _ := strings.Cut(out, "\r\n\r\n")
		checkFuzzedHeader(t, header, no)
		again, err := Read(strings.NewReader(out), o)
		if err != nil {
			t.Fatalf("its own output %q: %v", out, err)
		}
		defer again.Close()
		if second := text(t, again); second != out {
			t.Errorf("first  %q\nsecond %q", out, second)
		}
	})
}

func checkFuzzedHeader(t *testing.T, header string, no bool) {
	t.Helper()
	count := make(map[string]int)
	for _, name := range names(header + "\r\n") {
		count[strings.ToLower(name)]++
	}
	if count["bcc"]+count["resent-bcc"] > 0 || count["from"] == 0 || count["date"] == 0 || count["message-id"] == 0 {
		t.Errorf("fields %v", count)
	}
	if n := count["tls-required"]; n > 1 || no && n != 1 {
		t.Errorf("%d TLS-Required fields", n)
	}
	for line := range strings.SplitSeq(header, "\r\n") {
		if kind := classify([]byte(line)); kind != fieldLine && kind != continuation {
			t.Errorf("the line %q is no field", line)
		}
	}
	if strings.HasPrefix(header, " ") || strings.HasPrefix(header, "\t") {
		t.Errorf("%q begins with a continuation", header)
	}
}

// What a large message takes in memory does not depend on its size, and is little more than
// one buffer to read with, one to write with and what a body of that size leaves in memory.
func TestLargeMessageIsStreamed(t *testing.T) {
	const lines, limit = 100_000, 32<<10 + 2*maxMemory
	in := complete + "\n" + strings.Repeat(strings.Repeat("x", 70)+"\n", lines)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m := mustRead(t, in, options("b@example.net"))
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > limit {
		t.Errorf("it took %d octets of memory, more than %d", n, limit)
	}
	if want := int64(len(complete) + 2 + lines*72); m.Size() != want {
		t.Errorf("%d octets, want %d", m.Size(), want)
	}
	m.Close()
}
