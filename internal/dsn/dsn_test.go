package dsn

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"
	"time"

	"rtls/internal/cli"
	"rtls/internal/requiretls"
)

var now = time.Date(2026, 11, 25, 1, 2, 3, 0, time.UTC)

// zeros is a source of randomness for exact output.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func options() Options {
	return Options{Hostname: "client.example.org", Now: func() time.Time { return now }, Rand: zeros{}}
}

const original = "Received: by mx\r\nFrom: a@example.org\r\nTo: canary-to@example.net\r\nSubject: canary-subject\r\n\r\ncanary-body\r\n"

// content writes a message octet by octet.
type content string

func (c content) WriteTo(w io.Writer) (int64, error) {
	for i := range len(c) {
		if _, err := w.Write([]byte{c[i]}); err != nil {
			return int64(i), err
		}
	}
	return int64(len(c)), nil
}

// unreadable is a message that cannot be read.
type unreadable struct{}

func (unreadable) WriteTo(io.Writer) (int64, error) { return 0, errors.New("it was opened") }

func failed(wish requiretls.Wish) *Failed {
	return &Failed{
		From:       "a@example.org",
		Wish:       wish,
		EnvelopeID: "env 1",
		MessageID:  "<id@example.org>",
		Arrived:    now.Add(-5 * 24 * time.Hour),
		Content:    content(original),
		Recipients: []Recipient{{
			Address:     "b@example.net",
			Original:    "rfc822;B@example.net",
			Action:      ActionFailed,
			Status:      "5.1.1",
			Remote:      "smtp.example.org",
			Reply:       "550 5.1.1 no such user: canary-quoted",
			LastAttempt: now.Add(-time.Minute),
		}},
	}
}

func write(t *testing.T, f *Failed, form Form) string {
	t.Helper()
	return writeWith(t, f, form, options())
}

func writeWith(t *testing.T, f *Failed, form Form, o Options) string {
	t.Helper()
	r, err := New(f, form, o)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	n, err := r.WriteTo(&out)
	if err != nil || n != int64(out.Len()) || r.Size() != n {
		t.Errorf("WriteTo: %d, %v; it wrote %d octets; Size is %d", n, err, out.Len(), r.Size())
	}
	return out.String()
}

func TestWithHeader(t *testing.T) {
	const want = `From: Mail Delivery System <MAILER-DAEMON@client.example.org>
To: <a@example.org>
Subject: Undelivered mail
Date: Wed, 25 Nov 2026 01:02:03 +0000
Message-ID: <00000000000000000000000000000000.report@client.example.org>
In-Reply-To: <id@example.org>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="=_00000000000000000000000000000000"

This is a report in the form of RFC 3464.

--=_00000000000000000000000000000000
Content-Type: text/plain; charset=us-ascii

Your message could not be delivered to:

    b@example.net
        5.1.1 smtp.example.org said: 550 5.1.1 no such user: canary-quoted

The message has the Message-ID

    <id@example.org>

Its header is below.

--=_00000000000000000000000000000000
Content-Type: message/delivery-status

Reporting-MTA: dns; client.example.org
Original-Envelope-Id: env 1
Arrival-Date: Fri, 20 Nov 2026 01:02:03 +0000

Original-Recipient: rfc822; B@example.net
Final-Recipient: rfc822; b@example.net
Action: failed
Status: 5.1.1
Remote-MTA: dns; smtp.example.org
Diagnostic-Code: smtp; 550 5.1.1 no such user: canary-quoted
Last-Attempt-Date: Wed, 25 Nov 2026 01:01:03 +0000

--=_00000000000000000000000000000000
Content-Type: text/rfc822-headers

Received: by mx
From: a@example.org
To: canary-to@example.net
Subject: canary-subject

--=_00000000000000000000000000000000--
`
	compare(t, write(t, failed(requiretls.Yes), WithHeader), want)
}

func TestMinimal(t *testing.T) {
	const want = `From: Mail Delivery System <MAILER-DAEMON@client.example.org>
To: <a@example.org>
Subject: Undelivered mail
Date: Wed, 25 Nov 2026 01:02:03 +0000
Message-ID: <00000000000000000000000000000000.report@client.example.org>
In-Reply-To: <id@example.org>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="=_00000000000000000000000000000000"

This is a report in the form of RFC 3464.

--=_00000000000000000000000000000000
Content-Type: text/plain; charset=us-ascii

Your message could not be delivered to:

    b@example.net
        5.1.1

The message has the Message-ID

    <id@example.org>

It was sent with REQUIRETLS (RFC 8689), which the way back to you does not
support. Therefore this report has nothing else of it.

--=_00000000000000000000000000000000
Content-Type: message/delivery-status

Reporting-MTA: dns; client.example.org
Original-Envelope-Id: env 1

Final-Recipient: rfc822; b@example.net
Action: failed
Status: 5.1.1

--=_00000000000000000000000000000000--
`
	compare(t, write(t, failed(requiretls.Yes), Minimal), want)
}

func compare(t *testing.T, got, want string) {
	t.Helper()
	if want = strings.ReplaceAll(want, "\n", "\r\n"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestDue(t *testing.T) {
	for _, tc := range []struct {
		from   string
		action Action
		notify string
		want   bool
	}{
		{"a@example.org", ActionFailed, "", true},
		{"a@example.org", ActionFailed, "FAILURE", true},
		{"a@example.org", ActionFailed, "SUCCESS", false},
		{"a@example.org", ActionFailed, "NEVER", false},
		{"a@example.org", ActionDelayed, "", true},
		{"a@example.org", ActionDelayed, "FAILURE", false},
		{"a@example.org", ActionDelayed, "FAILURE,DELAY", true},
		{"a@example.org", ActionRelayed, "", false},
		{"a@example.org", ActionRelayed, "SUCCESS", true},
		{"a@example.org", ActionDelivered, "SUCCESS,FAILURE", true},
		{"a@example.org", ActionDelivered, "FAILURE", false},
		{"a@example.org", "expanded", "SUCCESS", false},
		{"", ActionFailed, "", false}, // about a report
		{"", ActionFailed, "FAILURE", false},
	} {
		f := failed(requiretls.Yes)
		f.From, f.Recipients[0].Action, f.Recipients[0].Notify = tc.from, tc.action, nil
		if tc.notify != "" {
			f.Recipients[0].Notify = strings.Split(tc.notify, ",")
		}
		if got := len(Due(f)) == 1; got != tc.want {
			t.Errorf("%q %s NOTIFY=%s: %v", tc.from, tc.action, tc.notify, got)
		}
	}
}

// TestSend has what is sent which way, and in which order.
func TestSend(t *testing.T) {
	noSupport := cli.Errorf(cli.Unavailable, "no").WithStatus(requiretls.StatusNoSupport)
	noTLS := cli.Errorf(cli.Unavailable, "no").WithStatus(requiretls.StatusNoTLS)
	refused := cli.Errorf(cli.DataErr, "spam").WithStatus("5.7.1")
	down := cli.Errorf(cli.TempFail, "not now")
	for _, tc := range []struct {
		name    string
		wish    requiretls.Wish
		replies []error
		want    string // attempts: wish and form
		ok      bool
	}{
		{"tagged", requiretls.Yes, []error{nil}, "yes+header", true},
		{"tagged, way back lacks it", requiretls.Yes, []error{noSupport, nil}, "yes+header auto+minimal", true},
		{"tagged, no TLS", requiretls.Yes, []error{noTLS, noTLS}, "yes+header auto+minimal", false},
		{"tagged, server is down", requiretls.Yes, []error{down}, "yes+header", false},
		{"tagged, header refused", requiretls.Yes, []error{refused, nil}, "yes+header auto+minimal", true},
		{"untagged", requiretls.Auto, []error{nil}, "auto+header", true},
		{"untagged, header refused", requiretls.Auto, []error{refused, nil}, "auto+header auto+minimal", true},
		{"optional", requiretls.No, []error{nil}, "no+header", true},
		{"optional, header refused", requiretls.No, []error{refused, nil}, "no+header no+minimal", true},
	} {
		var got []string
		err := Send(t.Context(), failed(tc.wish), options(), func(_ context.Context, m *Report) error {
			var raw bytes.Buffer
			if _, err := m.WriteTo(&raw); err != nil {
				t.Fatal(err)
			}
			text := raw.String()
			if m.To() != "a@example.org" || strings.Contains(text, "canary-body") {
				t.Errorf("%s: to %q\n%s", tc.name, m.To(), text)
			}
			if strings.Contains(text, "TLS-Required: No\r\n") != (tc.wish == requiretls.No) {
				t.Errorf("%s: TLS-Required\n%s", tc.name, text)
			}
			form := "minimal"
			if strings.Contains(text, "canary-subject") {
				form = "header"
			} else if strings.Contains(text, "canary") {
				t.Errorf("%s: the minimal form has\n%s", tc.name, text)
			}
			got = append(got, m.Wish().String()+"+"+form)
			return tc.replies[len(got)-1]
		})
		if (err == nil) != tc.ok || strings.Join(got, " ") != tc.want {
			t.Errorf("%s: %v, %q", tc.name, err, got)
		}
	}
}

// The error of the last attempt says whether another makes sense.
func TestSendError(t *testing.T) {
	errs := []error{cli.Errorf(cli.Unavailable, "refused"), cli.Errorf(cli.TempFail, "not now")}
	err := Send(t.Context(), failed(requiretls.Yes), options(), func(context.Context, *Report) error {
		next := errs[0]
		errs = errs[1:]
		return next
	})
	if cli.ExitCode(err) != cli.TempFail || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v", err)
	}
}

func TestSendNothing(t *testing.T) {
	f := failed(requiretls.Yes)
	f.From = ""
	f.Content = unreadable{}
	if err := Send(t.Context(), f, options(), nil); err != nil {
		t.Error(err)
	}
}

// The minimal form does not even open the message.
func TestMinimalReadsNothing(t *testing.T) {
	f := failed(requiretls.Yes)
	f.Content = unreadable{}
	if _, err := New(f, Minimal, options()); err != nil {
		t.Error(err)
	}
	if _, err := New(f, WithHeader, options()); err == nil || !strings.Contains(err.Error(), "opened") {
		t.Errorf("%v", err)
	}
}

func TestHeaderPart(t *testing.T) {
	long := "Subject: x\r\n" + strings.Repeat("X-Long: "+strings.Repeat("y", 90)+"\r\n", maxHeader/90)
	for _, tc := range []struct{ name, in, contentType, want string }{
		{"ends with the message", "A: b\r\nC: d\r\n", "text/rfc822-headers", "A: b\r\nC: d\r\n"},
		{"no header", "\r\nbody\r\n", "", ""},
		{"empty", "", "", ""},
		{"cut off within a line", "A: b\r\nC: d\r\n e", "text/rfc822-headers", "A: b\r\n"},
		{"one line, cut off", "A: b", "", ""},
		{"UTF-8", "A: \u00fc\r\n\r\n", "message/global-headers", "A: =C3=BC\r\n"},
		{"another charset", "A: \xfc\r\n\r\n", "text/rfc822-headers", "A: =FC\r\n"},
		{"a long line", "A: " + strings.Repeat("x", 1000) + "\r\n\r\n", "text/rfc822-headers", "A: " + strings.Repeat("x", 72) + "=\r\n"},
		{"too long", long, "text/rfc822-headers", "Subject: x\r\nX-Long: "},
	} {
		raw, err := readHeader(content(tc.in))
		if err != nil {
			t.Fatal(err)
		}
		got := returned{}
		if len(raw) > 0 {
			got = encodeHeader(raw)
		}
		if got.contentType != tc.contentType || !strings.HasPrefix(string(got.content), tc.want) || tc.want == "" && len(got.content) > 0 ||
			len(got.content) > maxHeader || len(got.content) > 0 && !bytes.HasSuffix(got.content, []byte("\r\n")) && !got.encoded {
			t.Errorf("%s: %s %.200q", tc.name, got.contentType, got.content)
		}
	}
}

func TestAddressForms(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"b@example.net", "rfc822; b@example.net"},
		{"\"a b\"@example.net", "rfc822; \"a b\"@example.net"},
		{"jürgen+x=y@exämple.net", `utf-8; j\x{FC}rgen\x{2B}x\x{3D}y@ex\x{E4}mple.net`},
		{"😀@example.net", `utf-8; \x{1F600}@example.net`},
		{"a\r\nX: y@example.net", "rfc822; a??X: y@example.net"},
	} {
		if got := typedAddress(tc.in); got != tc.want {
			t.Errorf("%q: %q", tc.in, got)
		}
	}
	for _, tc := range []struct{ in, want string }{
		{"rfc822;b@example.net", "rfc822; b@example.net"},
		{"utf-8;ü@example.net", `utf-8; \x{FC}@example.net`},
		{"b@example.net", ""},
		{"rfc 822;b@example.net", ""},
		{"rfc822\r\nX;b", ""},
	} {
		if got := originalRecipient(tc.in); got != tc.want {
			t.Errorf("%q: %q", tc.in, got)
		}
	}
}

// A sender whose address is not ASCII needs SMTPUTF8; recipients do not.
func TestUTF8(t *testing.T) {
	f := failed(requiretls.Yes)
	f.Recipients[0].Address = "jürgen@example.net"
	r, err := New(f, WithHeader, options())
	if err != nil {
		t.Fatal(err)
	}
	if r.UTF8() || !isASCII(write(t, f, WithHeader)) {
		t.Error("a recipient made the report UTF-8")
	}
	f.From = "müller@example.org"
	if r, err = New(f, WithHeader, options()); err != nil {
		t.Fatal(err)
	}
	if !r.UTF8() || !strings.Contains(write(t, f, WithHeader), "\r\nTo: <müller@example.org>\r\n") {
		t.Error("the sender did not")
	}
}

func TestStatus(t *testing.T) {
	for _, tc := range []struct {
		action     Action
		status, is string
	}{
		{ActionFailed, "5.7.30", "5.7.30"},
		{ActionFailed, "4.4.7", "4.4.7"},
		{ActionFailed, "2.0.0", "5.0.0"},
		{ActionFailed, "", "5.0.0"},
		{ActionFailed, "5.1.1\r\nX: y", "5.0.0"},
		{ActionFailed, "5.1.1234", "5.0.0"},
		{ActionFailed, "5..1", "5.0.0"},
		{ActionDelayed, "4.4.1", "4.4.1"},
		{ActionDelayed, "5.1.1", "4.0.0"},
		{ActionRelayed, "", "2.0.0"},
	} {
		if got := statusOf(&Recipient{Action: tc.action, Status: tc.status}); got != tc.is {
			t.Errorf("%s %q: %s", tc.action, tc.status, got)
		}
	}
}

func TestDelayed(t *testing.T) {
	f := failed(requiretls.Auto)
	f.Recipients = append(f.Recipients, Recipient{Address: "c@example.net", Action: ActionDelayed, Reason: "connection refused", RetryUntil: now.Add(time.Hour)})
	got := write(t, f, WithHeader)
	for _, want := range []string{
		"Subject: Undelivered mail\r\n",
		"\r\nYour message has not been delivered yet, and will be tried again, to:\r\n\r\n    c@example.net\r\n        4.0.0 connection refused\r\n",
		"\r\nFinal-Recipient: rfc822; c@example.net\r\nAction: delayed\r\nStatus: 4.0.0\r\nDiagnostic-Code: X-RTLS; connection refused\r\nWill-Retry-Until: Wed, 25 Nov 2026 02:02:03 +0000\r\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
}

// guess is a source of randomness that first gives what the message holds.
type guess struct{ calls int }

func (g *guess) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(g.calls / 3)
	}
	g.calls++
	return len(p), nil
}

func TestBoundaryNotInContent(t *testing.T) {
	f := failed(requiretls.Auto)
	f.Content = content("X: =_" + strings.Repeat("00", 16) + "\r\n\r\n")
	o := options()
	o.Rand = &guess{}
	r, err := New(f, WithHeader, o)
	if err != nil {
		t.Fatal(err)
	}
	if want := "=_" + strings.Repeat("01", 16); r.boundary != want {
		t.Errorf("boundary %s", r.boundary)
	}
}

// Whatever strangers put into a report's parts, its structure is the same: as many
// parts, as many fields, no line too long.
func FuzzReport(f *testing.F) {
	f.Add("b@example.net", "rfc822;b@example.net", "5.1.1", "mx.example.net", "550 no", "id", "<a@b>", original)
	f.Add("a\r\nX: y", "x;\ny", "5.1.1\n", "m\r\n\r\nx", strings.Repeat("550 - ", 300), "\r\n", "<\r>", "\xff: \r\n--=_00000000000000000000000000000000--\r\n\r\n")
	f.Fuzz(func(t *testing.T, addr, orig, status, remote, reply, envid, msgid, message string) {
		if len(addr) > 320 || len(orig) > 500 {
			t.Skip()
		}
		for _, form := range []Form{WithHeader, Minimal} {
			checkStructure(t, &Failed{
				From: "a@example.org", EnvelopeID: envid, MessageID: msgid, Content: content(message), Arrived: now,
				Recipients: []Recipient{{Address: addr, Original: orig, Action: ActionFailed, Status: status, Remote: remote, Reply: reply, LastAttempt: now}},
			}, form)
		}
	})
}

func checkStructure(t *testing.T, f *Failed, form Form) {
	t.Helper()
	o := options()
	o.Rand = &guess{} // the content may hold the first boundary
	raw := writeWith(t, f, form, o)
	for line := range strings.Lines(raw) {
		if len(line) > maxLine+2 || !strings.HasSuffix(line, "\r\n") || strings.ContainsAny(line[:len(line)-2], "\r\n\x00") || !isASCII(line) {
			t.Fatalf("line %q", line)
		}
	}
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(m.Header); n != 9 && n != 8 { // In-Reply-To is not always there
		t.Fatalf("%d header fields:\n%s", n, raw)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for i := 0; ; i++ {
		p, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			if i != 2 && (i != 3 || form == Minimal) {
				t.Fatalf("%d parts:\n%s", i, raw)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			checkStatusFields(t, string(body))
		}
	}
}

// checkStatusFields: each line continues one or begins a field that we write.
func checkStatusFields(t *testing.T, body string) {
	t.Helper()
	blocks := strings.Split(strings.TrimSuffix(body, "\r\n"), "\r\n\r\n")
	if len(blocks) != 2 {
		t.Fatalf("%d blocks: %q", len(blocks), body)
	}
	seen := map[string]bool{}
	for line := range strings.SplitSeq(strings.Join(blocks, "\r\n"), "\r\n") {
		if strings.HasPrefix(line, " ") && strings.TrimSpace(line) != "" {
			continue
		}
		name, _, ok := strings.Cut(line, ": ")
		if !ok || seen[name] || !strings.Contains(" Reporting-MTA Original-Envelope-Id Arrival-Date Original-Recipient Final-Recipient Action Status Remote-MTA Diagnostic-Code Last-Attempt-Date ", " "+name+" ") {
			t.Fatalf("%q in %q", line, body)
		}
		seen[name] = true
	}
}
