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
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"rtls/internal/owner"
)

// TestMTA has a subtest for each way in which a real program hands messages over to
// rtls-lda. Its settings are the files of docs/mta.
func TestMTA(t *testing.T) {
	t.Run("postfix_pipe", testPostfixPipe)
	t.Run("postfix_lmtp", testPostfixLMTP)
	t.Run("postfix_lmtp_verify", testPostfixLMTPVerify)
	t.Run("postfix_lmtp_users", testPostfixLMTPUsers)
	t.Run("postfix_local", testPostfixLocal)
	t.Run("exim_pipe", testEximPipe)
	t.Run("exim_lmtp", testEximLMTP)
	t.Run("opensmtpd_mda", testOpenSMTPDMDA)
	t.Run("opensmtpd_lmtp", testOpenSMTPDLMTP)
	t.Run("getmail", testGetmail)
	t.Run("fetchmail", testFetchmail)
}

// mailUser owns the mail in these tests, as vmail does on a real host.
const mailUser = "nobody"

// mta is a mail transfer agent that delivers all mail for example.org and
// second.example to rtls-lda.
type mta struct {
	host    *mailHost
	port    string // of SMTP on loopback
	logFile string
}

// newMTAHost makes a host in a directory that every user can reach, and that mailUser
// owns.
func newMTAHost(t *testing.T, lines ...string) *mailHost {
	t.Helper()
	dir, err := os.MkdirTemp("", "rtls-mta-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h := makeMailHost(t, dir, lines...)
	uid, gid := ids(t, mailUser)
	for _, name := range []string{"rtls.toml", "users", "store", "mx.key"} {
		if err := os.Chown(filepath.Join(dir, name), uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "ca.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	users, err := os.OpenFile(filepath.Join(dir, "users"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(users, "dave:!::::::userdb_quota_rule=*:messages=1")
	if err := users.Close(); err != nil {
		t.Fatal(err)
	}
	copyLDA(t, dir, 0o755)
	return h
}

// ids are those of a user and of the user's group.
func ids(t *testing.T, name string) (uid, gid int) {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		t.Fatal(err)
	}
	if gid, err = strconv.Atoi(u.Gid); err != nil {
		t.Fatal(err)
	}
	return uid, gid
}

// snippet reads a file of docs/mta and puts what is true here in place of what is
// true on the host that it describes: old, new, old, new.
func (h *mailHost) snippet(t *testing.T, name string, oldnew ...string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("../../docs/mta", name))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(string(raw), oldnew[i]) {
			t.Fatalf("%s does not hold %q", name, oldnew[i])
		}
	}
	return strings.NewReplacer(oldnew...).Replace(string(raw))
}

// command is rtls-lda with the host's configuration.
func (h *mailHost) command() string {
	return filepath.Join(h.dir, "rtls-lda") + " -c " + h.config
}

// freePort is one that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// greets says whether a server on a port has a greeting for us.
func greets(port string) bool {
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return false
	}
	defer c.Close()
	line := make([]byte, 4)
	_, err = io.ReadFull(c, line)
	return err == nil && string(line) == "220 "
}

// serveAs serves LMTP as mailUser on a Unix socket in dir, which is made for it, with
// more groups and options of the socket.
func (h *mailHost) serveAs(t *testing.T, dir, options string, groups ...uint32) *process {
	t.Helper()
	uid, gid := ids(t, mailUser)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	h.socket = filepath.Join(dir, "lmtp")
	cmd := exec.Command(filepath.Join(h.dir, "rtls-lda"), "--config", h.config, "--lmtp", "unix:"+h.socket+options)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: groups}}
	return startProcess(t, "LMTP on", cmd)
}

func (m *mta) log() string {
	said, _ := os.ReadFile(m.logFile)
	return string(said)
}

// submit gives the agent a message by SMTP. The message has its line ends and dots as
// on the wire.
func (m *mta) submit(t *testing.T, sender, message string, rcpts ...string) {
	t.Helper()
	c, err := textproto.Dial("tcp", "127.0.0.1:"+m.port)
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
			t.Fatalf("%s: %v\n%s", fmt.Sprintf(format, args...), err, m.log())
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
func (m *mta) await(t *testing.T, user string, n int) string {
	t.Helper()
	eventually(t, fmt.Sprintf("%s has %d messages", user, n), func() bool { return m.host.delivered(user) >= n })
	if got := m.host.delivered(user); got != n {
		t.Errorf("%s has %d messages, want %d", user, got, n)
	}
	return strings.ReplaceAll(m.host.newest(t, user), "\r\n", "\n")
}

// awaitFolder waits until a folder of a user has one message.
func (m *mta) awaitFolder(t *testing.T, user, folder string) {
	t.Helper()
	eventually(t, "the message is in the folder", func() bool {
		found, _ := filepath.Glob(filepath.Join(m.host.root, user, "Maildir", "."+folder, "new", "*"))
		return len(found) == 1
	})
}

// makeFolder makes a Maildir++ folder the way other programs do.
func (m *mta) makeFolder(t *testing.T, user, folder string) {
	t.Helper()
	uid, gid, err := owner.Of(filepath.Join(m.host.root, user))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(m.host.root, user, "Maildir", "."+folder)
	for _, d := range []string{dir, filepath.Join(dir, "tmp"), filepath.Join(dir, "new"), filepath.Join(dir, "cur")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(d, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
}

var finalRecipient = regexp.MustCompile(`(?i)\nfinal-recipient: rfc822; ?mallory@example\.org\n`)

// habits are what mail transfer agents do each in its way.
type habits struct {
	bounceStatus bool // a report has our enhanced status code in its Status field
	noUTF8       bool // does not do SMTPUTF8, or not to us
	noQuotes     bool // does not take a quoted local part
	noLoop       bool // looks for loops itself
	noRefusal    bool // takes what we refuse for good for something that may heal
}

// exercise sends what mail transfer agents get.
func (m *mta) exercise(t *testing.T, habits habits) {
	h := m.host
	body := "dots:\r\n..\r\n..x\r\n8 bits: \xe4\r\nlong: " + strings.Repeat("x", 900) + "\r\n"
	stored := strings.ReplaceAll(strings.ReplaceAll(body, "\r\n", "\n"), "\n..", "\n.")

	m.submit(t, "<sender@example.com>", "Subject: hi\r\nTLS-Required: maybe\r\n\r\n"+body, "alice@example.org")
	got := m.await(t, "alice", 1)
	if !strings.HasPrefix(got, "Return-Path: <sender@example.com>\nDelivered-To: alice@example.org\nRTLS-Delivery: ") ||
		!strings.HasSuffix(got, "\n\n"+stored) || strings.Count(got, "\nReceived: ") != 2 {
		t.Error(got)
	}

	n := 1
	senders := []string{"<>", "<-oops@example.com>"}
	if !habits.noQuotes {
		senders = append(senders, `<"a b"@example.com>`)
	}
	if !habits.noUTF8 {
		senders = append(senders, "<jürgen@exämple.com> SMTPUTF8")
	}
	for _, sender := range senders {
		n++
		m.submit(t, sender, plainMail, "alice@example.org")
		path, _, _ := strings.Cut(sender, " SMTP")
		if got := m.await(t, "alice", n); !strings.HasPrefix(got, "Return-Path: "+path+"\n") || !strings.HasSuffix(got, "\n\nhello\n") {
			t.Errorf("%s became\n%s", sender, got)
		}
	}

	t.Log("detail, without a folder and with one")
	n++
	m.submit(t, "<sender@example.com>", plainMail, "Alice+lists@example.org")
	if got := m.await(t, "alice", n); !strings.Contains(strings.ToLower(got), "\ndelivered-to: alice+lists@example.org\n") {
		t.Error(got)
	}
	m.makeFolder(t, "alice", "lists")
	m.submit(t, "<sender@example.com>", plainMail, "alice+lists@example.org")
	m.awaitFolder(t, "alice", "lists")

	t.Log("two recipients, and one has no room: his copy waits")
	m.submit(t, "<sender@example.com>", plainMail, "dave@example.org")
	m.await(t, "dave", 1)
	m.submit(t, "<sender@example.com>", plainMail, "dave@example.org", "bob@example.org")
	m.await(t, "bob", 1)
	eventually(t, "the log tells of a full mailbox", func() bool { return strings.Contains(m.log(), "mailbox is full") })
	m.await(t, "dave", 1)

	t.Log("two recipients, and one that is not there: its sender learns of it")
	m.submit(t, "<carol@example.org>", plainMail, "alice@example.org", "mallory@example.org", "bob@example.org")
	n++
	for user, n := range map[string]int{"alice": n, "bob": 2} {
		if got := m.await(t, user, n); !strings.HasPrefix(got, "Return-Path: <carol@example.org>\nDelivered-To: "+user+"@example.org\nRTLS-Delivery: ") {
			t.Error(got)
		}
	}
	if habits.noRefusal {
		return
	}
	bounce := m.await(t, "carol@example.org", 1)
	if !strings.HasPrefix(bounce, "Return-Path: <>\n") || !finalRecipient.MatchString(bounce) ||
		habits.bounceStatus && !strings.Contains(bounce, "\nStatus: 5.1.1\n") || !strings.Contains(bounce, "no such user here") {
		t.Error(bounce)
	}

	if habits.noLoop {
		return
	}
	t.Log("a loop")
	m.submit(t, "<carol@example.org>", "Received: by x\r\nDelivered-To: bob@example.org\r\n"+plainMail, "bob@example.org")
	if bounce := m.await(t, "carol@example.org", 2); !strings.Contains(bounce, "5.4.6") {
		t.Error(bounce)
	}
	if n := h.delivered("bob"); n != 2 {
		t.Errorf("bob has %d messages", n)
	}
}
