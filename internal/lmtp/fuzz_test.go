package lmtp

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
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

var (
	replyLine = regexp.MustCompile(`^(?:[245][0-9][0-9] [245]\.[0-9]\.[0-9]{1,2} [^\r\n]+|250[ -][^\r\n]+|220 localhost LMTP rtls-lda ready|354 [^\r\n]+)\r\n$`)
	success   = regexp.MustCompile(`(?m)^250 2\.0\.0 delivered as `)
)

// FuzzServer is about what must hold whatever a client says: the server does not
// panic, its replies are replies, it never reports more deliveries than there
// were, and no tag comes from nothing.
func FuzzServer(f *testing.F) {
	const envelope = "LHLO x\r\nMAIL FROM:<a@b> REQUIRETLS\r\nRCPT TO:<c@d>\r\nRCPT TO:<full@d>\r\nRCPT TO:<e>\r\n"
	for _, in := range []string{
		envelope + "DATA\r\nSubject: x\r\n\r\ny\r\n.\r\nQUIT\r\n",
		envelope + "BDAT 3\r\nabcBDAT 2 LAST\r\ndeNOOP\r\n",
		envelope + "BDAT 3\r\nabcRSET\r\nMAIL FROM:<>\r\n",
		envelope + "RCPT TO:<panic>\r\nBDAT 3 LAST\r\nabc",
		envelope + "RSET\r\nDATA\r\n",
		"LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<deaf@d>\r\nDATA\r\n..\r\n.\r\n",
		"EHLO x\r\nSTARTTLS\r\nLHLO y\r\n",
		"VRFY\r\nHELP\r\nNOOP\r\nBDAT 1 LAST\r\nx",
	} {
		for state := range uint8(3) {
			f.Add(in, state)
		}
	}
	f.Fuzz(func(t *testing.T, in string, state uint8) {
		var log bytes.Buffer
		backend := &fake{}
		server := (&Server{Hostname: "localhost", TLS: &tls.Config{}, Backend: backend, MaxSize: 200, MaxRecipients: 4, Logger: slog.New(slog.NewTextHandler(&log, nil))}).withDefaults()
		tr := &transcript{in: strings.NewReader(in)}
		c := newConn(server, t.Context(), tr)
		switch state % 3 {
		case 1:
			c.tls = &tls.ConnectionState{Version: tls.VersionTLS13}
		case 2:
			c.local = true
		}
		c.serve()

		out := tr.out.String()
		for line := range strings.Lines(out) {
			if !replyLine.MatchString(line) {
				t.Fatalf("%q is answered with %q", in, line)
			}
		}
		if n := len(success.FindAllString(out, -1)); n > backend.copies {
			t.Fatalf("%q: %d deliveries reported, %d made\n%s", in, n, backend.copies, out)
		}
		for _, m := range backend.stored {
			if m.env.RequireTLS && (state%3 == 0 || !strings.Contains(strings.ToUpper(in), "REQUIRETLS")) {
				t.Fatalf("%q: a tag from nothing", in)
			}
			if len(m.data) > 200 {
				t.Fatalf("%q: %d octets stored", in, len(m.data))
			}
		}
		if strings.Contains(log.String(), `msg=panic `) {
			t.Fatalf("%q:\n%s", in, log.String())
		}
	})
}
