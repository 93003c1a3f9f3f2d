package server

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"rtls/internal/testmail"
	"rtls/store"
)

// wireForm is what a message is on the wire: every line ends in CRLF.
func wireForm(raw []byte) []byte {
	raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
}

// literal reads "{n}" CRLF and n octets behind a prefix of the line.
func (c *client) literal(prefix string) []byte {
	c.t.Helper()
	line := c.line()
	size, ok := strings.CutPrefix(line, prefix+"{")
	if !ok {
		c.t.Fatalf("got %q, want %s{...}", line, prefix)
	}
	n, err := strconv.Atoi(strings.TrimSuffix(size, "}\r\n"))
	if err != nil {
		c.t.Fatal(err)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.r, b); err != nil {
		c.t.Fatal(err)
	}
	return b
}

var nasty = map[string]string{
	"empty":                "",
	"CRLF":                 "\r\n",
	"no line end":          "x",
	"header only":          "Subject: x",
	"body only":            "\nbody",
	"mbox From line":       "From bob Sat Mar 14 15:09:26 2026\nSubject: x\n\nbody\n",
	"no colon":             "Subject: x\nthis is no field\nTo: y\n\nbody\n",
	"NUL":                  "Subject: a\x00b\n\nbo\x00dy\n",
	"bare CR":              "Subject: x\r\r\n\r\nbo\rdy\r\n",
	"mixed line ends":      "Subject: x\r\nTo: y\n\r\nbody\n",
	"empty multipart":      "Content-Type: multipart/mixed; boundary=b\n\n",
	"multipart, no parts":  "Content-Type: multipart/mixed; boundary=b\n\n--b--\n",
	"no boundary":          "Content-Type: multipart/mixed\n\ntext\n",
	"rfc822 without any":   "Content-Type: message/rfc822\n\n",
	"broken parameters":    "Content-Type: text/plain; charset=\"x; =; ;;\nContent-Disposition: ;;;\n\nx",
	"addresses":            "From: <@>,,;:<\nTo: undisclosed-recipients:;\nCc: (((\nMessage-ID: <\nDate: never\n\nx",
	"unknown encoding":     "Content-Transfer-Encoding: x-rot13\n\nuryyb\n",
	"base64 that is not":   "Content-Transfer-Encoding: base64\n\n!!! no !!!\n",
	"one long line":        strings.Repeat("x", 100_000),
	"deeply nested":        deepMultipart(300),
	"deep messages":        strings.Repeat("Content-Type: message/rfc822\n\n", 300) + "x",
	"8-bit header":         "Subject: \xff\xfe\nFrom: \xe9 <a@\xe9>\n\nx",
	"continuation at once": " x\n y\n\nbody",
}

func deepMultipart(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	return b.String() + "\nx\n"
}

// Every message of the corpus, and worse, comes back as it is, whatever is asked
// of it: defects 5, 6 and 7 among others.
func TestFetchExactBytes(t *testing.T) {
	corpus, err := testmail.All("../../../testdata/mail")
	if err != nil {
		t.Fatal(err)
	}
	messages := make(map[string]string)
	for _, m := range corpus {
		messages[m.Name] = string(m.Raw)
	}
	for name, raw := range nasty {
		messages[name] = raw
	}
	s := newSite(t)
	c := s.login("INBOX")
	n := 0
	for name, raw := range messages {
		n++
		s.deliver("INBOX", raw, store.Meta{})
		c.do("NOOP")
		t.Run(name, func(t *testing.T) {
			c.t = t
			c.checkExact(n, wireForm([]byte(raw)))
		})
	}
}

// checkExact fetches message n, and all parts of it that anybody could ask for.
func (c *client) checkExact(n int, want []byte) {
	t := c.t
	c.send(fmt.Sprintf("a FETCH %d (RFC822.SIZE BODY.PEEK[])\r\n", n))
	got := c.literal(fmt.Sprintf("* %d FETCH (RFC822.SIZE %d BODY[] ", n, len(want)))
	c.script("S: )\nS: a OK FETCH completed")
	if !bytes.Equal(got, want) {
		t.Errorf("BODY[] is not the message: %d octets, want %d", len(got), len(want))
	}
	c.send(fmt.Sprintf("a FETCH %d (BODY.PEEK[HEADER] BODY.PEEK[TEXT])\r\n", n))
	got = c.literal(fmt.Sprintf("* %d FETCH (BODY[HEADER] ", n))
	got = append(got, c.literal(" BODY[TEXT] ")...)
	c.script("S: )\nS: a OK FETCH completed")
	if !bytes.Equal(got, want) {
		t.Error("HEADER and TEXT do not make the message")
	}
	from := len(want) / 3
	c.send(fmt.Sprintf("a FETCH %d BODY.PEEK[]<%d.50>\r\n", n, from))
	got = c.literal(fmt.Sprintf("* %d FETCH (BODY[]<%d> ", n, from))
	c.script("S: )\nS: a OK FETCH completed")
	if !bytes.Equal(got, want[from:min(len(want), from+50)]) {
		t.Error("a part of it is another")
	}
	for _, items := range []string{
		"ENVELOPE", "BODY", "BODYSTRUCTURE", "FULL",
		"(BODY.PEEK[1] BODY.PEEK[1.MIME] BODY.PEEK[1.HEADER] BODY.PEEK[1.1.1.1.TEXT] BODY.PEEK[9])",
		"(BODY.PEEK[HEADER.FIELDS (Subject X)] BODY.PEEK[HEADER.FIELDS.NOT (Subject)]<3.5>)",
		"(BINARY.PEEK[] BINARY.SIZE[2])",
		"BODY.PEEK[]<1.9223372036854775807>",
		"BODY.PEEK[]<9223372036854775807.9223372036854775807>",
	} {
		c.send(fmt.Sprintf("a FETCH %d %s\r\nb NOOP\r\n", n, items))
		c.skipTo("a OK FETCH completed")
		c.expect("b OK NOOP completed")
	}
	c.send(fmt.Sprintf("a FETCH %d BINARY.PEEK[1]\r\nb NOOP\r\n", n))
	c.skipTo("a <*>") // some encodings are unknown
	c.expect("b OK NOOP completed")
}

// skipTo reads responses, with their literals, up to the tagged one.
func (c *client) skipTo(want string) {
	c.t.Helper()
	for {
		line := c.line()
		for strings.HasSuffix(line, "}\r\n") {
			size := line[strings.LastIndexByte(line, '{')+1 : len(line)-3]
			n, err := strconv.ParseInt(size, 10, 64)
			if err != nil {
				c.t.Fatalf("in %q: %v", line, err)
			}
			if _, err := io.CopyN(io.Discard, c.r, n); err != nil {
				c.t.Fatal(err)
			}
			line = c.line()
		}
		if strings.HasPrefix(line, "a ") {
			if word, rest, _ := strings.Cut(want, " "); rest != "<*>" && !pattern(want).MatchString(line) {
				c.t.Fatalf("got %q, want %s %s", line, word, rest)
			}
			return
		}
	}
}

const structured = "From: \"Bob \\\"B\\\" Builder\" <bob@example.com>\r\n" +
	"To: friends: a@example.org, b@example.org;, c@example.org\r\n" +
	"Cc: undisclosed-recipients:;\r\n" +
	"Subject: =?utf-8?q?h=C3=A9?=\r\n" +
	"Date: not a date\r\n" +
	"Message-ID: <not valid\r\n" +
	"MIME-Version: 1.0\r\n" +
	"Content-Type: multipart/mixed; boundary=\"b\"; X-Z=1; a=2\r\n" +
	"\r\n" +
	"preamble\r\n" +
	"--b\r\n" +
	"Content-Type: Text/Plain\r\n" +
	"Content-Transfer-Encoding: Quoted-Printable\r\n" +
	"Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\r\n" +
	"\r\n" +
	"caf=C3=A9\r\n" +
	"--b\r\n" +
	"Content-Type: message/rfc822\r\n" +
	"Content-Disposition: attachment; filename=\"x.eml\"\r\n" +
	"Content-Language: en, de\r\n" +
	"\r\n" +
	"From: inner@example.com\r\n" +
	"Subject: inner\r\n" +
	"\r\n" +
	"inner body\r\n" +
	"--b\r\n" +
	"Content-Type: application/octet-stream\r\n" +
	"Content-Transfer-Encoding: base64\r\n" +
	"\r\n" +
	"AAEC\r\n" +
	"--b--\r\n"

// Defects 11 and 12: an envelope and a structure are the header's own words.
func TestFetchStructure(t *testing.T) {
	s := newSite(t)
	s.deliver("INBOX", structured, store.Meta{})
	c := s.login("INBOX")
	const bob = `(("Bob \"B\" Builder" NIL "bob" "example.com"))`
	c.script(`
		C: a FETCH 1 ENVELOPE
		S: * 1 FETCH (ENVELOPE ("not a date" "=?utf-8?q?h=C3=A9?=" ` + bob + ` ` + bob + ` ` + bob + ` ((NIL NIL "friends" NIL)(NIL NIL "a" "example.org")(NIL NIL "b" "example.org")(NIL NIL NIL NIL)(NIL NIL "c" "example.org")) ((NIL NIL "undisclosed-recipients" NIL)(NIL NIL NIL NIL)) NIL NIL "<not valid"))
		S: a OK FETCH completed
		C: b FETCH 1 BODYSTRUCTURE
		S: * 1 FETCH (BODYSTRUCTURE (("Text" "Plain" ("charset" "us-ascii") NIL NIL "Quoted-Printable" 9 0 "Q2hlY2sgSW50ZWdyaXR5IQ==" NIL NIL NIL)("message" "rfc822" NIL NIL NIL "7bit" 53 (NIL "inner" ((NIL NIL "inner" "example.com")) ((NIL NIL "inner" "example.com")) ((NIL NIL "inner" "example.com")) NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 0 NIL NIL NIL NIL) 3 NIL ("attachment" ("filename" "x.eml")) ("en" "de") NIL)("application" "octet-stream" NIL NIL NIL "base64" 4 NIL NIL NIL NIL) "mixed" ("boundary" "b" "X-Z" "1" "a" "2") NIL NIL NIL))
		S: b OK FETCH completed
		C: c FETCH 1 BODY
		S: * 1 FETCH (BODY (("Text" "Plain" ("charset" "us-ascii") NIL NIL "Quoted-Printable" 9 0)("message" "rfc822" NIL NIL NIL "7bit" 53 (NIL "inner" ((NIL NIL "inner" "example.com")) ((NIL NIL "inner" "example.com")) ((NIL NIL "inner" "example.com")) NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 0) 3)("application" "octet-stream" NIL NIL NIL "base64" 4) "mixed"))
		S: c OK FETCH completed
		C: d FETCH 1 (BODY.PEEK[2.HEADER] BODY.PEEK[2.TEXT] BODY.PEEK[2.1] BODY.PEEK[1.MIME]<0.12> BODY.PEEK[7] BODY.PEEK[1.TEXT])
		S: * 1 FETCH (BODY[2.HEADER] {43}
		S: From: inner@example.com
		S: Subject: inner
		S:
		S:  BODY[2.TEXT] {10}
		S: inner body BODY[2.1] {10}
		S: inner body BODY[1.MIME]<0> {12}
		S: Content-Type BODY[7] NIL BODY[1.TEXT] NIL)
		S: d OK FETCH completed
		C: e FETCH 1 (BINARY.SIZE[1] BINARY.PEEK[1] BINARY.PEEK[1]<3.9> BINARY.SIZE[3])
		S: * 1 FETCH (BINARY.SIZE[1] 5 BINARY[1] {5}
		S: café BINARY[1]<3> {2}
		S: é BINARY.SIZE[3] 3)
		S: e OK FETCH completed
		C: f FETCH 1 (BODY.PEEK[HEADER.FIELDS (SUBJECT "Date" nope)] BODY.PEEK[2.HEADER.FIELDS.NOT (From)])
		S: * 1 FETCH (BODY[HEADER.FIELDS (SUBJECT Date nope)] {50}
		S: Subject: =?utf-8?q?h=C3=A9?=
		S: Date: not a date
		S:
		S:  BODY[2.HEADER.FIELDS.NOT (From)] {18}
		S: Subject: inner
		S:
		S: )
		S: f OK FETCH completed
	`)
	c.send("g FETCH 1 BINARY.PEEK[3]\r\n")
	if got := c.literal("* 1 FETCH (BINARY[3] ~"); string(got) != "\x00\x01\x02" {
		t.Errorf("BINARY[3] is %q", got)
	}
	c.script("S: )\nS: g OK FETCH completed")
}

func TestFetchItems(t *testing.T) {
	s := newSite(t)
	s.deliverN(2)
	c := s.login("INBOX")
	date := testDate.In(time.Local).Format("_2-Jan-2006 15:04:05 -0700")
	size := strconv.Itoa(len(message(1)))
	c.script(`
		C: a FETCH 1 FAST
		S: * 1 FETCH (FLAGS (\Recent) INTERNALDATE "` + date + `" RFC822.SIZE ` + size + `)
		S: a OK FETCH completed
		C: b UID FETCH 1:* FLAGS
		S: * 1 FETCH (UID 1 FLAGS (\Recent))
		S: * 2 FETCH (UID 2 FLAGS (\Recent))
		S: b OK UID FETCH completed
		C: c UID FETCH 7:9 FLAGS
		S: c OK UID FETCH completed
		C: d UID FETCH 9:* UID
		S: * 2 FETCH (UID 2)
		S: d OK UID FETCH completed
		C: e FETCH 1 (UID RFC822.SIZE UID)
		S: * 1 FETCH (UID 1 RFC822.SIZE <*>)
		S: e OK FETCH completed
		C: e FETCH 2,1 UID
		S: * 1 FETCH (UID 1)
		S: * 2 FETCH (UID 2)
		S: e OK FETCH completed
		C: f FETCH 3 UID
		S: f BAD there are 2 messages
		C: g FETCH 2:3 UID
		S: g BAD there are 2 messages
		C: h FETCH 1 (RFC822.HEADER)
		S: * 1 FETCH (RFC822.HEADER {142}
		S: From: Bob <bob@example.com>
		S: To: alice@example.org
		S: Subject: message 1
		S: Date: Sat, 14 Mar 2026 15:09:01 +0000
		S: Message-ID: <1@example.com>
		S:
		S: )
		S: h OK FETCH completed
		C: i FETCH 1 RFC822.TEXT
		S: * 1 FETCH (RFC822.TEXT {8}
		S: body 1
		S:  FLAGS (\Seen \Recent))
		S: i OK FETCH completed
		C: j FETCH 1 BODY[TEXT]
		S: * 1 FETCH (BODY[TEXT] {8}
		S: body 1
		S: )
		S: j OK FETCH completed
		C: k FETCH 2 (FLAGS BODY[TEXT])
		S: * 2 FETCH (FLAGS (\Seen \Recent) BODY[TEXT] {8}
		S: body 2
		S: )
		S: k OK FETCH completed
		C: l NOOP
		S: l OK NOOP completed
	`)
}

func TestFetchEmptyMailbox(t *testing.T) {
	c := newSite(t).login("INBOX")
	c.script(`
		C: a FETCH 1:* FLAGS
		S: a BAD there are no messages
		C: b UID FETCH 1:* FLAGS
		S: b OK UID FETCH completed
		C: c SEARCH 1:*
		S: * SEARCH
		S: c OK SEARCH completed
	`)
}

// A message that another session has expunged is counted until the client can be
// told, and a FETCH that names it says so.
func TestFetchWhileExpunged(t *testing.T) {
	s := newSite(t)
	s.deliverN(4)
	c, other := s.login("INBOX"), s.login("INBOX")
	other.do(`STORE 2 +FLAGS.SILENT (\Deleted)`)
	other.do("EXPUNGE")
	c.script(`
		C: a FETCH 1:4 UID
		S: * 1 FETCH (UID 1)
		S: * 2 FETCH (UID 2)
		S: * 3 FETCH (UID 3)
		S: * 4 FETCH (UID 4)
		S: a OK FETCH completed
		C: b FETCH 1:4 UID
		S: * 1 FETCH (UID 1)
		S: * 3 FETCH (UID 3)
		S: * 4 FETCH (UID 4)
		S: b NO [EXPUNGEISSUED] some of the messages are gone
		C: c FETCH 2 BODY[]
		S: c NO [EXPUNGEISSUED] some of the messages are gone
		C: d STORE 3 +FLAGS (\Flagged)
		S: * 3 FETCH (FLAGS (\Flagged \Recent))
		S: d OK STORE completed
		C: e SEARCH 1:*
		S: * SEARCH 1 3 4
		S: e OK SEARCH completed
		C: f FETCH 4 UID
		S: * 4 FETCH (UID 4)
		S: f OK FETCH completed
		C: g UID FETCH 2:4 UID
		S: * 3 FETCH (UID 3)
		S: * 4 FETCH (UID 4)
		S: * 2 EXPUNGE
		S: g OK UID FETCH completed
		C: h FETCH 2 UID
		S: * 2 FETCH (UID 3)
		S: h OK FETCH completed
	`)
}
