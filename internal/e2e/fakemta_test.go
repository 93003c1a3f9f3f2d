package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rtls/internal/lmtptest"
	"rtls/internal/testpki"
	"rtls/internal/testuser"
	"rtls/store"
)

// mailHost is a store with users and the configuration of rtls-lda for it.
type mailHost struct {
	ca     *testpki.CA
	dir    string
	config string
	root   string
	socket string
}

// newMailHost makes a host in dir with the users alice, bob and carol@example.org.
// lines go into [lda].
func newMailHost(t *testing.T, dir string, lines ...string) *mailHost {
	t.Helper()
	h := makeMailHost(t, dir, lines...)
	testuser.Become(t, dir)
	return h
}

// makeMailHost makes one whose files are the test's own.
func makeMailHost(t *testing.T, dir string, lines ...string) *mailHost {
	t.Helper()
	ca, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	h := &mailHost{ca: ca, dir: dir, config: filepath.Join(dir, "rtls.toml"), root: filepath.Join(dir, "store"), socket: filepath.Join(dir, "lmtp")}
	cert, key, err := ca.WriteFiles(dir, "mx", testpki.Leaf{Names: []string{"localhost", "mx.example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("hostname = \"mx.example.org\"\n[store]\nroot = %q\nusers = %q\n[lda]\ncert = %q\nkey = %q\n%s\n",
		h.root, filepath.Join(dir, "users"), cert, key, strings.Join(lines, "\n"))
	for name, text := range map[string]string{"rtls.toml": config, "users": "alice:!\nbob:!\ncarol@example.org:!\n", "ca.pem": string(ca.PEM())} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(h.root, 0o700); err != nil {
		t.Fatal(err)
	}
	return h
}

// lda runs rtls-lda on one message.
func (h *mailHost) lda(t *testing.T, message string, args ...string) result {
	t.Helper()
	return runEnv(t, quickExit, strings.NewReader(message), "rtls-lda", append([]string{"--config", h.config}, args...)...)
}

// process is a command of ours that keeps running.
type process struct {
	cmd    *exec.Cmd
	stderr *os.File
	done   chan struct{} // closed when it has ended
}

// startProcess starts a command and waits until it says that it is ready.
func startProcess(t *testing.T, ready string, cmd *exec.Cmd) *process {
	t.Helper()
	stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = stderr
	cmd.Env = append(append([]string{"PATH=" + os.Getenv("PATH")}, quickExit...), cmd.Env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, stderr: stderr, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		p.end(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("%s said:\n%s", cmd, p.said())
		}
		stderr.Close()
	})
	eventually(t, cmd.String()+" is ready", func() bool {
		select {
		case <-p.done:
			t.Fatalf("%s ended:\n%s", cmd, p.said())
		default:
		}
		return strings.Contains(p.said(), ready)
	})
	return p
}

func (p *process) said() string {
	said, _ := os.ReadFile(p.stderr.Name())
	return string(said)
}

// end sends a signal and waits for the end.
func (p *process) end(signal syscall.Signal) {
	select {
	case <-p.done: // its pid may be somebody else's by now
		return
	default:
	}
	_ = p.cmd.Process.Signal(signal)
	late := time.AfterFunc(40*time.Second, func() { _ = p.cmd.Process.Kill() })
	<-p.done
	late.Stop()
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("it did not come to pass that %s", what)
}

// serve starts rtls-lda on the host's socket and on what else is given.
func (h *mailHost) serve(t *testing.T, lmtp ...string) *process {
	t.Helper()
	args := []string{"--config", h.config, "--lmtp", "unix:" + h.socket}
	for _, l := range lmtp {
		args = append(args, "--lmtp", l)
	}
	return startProcess(t, "LMTP on", exec.Command(bin("rtls-lda"), args...))
}

// storedMail is a message with its tag as the store tells it.
type storedMail struct {
	tag string // and origin: "require/esmtp"
	raw string // in wire form
}

// mail reads a mailbox through the store.
func (h *mailHost) mail(t *testing.T, user, mailbox string) []storedMail {
	t.Helper()
	account, err := store.Open(filepath.Join(h.root, user), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer account.Close()
	box, err := account.Mailbox(t.Context(), mailbox)
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	snapshot, err := box.Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []storedMail
	for i := range snapshot.Len() {
		m := snapshot.At(i)
		content, err := box.Open(t.Context(), m.UID)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(io.NewSectionReader(content, 0, content.Size()))
		content.Close()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, storedMail{m.Tag.String() + "/" + m.Origin.String(), string(raw)})
	}
	return all
}

// files are the paths of a user's messages in INBOX, without a look through the
// store.
func (h *mailHost) files(user string) []string {
	found, _ := filepath.Glob(filepath.Join(h.root, user, "Maildir", "[cn][ue][rw]", "*")) // cur and new
	return found
}

// delivered is the number of messages in a user's INBOX.
func (h *mailHost) delivered(user string) int { return len(h.files(user)) }

// one makes sure that a mailbox has one message.
func (h *mailHost) one(t *testing.T, user string) storedMail {
	t.Helper()
	all := h.mail(t, user, "INBOX")
	if len(all) != 1 {
		t.Fatalf("%s has %d messages", user, len(all))
	}
	return all[0]
}

// mta is a mail transfer agent on the host's socket that has read the greeting.
func (h *mailHost) mta(t *testing.T) *lmtptest.Client {
	t.Helper()
	return h.mtaOn(t, "unix", h.socket)
}

func (h *mailHost) mtaOn(t *testing.T, network, addr string) *lmtptest.Client {
	t.Helper()
	m := lmtptest.Dial(t, network, addr, &tls.Config{RootCAs: h.ca.Pool(), ServerName: "mx.example.org"})
	m.Expect("220 mx.example.org LMTP")
	return m
}

// secure is one inside TLS that has said LHLO.
func (h *mailHost) secure(t *testing.T) *lmtptest.Client {
	t.Helper()
	m := h.mta(t)
	m.LHLO()
	m.StartTLS().LHLO()
	return m
}
