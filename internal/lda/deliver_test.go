package lda

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"rtls/internal/testmail"
	"rtls/store"
)

// checkStored is the promise about bytes: what is stored is our trace, complete
// and once, and then the message.
func checkStored(t testing.TB, a *Agent, m *mailboxes, env Envelope, message string) {
	t.Helper()
	got := deliverOne(t, a, m, env, message).data
	want := withoutRemoved(message, env.Protocol == "")
	trace, ok := strings.CutSuffix(got, want)
	if !ok {
		t.Fatalf("%.200q was not stored as it is, but as %.2000q", message, got)
	}
	eol := env.eol()
	if i := strings.IndexByte(message, '\n'); i >= 0 && i < maxHeader {
		eol = "\n"
		if i > 0 && message[i-1] == '\r' {
			eol = "\r\n"
		}
	}
	if env.Protocol == "" && strings.HasPrefix(message, "From ") {
		return // the line that decided about the line ends is gone
	}
	if !regexp.MustCompile(`\AReturn-Path: <.*>` + eol + `Delivered-To: u1@example\.org` + eol +
		`RTLS-Delivery: tag=.*(?:` + eol + `\t.*)*` + eol + `Received: .*(?:` + eol + `\t.*)*` + eol + `\z`).MatchString(trace) {
		t.Fatalf("trace of %.200q is %q", message, trace)
	}
}

func TestBytes(t *testing.T) {
	corpus, err := testmail.All(filepath.Join("..", "..", "testdata", "mail"))
	if err != nil {
		t.Fatal(err)
	}
	odd := map[string]string{
		"empty":                   "",
		"one line feed":           "\n",
		"body only":               "\n\nx",
		"no line end at all":      "Subject: x",
		"mixed line ends":         "Subject: x\r\nReturn-Path: <a@b>\nTo: y\r\n\nbody\r\n",
		"bare CR":                 "Subject: x\rReturn-Path: <a@b>\r\n\r\nbody\r\rx\n",
		"NUL":                     "Sub\x00ject: x\n\n\x00\x00",
		"removed fields, folded":  "RTLS-Delivery: tag=require\n origin=esmtp\nSubject: x\nReturn-path : <a@b>\n\t(c)\n\nReturn-Path: <body@b>\n",
		"removed field, no end":   "Subject: x\nReturn-Path: <a@b>",
		"all removed":             "Return-Path: <a@b>\n\n",
		"starts with white space": " tag=require\nSubject: x\n\n",
		"From_ in CRLF":           "From a@b Tue Nov 24 12:00:00 2026\r\nSubject: x\r\n\r\n",
		"From_ only":              "From a@b Tue Nov 24 12:00:00 2026\n",
		"From, obsolete":          "From : a@b\n\nx",
		"long line":               "Subject: " + strings.Repeat("x", 3<<20) + "\nReturn-Path: <a@b>\n\nx",
		"long body line":          "Subject: x\n\n" + strings.Repeat("x", 3<<20),
	}
	for name, raw := range odd {
		corpus = append(corpus, testmail.Message{Name: name, Raw: []byte(raw)})
	}
	for _, msg := range corpus {
		t.Run(msg.Name, func(t *testing.T) {
			a, m := newAgent(t, nil)
			lf := strings.ReplaceAll(string(msg.Raw), "\r\n", "\n")
			for _, raw := range []string{string(msg.Raw), lf, strings.ReplaceAll(lf, "\n", "\r\n")} {
				if msg.Name == "long line" { // its Return-Path is out of sight
					raw = strings.Replace(raw, "Return-Path: <a@b>", "X: y", 1)
				}
				checkStored(t, a, m, Envelope{ID: "id", Sender: "s@example.org"}, raw)
				checkStored(t, a, m, Envelope{ID: "id", Sender: "s@example.org", Protocol: "LMTP", Client: "c", Remote: "unix"}, raw)
			}
		})
	}
}

func FuzzBytes(f *testing.F) {
	for _, in := range []string{"Subject: x\n\ny", "From x\r\nReturn-Path: <a>\r\n b\r\n\r\n", "RTLS-Delivery:\n\tx", "a\r\rb: c\n\x00"} {
		f.Add(in, true)
		f.Add(in, false)
	}
	f.Fuzz(func(t *testing.T, in string, lmtp bool) {
		a, m := newAgent(t, nil)
		env := Envelope{ID: "id"}
		if lmtp {
			env.Protocol = "LMTP"
		}
		checkStored(t, a, m, env, in)
	})
}

// However the reader hands the bytes out, the result is the same.
func TestReaders(t *testing.T) {
	message := "Subject: x\r\nReturn-Path: <a@b>\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 20_000)
	want := withoutRemoved(message, false)
	for name, r := range map[string]io.Reader{
		"one byte":    iotest.OneByteReader(strings.NewReader(message)),
		"half":        iotest.HalfReader(strings.NewReader(message)),
		"data at EOF": iotest.DataErrReader(strings.NewReader(message)),
	} {
		a, m := newAgent(t, nil)
		if res := a.Deliver(t.Context(), Envelope{Protocol: "LMTP"}, []Recipient{{User: "u1"}}, r); res[0] != nil {
			t.Fatal(name, res)
		}
		if got := m.kept["u1/INBOX"][0].data; !strings.HasSuffix(got, want) {
			t.Errorf("%s: %d octets", name, len(got))
		}
	}
}

func TestTrace(t *testing.T) {
	a, m := newAgent(t, nil)
	for _, tc := range []struct {
		name string
		env  Envelope
		rcpt Recipient
		want string
	}{
		{"command line", Envelope{ID: "ID1"}, Recipient{Address: "u1"}, `Return-Path: <>
Delivered-To: u1
RTLS-Delivery: tag=none; origin=mda;
	tls=none;
	peer=PEER; time=2026-11-24T12:00:00+01:00
Received: by mx.example.org (rtls-lda)
	id ID1 for <u1>
	; Tue, 24 Nov 2026 12:00:00 +0100
`},
		{"command line with tag", Envelope{ID: "ID1", Sender: `"a b"@ö.example`, RequireTLS: true}, Recipient{Address: "u1"}, `Return-Path: <"a b"@ö.example>
Delivered-To: u1
RTLS-Delivery: tag=require; origin=mda; ret=HDRS;
	tls=none;
	peer=PEER; time=2026-11-24T12:00:00+01:00
Received: by mx.example.org (rtls-lda) (requiretls)
	id ID1 for <u1>
	; Tue, 24 Nov 2026 12:00:00 +0100
`},
		{"LMTP", Envelope{ID: "ID1", Protocol: "LMTP", Client: "relay", Remote: "unix", Ret: "FULL"}, Recipient{Address: "u1+x@example.org"}, `Return-Path: <>
Delivered-To: u1+x@example.org
RTLS-Delivery: tag=none; origin=unknown; ret=FULL;
	tls=none;
	peer=PEER; time=2026-11-24T12:00:00+01:00
Received: from relay (unix)
	by mx.example.org (rtls-lda) with LMTP
	id ID1 for <u1+x@example.org>
	; Tue, 24 Nov 2026 12:00:00 +0100
`},
		{"LMTP from a trusted user", Envelope{ID: "ID1", Protocol: "LMTP", Client: "relay", Remote: "unix", Local: true, RequireTLS: true}, Recipient{Address: "u1"}, `Return-Path: <>
Delivered-To: u1
RTLS-Delivery: tag=require; origin=local; ret=HDRS;
	tls=none;
	peer=PEER; time=2026-11-24T12:00:00+01:00
Received: from relay (unix)
	by mx.example.org (rtls-lda) with LMTP (requiretls)
	id ID1 for <u1>
	; Tue, 24 Nov 2026 12:00:00 +0100
`},
		{"LMTPS with everything", Envelope{
			ID: "ID1", Protocol: "UTF8LMTPS", Client: "relay", Remote: "[192.0.2.1]", Ret: "FULL", EnvID: "e+2B1", RequireTLS: true,
			TLS: &TLS{"TLS 1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
		}, Recipient{Address: "u1@example.org", Notify: "NEVER", ORcpt: "rfc822;u1+2Bx@example.org"}, `Return-Path: <>
Delivered-To: u1@example.org
RTLS-Delivery: tag=require; origin=esmtp; ret=HDRS;
	envid=e+2B1; notify=NEVER;
	orcpt=rfc822;u1+2Bx@example.org;
	tls=TLSv1.2; cipher=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
	peer=PEER; time=2026-11-24T12:00:00+01:00
Received: from relay ([192.0.2.1])
	by mx.example.org (rtls-lda) with UTF8LMTPS (requiretls)
	id ID1 for <u1@example.org>
	tls TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
	; Tue, 24 Nov 2026 12:00:00 +0100
`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.rcpt.User = "u " + tc.name
			if res := a.Deliver(t.Context(), tc.env, []Recipient{tc.rcpt}, strings.NewReader("Subject: x\n\n")); res[0] != nil {
				t.Fatal(res)
			}
			peer := tc.env.Remote
			if peer == "" {
				peer = "pipe"
			}
			tc.want = strings.Replace(tc.want, "PEER", peer, 1)
			if got := m.kept["u "+tc.name+"/INBOX"][0].data; got != tc.want+"Subject: x\n\n" {
				t.Errorf("got\n%s", got)
			}
		})
	}
}

func TestTag(t *testing.T) {
	inTLS := Envelope{Protocol: "LMTPS", TLS: &TLS{}}
	withTag := inTLS
	withTag.RequireTLS = true
	clear := Envelope{Protocol: "LMTP"}
	pipe := Envelope{}
	pipeTag := Envelope{RequireTLS: true}
	const optional, malformed, twice = "TLS-Required: No\n", "TLS-Required: maybe\n", "TLS-Required: No\nTLS-Required: No\n"
	huge := strings.Repeat("X: "+strings.Repeat("x", 1000)+"\n", 1100)
	for _, tc := range []struct {
		name  string
		env   Envelope
		trust bool
		head  string
		want  string
	}{
		{"L09 parameter", withTag, false, "", "require/esmtp"},
		{"L12 parameter and header", withTag, false, optional, "require/esmtp"},
		{"parameter and header too long", withTag, false, huge, "require/esmtp"},
		{"parameter and trusted header", withTag, true, "Require-TLS-ESMTP: yes\n", "require/esmtp"},
		{"L11 header alone", inTLS, false, optional, "optional/header"},
		{"header alone, any case", clear, false, "tls-required : nO\n", "optional/header"},
		{"header alone, folded", clear, false, "TLS-Required:\n No\n", "optional/header"},
		{"header alone, no header end", clear, false, "Subject: x\n" + strings.TrimSpace(optional), "optional/header"},
		{"L13 malformed", inTLS, false, malformed, "none/esmtp"},
		{"L13 twice", inTLS, false, twice, "none/esmtp"},
		{"L13 in a part", inTLS, false, "\n" + optional, "none/esmtp"},
		{"nothing said inside TLS", inTLS, false, "", "none/esmtp"},
		{"nothing said in clear", clear, false, "", "none/unknown"},
		{"nothing said by the mail transfer agent", pipe, false, "", "none/mda"},
		{"L15 said by the mail transfer agent", pipeTag, false, optional, "require/mda"},
		{"L14 trusted header", pipe, true, "Require-TLS-ESMTP: yes\n", "require/header"},
		{"L14 trusted header over TLS-Required", pipe, true, optional + "Require-TLS-ESMTP: YES\n", "require/header"},
		{"L14 trusted header below a forged one", pipe, true, "Require-TLS-ESMTP: no\nRequire-TLS-ESMTP: yes\n", "require/header"},
		{"L14 other value", pipe, true, "Require-TLS-ESMTP: no\n", "none/mda"},
		{"L14 header not trusted", pipe, false, "Require-TLS-ESMTP: yes\n", "none/mda"},
		{"forged delivery field", inTLS, false, "RTLS-Delivery: tag=require; origin=esmtp;\n", "none/esmtp"},
		{"too long to judge", inTLS, false, huge, "unknown/unknown"},
		{"too long to judge, but with a trusted field on top", pipe, true, "Require-TLS-ESMTP: yes\n" + huge, "require/header"},
		{"wish out of sight", inTLS, false, huge + optional, "unknown/unknown"},
		{"header of just under the limit", inTLS, false, huge[:1004*1040] + optional, "optional/header"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, m := newAgent(t, func(c *Config) { c.TrustHeader = tc.trust })
			message := tc.head + "\nbody\n"
			if strings.HasSuffix(tc.name, "no header end") {
				message = tc.head
			}
			got := deliverOne(t, a, m, tc.env, message)
			if s := got.meta.Tag.String() + "/" + got.meta.Origin.String(); s != tc.want {
				t.Errorf("tag %s, want %s", s, tc.want)
			}
			if want := withoutRemoved(message, tc.env.Protocol == ""); !strings.HasSuffix(got.data, want) {
				t.Error("the message was changed")
			}
		})
	}
}

// A field that begins within what is read of the header and ends beyond is left
// whole.
func TestFieldAcrossTheLimit(t *testing.T) {
	head := strings.Repeat("X: "+strings.Repeat("x", 1000)+"\n", maxHeader/1004)
	message := head + "Return-Path: <a@b>\n" + strings.Repeat(" "+strings.Repeat("y", 1000)+"\n", 10) + "\nbody\n"
	a, m := newAgent(t, nil)
	if got := deliverOne(t, a, m, Envelope{}, message); !strings.HasSuffix(got.data, message) {
		t.Error("the message was changed")
	}
}

func TestSender(t *testing.T) {
	for _, tc := range []struct{ message, want string }{
		{"Return-Path: <a@b>\nReturn-Path: <c@d>\n\n", "a@b"},
		{"Return-Path: <>\n\n", ""},
		{"Return-Path: a@b\n\n", "a@b"},
		{"Return-Path: <a@b> (x)\n\n", ""},
		{"Return-Path:\n <a@b>\n\n", "a@b"},
		{"Return-Path: <a\r\n b@c>\n\n", ""},
		{"From a@b Tue Nov 24 12:00:00 2026\nSubject: x\n\n", "a@b"},
		{"From a@b Tue Nov 24 12:00:00 2026\nReturn-Path: <c@d>\n\n", "c@d"},
		{"From MAILER-DAEMON Tue Nov 24 12:00:00 2026\n\n", ""},
		{"From a\"@b Tue Nov 24 12:00:00 2026\n\n", ""},
		{"Subject: x\n\n", ""},
		{"\nReturn-Path: <a@b>\n", ""},
	} {
		a, m := newAgent(t, nil)
		got := deliverOne(t, a, m, Envelope{NoSender: true}, tc.message).data
		line, _, _ := strings.Cut(got, "\n")
		if want := "Return-Path: <" + tc.want + ">"; strings.TrimSuffix(line, "\r") != want {
			t.Errorf("%q: %q, want %q", tc.message, line, want)
		}
		if strings.Count(got, "Return-Path:") != 1 && tc.message[0] != '\n' {
			t.Errorf("%q became %q", tc.message, got)
		}
	}
}

// threeRecipients each have a mailbox of their own.
var threeRecipients = []Recipient{{Address: "u1@x", User: "u1"}, {Address: "u2@x", User: "u2"}, {Address: "u3@x", User: "u3"}}

// Whatever happens to one copy is its recipient's alone.
func TestFaults(t *testing.T) {
	message := "Subject: x\n\n" + strings.Repeat("0123456789abcde\n", 3*chunk/16)
	faults := map[string]struct {
		err  error
		want string
	}{
		"EIO":    {syscall.EIO, "451 4.3.0 "},
		"ENOSPC": {&errWrapper{syscall.ENOSPC}, "452 4.3.1 "},
		"EDQUOT": {&errWrapper{syscall.EDQUOT}, "452 4.2.2 "},
		"EMFILE": {syscall.EMFILE, "451 4.3.0 "},
		"panic":  {nil, "451 4.3.0 "},
	}
	for _, at := range []call{{op: "open", n: 1}, {op: "write", n: 1}, {op: "write", n: 2}, {op: "write", n: 4}, {op: "commit", n: 1}} {
		for name, fault := range faults {
			t.Run(fmt.Sprint(at.op, at.n, name), func(t *testing.T) {
				a, m := newAgent(t, nil)
				hit := false
				m.fault = func(c call) error {
					if c.user != "u2" || c.op != at.op || c.n != at.n {
						return nil
					}
					hit = true
					if fault.err == nil {
						panic("a bug")
					}
					return fault.err
				}
				results := a.Deliver(t.Context(), Envelope{}, threeRecipients, strings.NewReader(message))
				e, ok := errors.AsType[*Error](results[1])
				if results[0] != nil || results[2] != nil || !ok || !hit || !e.Temporary() {
					t.Fatalf("results %v, fault reached %t", results, hit)
				}
				if !strings.HasPrefix(e.Error(), fault.want) {
					t.Errorf("%v", e)
				}
				for user, want := range map[string]int{"u1": 1, "u2": 0, "u3": 1} {
					got := m.kept[user+"/INBOX"]
					if len(got) != want || want == 1 && !strings.HasSuffix(got[0].data, message) {
						t.Errorf("%s has %d", user, len(got))
					}
				}
			})
		}
	}
	t.Run("all", func(t *testing.T) {
		a, m := newAgent(t, nil)
		m.fault = func(c call) error { return syscall.ENOSPC }
		for _, err := range a.Deliver(t.Context(), Envelope{}, threeRecipients, strings.NewReader(message)) {
			if e, ok := errors.AsType[*Error](err); !ok || e.Code != 452 {
				t.Error(err)
			}
		}
	})
	t.Run("close", func(t *testing.T) { // what was committed stays delivered
		a, m := newAgent(t, nil)
		m.fault = func(c call) error {
			if c.op == "close" {
				panic("a bug")
			}
			return nil
		}
		if res := a.Deliver(t.Context(), Envelope{}, threeRecipients, strings.NewReader(message)); slices.ContainsFunc(res, func(err error) bool { return err != nil }) {
			t.Error(res)
		}
	})
}

type errWrapper struct{ err error }

func (e *errWrapper) Error() string { return "write /var/lib/rtls/u2: " + e.err.Error() }
func (e *errWrapper) Unwrap() error { return e.err }

// A message whose end was not seen is delivered to nobody.
func TestBrokenMessage(t *testing.T) {
	for name, end := range map[string]error{
		"cut off":     io.ErrUnexpectedEOF,
		"wrapped EOF": fmt.Errorf("tls: %w", io.EOF),
		"too large":   &Error{Code: 552, Status: "5.3.4", Text: "message too large"},
	} {
		for _, message := range []string{"", "Subj", "Subject: x\n\n", "Subject: x\n\n" + strings.Repeat("x", 3*chunk)} {
			a, m := newAgent(t, nil)
			results := a.Deliver(t.Context(), Envelope{}, threeRecipients, io.MultiReader(strings.NewReader(message), iotest.ErrReader(end)))
			for _, err := range results {
				e, ok := errors.AsType[*Error](err)
				if !ok || !errors.Is(err, end) || e.Temporary() == (name == "too large") {
					t.Errorf("%s behind %d octets: %v", name, len(message), err)
				}
			}
			if len(m.kept) > 0 {
				t.Errorf("%s behind %d octets: stored", name, len(message))
			}
		}
	}
}

func TestCancelled(t *testing.T) {
	a, m := newAgent(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	body := io.MultiReader(strings.NewReader("Subject: x\n\n"), iotest.OneByteReader(strings.NewReader("x")), readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, io.EOF
	}))
	for _, err := range a.Deliver(ctx, Envelope{}, threeRecipients, body) {
		if e, ok := errors.AsType[*Error](err); !ok || !e.Temporary() {
			t.Error(err)
		}
	}
	if len(m.kept) > 0 {
		t.Error("stored")
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestMailboxes(t *testing.T) {
	a, m := newAgent(t, nil)
	m.fault = func(c call) error {
		switch {
		case c.mailbox == "missing":
			return fmt.Errorf("%w: missing", store.ErrNoMailbox)
		case c.mailbox == "../x":
			return store.ErrName
		case c.mailbox == "sick" && c.op == "open":
			return syscall.EIO
		}
		return nil
	}
	rcpts := []Recipient{
		{Address: "u1@x", User: "u1"},
		{Address: "u1+lists@x", User: "u1", Folder: "lists"},
		{Address: "u1+missing@x", User: "u1", Folder: "missing"}, // INBOX in its place, shared with the first
		{Address: "u2+x@x", User: "u2", Folder: "../x"},
		{Address: "u3+sick@x", User: "u3", Folder: "sick"},
		{Address: "u1@x", User: "u1"},
		{Address: "u1+lists@x", User: "u1", Folder: "lists"},
		{Address: "loop@x", User: "u4"},
		{Address: "LOOP2@x", User: "u5"},
		{Address: "u6@x", User: "u6"},
	}
	message := "Delivered-To: u6@x\nReceived: by a\nDelivered-To: loop@x\nDelivered-To: loop2@x\n\n"
	results := a.Deliver(t.Context(), Envelope{}, rcpts, strings.NewReader(message))
	for i, want := range []int{0, 0, 0, 0, 451, 0, 0, 554, 554, 0} {
		e, _ := errors.AsType[*Error](results[i])
		if (want == 0) != (e == nil) || e != nil && (e.Code != want || want == 554 && e.Status != "5.4.6") {
			t.Errorf("%s: %v", rcpts[i].Address, results[i])
		}
	}
	var got []string
	for name, messages := range m.kept {
		got = append(got, fmt.Sprint(name, len(messages)))
	}
	slices.Sort(got)
	if want := []string{"u1/INBOX1", "u1/lists1", "u2/INBOX1", "u6/INBOX1"}; !slices.Equal(got, want) {
		t.Errorf("stored %v, want %v", got, want)
	}
}

// Many recipients are committed together, and all of them are.
func TestManyRecipients(t *testing.T) {
	a, m := newAgent(t, nil)
	var rcpts []Recipient
	for i := range 100 {
		rcpts = append(rcpts, Recipient{Address: fmt.Sprint("u", i), User: fmt.Sprint("u", i)})
	}
	for i, err := range a.Deliver(t.Context(), Envelope{}, rcpts, strings.NewReader("x\n")) {
		if got := m.kept[fmt.Sprintf("u%d/INBOX", i)]; err != nil || len(got) != 1 || !strings.Contains(got[0].data, fmt.Sprintf("Delivered-To: u%d\n", i)) {
			t.Errorf("%d: %v, %v", i, err, got)
		}
	}
}

func TestLog(t *testing.T) {
	var log strings.Builder
	a, m := newAgent(t, func(c *Config) { c.Logger = textLogger(&log) })
	m.fault = func(c call) error {
		if c.user == "u2" {
			return syscall.EIO
		}
		return nil
	}
	env := Envelope{
		ID: "ID1", Sender: "s@example.org", Protocol: "LMTPS", QueueID: "Q1", RequireTLS: true,
		TLS: &TLS{"TLS 1.3", "TLS_AES_128_GCM_SHA256"},
	}
	a.Deliver(t.Context(), env, append(threeRecipients[:2:2], Recipient{Address: "loop", User: "u4"}),
		strings.NewReader("Message-ID: <m@x>\nTLS-Required: No\nRTLS-Delivery: x\nReceived: x\nDelivered-To: loop\n\n"))
	want := `level=INFO msg=delivered id=ID1 from=s@example.org rcpt=u1@x user=u1 folder=INBOX bytes=406 receive_ms=0 store_ms=0 queue_id=Q1 proto=LMTPS tls="1.3 TLS_AES_128_GCM_SHA256" msgid=<m@x> tag=require origin=esmtp note="TLS-Required passed over: REQUIRETLS wins; RTLS-Delivery of somebody else removed" key=u11
level=WARN msg=deferred id=ID1 from=s@example.org rcpt=u2@x user=u2 folder=INBOX bytes=0 receive_ms=0 store_ms=0 queue_id=Q1 proto=LMTPS tls="1.3 TLS_AES_128_GCM_SHA256" msgid=<m@x> tag=require origin=esmtp note="TLS-Required passed over: REQUIRETLS wins; RTLS-Delivery of somebody else removed" err="451 4.3.0 cannot deliver now, try again later: input/output error"
level=WARN msg=refused id=ID1 from=s@example.org rcpt=loop user=u4 folder="" bytes=0 receive_ms=0 store_ms=0 queue_id=Q1 proto=LMTPS tls="1.3 TLS_AES_128_GCM_SHA256" msgid=<m@x> tag=require origin=esmtp note="TLS-Required passed over: REQUIRETLS wins; RTLS-Delivery of somebody else removed" err="554 5.4.6 mail loop: this message was delivered to this address before"
`
	if got := log.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
