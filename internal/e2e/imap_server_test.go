package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rtls/internal/testpki"
	"rtls/store"
)

const (
	imapUser     = "alice@example.org"
	imapPassword = "correct horse battery staple"
)

// imapTimeout bounds every wait of the tests of rtls-imapd; with the race detector
// on a busy machine a login takes seconds.
const imapTimeout = time.Minute

// imapd is a running rtls-imapd with one user.
type imapd struct {
	dir       string // configuration, passwd and mail are in it
	cert, key string
	env       []string // beside HOME
	addr      string   // 127.0.0.1:port
	log       *imapLog
	cmd       *exec.Cmd
	ended     chan struct{} // closed when the process has ended
	checked   bool          // its end was
}

// startIMAPD starts a server that presents p's certificate for localhost. The end
// of the test ends it, and holds it to a clean end.
func startIMAPD(t *testing.T, p *pki) *imapd {
	t.Helper()
	return startIMAPDWith(t, p, testpki.Leaf{Names: []string{"localhost", "127.0.0.1"}})
}

// startIMAPDWith does so with a certificate of its own, and with further lines under
// [imapd], in which DIR stands for the server's directory.
func startIMAPDWith(t *testing.T, p *pki, leaf testpki.Leaf, settings ...string) *imapd {
	t.Helper()
	d := makeIMAPD(t, p, leaf, settings...)
	d.start(t)
	return d
}

// makeIMAPD makes all that a server needs, and does not start it.
func makeIMAPD(t *testing.T, p *pki, leaf testpki.Leaf, settings ...string) *imapd {
	t.Helper()
	d := &imapd{dir: t.TempDir()}
	var err error
	if d.cert, d.key, err = p.WriteFiles(d.dir, "server", leaf); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(d.path("mail"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("hostname = \"localhost\"\n\n[store]\nroot = %q\nusers = %q\n\n[imapd]\nlisten = [\"127.0.0.1:0\"]\ncert = %q\nkey = %q\n",
		d.path("mail"), d.path("passwd"), d.cert, d.key)
	for _, line := range settings {
		text += strings.ReplaceAll(line, "DIR", d.dir) + "\n"
	}
	if err := os.WriteFile(d.path("rtls.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d.addUser(t, imapUser)
	return d
}

func (d *imapd) path(name string) string { return filepath.Join(d.dir, name) }

func (d *imapd) port() string {
	_, port, _ := strings.Cut(d.addr, ":")
	return port
}

func (d *imapd) addUser(t *testing.T, name string) {
	t.Helper()
	r := run(t, strings.NewReader(imapPassword+"\n"), "rtls-imapd", "--config", d.path("rtls.toml"), "user", "add", name)
	if r.code != 0 {
		t.Fatalf("user add: exit code %d\n%s", r.code, r.stderr)
	}
}

var imapReady = regexp.MustCompile(`IMAPS on (127\.0\.0\.1:\d+)`)

// start starts the process and waits until it listens.
func (d *imapd) start(t *testing.T) {
	t.Helper()
	d.log = &imapLog{changed: make(chan struct{})}
	d.cmd = exec.Command(bin("rtls-imapd"), "--config", d.path("rtls.toml"))
	d.cmd.Env = append([]string{"HOME=" + d.dir}, d.env...)
	d.cmd.Stderr = d.log
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.ended, d.checked = make(chan struct{}), false
	go func() {
		defer close(d.ended)
		_ = d.cmd.Wait() // its result is in ProcessState
	}()
	t.Cleanup(func() { d.stop(t) })
	d.addr = d.waitLog(t, imapReady)[1]
}

// waitLog waits until the log matches and returns the match with its groups.
func (d *imapd) waitLog(t *testing.T, re *regexp.Regexp) []string {
	t.Helper()
	timeout := time.After(imapTimeout)
	for {
		text, changed := d.log.now()
		if m := re.FindStringSubmatch(text); m != nil {
			return m
		}
		select {
		case <-changed:
		case <-d.ended:
			text, _ := d.log.now()
			t.Fatalf("rtls-imapd ended:\n%s", text)
		case <-timeout:
			t.Fatalf("nothing in the log matches %s:\n%s", re, text)
		}
	}
}

var imapTrouble = regexp.MustCompile(`(?m)^panic|msg=panic|DATA RACE|^fatal error|goroutine \d+ \[`)

// stop ends the process with SIGTERM, as wait wants it.
func (d *imapd) stop(t *testing.T) {
	t.Helper()
	if !d.checked {
		d.terminate(t)
		d.wait(t)
	}
}

func (d *imapd) terminate(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
}

// wait waits for the end of the process. It has to end with 0, and its log has to be
// free of panics and races.
func (d *imapd) wait(t *testing.T) {
	t.Helper()
	d.checked = true
	select {
	case <-d.ended:
	case <-time.After(imapTimeout):
		t.Error("SIGTERM does not end it")
		_ = d.cmd.Process.Signal(syscall.SIGQUIT) // shows where it hangs
		<-d.ended
	}
	text, _ := d.log.now()
	if code := d.cmd.ProcessState.ExitCode(); code != 0 || imapTrouble.MatchString(text) {
		t.Errorf("rtls-imapd: exit code %d\n%s", code, text)
	}
}

// deliver puts a message into a mailbox the way rtls-lda does.
func (d *imapd) deliver(t *testing.T, mailbox string, raw []byte, tag store.Tag, origin store.Origin) store.Key {
	t.Helper()
	a, err := store.Open(d.path("mail/"+imapUser), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	delivery, err := a.Deliver(t.Context(), mailbox)
	if err != nil {
		t.Fatal(err)
	}
	defer delivery.Abort()
	if _, err := io.Copy(delivery, bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	key, err := delivery.Commit(store.Meta{Tag: tag, Origin: origin})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// stored returns what the store knows of a mailbox, by UID.
func (d *imapd) stored(t *testing.T, mailbox string) []store.Message {
	t.Helper()
	return d.storedOf(t, imapUser, mailbox)
}

// storedOf does so for any user.
func (d *imapd) storedOf(t *testing.T, user, mailbox string) []store.Message {
	t.Helper()
	a, err := store.Open(d.path("mail/"+user), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	m, err := a.Mailbox(t.Context(), mailbox)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	snapshot, err := m.Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := make([]store.Message, snapshot.Len())
	for i := range all {
		all[i] = snapshot.At(i)
	}
	return all
}

// imapWire is a message in wire form.
func imapWire(raw []byte) []byte {
	var b bytes.Buffer
	for line := range bytes.Lines(raw) {
		text, whole := bytes.CutSuffix(line, []byte("\n"))
		b.Write(text)
		if whole && !bytes.HasSuffix(text, []byte("\r")) {
			b.WriteByte('\r')
		}
		if whole {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// imapLog is what a server has written to standard error.
type imapLog struct {
	mu      sync.Mutex // guards what follows
	text    strings.Builder
	changed chan struct{} // closed, and replaced, by each Write
}

func (l *imapLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	return l.text.Write(p)
}

// now returns the text, and a channel that is closed when there is more.
func (l *imapLog) now() (string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String(), l.changed
}
