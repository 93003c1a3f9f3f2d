package lmtp

import (
	"bufio"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"rtls/internal/lda"
)

// naiveDot is what dotReader does, the slow way.
func naiveDot(in string) (content, rest string, ok bool) {
	in = "\r\n" + in
	end := strings.Index(in, "\r\n.\r\n")
	if end < 0 {
		return "", "", false
	}
	return strings.ReplaceAll(in[:end+2], "\r\n.", "\r\n")[2:], in[end+5:], true
}

func checkDot(t *testing.T, in string, window, step int, slow bool) {
	t.Helper()
	var under io.Reader = strings.NewReader(in)
	if slow {
		under = iotest.OneByteReader(under)
	}
	buf := bufio.NewReaderSize(under, window)
	d := &dotReader{r: buf}
	var got []byte
	var err error
	for p := make([]byte, step); err == nil; {
		var n int
		n, err = d.Read(p)
		got = append(got, p[:n]...)
	}
	want, rest, ok := naiveDot(in)
	if !ok {
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%q ended with %v", in, err)
		}
		return
	}
	if err != io.EOF || string(got) != want {
		t.Fatalf("%q became %q, %v; want %q", in, got, err, want)
	}
	if left, _ := io.ReadAll(buf); string(left) != rest {
		t.Fatalf("%q left %q, want %q", in, left, rest)
	}
}

// What ends a message and what does not, RFC 5321 section 4.1.1.4, and the tricks
// by which two servers have been made to disagree about it.
var smuggling = []string{
	".\r\n",
	"a\r\n.\r\n",
	"a\n.\n b\r\n.\r\n",
	"a\r.\r b\r\n.\r\n",
	"a\n.\r\n b\r\n.\r\n",
	"a\r\n.\n b\r\n.\r\n",
	"a\r\n.\r b\r\n.\r\n",
	"a\r.\r\n b\r\n.\r\n",
	"a\r\r\n.\r\n",
	"a\r\n\r.\r\n b\r\n.\r\n",
	"a\r\n.\r\r\n b\r\n.\r\n",
	"a\x00\r\n.\r\n",
	"..\r\n.a\r\n...\r\n.\r\nRSET\r\n",
	"\r\n.\r\n",
	".\rX\r\n.\r\n",
	"a\r\n.",
	"a\r\n.\r",
	"a\r\n",
}

func TestDotReader(t *testing.T) {
	for _, in := range smuggling {
		for step := 1; step < 7; step++ {
			checkDot(t, in, 16, step, false)
			checkDot(t, in, 16, step, true)
		}
		// Across the buffer's end, wherever that falls.
		for pad := range 20 {
			checkDot(t, strings.Repeat("x", pad)+"\r\n"+in, 16, 64, false)
		}
	}
}

func FuzzDotReader(f *testing.F) {
	for _, in := range smuggling {
		f.Add(in, uint8(0), uint8(3), true)
		f.Add(in, uint8(9), uint8(60), false)
	}
	f.Fuzz(func(t *testing.T, in string, window, step uint8, slow bool) {
		checkDot(t, in, 16+int(window), 1+int(step), slow)
	})
}

func FuzzParseMail(f *testing.F) {
	for _, in := range []string{
		"FROM:<>", "FROM:<a@b> SIZE=1 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x+3D REQUIRETLS",
		`FROM:<"a\" b"@[IPv6:::1]>`, "FROM:<@a,@b:c@d>", "TO:<postmaster>",
		"TO:<ä@b> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a@b",
	} {
		f.Add(in, false)
		f.Add(in, true)
	}
	f.Fuzz(func(t *testing.T, in string, smtputf8 bool) {
		check := func(address string, err error, smtputf8 bool) {
			if err != nil {
				if e, ok := errors.AsType[*lda.Error](err); !ok || e.Code < 500 || e.Status[0] != '5' {
					t.Fatalf("%q: %v is not a permanent error", in, err)
				}
				if address != "" {
					t.Fatalf("%q is refused, and is %q", in, address)
				}
				return
			}
			if err := lda.CheckAddress(address); err != nil {
				t.Fatalf("%q became %q: %v", in, address, err)
			}
			if !smtputf8 && strings.ContainsFunc(address, func(r rune) bool { return r > 0x7f }) {
				t.Fatalf("%q became %q without SMTPUTF8", in, address)
			}
		}
		m, err := parseMail(in)
		check(m.sender, err, m.utf8)
		if err == nil && m.requireTLS != regexp.MustCompile(`(?i) requiretls( |$)`).MatchString(in) {
			t.Fatalf("%q: requireTLS is %t", in, m.requireTLS)
		}
		// What was understood can be said again and means the same.
		if err == nil {
			again, err := parseMail("FROM:<" + m.sender + "> SMTPUTF8")
			if err != nil || again.sender != m.sender {
				t.Fatalf("%q became %q, which becomes %q, %v", in, m.sender, again.sender, err)
			}
		}
		p, err := parseRcpt(in, smtputf8)
		check(p.address, err, smtputf8)
		if err == nil && p.address == "" {
			t.Fatalf("%q has no address", in)
		}
	})
}
