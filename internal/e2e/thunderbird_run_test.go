package e2e

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "embed"

	"rtls/store"
)

//go:embed testdata/thunderbird.js
var thunderbirdScript string

//go:embed testdata/thunderbird-prefs.js
var thunderbirdPrefs string

// thunderbird is a running Mozilla Thunderbird with one account and a screen of its own.
type thunderbird struct {
	*marionette
	t       *testing.T
	dir     string // its home; the profile is in it
	display string
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process has ended
	starts  int           // how many there have been
}

// wantThunderbird skips a test where nobody has asked for it.
func wantThunderbird(t *testing.T) {
	t.Helper()
	if os.Getenv("RTLS_TEST_THUNDERBIRD") == "" {
		t.Skip("make test-thunderbird installs Thunderbird, which is large, and runs this")
	}
}

// makeThunderbird makes a profile with an account on d, and a screen.
func makeThunderbird(t *testing.T, d *imapd, p *pki) *thunderbird {
	t.Helper()
	tb := &thunderbird{t: t, dir: t.TempDir()}
	prefs := strings.ReplaceAll(thunderbirdPrefs, "%PROXY", tb.startProxy())
	putFile(t, tb.dir, "profile/user.js", d.fill(p, tb.dir, prefs))
	tb.startScreen()
	return tb
}

// startProxy takes what does not go to the mail server, refuses it, and notes it as a
// failure: the tests talk to nobody else. It returns the port.
func (tb *thunderbird) startProxy() string {
	tb.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // the test's end waits for it
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(imapTimeout))
			request, _ := bufio.NewReader(conn).ReadString('\n')
			tb.t.Errorf("Thunderbird asked the net for %q", request)
			conn.Close()
		}
	}()
	tb.t.Cleanup(func() {
		l.Close()
		<-done
	})
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	return port
}

// startScreen starts an X server, which chooses the display's number itself.
func (tb *thunderbird) startScreen() {
	tb.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		tb.t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command("Xvfb", "-displayfd", "3", "-screen", "0", "1280x800x24", "-nolisten", "tcp")
	cmd.ExtraFiles = []*os.File{w}
	err = cmd.Start()
	w.Close()
	if err != nil {
		tb.t.Fatalf("%v: make test-thunderbird installs it", err)
	}
	tb.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	_ = r.SetReadDeadline(time.Now().Add(imapTimeout))
	if _, err := fmt.Fscan(r, &tb.display); err != nil {
		tb.t.Fatalf("Xvfb: %v", err)
	}
}

// start starts the program and waits until its window is there.
func (tb *thunderbird) start() {
	tb.t.Helper()
	port := filepath.Join(tb.dir, "profile", "MarionetteActivePort")
	if err := os.Remove(port); err != nil && !os.IsNotExist(err) {
		tb.t.Fatal(err)
	}
	var output bytes.Buffer
	tb.cmd = exec.Command("thunderbird", "--marionette", "--remote-allow-system-access", "--no-remote", "--profile", filepath.Join(tb.dir, "profile"))
	tb.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + tb.dir, "LC_ALL=C.UTF-8", "DISPLAY=:" + tb.display,
		"MOZ_LOG=sync,IMAP:4", "MOZ_LOG_FILE=" + tb.path("imap"), "MOZ_CRASHREPORTER_DISABLE=1",
		"MOZ_REMOTE_SETTINGS_DEVTOOLS=1"} // or it pays no heed to services.settings.server
	tb.cmd.Stdout, tb.cmd.Stderr = &output, &output
	tb.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	tb.cmd.WaitDelay = imapTimeout
	if err := tb.cmd.Start(); err != nil {
		tb.t.Fatalf("%v: make test-thunderbird installs it", err)
	}
	ended := make(chan struct{})
	tb.ended = ended
	tb.starts++
	group := -tb.cmd.Process.Pid
	go func() {
		defer close(ended)
		_ = tb.cmd.Wait() // the tests of what it did say whether it went well
	}()
	tb.t.Cleanup(func() {
		_ = syscall.Kill(group, syscall.SIGKILL) // and all its processes
		<-ended
		if tb.t.Failed() {
			tb.t.Logf("Thunderbird:\n%s", output.String())
			tb.keep("failed.log", []byte(tb.dialogue()))
		}
	})
	var number []byte
	tb.until("a port for Marionette", func() bool {
		number, _ = os.ReadFile(port) // not there yet
		return len(number) > 0
	})
	tb.marionette = dialMarionette(tb.t, string(number))
	tb.until("its window", func() bool { return ask[bool](tb, "ready") })
}

// tbSaid is a command for the selected inbox in the log, and its tag.
var tbSaid = regexp.MustCompile(`S-INBOX:SendData: (?:\d+ )?.*`)

// tbRefused is an answer in the log.
var tbRefused = regexp.MustCompile(`CreateNewLineFromSocket: \d+ (?:NO|BAD) .*`)

// quit ends the program as its menu does. The server must not have refused anything.
func (tb *thunderbird) quit() {
	tb.t.Helper()
	tb.do(tb.t, nil, "Marionette:Quit", map[string]any{"flags": []string{"eAttemptQuit"}})
	select {
	case <-tb.ended:
	case <-time.After(imapTimeout):
		tb.t.Fatal("Thunderbird does not end")
	}
	dialogue := tb.dialogue()
	tb.keep(fmt.Sprintf("%d.log", tb.starts), []byte(dialogue))
	for _, refused := range tbRefused.FindAllString(dialogue, -1) {
		tb.t.Errorf("the server refused something: %s", refused)
	}
}

// dialogue is what Thunderbird and the server have said to each other since the start.
func (tb *thunderbird) dialogue() string {
	tb.t.Helper()
	log, err := os.ReadFile(tb.path("imap.moz_log"))
	if err != nil {
		tb.t.Fatal(err)
	}
	return string(log)
}

// prefer sets a preference from the next start on.
func (tb *thunderbird) prefer(name, value string) {
	tb.t.Helper()
	path := tb.path("profile/user.js")
	text, err := os.ReadFile(path)
	if err != nil {
		tb.t.Fatal(err)
	}
	putFile(tb.t, tb.dir, "profile/user.js", fmt.Sprintf("%suser_pref(%q, %s);\n", text, name, value))
}

func (tb *thunderbird) path(name string) string { return filepath.Join(tb.dir, name) }

// until waits until ok. If that is never, it prints what state points to.
func (tb *thunderbird) until(what string, ok func() bool, state ...any) {
	tb.t.Helper()
	for deadline := time.Now().Add(imapTimeout); !ok(); time.Sleep(50 * time.Millisecond) {
		select {
		case <-tb.ended:
			tb.t.Fatalf("Thunderbird has ended; wanted %s", what)
		default:
		}
		if time.Now().After(deadline) {
			text, _ := json.Marshal(state)
			tb.t.Fatalf("Thunderbird never has %s: %s", what, text)
		}
	}
}

// call calls a function of thunderbird.js.
func (tb *thunderbird) call(function string, args ...any) {
	tb.t.Helper()
	ask[any](tb, function, args...)
}

// ask calls a function of thunderbird.js and returns what it returns.
func ask[T any](tb *thunderbird, function string, args ...any) T {
	tb.t.Helper()
	var value T
	tb.run(tb.t, &value, thunderbirdScript+"\nreturn "+function+"(...arguments);", args...)
	return value
}

// source is a message as Thunderbird has it.
func (tb *thunderbird) source(mailbox string, uid int) []byte {
	tb.t.Helper()
	return tb.decode(ask[string](tb, "source", mailbox, uid))
}

func (tb *thunderbird) decode(text string) []byte {
	tb.t.Helper()
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		tb.t.Fatal(err)
	}
	return raw
}

// keep puts what a reader of the test may want to see where RTLS_TEST_ARTIFACTS says.
func (tb *thunderbird) keep(name string, content []byte) {
	tb.t.Helper()
	dir := os.Getenv("RTLS_TEST_ARTIFACTS")
	if dir == "" {
		dir = tb.t.TempDir()
	}
	path := filepath.Join(dir, tb.t.Name()+"-"+name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		tb.t.Fatal(err)
	}
	tb.t.Logf("%s: %d bytes", path, len(content))
}

// screenshot keeps a picture of the window.
func (tb *thunderbird) screenshot(name string) {
	tb.t.Helper()
	var picture string
	tb.do(tb.t, &picture, "WebDriver:TakeScreenshot", map[string]any{"full": false})
	tb.keep(name, tb.decode(picture))
}

// base64 is the authority as Thunderbird takes it.
func (p *pki) base64(t *testing.T) string {
	t.Helper()
	block, _ := pem.Decode(p.PEM())
	return base64.StdEncoding.EncodeToString(block.Bytes)
}

// introduce tells Thunderbird the authority and the password.
func (tb *thunderbird) introduce(p *pki) {
	tb.t.Helper()
	tb.call("trust", p.base64(tb.t))
	tb.call("addLogin", imapUser, imapPassword)
}

// shows opens a message and waits until it is on the screen with a text.
func (tb *thunderbird) shows(mailbox string, uid uint32, text string) {
	tb.t.Helper()
	tb.call("select", mailbox, []uint32{uid})
	type message struct {
		UID  uint32
		Text string
	}
	var got message
	tb.until("a message on the screen", func() bool {
		got = ask[message](tb, "shown")
		return got.UID == uid
	})
	if !strings.Contains(got.Text, text) {
		tb.t.Errorf("it shows %q, want %q in it", got.Text, text)
	}
}

// tbMessage is what Thunderbird knows of a message.
type tbMessage struct {
	Subject       string
	Read, Starred bool
	Keywords      []string
}

// messages are the messages of a folder, by UID.
func (tb *thunderbird) messages(mailbox string) map[uint32]tbMessage {
	tb.t.Helper()
	return ask[map[uint32]tbMessage](tb, "messages", mailbox)
}

// folder tells whether Thunderbird knows of a folder.
func (tb *thunderbird) folder(name string) bool {
	tb.t.Helper()
	_, ok := ask[map[string]string](tb, "folders")[name]
	return ok
}

// idles waits until Thunderbird has nothing to do, and IDLE tells it what others do.
func (tb *thunderbird) idles() {
	tb.t.Helper()
	tb.until("time", func() bool {
		said := tbSaid.FindAllString(tb.dialogue(), -1)
		return len(said) > 0 && strings.HasSuffix(strings.TrimSpace(said[len(said)-1]), "IDLE")
	})
}

// press selects messages and does what a menu does with them. Quicker than any person,
// it waits for its turn: Thunderbird forgets a deletion amid a copy.
func (tb *thunderbird) press(mailbox string, uids []int, command string, args ...any) {
	tb.t.Helper()
	tb.idles()
	tb.call("select", mailbox, uids)
	tb.call("press", append([]any{command}, args...)...)
}

// has tells whether the store has a mailbox.
func (d *imapd) has(t *testing.T, mailbox string) bool {
	t.Helper()
	a, err := store.Open(d.path("mail/"+imapUser), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	m, err := a.Mailbox(t.Context(), mailbox)
	if errors.Is(err, store.ErrNoMailbox) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	return m.Close() == nil
}
