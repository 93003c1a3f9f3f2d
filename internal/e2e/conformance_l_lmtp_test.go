package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

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
	// An alert of TLS, then the end or a reset; not a server that waits for more.
	if _, err := m.Rest(); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is still there")
	}
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
