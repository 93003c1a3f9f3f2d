package e2e

import (
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// mailUser owns the mail in these tests, as vmail does on a real host.
const mailUser = "nobody"

// postfix is a Postfix with configuration, queue and data of its own.
type postfix struct {
	host *mailHost
	dir  string // configuration
	port string // of SMTP on loopback
}

// newPostfixHost makes a host in a directory that the users of Postfix can reach,
// and that mailUser owns.
func newPostfixHost(t *testing.T) *mailHost {
	t.Helper()
	dir, err := os.MkdirTemp("", "rtls-postfix-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h := newMailHost(t, dir)
	uid, gid, _ := ids(t)
	for _, name := range []string{"rtls.toml", "users", "store", "mx.key"} {
		if err := os.Chown(filepath.Join(dir, name), uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "ca.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	command, err := os.ReadFile(bin("rtls-lda"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rtls-lda"), command, 0o755); err != nil {
		t.Fatal(err)
	}
	return h
}

// ids are those of mailUser, and Postfix's group.
func ids(t *testing.T) (uid, gid, postfixGID int) {
	t.Helper()
	u, err := user.Lookup(mailUser)
	if err != nil {
		t.Fatal(err)
	}
	g, err := user.LookupGroup("postfix")
	if err != nil {
		t.Fatal(err)
	}
	var n [3]int
	for i, s := range []string{u.Uid, u.Gid, g.Gid} {
		if n[i], err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	return n[0], n[1], n[2]
}

// masterCF is Debian's, with SMTP on a port of ours, nothing in a chroot and the
// service under test.
const masterCF = `127.0.0.1:%s inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
showq unix n - n - - showq
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
%s
`

// startPostfix starts a Postfix that delivers all mail for example.org by
// virtual_transport.
func startPostfix(t *testing.T, h *mailHost, master string, main ...string) *postfix {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	p := &postfix{host: h, dir: filepath.Join(h.dir, "etc"), port: port}
	settings := append([]string{
		"compatibility_level = 3.6",
		"queue_directory = " + filepath.Join(h.dir, "queue"),
		"data_directory = " + filepath.Join(h.dir, "data"),
		"maillog_file = " + filepath.Join(h.dir, "mail.log"),
		"maillog_file_prefixes = " + h.dir,
		"myhostname = mx.example.org",
		"mydestination =",
		"mynetworks = 127.0.0.0/8",
		"inet_interfaces = loopback-only",
		"inet_protocols = ipv4",
		"alias_maps =",
		"allow_min_user = yes", // for the sender that starts with a dash
		"recipient_delimiter = +",
		"smtpd_relay_restrictions = permit_mynetworks, reject",
		"smtpd_reject_unlisted_recipient = no",
		"smtputf8_enable = yes",
		"default_transport = error:nothing leaves this test",
		"virtual_mailbox_domains = example.org, second.example",
		"minimal_backoff_time = 5s",
		"queue_run_delay = 5s",
	}, main...)
	for _, d := range []string{p.dir, filepath.Join(h.dir, "queue"), filepath.Join(h.dir, "data")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	owner, err := user.Lookup("postfix")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(owner.Uid)
	if err := os.Chown(filepath.Join(h.dir, "data"), uid, 0); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"main.cf":   strings.Join(settings, "\n") + "\n",
		"master.cf": fmt.Sprintf(masterCF, port, master),
	} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p.control(t, "start")
	t.Cleanup(func() { p.stop(t) })
	return p
}

// control runs postfix(1). It must not inherit our pipes: its daemons would keep
// them open.
func (p *postfix) control(t *testing.T, verb string) {
	t.Helper()
	out, err := os.Create(filepath.Join(p.host.dir, "postfix-"+verb))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command("postfix", "-c", p.dir, verb)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		t.Fatalf("%s: %v\n%s\n%s", cmd, err, said, p.log())
	}
}

func (p *postfix) stop(t *testing.T) {
	t.Helper()
	master, err := os.ReadFile(filepath.Join(p.host.dir, "queue", "pid", "master.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(master)))
	if err != nil {
		t.Fatal(err)
	}
	p.control(t, "stop")
	eventually(t, "Postfix ends", func() bool { return syscall.Kill(pid, 0) != nil })
	if t.Failed() {
		t.Logf("Postfix said:\n%s", p.log())
	}
}

func (p *postfix) log() string {
	said, _ := os.ReadFile(filepath.Join(p.host.dir, "mail.log"))
	return string(said)
}

// submit gives Postfix a message by SMTP. The message has its line ends and dots as
// on the wire.
func (p *postfix) submit(t *testing.T, sender, message string, rcpts ...string) {
	t.Helper()
	c, err := textproto.Dial("tcp", "127.0.0.1:"+p.port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	say := func(code int, format string, args ...any) {
		t.Helper()
		if format != "" {
			if err := c.PrintfLine(format, args...); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := c.ReadResponse(code); err != nil {
			t.Fatalf("%s: %v", fmt.Sprintf(format, args...), err)
		}
	}
	say(220, "")
	say(250, "EHLO client.example.com")
	say(250, "MAIL FROM:%s", sender)
	for _, r := range rcpts {
		say(250, "RCPT TO:<%s>", r)
	}
	say(354, "DATA")
	if _, err := io.WriteString(c.W, message); err != nil {
		t.Fatal(err)
	}
	say(250, ".")
	say(221, "QUIT")
}

// await waits until a user has so many messages, and returns the last.
func (p *postfix) await(t *testing.T, user string, n int) string {
	t.Helper()
	eventually(t, fmt.Sprintf("%s has %d messages\n%s", user, n, p.log()), func() bool { return p.host.delivered(user) >= n })
	if got := p.host.delivered(user); got != n {
		t.Errorf("%s has %d messages, want %d", user, got, n)
	}
	return strings.ReplaceAll(p.host.newest(t, user), "\r\n", "\n")
}

// TestMTA has a subtest for each way in which a real mail transfer agent hands
// messages over. Its settings are those of rtls-lda(8).
func TestMTA(t *testing.T) {
	t.Run("postfix_pipe", testPostfixPipe)
	t.Run("postfix_lmtp", testPostfixLMTP)
	t.Run("postfix_local", testPostfixLocal)
}

func testPostfixPipe(t *testing.T) {
	h := newPostfixHost(t)
	service := func(name, flags string) string {
		return fmt.Sprintf(`%s unix - n n - 10 pipe flags=%s user=%s null_sender=
  argv=%s/rtls-lda -c %s -f ${sender} -a ${original_recipient}
  -r ${recipient} -d ${user}@${domain} -x ${extension}
  --queue-id ${queue_id}
`, name, flags, mailUser, h.dir, h.config)
	}
	p := startPostfix(t, h, service("rtls", "Xhuq")+service("traced", "DORXhuq"),
		"virtual_transport = rtls",
		"transport_maps = inline:{second.example=traced:}",
		"rtls_destination_recipient_limit = 1",
		"traced_destination_recipient_limit = 1")
	exercise(t, p)
	for _, m := range h.mail(t, "alice", "INBOX") {
		if m.tag != "none/mda" {
			t.Errorf("tag %s", m.tag)
		}
	}

	// The fields that Postfix adds with flags=DOR are not in the way: Return-Path
	// stays one, and its Delivered-To is no loop.
	n := h.delivered("alice")
	p.submit(t, "<sender@example.com>", plainMail, "alice@second.example")
	got := p.await(t, "alice", n+1)
	if !strings.HasPrefix(got, "Return-Path: <sender@example.com>\nDelivered-To: alice@second.example\nRTLS-Delivery: ") ||
		strings.Count(got, "Return-Path:") != 1 || !strings.Contains(got, "\nX-Original-To: alice@second.example\n") {
		t.Error(got)
	}

	// A message larger than a pipe, for nobody: Postfix bounces it for our reason,
	// though we did not read it.
	n = h.delivered("bob")
	p.submit(t, "<bob@example.org>", "Subject: big\r\n\r\n"+strings.Repeat("0123456789abcde\r\n", 20_000), "mallory@example.org")
	if bounce := p.await(t, "bob", n+1); !strings.Contains(bounce, "\nStatus: 5.1.1\n") {
		t.Error(bounce)
	}

	// A configuration that is wrong keeps the mail, until it is right.
	right, err := os.ReadFile(h.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.config, append([]byte("nonsense = 1\n"), right...), 0o600); err != nil {
		t.Fatal(err)
	}
	n = h.delivered("alice")
	p.submit(t, "<sender@example.com>", plainMail, "alice@example.org")
	eventually(t, "the mail is deferred", func() bool {
		return strings.Contains(p.log(), "dsn=4.3.5, status=deferred (configuration is wrong")
	})
	if strings.Contains(p.log(), "nonsense") {
		t.Error("the sender may come to read our configuration")
	}
	if err := os.WriteFile(h.config, right, 0o600); err != nil {
		t.Fatal(err)
	}
	p.control(t, "flush")
	p.await(t, "alice", n+1)
}

func testPostfixLMTP(t *testing.T) {
	h := newPostfixHost(t)
	uid, gid, postfixGID := ids(t)
	private := filepath.Join(h.dir, "run")
	if err := os.Mkdir(private, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(private, uid, gid); err != nil {
		t.Fatal(err)
	}
	h.socket = filepath.Join(private, "lmtp")
	cmd := exec.Command(filepath.Join(h.dir, "rtls-lda"), "--config", h.config, "--lmtp", "unix:"+h.socket+",mode=0660,group=postfix")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: []uint32{uint32(postfixGID)}}}
	server := startProcess(t, "LMTP on", cmd)
	p := startPostfix(t, h, "",
		"virtual_transport = lmtp:unix:"+h.socket,
		"lmtp_tls_security_level = verify", // more than encrypt: of our authority, for our name
		"lmtp_tls_CAfile = "+filepath.Join(h.dir, "ca.pem"),
		"lmtp_tls_loglevel = 1")
	exercise(t, p)
	if log := p.log(); !strings.Contains(log, "Verified TLS connection established") {
		t.Error("Postfix did not verify our certificate")
	}
	for _, m := range h.mail(t, "alice", "INBOX") {
		if m.tag != "none/esmtp" || !suites.MatchString(m.raw) || !strings.Contains(m.raw, "\r\n\tby mx.example.org (rtls-lda) with ") || !strings.Contains(m.raw, "LMTPS\r\n") {
			t.Errorf("tag %s\n%s", m.tag, m.raw)
		}
	}
	if said := server.said(); strings.Contains(said, "level=ERROR") || strings.Contains(said, "msg=deferred") {
		t.Error(said)
	}
}

// In local(8) the command runs as the recipient, and the envelope is in the
// environment.
func testPostfixLocal(t *testing.T) {
	h := newPostfixHost(t)
	users, err := os.OpenFile(filepath.Join(h.dir, "users"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(users, mailUser+":!")
	if err := users.Close(); err != nil {
		t.Fatal(err)
	}
	p := startPostfix(t, h, "local unix - n n - - local",
		"mydestination = mx.example.org",
		"local_recipient_maps =",
		"virtual_transport = error",
		"mailbox_command = "+h.dir+"/rtls-lda -c "+h.config+" --from-env")
	address := mailUser + "@mx.example.org"
	for i, sender := range []string{"<sender@example.com>", "<>", "<-oops@example.com>", `<"a b"@example.com>`, "<a_b@example.com>", "<jürgen@exämple.com> SMTPUTF8"} {
		p.submit(t, sender, plainMail, address)
		path, _, _ := strings.Cut(sender, " SMTP")
		got := p.await(t, mailUser, i+1)
		if !strings.HasPrefix(got, "Return-Path: "+path+"\nDelivered-To: "+address+"\nRTLS-Delivery: tag=none; origin=mda;") ||
			strings.Count(got, "Return-Path:") != 1 || strings.Contains(got, "\nFrom ") || !strings.HasSuffix(got, "\n\nhello\n") {
			t.Errorf("%s became\n%s", sender, got)
		}
	}
	p.makeFolder(t, mailUser, "lists")
	p.submit(t, "<sender@example.com>", plainMail, mailUser+"+lists@mx.example.org")
	eventually(t, "the message is in the folder", func() bool {
		found, _ := filepath.Glob(filepath.Join(h.root, mailUser, "Maildir", ".lists", "new", "*"))
		return len(found) == 1
	})
}

// exercise sends what mail transfer agents get.
func exercise(t *testing.T, p *postfix) {
	h := p.host
	body := "dots:\r\n..\r\n..x\r\n8 bits: \xe4\r\nlong: " + strings.Repeat("x", 900) + "\r\n"
	stored := strings.ReplaceAll(strings.ReplaceAll(body, "\r\n", "\n"), "\n..", "\n.")

	p.submit(t, "<sender@example.com>", "Subject: hi\r\nTLS-Required: maybe\r\n\r\n"+body, "alice@example.org")
	got := p.await(t, "alice", 1)
	if !strings.HasPrefix(got, "Return-Path: <sender@example.com>\nDelivered-To: alice@example.org\nRTLS-Delivery: ") ||
		!strings.HasSuffix(got, "\n\n"+stored) || strings.Count(got, "\nReceived: ") != 2 {
		t.Error(got)
	}

	t.Log("null sender")
	p.submit(t, "<>", plainMail, "alice@example.org")
	if got := p.await(t, "alice", 2); !strings.HasPrefix(got, "Return-Path: <>\n") {
		t.Error(got)
	}

	t.Log("sender that starts with a dash")
	p.submit(t, "<-oops@example.com>", plainMail, "alice@example.org")
	if got := p.await(t, "alice", 3); !strings.HasPrefix(got, "Return-Path: <-oops@example.com>\n") {
		t.Error(got)
	}

	t.Log("sender with a blank, and in UTF-8")
	p.submit(t, `<"a b"@example.com>`, plainMail, "alice@example.org")
	if got := p.await(t, "alice", 4); !strings.HasPrefix(got, "Return-Path: <\"a b\"@example.com>\n") {
		t.Error(got)
	}
	p.submit(t, "<jürgen@exämple.com> SMTPUTF8", plainMail, "alice@example.org")
	if got := p.await(t, "alice", 5); !strings.HasPrefix(got, "Return-Path: <jürgen@exämple.com>\n") {
		t.Error(got)
	}

	t.Log("detail, without a folder and with one")
	p.submit(t, "<sender@example.com>", plainMail, "Alice+lists@example.org")
	if got := p.await(t, "alice", 6); !strings.Contains(strings.ToLower(got), "\ndelivered-to: alice+lists@example.org\n") {
		t.Error(got)
	}
	p.makeFolder(t, "alice", "lists")
	p.submit(t, "<sender@example.com>", plainMail, "alice+lists@example.org")
	eventually(t, "the message is in the folder", func() bool {
		found, _ := filepath.Glob(filepath.Join(h.root, "alice", "Maildir", ".lists", "new", "*"))
		return len(found) == 1
	})

	t.Log("two recipients, and one that is not there: its sender learns of it")
	p.submit(t, "<carol@example.org>", plainMail, "alice@example.org", "mallory@example.org", "bob@example.org")
	for user, n := range map[string]int{"alice": 7, "bob": 1} {
		if got := p.await(t, user, n); strings.Count(got, "\nDelivered-To: ") != 1 || !strings.Contains(got, "\nDelivered-To: "+user+"@example.org\n") {
			t.Error(got)
		}
	}
	bounce := p.await(t, "carol@example.org", 1)
	if !strings.HasPrefix(bounce, "Return-Path: <>\n") || !strings.Contains(bounce, "\nFinal-Recipient: rfc822; mallory@example.org\n") ||
		!strings.Contains(bounce, "\nStatus: 5.1.1\n") || !strings.Contains(bounce, "no such user here") {
		t.Error(bounce)
	}

	t.Log("a loop")
	p.submit(t, "<carol@example.org>", "Received: by x\r\nDelivered-To: bob@example.org\r\n"+plainMail, "bob@example.org")
	if bounce := p.await(t, "carol@example.org", 2); !strings.Contains(bounce, "\nStatus: 5.4.6\n") {
		t.Error(bounce)
	}
	if n := h.delivered("bob"); n != 1 {
		t.Errorf("bob has %d messages", n)
	}
}

// makeFolder makes a Maildir++ folder the way other programs do.
func (p *postfix) makeFolder(t *testing.T, user, folder string) {
	t.Helper()
	uid, gid, _ := ids(t)
	dir := filepath.Join(p.host.root, user, "Maildir", "."+folder)
	for _, d := range []string{dir, filepath.Join(dir, "tmp"), filepath.Join(dir, "new"), filepath.Join(dir, "cur")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(d, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
}
