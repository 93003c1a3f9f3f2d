package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// appendText appends a message and returns its UID.
func appendText(t testing.TB, m *Mailbox, text string, meta Meta) uint32 {
	t.Helper()
	d, err := m.v.a.Deliver(t.Context(), m.name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	uid, err := m.Append(t.Context(), d, meta)
	if err != nil {
		t.Fatal(err)
	}
	return uid
}

func makeMailbox(t *testing.T, a *Account, name string) *Mailbox {
	t.Helper()
	if err := a.CreateMailbox(t.Context(), name, ""); err != nil {
		t.Fatal(err)
	}
	return openMailbox(t, a, name)
}

var mboxTexts = []string{
	hello,
	"Return-Path: <carol@example.org>\nSubject: LF\n\nFrom here on\n>From there\n>>>From\n> From\n>\n",
	"",
	"\r\n",
	"\r\n\r\n\r\n",
	"no header, no end",
	"Subject: open\r\n\r\nno end",
	"Subject: open CR\r\n\r\nno end\r",
	"Subject: CR\r\n\r\na\rb\r\r\n\r\r\n\rc\r\n",
	"Status: ROX\r\nX-Status: AFTD\r\nX-Keywords: own\r\nContent-Length: 2\r\n\r\nof the message\r\n",
	"Subject: lines\r\n\r\n" + strings.Repeat("\r\n", 5),
	"Subject: long\r\n\r\n" + strings.Repeat(">", 70000) + "From x\r\n" + strings.Repeat("y", 65535) + "\r\n" + strings.Repeat("z", 65534) + "\r\r\n",
	"From x@y Mon Jan  2 15:04:05 2006\r\n\r\nFrom x@y Mon Jan  2 15:04:05 2006\r\n",
	"Subject: nul\r\n\r\n\x00\xff\x80\r\n",
	"X-Mbox-Last-Line: open\r\n",
	"X-Mbox-Last-Line: closed\r\n\r\nx\r\n",
	"X-Mbox-Last-Line: open\r\n\r\nno end",
}

func TestMboxRoundTrip(t *testing.T) {
	a := newTestAccount(t)
	from := openMailbox(t, a, "INBOX")
	for i, text := range mboxTexts {
		meta := Meta{Flags: Flags(i*5) & 63, Date: time.Unix(1_000_000_000+int64(i)*86_399, 5), Tag: TagRequire, Origin: OriginESMTP}
		if i%2 == 0 {
			meta.Keywords = []string{"$Junk", "work"}
		}
		appendText(t, from, text, meta)
	}
	var mbox bytes.Buffer
	must(t, a.ExportMbox(t.Context(), "INBOX", &mbox, nil))
	to := makeMailbox(t, a, "In")
	length := int64(mbox.Len())
	exported := mbox.String()
	var told int64
	report := ImportReport{Progress: func(s Step) {
		if s.Octets <= told || s.AllOctets != length {
			t.Errorf("progress: %+v behind %d", s, told)
		}
		told = s.Octets
	}}
	for _, want := range []Imported{{Added: len(mboxTexts)}, {Known: len(mboxTexts)}} {
		told = 0
		n, err := a.ImportMbox(t.Context(), "In", Mbox{strings.NewReader(exported), "x", length}, report)
		must(t, err)
		n.Octets = 0
		if n != want || told != length {
			t.Errorf("imported %+v, want %+v, %d of %d octets", n, want, told, length)
		}
	}
	compareMailboxes(t, from, to, TagUnknown)
	var again bytes.Buffer
	must(t, a.ExportMbox(t.Context(), "In", &again, nil))
	if again.String() != exported {
		t.Error("a second export differs from the first")
	}
}

// compareMailboxes wants the same messages in a mailbox and in one that they were
// imported into: the origin is unknown, and so may be the tag.
func compareMailboxes(t *testing.T, from, to *Mailbox, tag Tag) {
	t.Helper()
	s, r := see(t, from), see(t, to)
	if s.Len() != r.Len() {
		t.Fatalf("%d messages became %d", s.Len(), r.Len())
	}
	for i := range s.Len() {
		x, y := s.At(i), r.At(i)
		if got, want := content(t, to, y.UID), content(t, from, x.UID); got != want {
			t.Errorf("message %d is %.200q, want %.200q", i, got, want)
		}
		if x.Flags != y.Flags || !slices.Equal(x.Keywords, y.Keywords) || !x.InternalDate().Equal(y.InternalDate()) {
			t.Errorf("message %d is %+v, want %+v", i, y, x)
		}
		if tag == TagUnknown && (y.Tag != TagUnknown || y.Origin != OriginUnknown) {
			t.Errorf("message %d has the tag %s by %s from nowhere", i, y.Tag, y.Origin)
		}
		if tag != TagUnknown && (x.Tag != y.Tag || y.Origin != OriginUnknown) {
			t.Errorf("message %d has the tag %s by %s, want %s by nothing that is known", i, y.Tag, y.Origin, x.Tag)
		}
	}
}

func TestExportedForm(t *testing.T) {
	a := newTestAccount(t)
	m := openMailbox(t, a, "INBOX")
	appendText(t, m, "Return-Path: <carol@example.org>\r\nSubject: x\r\n\r\nFrom\r\nFrom me\r\n>From you\r\n",
		Meta{Flags: Seen | Answered | Flagged | Passed, Keywords: []string{"work"}, Date: time.Unix(1136214245, 0)})
	appendText(t, m, "Subject: y\r\n\r\nopen", Meta{Date: time.Unix(0, 0)})
	var got strings.Builder
	must(t, a.ExportMbox(t.Context(), "INBOX", &got, nil))
	const want = `From carol@example.org Mon Jan  2 15:04:05 2006
Status: RO
X-Status: AF
X-Keywords: $Forwarded work
Return-Path: <carol@example.org>
Subject: x

From
>From me
>>From you

From MAILER-DAEMON Thu Jan  1 00:00:00 1970
Status: O
X-Status: 
X-Keywords: 
X-Mbox-Last-Line: open
Subject: y

open

`
	if got.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", got.String(), want)
	}
}

func TestImportOthersMbox(t *testing.T) {
	const from = "From bob@example.com Mon Jan  2 15:04:05 2006\n"
	type want struct {
		text     string
		flags    Flags
		keywords string
		date     int64
	}
	const date = 1136214245
	for _, test := range []struct {
		name, mbox string
		want       []want
	}{
		{"empty", "", nil},
		{"blank", "\n\r\n\n", nil},
		{"plain", from + "Subject: x\n\ntext\n\n", []want{{"Subject: x\r\n\r\ntext\r\n", 0, "", date}}},
		{"no blank line at the end", from + "Subject: x\n\ntext\n", []want{{"Subject: x\r\n\r\ntext\r\n", 0, "", date}}},
		{"cut off", from + "Subject: x\n\nte", []want{{"Subject: x\r\n\r\nte", 0, "", date}}},
		{"separator only", strings.TrimSuffix(from, "\n"), []want{{"", 0, "", date}}},
		{"two", from + "A: b\n\nc\n\n" + from + "D: e\n\nf\n\n", []want{{"A: b\r\n\r\nc\r\n", 0, "", date}, {"D: e\r\n\r\nf\r\n", 0, "", date}}},
		{"two without a blank line", from + "A: b\n\nc\n" + from + "D: e\n\nf\n", []want{{"A: b\r\n\r\nc\r\n", 0, "", date}, {"D: e\r\n\r\nf\r\n", 0, "", date}}},
		{"CRLF", strings.ReplaceAll(from+"A: b\nStatus: R\n\n>From c\n\n"+from+"D: e\n\nf\n\n", "\n", "\r\n"), []want{{"A: b\r\n\r\nFrom c\r\n", Seen, "", date}, {"D: e\r\n\r\nf\r\n", 0, "", date}}},
		{"not a separator", from + "A: b\n\nFrom me to you\n\n", []want{{"A: b\r\n\r\nFrom me to you\r\n", 0, "", date}}},
		{"quotes", from + "A: b\n\n>From x\n>>From y\n> From\n>Fro\n>\n\n", []want{{"A: b\r\n\r\nFrom x\r\n>From y\r\n> From\r\n>Fro\r\n>\r\n", 0, "", date}}},
		{"fields", from + "A: b\nstatus: RO\nX-Status: AFTD\nX-Keywords: $Label1\n  work (bad $forwarded\nC: d\nContent-Length: 1\n\nStatus: text\n\n",
			[]want{{"A: b\r\nC: d\r\nContent-Length: 1\r\n\r\nStatus: text\r\n", Seen | Answered | Flagged | Draft | Deleted | Passed, "$Label1 work", date}}},
		{"no tag from keywords", from + "X-Keywords: $RequireTLS $tlsoptional $RequireTLSUnknown x\nA: b\n\nc\n\n", []want{{"A: b\r\n\r\nc\r\n", 0, "x", date}}},
		{"no tag from our own form", from + "Status: O\nX-Status: \nX-Keywords: $requiretls x\nA: b\n\nc\n\n", []want{{"A: b\r\n\r\nc\r\n", 0, "x", date}}},
		{"date of the header", "From bob\nA: b\nDate: Mon, 02 Jan 2006 15:04:05 +0000\n\nc\n\n", []want{{"A: b\r\nDate: Mon, 02 Jan 2006 15:04:05 +0000\r\n\r\nc\r\n", 0, "", date}}},
		{"zone", "From bob@example.com  Mon Jan  2 16:04:05 2006 +0100\nA: b\n\nc\n", []want{{"A: b\r\n\r\nc\r\n", 0, "", date}}},
		{"zone before the year", "From bob@example.com Mon Jan  2 16:04:05 +0100 2006\nA: b\n\nc\n", []want{{"A: b\r\n\r\nc\r\n", 0, "", date}}},
		{"remote", "From bob Mon Jan  2 15:04:05 2006 remote from there\nA: b\n\nc\n", []want{{"A: b\r\n\r\nc\r\n", 0, "", date}}},
		{"sender with spaces", "From \"b o b\"@x Mon Jan  2 15:04:05 2006\nA: b\n\nc\n", []want{{"A: b\r\n\r\nc\r\n", 0, "", date}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newTestAccount(t)
			n, err := a.ImportMbox(t.Context(), "INBOX", Mbox{strings.NewReader(test.mbox), "test", int64(len(test.mbox))}, ImportReport{})
			must(t, err)
			m := openMailbox(t, a, "INBOX")
			s := see(t, m)
			if n.Added != s.Len() || n.Added != len(test.want) {
				t.Fatalf("imported %+v, listed %d, want %d", n, s.Len(), len(test.want))
			}
			for i, w := range test.want {
				msg := s.At(i)
				got := want{content(t, m, msg.UID), msg.Flags, strings.Join(msg.Keywords, " "), msg.InternalDate().Unix()}
				if got != w {
					t.Errorf("message %d is %+q, want %+q", i, fmt.Sprint(got), fmt.Sprint(w))
				}
			}
		})
	}
}

func TestImportWhatIsNoMbox(t *testing.T) {
	a := newTestAccount(t)
	n, err := a.ImportMbox(t.Context(), "INBOX", Mbox{Reader: strings.NewReader("Subject: x\n\nFrom y\n")}, ImportReport{})
	if n != (Imported{}) || !errors.Is(err, ErrNotMbox) {
		t.Errorf("imported %d: %v", n, err)
	}
	if _, err := a.ImportMbox(t.Context(), "none", Mbox{Reader: strings.NewReader("")}, ImportReport{}); !errors.Is(err, ErrNoMailbox) {
		t.Error(err)
	}
	if err := a.ExportMbox(t.Context(), "none", &bytes.Buffer{}, nil); !errors.Is(err, ErrNoMailbox) {
		t.Error(err)
	}
	if s := see(t, openMailbox(t, a, "INBOX")); s.Len() != 0 {
		t.Error(describe(s))
	}
}

// What is cut off by an error of the reader is not stored in part.
func TestImportReaderFails(t *testing.T) {
	a := newTestAccount(t)
	whole := "From a Mon Jan  2 15:04:05 2006\nA: b\n\nc\n\n"
	broken := errors.New("broken")
	for cut := range len(whole) {
		r := &failingReader{strings.NewReader(whole + whole[:cut]), broken}
		if n, err := a.ImportMbox(t.Context(), "INBOX", Mbox{Reader: r}, ImportReport{}); !errors.Is(err, broken) || n.Added > 1 {
			t.Fatalf("cut at %d: %d messages, %v", cut, n, err)
		}
	}
	m := openMailbox(t, a, "INBOX")
	for i := range see(t, m).Len() {
		if got := content(t, m, m.Snapshot().At(i).UID); got != "A: b\r\n\r\nc\r\n" {
			t.Fatalf("%q", got)
		}
	}
}

type failingReader struct {
	r   *strings.Reader
	err error
}

func (f *failingReader) Read(p []byte) (int, error) {
	if f.r.Len() == 0 {
		return 0, f.err
	}
	return f.r.Read(p)
}
