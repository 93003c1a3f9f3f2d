package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// postfix is a Postfix with configuration, queue and data of its own.
type postfix struct {
	mta
	dir string // configuration
}

// masterCF is Debian's, with SMTP on a port of ours and nothing in a chroot.
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
local unix - n n - - local
`

// postfixMain surrounds the snippet in main.cf. %s: host's directory.
const postfixMain = `compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = %[1]s/mail.log
maillog_file_prefixes = %[1]s
myhostname = mx.example.org
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = loopback-only
inet_protocols = ipv4
alias_maps =
# for the sender that starts with a dash
allow_min_user = yes
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_reject_unlisted_recipient = no
smtputf8_enable = yes
default_transport = error:nothing leaves this test
minimal_backoff_time = 5s
queue_run_delay = 5s
`

// newPostfix prepares a Postfix that is not yet running, with an empty queue.
func newPostfix(t *testing.T, h *mailHost) *postfix {
	t.Helper()
	p := &postfix{mta{h, freePort(t), filepath.Join(h.dir, "mail.log")}, filepath.Join(h.dir, "etc")}
	for _, d := range []string{"etc", "queue", "data"} {
		if err := os.Mkdir(filepath.Join(h.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	uid, _ := ids(t, "postfix")
	if err := os.Chown(filepath.Join(h.dir, "data"), uid, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

// start starts it with a snippet of docs/mta, whose parts are introduced by the names
// of the files that they belong to.
func (p *postfix) start(t *testing.T, snippet string, more ...string) {
	t.Helper()
	text := map[string]string{
		"main.cf":   fmt.Sprintf(postfixMain, p.host.dir),
		"master.cf": fmt.Sprintf(masterCF, p.port),
	}
	for _, part := range strings.Split(snippet, "# /etc/postfix/")[1:] {
		name, settings, _ := strings.Cut(part, "\n")
		text[name] += settings
	}
	text["main.cf"] += strings.Join(more, "\n") + "\n"
	if len(text) != 2 {
		t.Fatalf("the snippet names another file:\n%s", snippet)
	}
	for name, text := range text {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p.control(t, "start")
	t.Cleanup(func() { p.stop(t) })
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

func testPostfixPipe(t *testing.T) {
	h := newMTAHost(t)
	p := newPostfix(t, h)
	snippet := h.snippet(t, "postfix-pipe.cf", "/usr/bin/rtls-lda", h.command(), "user=vmail", "user="+mailUser)
	// The same with the fields that Postfix can add.
	_, service, _ := strings.Cut(snippet, "\nrtls unix")
	traced := strings.Replace("traced unix"+service, "flags=X", "flags=DORX", 1)
	p.start(t, snippet+traced, "transport_maps = inline:{second.example=traced:}", "traced_destination_recipient_limit = 1")
	p.exercise(t, habits{bounceStatus: true})
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
	p.mendedConfiguration(t)
}

// mendedConfiguration makes sure that a configuration that is wrong keeps the mail,
// until it is right.
func (p *postfix) mendedConfiguration(t *testing.T) {
	t.Helper()
	h := p.host
	right, err := os.ReadFile(h.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.config, append([]byte("nonsense = 1\n"), right...), 0o600); err != nil {
		t.Fatal(err)
	}
	n := h.delivered("alice")
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

// startPostfixLMTP starts a server and a Postfix that talks to it, with changes to
// the snippet.
func startPostfixLMTP(t *testing.T, oldnew ...string) (*postfix, *process) {
	t.Helper()
	h := newMTAHost(t)
	p := newPostfix(t, h)
	group, err := user.LookupGroup("postfix")
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.ParseUint(group.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	server := h.serveAs(t, filepath.Join(h.dir, "queue", "rtls"), ",mode=0660,group=postfix", uint32(gid))
	p.start(t, h.snippet(t, "postfix-lmtp.cf", oldnew...), "lmtp_tls_loglevel = 1")
	return p, server
}

// checkSecured looks at what has come in TLS.
func (p *postfix) checkSecured(t *testing.T, server *process) {
	t.Helper()
	for _, m := range p.host.mail(t, "alice", "INBOX") {
		if m.tag != "none/esmtp" || !suites.MatchString(m.raw) || !strings.Contains(m.raw, "\r\n\tby mx.example.org (rtls-lda) with ") || !strings.Contains(m.raw, "LMTPS\r\n") {
			t.Errorf("tag %s\n%s", m.tag, m.raw)
		}
	}
	if said := server.said(); strings.Contains(said, "level=ERROR") || strings.Contains(said, "msg=deferred") {
		t.Error(said)
	}
}

func testPostfixLMTP(t *testing.T) {
	p, server := startPostfixLMTP(t)
	p.exercise(t, habits{bounceStatus: true})
	p.checkSecured(t, server)
}

// The stricter form that the snippet speaks of.
func testPostfixLMTPVerify(t *testing.T) {
	p, server := startPostfixLMTP(t, "lmtp_tls_security_level = encrypt", "lmtp_tls_security_level = verify")
	if log := p.log(); strings.Contains(log, "TLS connection established") {
		t.Fatal(log)
	}
	// Not our authority: the mail waits.
	p.submit(t, "<sender@example.com>", plainMail, "alice@example.org")
	eventually(t, "the mail is deferred", func() bool {
		return strings.Contains(p.log(), "dsn=4.7.5, status=deferred (Server certificate not verified")
	})
	main, err := os.OpenFile(filepath.Join(p.dir, "main.cf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(main, "lmtp_tls_CAfile = "+filepath.Join(p.host.dir, "ca.pem"))
	if err := main.Close(); err != nil {
		t.Fatal(err)
	}
	p.control(t, "reload")
	p.control(t, "flush")
	p.await(t, "alice", 1)
	eventually(t, "Postfix says that it verified our certificate", func() bool {
		return strings.Contains(p.log(), "Verified TLS connection established")
	})
	p.checkSecured(t, server)
}

// In local(8) the command runs as the recipient, and the envelope is in the
// environment.
func testPostfixLocal(t *testing.T) {
	h := newMTAHost(t)
	users, err := os.OpenFile(filepath.Join(h.dir, "users"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(users, mailUser+":!")
	if err := users.Close(); err != nil {
		t.Fatal(err)
	}
	p := newPostfix(t, h)
	p.start(t, h.snippet(t, "postfix-local.cf", "/usr/bin/rtls-lda", h.command()), "local_recipient_maps =")
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
	p.awaitFolder(t, mailUser, "lists")
}
