package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rtls/internal/testmail"
)

// TestConformanceL has a subtest for each row about final delivery. Each has a
// host of its own with rtls-lda serving on its socket.
func TestConformanceL(t *testing.T) {
	rows := []struct {
		name string
		test func(*testing.T, *mailHost)
	}{
		{"L01_not_offered_in_clear", l01},
		{"L02_offered_inside_tls", l02},
		{"L03_refused_in_clear", l03},
		{"L04_no_value_and_once", l04},
		{"L05_any_case", l05},
		{"L06_long_line", l06},
		{"L07_second_mail", l07},
		{"L08_forgotten", l08},
		{"L09_every_recipient", l09},
		{"L10_aliases", l10},
		{"L11_header_alone", l11},
		{"L12_parameter_and_header", l12},
		{"L13_malformed_header", l13},
		{"L14_postfix_header", l14},
		{"L15_flag", l15},
		{"L16_lhlo_only", l16},
		{"L17_data_without_recipient", l17},
		{"L18_reply_for_each_recipient", l18},
		{"L19_one_over_quota", l19},
		{"L20_pipelining", l20},
		{"L21_enhanced_status_codes", l21},
		{"L22_durable_before_250", l22},
		{"L23_killed", l23},
		{"L24_port_25", l24},
		{"L25_tls_beyond_loopback", l25},
		{"L26_return_path", l26},
		{"L27_received", l27},
		{"L28_tls_clause", l28},
		{"L29_earlier_trace_untouched", l29},
		{"L30_delivered_to", l30},
		{"L31_bytes", l31},
		{"L32_end_of_data", l32},
		{"L33_bdat", l33},
		{"L34_ret", l34},
		{"L35_dsn_syntax", l35},
		{"L36_starttls_injection", l36},
		{"L37_failed_handshake", l37},
		{"L38_old_tls", l38},
		{"L39_read_without_tls", l39},
		{"L40_exit_codes", l40},
		{"L41_wrong_peer", l41},
		{"L42_trusted_peer", l42},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			h := newMailHost(t, t.TempDir())
			h.serve(t)
			row.test(t, h)
		})
	}
}

const plainMail = "Subject: hi\r\n\r\nhello\r\n"

func l01(t *testing.T, h *mailHost) {
	offered := h.mta(t).LHLO()
	if slices.Contains(offered, "REQUIRETLS") || !slices.Contains(offered, "STARTTLS") {
		t.Errorf("%q", offered)
	}
}

func l02(t *testing.T, h *mailHost) {
	m := h.mta(t)
	m.LHLO()
	if offered := m.StartTLS().LHLO(); !slices.Contains(offered, "REQUIRETLS") || slices.Contains(offered, "STARTTLS") {
		t.Errorf("%q", offered)
	}
}

func l03(t *testing.T, h *mailHost) {
	m := h.mta(t)
	m.LHLO()
	m.Say("MAIL FROM:<a@example.com> REQUIRETLS", "530 5.7.10 ")
	m.Say("RCPT TO:<alice>", "503 5.5.1 ")
	m.Say("DATA", "503 5.5.1 ")
}

func l04(t *testing.T, h *mailHost) {
	m := h.secure(t)
	for _, params := range []string{"REQUIRETLS=yes", "REQUIRETLS=", "REQUIRETLS REQUIRETLS"} {
		m.Say("MAIL FROM:<a@example.com> "+params, "501 5.5.4 ")
		m.Say("RCPT TO:<alice>", "503 5.5.1 ")
	}
}

func l05(t *testing.T, h *mailHost) {
	h.secure(t).Deliver("<a@example.com> rEquirEtls", plainMail, "<alice>")
	if got := h.one(t, "alice").tag; got != "require/esmtp" {
		t.Error(got)
	}
}

func l06(t *testing.T, h *mailHost) {
	// RFC 5321 allows 512 octets, RFC 8689 adds 11, RFC 3461 adds 500 and 10 more
	// for SMTPUTF8 (RFC 6531 section 3.4).
	line := "<" + strings.Repeat("a", 64) + "@" + strings.Repeat("bbb.", 60) + "example> SIZE=1 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=" + strings.Repeat("e", 100) + " REQUIRETLS"
	line += strings.Repeat(" ", 512+11+500+10-len("MAIL FROM:")-len(line)-2)
	h.secure(t).Deliver(line, plainMail, "<alice>")
	if got := h.one(t, "alice").tag; got != "require/esmtp" {
		t.Error(got)
	}
}

func l07(t *testing.T, h *mailHost) {
	m := h.secure(t)
	m.Say("MAIL FROM:<first@example.com> REQUIRETLS", "250")
	m.Say("RCPT TO:<alice>", "250")
	m.Say("MAIL FROM:<second@example.com>", "503 5.5.1 ")
	m.Say("RCPT TO:<bob>", "250")
	m.Say("DATA", "354")
	m.Say(plainMail+".", "250 2.0.0 ", "250 2.0.0 ")
	for _, user := range []string{"alice", "bob"} {
		if got := h.one(t, user); got.tag != "require/esmtp" || !strings.HasPrefix(got.raw, "Return-Path: <first@example.com>\r\n") {
			t.Errorf("%s has %s\n%s", user, got.tag, got.raw)
		}
	}
}

func l08(t *testing.T, h *mailHost) {
	m := h.secure(t)
	forget := []func(){
		func() { m.Say("RSET", "250") },
		func() { m.LHLO() },
		func() { // a transaction that was begun with the tag and came to its end
			m.Say("RCPT TO:<bob>", "250")
			m.Say("DATA", "354")
			m.Say(plainMail+".", "250 2.0.0 ")
		},
	}
	for _, f := range forget {
		m.Say("MAIL FROM:<a@example.com> REQUIRETLS", "250")
		f()
		m.Deliver("<a@example.com>", plainMail, "<alice>")
	}
	// What was said before STARTTLS is as if it had not been.
	m = h.mta(t)
	m.LHLO()
	m.Say("MAIL FROM:<a@example.com>", "250")
	m.StartTLS()
	m.Say("RCPT TO:<alice>", "503 5.5.1 ")
	m.LHLO()
	m.Say("RCPT TO:<alice>", "503 5.5.1 ")
	m.Deliver("<a@example.com>", plainMail, "<alice>")
	all := h.mail(t, "alice", "INBOX")
	if len(all) != len(forget)+1 {
		t.Errorf("%d messages", len(all))
	}
	for _, got := range all {
		if got.tag != "none/esmtp" {
			t.Error(got.tag)
		}
	}
}

func l09(t *testing.T, h *mailHost) {
	h.secure(t).Deliver("<a@example.com> REQUIRETLS", plainMail, "<alice@example.org>", "<bob@example.org>", "<carol@example.org>")
	for _, user := range []string{"alice", "bob", "carol@example.org"} {
		if got := h.one(t, user).tag; got != "require/esmtp" {
			t.Errorf("%s has %s", user, got)
		}
	}
}

func l10(t *testing.T, _ *mailHost) {
	dir := t.TempDir()
	aliases := filepath.Join(dir, "aliases")
	if err := os.WriteFile(aliases, []byte("team: alice, crew\ncrew: bob, carol@example.org\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newMailHost(t, dir, fmt.Sprintf("aliases = %q", aliases))
	h.serve(t)
	m := h.secure(t)
	m.Deliver("<a@example.com> REQUIRETLS", plainMail, "<team@example.org>")
	m.Deliver("<a@example.com>", "TLS-Required: No\r\n"+plainMail, "<team>")
	if r := h.lda(t, "Subject: hi\n\n", "-r", "team", "--requiretls"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	for _, user := range []string{"alice", "bob", "carol@example.org"} {
		if got, want := h.tags(t, user), []string{"require/esmtp", "optional/header", "require/mda"}; !slices.Equal(got, want) {
			t.Errorf("%s has %v, want %v", user, got, want)
		}
	}
}

func l11(t *testing.T, h *mailHost) {
	h.secure(t).Deliver("<a@example.com>", "TLS-Required: No\r\n"+plainMail, "<alice>")
	if got := h.one(t, "alice").tag; got != "optional/header" {
		t.Error(got)
	}
}

func l12(t *testing.T, h *mailHost) {
	h.secure(t).Deliver("<a@example.com> REQUIRETLS", "TLS-Required: No\r\n"+plainMail, "<alice>")
	if got := h.one(t, "alice"); got.tag != "require/esmtp" || !strings.HasSuffix(got.raw, "\r\nTLS-Required: No\r\n"+plainMail) {
		t.Errorf("%s\n%s", got.tag, got.raw)
	}
}

func l13(t *testing.T, h *mailHost) {
	m := h.secure(t)
	for head, want := range map[string]string{
		"TLS-Required: maybe\r\n":                       "none/esmtp",
		"TLS-Required: No\r\nTLS-Required: No\r\n":      "none/esmtp",
		"TLS-Required: No (really)\r\n":                 "none/esmtp",
		"X-TLS-Required: No\r\n":                        "none/esmtp",
		"TLS-Required:\r\n\tnO\r\n":                     "optional/header", // folded before the value: FWS
		"Subject: x\r\n\r\n--b\r\nTLS-Required: No\r\n": "none/esmtp",
	} {
		before := len(h.tags(t, "alice"))
		m.Deliver("<a@example.com>", head+plainMail, "<alice>")
		if got := h.tags(t, "alice"); len(got) != before+1 || got[before] != want {
			t.Errorf("%q became %v", head, got)
		}
	}
	for _, message := range corpus(t) {
		want, ok := map[string]string{
			"44-tls-required-no":          "optional/header",
			"45-tls-required-twice":       "none/esmtp",
			"46-tls-required-inside":      "none/esmtp",
			"47-forged-require-tls-esmtp": "none/esmtp",
			"48-forged-rtls-delivery":     "none/esmtp",
		}[message.Name]
		if !ok {
			continue
		}
		m.Deliver("<a@example.com>", dotted(string(message.Raw)), "<bob>")
		if got := h.tags(t, "bob"); got[len(got)-1] != want {
			t.Errorf("%s has %v, want %s", message.Name, got[len(got)-1], want)
		}
	}
}

// tags are a mailbox's tags.
func (h *mailHost) tags(t *testing.T, user string) []string {
	t.Helper()
	if h.delivered(user) == 0 {
		return nil
	}
	var tags []string
	for _, m := range h.mail(t, user, "INBOX") {
		tags = append(tags, m.tag)
	}
	return tags
}

// corpus are the messages of testdata/mail.
func corpus(t *testing.T) []testmail.Message {
	t.Helper()
	all, err := testmail.All(filepath.Join("..", "..", "testdata", "mail"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// dotted makes what follows DATA of a message with any line ends, without the
// final dot.
func dotted(message string) string {
	wire := string(withCRLF([]byte(message)))
	if wire != "" && !strings.HasSuffix(wire, "\r\n") {
		wire += "\r\n"
	}
	return strings.ReplaceAll("\r\n"+wire, "\r\n.", "\r\n..")[2:]
}

func l14(t *testing.T, h *mailHost) {
	trusting := newMailHost(t, t.TempDir(), "trust_require_tls_esmtp = true")
	for _, tc := range []struct {
		host       *mailHost
		head, want string
	}{
		{trusting, "Require-TLS-ESMTP: yes\n", "require/header"},
		{trusting, "Require-TLS-ESMTP: no\n", "none/mda"},
		{trusting, "Require-TLS-ESMTP: yes please\n", "none/mda"},
		{trusting, "TLS-Required: No\nRequire-TLS-ESMTP: yes\n", "require/header"},
		{trusting, "Subject: x\n\nRequire-TLS-ESMTP: yes\n", "none/mda"},
		{h, "Require-TLS-ESMTP: yes\n", "none/mda"},
	} {
		before := tc.host.tags(t, "alice")
		if r := tc.host.lda(t, tc.head+"\nhello\n", "-d", "alice"); r.code != 0 {
			t.Fatalf("%+v", r)
		}
		if got := tc.host.tags(t, "alice"); len(got) != len(before)+1 || got[len(before)] != tc.want {
			t.Errorf("%q became %v", tc.head, got)
		}
	}
}

func l15(t *testing.T, h *mailHost) {
	if r := h.lda(t, "Subject: hi\nTLS-Required: No\n\n", "-d", "alice", "--requiretls"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	if r := runEnv(t, append([]string{"RTLS_REQUIRETLS=1", "USER=bob"}, quickExit...), strings.NewReader("Subject: hi\n\n"), "rtls-lda", "--config", h.config, "--from-env"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	for _, user := range []string{"alice", "bob"} {
		if got := h.one(t, user).tag; got != "require/mda" {
			t.Errorf("%s has %s", user, got)
		}
	}
}

func l16(t *testing.T, h *mailHost) {
	m := h.mta(t)
	m.Say("EHLO relay.example.com", "500 5.5.1 ")
	m.Say("HELO relay.example.com", "500 5.5.1 ")
	m.Say("MAIL FROM:<>", "503 5.5.1 ")
	m.LHLO()
}

func l17(t *testing.T, h *mailHost) {
	m := h.mta(t)
	m.LHLO()
	m.Say("DATA", "503 5.5.1 ")
	m.Say("MAIL FROM:<>", "250")
	m.Say("DATA", "503 5.5.1 ")
	m.Say("RCPT TO:<mallory>", "550 5.1.1 ")
	m.Say("DATA", "503 5.5.1 ")
}

func l18(t *testing.T, h *mailHost) {
	m := h.mta(t)
	m.LHLO()
	m.Say("MAIL FROM:<>", "250")
	m.Say("RCPT TO:<alice>", "250")
	m.Say("RCPT TO:<mallory>", "550")
	m.Say("RCPT TO:<loop@example.org>", "550")
	m.Say("RCPT TO:<carol@example.org>", "250")
	m.Say("RCPT TO:<alice>", "250")
	m.Say("DATA", "354")
	// The second of the accepted three has had this message before.
	m.Say("Received: by x\r\nDelivered-To: carol@example.org\r\n"+plainMail+".", "250 2.0.0 ", "554 5.4.6 ", "250 2.0.0 ")
	m.Say("NOOP", "250 2.0.0 ok")
	h.one(t, "alice") // who gets one copy
}

func l19(t *testing.T, _ *mailHost) {
	for setting, full := range map[string]string{"tempfail": "452 4.2.2 ", "reject": "552 5.2.2 "} {
		h := newMailHost(t, t.TempDir(), fmt.Sprintf("quota_full = %q", setting))
		users := "alice:!\nbob:!::::::userdb_quota_rule=*:bytes=3000\ncarol@example.org:!\n"
		if err := os.WriteFile(filepath.Join(h.dir, "users"), []byte(users), 0o600); err != nil {
			t.Fatal(err)
		}
		h.serve(t)
		m := h.mta(t)
		m.LHLO()
		// With the size announced the recipient is refused, without it the message.
		m.Say("MAIL FROM:<a@example.com> SIZE=4000", "250")
		m.Say("RCPT TO:<alice>", "250")
		m.Say("RCPT TO:<bob>", full)
		m.Say("RSET", "250")
		message := plainMail + strings.Repeat("0123456789abcde\r\n", 250)
		m.Open("<a@example.com>", "<alice>", "<bob>", "<carol@example.org>")
		m.Say("DATA", "354")
		m.Say(message+".", "250 2.0.0 ", full, "250 2.0.0 ")
		m.Open("<a@example.com>", "<bob>", "<alice>")
		m.Write(fmt.Sprintf("BDAT %d LAST\r\n%s", len(message), message))
		m.Expect(full, "250 2.0.0 ")
		m.Say("NOOP", "250 2.0.0 ok")
		m.Deliver("<a@example.com>", plainMail, "<bob>")
		if alice, bob, carol := h.delivered("alice"), h.delivered("bob"), h.delivered("carol@example.org"); alice != 2 || bob != 1 || carol != 1 {
			t.Errorf("%d, %d and %d messages", alice, bob, carol)
		}
	}
}

func l20(t *testing.T, h *mailHost) {
	m := h.mta(t)
	one := "MAIL FROM:<a@example.com>\r\nRCPT TO:<alice>\r\nRCPT TO:<mallory>\r\nDATA\r\n" + plainMail + ".\r\n"
	m.Write("LHLO relay.example.com\r\n" + one + one + "QUIT\r\n")
	m.Expect("250 ", "250 2.1.0", "250 2.1.5", "550 5.1.1", "354", "250 2.0.0", "250 2.1.0", "250 2.1.5", "550 5.1.1", "354", "250 2.0.0", "221 2.0.0")
	m.Closed()
	if n := h.delivered("alice"); n != 2 {
		t.Errorf("%d messages", n)
	}
}

func l21(t *testing.T, h *mailHost) {
	m := h.secure(t)
	m.Said.Reset()
	for _, line := range []string{
		"NOOP", "HELP", "VRFY x", "EXPN x", "EHLO x", "STARTTLS", "MAIL", "MAIL FROM:<> X=1", "MAIL FROM:<>", "MAIL FROM:<>",
		"RCPT TO:<mallory>", "RCPT TO:<alice>", "DATA x", "BDAT 3\r\nx", "DATA", "BDAT 3 LAST\r\nx", "RSET", "DATA", "QUIT",
	} {
		m.Say(line, "")
	}
	_, _ = m.Rest()
	for line := range strings.Lines(m.Said.String()) {
		if !regexp.MustCompile(`^([245])[0-9][0-9] ([245])\.[0-9]\.[0-9]{1,2} .+\r\n$`).MatchString(line) || line[0] != line[4] {
			t.Errorf("%q", line)
		}
	}
}

// syncOrder is what must have happened, in this order, before a delivery counts.
var syncOrder = []*regexp.Regexp{
	regexp.MustCompile(`f(data)?sync\(\d+<[^>]*/Maildir/tmp/`),
	regexp.MustCompile(`(linkat|rename)\w*\(.*/Maildir/new/`),
	regexp.MustCompile(`fsync\(\d+<[^>]*/Maildir/new>`),
}

func l22(t *testing.T, h *mailHost) {
	const dialogue = "LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<alice>\r\nDATA\r\n" + plainMail + ".\r\nQUIT\r\n"
	for _, tc := range []struct {
		stdin, done string
		args        []string
	}{
		{dialogue, `write\(1<.*250 2\.0\.0 delivered`, []string{"--lmtp", "stdio"}},
		{"Subject: hi\n\n", `exit_group\(0\)`, []string{"-d", "alice"}},
	} {
		trace := filepath.Join(t.TempDir(), "trace")
		args := append([]string{"-f", "-y", "-s", "4096", "-e", "trace=fsync,fdatasync,linkat,rename,renameat,renameat2,write,exit_group", "-o", trace, bin("rtls-lda"), "--config", h.config}, tc.args...)
		cmd := exec.CommandContext(t.Context(), "strace", args...)
		cmd.Stdin = strings.NewReader(tc.stdin)
		cmd.Env = append(os.Environ(), quickExit...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		text, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(text), "\n")
		at := 0
		for _, want := range append(slices.Clone(syncOrder), regexp.MustCompile(tc.done)) {
			i := slices.IndexFunc(lines[at:], want.MatchString)
			if i < 0 {
				t.Fatalf("%q: no %s from line %d on\n%s", tc.args, want, at, text)
			}
			at += i + 1
		}
	}
}

// The server is killed at some point behind the final dot: what was acknowledged is
// there, and what is there is whole.
func l23(t *testing.T, h *mailHost) {
	body := strings.Repeat("0123456789abcde\r\n", 20_000)
	acknowledged := 0
	for i := range 12 {
		killed := newMailHostAgain(h, fmt.Sprint("lmtp", i))
		p := killed.serve(t)
		m := killed.mta(t)
		m.LHLO()
		m.Say("MAIL FROM:<>", "250")
		m.Say("RCPT TO:<alice>", "250")
		m.Say("DATA", "354")
		m.Write(fmt.Sprintf("Subject: %d\r\n\r\n%s.\r\n", i, body))
		time.AfterFunc(time.Duration(i)*time.Millisecond, func() { _ = p.cmd.Process.Kill() })
		if reply, err := m.Read(); err == nil && strings.HasPrefix(reply[0], "250 ") {
			acknowledged++
			if !slices.ContainsFunc(h.mail(t, "alice", "INBOX"), func(s storedMail) bool {
				return strings.Contains(s.raw, fmt.Sprintf("Subject: %d\r\n", i))
			}) {
				t.Errorf("message %d was acknowledged and is not there", i)
			}
		}
		<-p.done
	}
	if h.delivered("alice") == 0 { // not even an account, perhaps
		return
	}
	all := h.mail(t, "alice", "INBOX")
	if len(all) < acknowledged {
		t.Errorf("%d acknowledged, %d there", acknowledged, len(all))
	}
	for _, m := range all {
		if !strings.HasSuffix(m.raw, body) {
			t.Errorf("a message of %d octets is not whole", len(m.raw))
		}
	}
}

// newMailHostAgain is the same host with another socket.
func newMailHostAgain(h *mailHost, socket string) *mailHost {
	again := *h
	again.socket = filepath.Join(h.dir, socket)
	return &again
}

func l24(t *testing.T, h *mailHost) {
	for _, addr := range []string{"127.0.0.1:25", ":25", "[::1]:025"} {
		r := run(t, nil, "rtls-lda", "--config", h.config, "--lmtp", "tcp:"+addr)
		if r.code != 78 || !strings.Contains(r.stderr, "port 25") {
			t.Errorf("%s: %+v", addr, r)
		}
	}
}

func l25(t *testing.T, h *mailHost) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	h = newMailHostAgain(h, "lmtp2")
	h.serve(t, "tcp:0.0.0.0:"+port)
	near := h.mtaOn(t, "tcp", "127.0.0.1:"+port)
	near.LHLO()
	near.Deliver("<>", plainMail, "<alice>")
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range addrs {
		ip, _, err := net.ParseCIDR(addr.String())
		if err != nil || ip.To4() == nil || ip.IsLoopback() {
			continue
		}
		far := h.mtaOn(t, "tcp", net.JoinHostPort(ip.String(), port))
		far.LHLO()
		far.Say("MAIL FROM:<>", "530 5.7.10 ")
		far.Say("RCPT TO:<alice>", "503 ")
		far.StartTLS().LHLO()
		far.Deliver("<>", plainMail, "<bob>")
		h.one(t, "bob")
		return
	}
	t.Log("this machine has loopback only; internal/lmtp tests the rest of it")
}

func l26(t *testing.T, h *mailHost) {
	m := h.mta(t)
	m.LHLO()
	old := "Return-Path: <old@example.net>\r\nSubject: hi\r\nreturn-path:\r\n <older@example.net>\r\n\r\nReturn-Path: <body@example.net>\r\n"
	for _, sender := range []string{"<>", "<a@example.com>", `<"a b"@example.com>`, "<-a@example.com>", "<jürgen@exämple.com> SMTPUTF8"} {
		before := h.delivered("alice")
		m.Deliver(sender, old, "<alice>")
		path, _, _ := strings.Cut(sender, " SMTP")
		all := h.mail(t, "alice", "INBOX")
		got := all[len(all)-1].raw
		head, body, _ := strings.Cut(got, "\r\n\r\n")
		if len(all) != before+1 || !strings.HasPrefix(head, "Return-Path: "+path+"\r\n") ||
			strings.Count(strings.ToLower(head), "return-path:") != 1 || strings.Contains(head, "old") || body != "Return-Path: <body@example.net>\r\n" {
			t.Errorf("%s:\n%s", sender, got)
		}
	}
}

func l27(t *testing.T, h *mailHost) {
	clear := h.mta(t)
	clear.LHLO()
	clear.Deliver("<a@example.com>", plainMail, "<alice>")
	clear.Deliver("<ä@example.com> SMTPUTF8", plainMail, "<bob>")
	secure := h.secure(t)
	secure.Deliver("<a@example.com>", plainMail, "<carol@example.org>")
	secure.Deliver("<ä@example.com> SMTPUTF8", plainMail, "<alice+x@example.org>")
	alice := h.mail(t, "alice", "INBOX")
	for _, tc := range []struct{ raw, with, rcpt string }{
		{alice[0].raw, "LMTP", "alice"},
		{h.one(t, "bob").raw, "UTF8LMTP", "bob"},
		{h.one(t, "carol@example.org").raw, "LMTPS", "carol@example.org"},
		{alice[1].raw, "UTF8LMTPS", "alice+x@example.org"},
	} {
		want := "\r\nReceived: from relay.example.com (unix)\r\n\tby mx.example.org (rtls-lda) with " + tc.with + "\r\n\tid "
		if _, rest, ok := strings.Cut(tc.raw, want); !ok || !strings.Contains(rest, " for <"+tc.rcpt+">\r\n") {
			t.Errorf("no %q in\n%s", want, tc.raw)
		}
	}
}

// suites are the names of RFC 8446 and RFC 5289 that Go may choose.
var suites = regexp.MustCompile(`\r\n\ttls (TLS_AES_(128|256)_GCM_SHA(256|384)|TLS_CHACHA20_POLY1305_SHA256)\r\n\t; `)

func l28(t *testing.T, h *mailHost) {
	m := h.secure(t)
	m.Deliver("<a@example.com> REQUIRETLS", plainMail, "<alice>")
	m.Deliver("<a@example.com>", plainMail, "<bob>")
	tagged, plain := h.one(t, "alice").raw, h.one(t, "bob").raw
	if !suites.MatchString(tagged) || !suites.MatchString(plain) {
		t.Errorf("no tls clause:\n%s\n%s", tagged, plain)
	}
	if !strings.Contains(tagged, " with LMTPS (requiretls)\r\n") || strings.Contains(plain, "(requiretls)") {
		t.Errorf("comment:\n%s\n%s", tagged, plain)
	}
}

func l29(t *testing.T, h *mailHost) {
	trace := "Received: from x (x [192.0.2.9])\r\n  by\ty with ESMTP\t; Tue, 24 Nov 2026 12:00:00 +0000 \r\nReceived: (qmail 1 invoked)\r\nX-Received: z\r\n"
	m := h.mta(t)
	m.LHLO()
	m.Deliver("<>", trace+plainMail, "<alice>")
	if got := h.one(t, "alice").raw; !strings.HasSuffix(got, "\r\n"+trace+plainMail) {
		t.Error(got)
	}
}

func l30(t *testing.T, h *mailHost) {
	m := h.mta(t)
	m.LHLO()
	m.Deliver("<>", plainMail, "<alice+x@example.org>", "<bob@example.org>")
	for user, address := range map[string]string{"alice": "alice+x@example.org", "bob": "bob@example.org"} {
		got := h.one(t, user).raw
		if strings.Count(got, "\r\nDelivered-To: ") != 1 || !strings.Contains(got, "\r\nDelivered-To: "+address+"\r\n") {
			t.Error(got)
		}
		// Sent on, it comes back.
		m.Say("MAIL FROM:<>", "250")
		m.Say("RCPT TO:<"+address+">", "250")
		m.Say("DATA", "354")
		m.Say("Received: by relay.example.com\r\n"+got+".", "554 5.4.6 ")
		if r := h.lda(t, "Received: by relay.example.com\r\n"+got, "-d", user, "-a", address); r.code != 65 || !strings.HasPrefix(r.stdout, "5.4.6 ") {
			t.Errorf("%+v", r)
		}
		h.one(t, user)
	}
}

func l31(t *testing.T, _ *mailHost) {
	h := newMailHost(t, t.TempDir(), "deliver_once = false") // names in the order of arrival
	h.serve(t)
	m := h.secure(t)
	n := 0
	for _, message := range corpus(t) {
		wire := withCRLF(message.Raw)
		if !strings.HasSuffix(string(wire), "\r\n") {
			wire = append(wire, "\r\n"...)
		}
		m.Deliver("<a@example.com> BODY=8BITMIME", dotted(string(message.Raw)), "<alice>")
		// Chunks keep even what has no lines.
		m.Say("MAIL FROM:<a@example.com>", "250")
		m.Say("RCPT TO:<bob>", "250")
		m.Write(fmt.Sprintf("BDAT %d LAST\r\n%s", len(message.Raw), message.Raw))
		m.Expect("250 2.0.0 ")
		n++
		for user, want := range map[string]string{"alice": string(wire), "bob": string(message.Raw)} {
			if got := h.newest(t, user); !strings.HasSuffix(got, withoutTrace(want)) {
				t.Errorf("%s for %s became %.2000q", message.Name, user, got)
			}
		}
	}
	if h.delivered("alice") != n || h.delivered("bob") != n || n < 40 {
		t.Errorf("%d messages", n)
	}
}

// newest is the file that was delivered last, byte by byte.
func (h *mailHost) newest(t *testing.T, user string) string {
	t.Helper()
	// SECONDS.MmicrosecondsP...
	stamp := func(path string) string {
		sec, rest, _ := strings.Cut(filepath.Base(path), ".M")
		us, _, _ := strings.Cut(rest, "P")
		return fmt.Sprintf("%12s%8s", sec, us)
	}
	files := h.files(user)
	if len(files) == 0 {
		t.Fatalf("%s has no message", user)
	}
	raw, err := os.ReadFile(slices.MaxFunc(files, func(a, b string) int { return strings.Compare(stamp(a), stamp(b)) }))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// withoutTrace removes from a message what final delivery removes.
func withoutTrace(message string) string {
	return regexp.MustCompile(`(?mi)^(Return-Path|RTLS-Delivery)[ \t]*:.*\n([ \t].*\n)*`).ReplaceAllStringFunc(message, func(field string) string {
		if head, _, _ := strings.Cut(strings.ReplaceAll(message, "\r\n", "\n"), "\n\n"); strings.Contains(head+"\n", strings.ReplaceAll(field, "\r\n", "\n")) {
			return ""
		}
		return field
	})
}

func l32(t *testing.T, h *mailHost) {
	m := h.mta(t)
	m.LHLO()
	evil := "MAIL FROM:<evil@example.net>\r\nRCPT TO:<bob>\r\nDATA\r\nevil"
	for _, end := range []string{"\n.\n", "\r.\r", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r\n.\r", "\r\n\x00.\r\n"} {
		message := "Subject: hi\r\n\r\nhello" + end + evil + "\r\n"
		m.Say("MAIL FROM:<>", "250")
		m.Say("RCPT TO:<alice>", "250")
		m.Say("DATA", "354")
		m.Write(message + ".\r\n")
		m.Expect("250 2.0.0 ")
		want := strings.ReplaceAll(message, "\r\n.", "\r\n")
		if got := h.newest(t, "alice"); !strings.HasSuffix(got, want) {
			t.Errorf("%q became %q", message, got)
		}
	}
	if h.delivered("bob") > 0 {
		t.Error("a message was smuggled in")
	}
	// This one is the end, whatever the carriage return before it means.
	m.Deliver("<>", "Subject: hi\r\n\r\nhello\r\r\n", "<alice>")
	m.Say("NOOP", "250 2.0.0 ok")
}

func l33(t *testing.T, h *mailHost) {
	m := h.mta(t)
	if !slices.Contains(m.LHLO(), "CHUNKING") {
		t.Fatal("CHUNKING is not offered")
	}
	// One reply for a chunk, one for each recipient at the end, whatever becomes of
	// the message for them: bob's account is not a directory.
	if err := os.WriteFile(filepath.Join(h.root, "bob"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	head, rest := "Received: by x\r\n", "Delivered-To: carol@example.org\r\n"+plainMail
	m.Say("MAIL FROM:<>", "250")
	for _, r := range []string{"alice", "bob", "carol@example.org"} {
		m.Say("RCPT TO:<"+r+">", "250")
	}
	m.Write(fmt.Sprintf("BDAT %d\r\n%s", len(head), head))
	m.Expect("250 2.0.0 ")
	m.Write(fmt.Sprintf("BDAT %d LAST\r\n%s", len(rest), rest))
	m.Expect("250 2.0.0 ", "451 4.3.0 ", "554 5.4.6 ")
	m.Say("NOOP", "250 2.0.0 ok")
	// None without a recipient.
	m.Say("MAIL FROM:<>", "250")
	m.Say("RCPT TO:<mallory>", "550")
	m.Write("BDAT 3 LAST\r\nx\r\n")
	m.Say("NOOP", "250 2.0.0 ok")
	m.Say("RCPT TO:<alice>", "503 5.5.1 ")
	// Nor one chunk too many of a message that is too large.
	small := newMailHost(t, t.TempDir(), "max_size = 10")
	small.serve(t)
	m = small.mta(t)
	m.LHLO()
	m.Say("MAIL FROM:<>", "250")
	m.Say("RCPT TO:<alice>", "250")
	m.Say("RCPT TO:<bob>", "250")
	m.Write("BDAT 11\r\nhello hello")
	m.Expect("250 2.0.0 ")
	m.Write("BDAT 0 LAST\r\n")
	m.Expect("552 5.3.4 ", "552 5.3.4 ")
	m.Say("NOOP", "250 2.0.0 ok")
}

func l34(t *testing.T, h *mailHost) {
	m := h.secure(t)
	for i, tc := range []struct{ params, want string }{
		{"RET=FULL ENVID=QQ314159", "RTLS-Delivery: tag=none; origin=esmtp; ret=FULL;\r\n\tenvid=QQ314159; notify=NEVER;\r\n\torcpt=rfc822;info@example.org;\r\n\ttls=TLSv1.3; cipher="},
		{"RET=FULL ENVID=QQ314159 REQUIRETLS", "RTLS-Delivery: tag=require; origin=esmtp; ret=HDRS;\r\n\tenvid=QQ314159; notify=NEVER;\r\n\torcpt=rfc822;info@example.org;\r\n\ttls=TLSv1.3; cipher="},
		{"REQUIRETLS", "RTLS-Delivery: tag=require; origin=esmtp; ret=HDRS;\r\n\tnotify=NEVER;"},
	} {
		m.Deliver("<a@example.com> "+tc.params, plainMail, "<alice> NOTIFY=NEVER ORCPT=rfc822;info@example.org")
		if got := h.mail(t, "alice", "INBOX")[i].raw; !strings.Contains(got, "\r\n"+tc.want) {
			t.Errorf("%s:\n%s", tc.params, got)
		}
	}
}

func l35(t *testing.T, h *mailHost) {
	m := h.mta(t)
	m.LHLO()
	for _, params := range []string{"RET=ALL", "RET=", "RET", "RET=FULL RET=HDRS", "ENVID=a+2", "ENVID=a=b", "ENVID=a ENVID=b", "ENVID=", "ENVID=" + strings.Repeat("x", 101)} {
		m.Say("MAIL FROM:<> "+params, "501 5.5.4 ")
	}
	m.Say("MAIL FROM:<> RET=full ENVID=a+2Bb+3D", "250")
	for _, params := range []string{"NOTIFY=", "NOTIFY=NEVER,SUCCESS", "NOTIFY=DELAY,DELAY", "NOTIFY=ALWAYS", "NOTIFY=NEVER NOTIFY=DELAY", "ORCPT=a@example.org", "ORCPT=rfc822;", "ORCPT=rfc822;a+zz", "ORCPT=rfc822;a ORCPT=rfc822;b", "ORCPT=rfc822;" + strings.Repeat("x", 500)} {
		m.Say("RCPT TO:<alice> "+params, "501 5.5.4 ")
	}
	m.Say("RCPT TO:<alice> NOTIFY=success,DELAY,Failure ORCPT=rfc822;a+2Bb@example.org", "250")
}

func l36(t *testing.T, h *mailHost) {
	m := h.mta(t)
	m.LHLO()
	m.Write("STARTTLS\r\nLHLO evil.example.net\r\nMAIL FROM:<evil@example.net>\r\nRCPT TO:<alice>\r\n")
	m.Expect("220 2.0.0")
	m.Handshake()
	m.Say("DATA", "503 5.5.1 ")
	m.Say("MAIL FROM:<a@example.com>", "503 5.5.1 ") // no LHLO counted
	m.LHLO()
	m.Say("RCPT TO:<alice>", "503 5.5.1 ")
}

func l37(t *testing.T, h *mailHost) {
	m := h.mta(t)
	m.LHLO()
	m.Say("STARTTLS", "220 2.0.0")
	m.Said.Reset()
	m.Write("MAIL FROM:<a@example.com>\r\nRCPT TO:<alice>\r\nDATA\r\n" + plainMail + ".\r\n")
	_, _ = m.Rest() // an alert of TLS, then the end or a reset
	if said := m.Said.String(); regexp.MustCompile(`(?m)^[2345]\d\d `).MatchString(said) || h.delivered("alice") > 0 {
		t.Errorf("the session went on: %q", said)
	}
}

func l38(t *testing.T, h *mailHost) {
	for version, ok := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		m := h.mta(t)
		m.LHLO()
		m.Say("STARTTLS", "220 2.0.0")
		conn := tls.Client(m.Conn, &tls.Config{RootCAs: h.ca.Pool(), ServerName: "mx.example.org", MinVersion: version, MaxVersion: version})
		if err := conn.Handshake(); (err == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
}

func l39(t *testing.T, _ *mailHost) {
	h := newMailHost(t, t.TempDir(), "refuse_requiretls = true", "trust_require_tls_esmtp = true")
	h.serve(t)
	m := h.secure(t)
	m.Open("<a@example.com> REQUIRETLS", "<alice>", "<bob>")
	m.Say("DATA", "354")
	m.Say(plainMail+".", "550 5.7.10 ", "550 5.7.10 ")
	m.Open("<a@example.com>", "<alice>")
	m.Say("DATA", "354")
	m.Say("Require-TLS-ESMTP: yes\r\n"+plainMail+".", "550 5.7.10 ")
	if r := h.lda(t, "Subject: hi\n\n", "-d", "alice", "--requiretls"); r.code != 77 || !strings.HasPrefix(r.stdout, "5.7.10 ") {
		t.Errorf("%+v", r)
	}
	m.Deliver("<a@example.com>", "TLS-Required: No\r\n"+plainMail, "<alice>")
	m.Deliver("<a@example.com>", plainMail, "<bob>")
	if alice, bob := h.one(t, "alice").tag, h.one(t, "bob").tag; alice != "optional/header" || bob != "none/esmtp" {
		t.Error(alice, bob)
	}
}

func l40(t *testing.T, h *mailHost) {
	broken := newMailHost(t, t.TempDir())
	if err := os.Chmod(filepath.Join(broken.dir, "users"), 0o644); err != nil {
		t.Fatal(err)
	}
	closedUp := newMailHost(t, t.TempDir())
	if err := os.WriteFile(filepath.Join(closedUp.root, "alice"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		host   *mailHost
		stdin  string
		args   []string
		code   int
		stdout string
	}{
		{"delivered", h, "Subject: hi\n\n", []string{"-d", "alice"}, 0, ""},
		{"usage", h, "Subject: hi\n\n", []string{"-z"}, 64, "4.3.5 "},
		{"loop", h, "Received: x\nDelivered-To: alice\n\n", []string{"-d", "alice"}, 65, "5.4.6 "},
		{"unknown user", h, "Subject: hi\n\n", []string{"-d", "mallory"}, 67, "5.1.1 "},
		{"no message", h, "", []string{"-d", "alice"}, 75, "4.3.0 "},
		{"user database open to others", broken, "Subject: hi\n\n", []string{"-d", "alice"}, 75, "4.3.0 "},
		{"account is a file", closedUp, "Subject: hi\n\n", []string{"-d", "alice"}, 75, "4.3.0 "},
		{"no configuration", h, "Subject: hi\n\n", []string{"-d", "alice", "-c", "/nonexistent"}, 75, "4.3.5 "},
		{"no configuration, checked", h, "", []string{"--check-config", "-c", "/nonexistent"}, 78, ""},
	} {
		r := tc.host.lda(t, tc.stdin, tc.args...)
		if r.code != tc.code || !strings.HasPrefix(r.stdout, tc.stdout) || tc.code == 75 && strings.Contains(r.stdout+r.stderr, "/") {
			t.Errorf("%s: %+v", tc.name, r)
		}
	}
	h.one(t, "alice")
}

// serveTrusting starts a server that trusts the processes of a user.
func serveTrusting(t *testing.T, name string) *mailHost {
	h := newMailHost(t, t.TempDir(), fmt.Sprintf("trust_local = [%q]", name))
	h.serve(t)
	return h
}

func l41(t *testing.T, _ *mailHost) {
	other := "nobody"
	if me, err := user.Current(); err != nil || me.Username == other {
		other = "root"
	}
	m := serveTrusting(t, other).mta(t)
	if slices.Contains(m.LHLO(), "REQUIRETLS") {
		t.Error("REQUIRETLS is offered to a user who is not trusted")
	}
	m.Say("MAIL FROM:<a@example.com> REQUIRETLS", "530 5.7.10 ")
}

func l42(t *testing.T, _ *mailHost) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	h := serveTrusting(t, me.Username)
	m := h.mta(t)
	if !slices.Contains(m.LHLO(), "REQUIRETLS") {
		t.Error("REQUIRETLS is not offered")
	}
	m.Deliver("<a@example.com> REQUIRETLS", plainMail, "<alice>")
	m.Deliver("<a@example.com>", plainMail, "<bob>")
	if alice, bob := h.one(t, "alice").tag, h.one(t, "bob").tag; alice != "require/local" || bob != "none/local" {
		t.Error(alice, bob)
	}
	// Inside TLS it is worth what it always is.
	m.StartTLS().LHLO()
	m.Deliver("<a@example.com> REQUIRETLS", plainMail, "<carol@example.org>")
	if got := h.one(t, "carol@example.org").tag; got != "require/esmtp" {
		t.Error(got)
	}
}
