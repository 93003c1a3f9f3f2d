package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rtls/internal/lmtptest"
	"rtls/internal/testpki"
)

// A signal ends the service; what was acknowledged before is there, and the socket
// is not.
func TestLMTPShutdown(t *testing.T) {
	h := newMailHost(t, t.TempDir())
	p := h.serve(t)
	idle, busy := h.mta(t), h.mta(t)
	busy.LHLO()
	busy.Open("<>", "<alice>")
	busy.Say("DATA", "354")
	busy.Write("Subject: hi\r\n")
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	idle.Expect("421 4.3.2 ")
	idle.Closed()
	busy.Write("\r\nhello\r\n.\r\n")
	busy.Expect("250 2.0.0 ", "421 4.3.2 ")
	busy.Closed()
	<-p.done
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.said())
	}
	if _, err := os.Lstat(h.socket); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	h.one(t, "alice")
}

// The service is told to end while 16 clients deliver, at any moment: what was
// acknowledged is there once, and what was not is not there, so that the client
// can send it again.
func TestLMTPShutdownUnderLoad(t *testing.T) {
	t.Run("one_user", func(t *testing.T) { shutdownUnderLoad(t, newMailHost(t, t.TempDir())) })
	t.Run("several_users", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("only root can deliver for several users")
		}
		h, _ := newUsersHost(t)
		shutdownUnderLoad(t, h)
	})
}

func shutdownUnderLoad(t *testing.T, h *mailHost) {
	const clients, rounds = 16, 10
	var mu sync.Mutex // guards acknowledged
	acknowledged := make(map[string]bool)
	for round := range rounds {
		h := newMailHostAgain(h, fmt.Sprint("lmtp", round))
		network, addr := "unix", h.socket
		var also []string
		if round%2 == 1 {
			network, addr = "tcp", freeAddress(t)
			also = append(also, "tcp:"+addr)
		}
		p := h.serve(t, also...)
		var wg sync.WaitGroup
		for k := range clients {
			m := h.mtaOn(t, network, addr)
			m.LHLO()
			wg.Go(func() {
				for n := 0; ; n++ {
					id := fmt.Sprintf("%d-%d-%d", round, k, n)
					ok, more := try(m, id, (k+n)%3)
					if ok {
						mu.Lock()
						acknowledged[id] = true
						mu.Unlock()
					}
					if !more {
						return
					}
				}
			})
		}
		time.AfterFunc(rand.N(120*time.Millisecond), func() { p.stopAll(t) })
		wg.Wait()
		<-p.done
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("exit code %d\n%s", code, p.said())
		}
	}
	stored := make(map[string]int)
	for _, m := range h.mail(t, "alice", "INBOX") {
		subject := regexp.MustCompile(`\r\nSubject: ([-0-9]+)\r\n`).FindStringSubmatch(m.raw)
		if subject == nil || !strings.HasSuffix(m.raw, loadBody) {
			t.Fatalf("not whole: %q", m.raw)
		}
		stored[subject[1]]++
		if !acknowledged[subject[1]] {
			t.Errorf("%s is there, and its client does not know", subject[1])
		}
	}
	for id := range acknowledged {
		if stored[id] != 1 {
			t.Errorf("%s is there %d times", id, stored[id])
		}
	}
	if len(acknowledged) < clients {
		t.Errorf("only %d messages", len(acknowledged))
	}
	t.Logf("%d messages in %d rounds", len(acknowledged), rounds)
}

// stopAll tells a service to end as systemd does, which tells its children as well.
func (p *process) stopAll(t *testing.T) {
	t.Helper()
	pid := p.cmd.Process.Pid
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Error(err)
	}
	all := []int{pid}
	for _, path := range tasks {
		raw, _ := os.ReadFile(path) // the thread may have ended
		for child := range strings.FieldsSeq(string(raw)) {
			n, err := strconv.Atoi(child)
			if err != nil {
				t.Error(err)
			}
			all = append(all, n)
		}
	}
	for _, pid := range all {
		_ = syscall.Kill(pid, syscall.SIGTERM)
	}
}

var loadBody = strings.Repeat("0123456789abcde\r\n", 500)

// try sends a message in one of three ways. It says whether the message was
// acknowledged and whether the server will hear another.
func try(m *lmtptest.Client, id string, way int) (ok, more bool) {
	replies := 4
	envelope := "MAIL FROM:<a@example.com>\r\nRCPT TO:<alice>\r\n"
	message := "Subject: " + id + "\r\n\r\n" + loadBody
	switch way {
	case 0: // all at once
		message = envelope + "DATA\r\n" + message + ".\r\n"
	case 1: // in two pieces with a pause where the server waits
		_, _ = io.WriteString(m.Conn, envelope+"DATA\r\n"+message[:100])
		message = message[100:] + ".\r\n"
	case 2:
		message = fmt.Sprintf("%sBDAT 100\r\n%sBDAT %d LAST\r\n%s", envelope, message[:100], len(message)-100, message[100:])
	}
	_, _ = io.WriteString(m.Conn, message) // the server may be gone, which the replies tell
	for range replies {
		reply, err := m.Read()
		if err != nil || strings.HasPrefix(reply[0], "421 ") {
			return false, false
		}
		ok = strings.HasPrefix(reply[0], "250 2.0.0 delivered as ")
	}
	return ok, true
}

// freePort is an address on loopback that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// systemd hands over a socket, hears that the service is ready, lives and stops,
// and keeps the socket.
func TestLMTPSystemd(t *testing.T) {
	h := newMailHost(t, t.TempDir())
	l, err := net.Listen("unix", h.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	notify, hear := systemdManager(t)
	// The variables name the process that they are for.
	cmd := exec.Command("sh", "-c", `export LISTEN_PID=$$ WATCHDOG_PID=$$; exec "$0" "$@"`, bin("rtls-lda"), "--config", h.config, "--lmtp", "systemd:lmtp")
	cmd.ExtraFiles = []*os.File{f}
	cmd.Env = []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=lmtp", "NOTIFY_SOCKET=" + notify, "WATCHDOG_USEC=40000"}
	p := startProcess(t, "LMTP on", cmd)
	if got := hear(); got != "READY=1" {
		t.Errorf("%q", got)
	}
	for range 3 {
		if got := hear(); got != "WATCHDOG=1" {
			t.Errorf("%q", got)
		}
	}
	m := h.mta(t)
	m.LHLO()
	m.Deliver("<>", plainMail, "<alice>")
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for got := hear(); got != "STOPPING=1"; got = hear() {
		if got != "WATCHDOG=1" {
			t.Fatalf("%q", got)
		}
	}
	<-p.done
	if _, err := os.Lstat(h.socket); err != nil {
		t.Errorf("the socket of systemd is gone: %v", err)
	}
	h.one(t, "alice")
}

// systemdManager is where systemd is told of services, and what it hears.
func systemdManager(t *testing.T) (socket string, hear func() string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { manager.Close() })
	return socket, func() string {
		buf := make([]byte, 100)
		_ = manager.SetReadDeadline(time.Now().Add(time.Minute))
		n, err := manager.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
}

// inetd hands over a connection as standard input and output.
func TestLMTPInetd(t *testing.T) {
	h := newMailHost(t, t.TempDir())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m := lmtptest.Dial(t, "tcp", l.Addr().String(), &tls.Config{RootCAs: h.ca.Pool(), ServerName: "mx.example.org"})
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	f, err := conn.(*net.TCPConn).File()
	conn.Close()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin("rtls-lda"), "--config", h.config, "--lmtp", "stdio")
	cmd.Stdin, cmd.Stdout = f, f
	cmd.Env = quickExit
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	m.Hello()
	m.StartTLS().LHLO()
	m.Deliver("<>", plainMail, "<alice>")
	m.Say("QUIT", "221")
	m.Closed()
	m.Conn.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if got := h.one(t, "alice").raw; !strings.Contains(got, "Received: from relay.example.com ([127.0.0.1])\r\n") {
		t.Errorf("the client has no address:\n%s", got)
	}
	// A socket that still listens is not a client.
	f, err = l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd = exec.CommandContext(t.Context(), bin("rtls-lda"), "--config", h.config, "--lmtp", "stdio")
	cmd.Stdin, cmd.Env = f, quickExit
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "socket that listens") {
		t.Errorf("%v: %s", err, out)
	}
}

// A pipe as standard input may take its time, more than once.
func TestLMTPSlowPipe(t *testing.T) {
	h := newMailHost(t, t.TempDir())
	cmd := exec.CommandContext(t.Context(), bin("rtls-lda"), "--config", h.config, "--lmtp", "stdio")
	cmd.Env = quickExit
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// What is sent waits for the reply to what was sent before it.
	r := bufio.NewReader(stdout)
	for _, step := range []struct{ say, want string }{
		{"", "220 "}, {"LHLO x", "250 "}, {"MAIL FROM:<>", "250 "}, {"RCPT TO:<alice>", "250 "}, {"DATA", "354 "}, {plainMail + ".", "250 2.0.0 "}, {"QUIT", "221 "},
	} {
		if step.say != "" {
			if _, err := io.WriteString(stdin, step.say+"\r\n"); err != nil {
				t.Fatal(err)
			}
		}
		line := "250-"
		for line[3] == '-' {
			if line, err = r.ReadString('\n'); err != nil || len(line) < 4 {
				t.Fatalf("behind %q: %q, %v", step.say, line, err)
			}
		}
		if !strings.HasPrefix(line, step.want) {
			t.Fatalf("%q is answered with %q", step.say, line)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	h.one(t, "alice")
}

// With client_ca, only who shows a certificate is believed.
func TestLMTPClientCertificates(t *testing.T) {
	clients, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	caFile := filepath.Join(dir, "clients.pem")
	if err := os.WriteFile(caFile, clients.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newMailHost(t, dir, fmt.Sprintf("client_ca = %q", caFile))
	h.serve(t)

	known := h.mta(t)
	cert, err := clients.TLS(testpki.Leaf{Names: []string{"relay.example.com"}, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	known.TLS.Certificates = []tls.Certificate{cert}
	known.LHLO()
	if !strings.Contains(strings.Join(known.StartTLS().LHLO(), " "), "REQUIRETLS") {
		t.Error("REQUIRETLS is not offered to a known client")
	}
	known.Deliver("<a@example.com> REQUIRETLS", plainMail, "<alice>")

	stranger := h.secure(t)
	if strings.Contains(strings.Join(stranger.LHLO(), " "), "REQUIRETLS") {
		t.Error("REQUIRETLS is offered to a stranger")
	}
	stranger.Say("MAIL FROM:<a@example.com> REQUIRETLS", "550 5.7.30 ")
	stranger.Deliver("<a@example.com>", plainMail, "<bob>")
	if alice, bob := h.one(t, "alice").tag, h.one(t, "bob").tag; alice != "require/esmtp" || bob != "none/unknown" {
		t.Error(alice, bob)
	}
}

// Who comes when all places are taken is told to come back, and can.
func TestLMTPMaxConnections(t *testing.T) {
	h := newMailHost(t, t.TempDir(), "max_connections = 2")
	h.serve(t)
	first, second := h.mta(t), h.mta(t)
	first.LHLO()
	second.LHLO()
	third := lmtptest.Dial(t, "unix", h.socket, nil)
	third.Expect("421 4.3.2 ")
	third.Closed()
	first.Say("QUIT", "221")
	first.Closed()
	eventually(t, "the place to be free", func() bool {
		m := lmtptest.Dial(t, "unix", h.socket, nil)
		lines, err := m.Read()
		return err == nil && len(lines) > 0 && strings.HasPrefix(lines[0], "220 ")
	})
}
