package e2e

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// typist is somebody at a pseudo terminal, and what appeared on it.
type typist struct {
	master, slave *os.File

	mu    sync.Mutex
	shown strings.Builder
}

func newTypist(t *testing.T) *typist {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := &typist{master: master, slave: slave}
	done := make(chan struct{})
	go func() { // ends when the terminal does
		defer close(done)
		buf := make([]byte, 1024)
		for {
			n, err := master.Read(buf)
			c.mu.Lock()
			c.shown.Write(buf[:n])
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		slave.Close()
		<-done
		master.Close()
	})
	return c
}

func (c *typist) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shown.String()
}

// answer types a line once so many prompts are there.
func (c *typist) answer(t *testing.T, prompt string, nth int, line string) {
	t.Helper()
	eventually(t, "it asks "+prompt, func() bool { return strings.Count(c.text(), prompt) >= nth })
	// It is asked for before the terminal is told to show nothing.
	eventually(t, "nothing is shown that is typed", func() bool {
		state, err := unix.IoctlGetTermios(int(c.slave.Fd()), unix.TCGETS)
		return err == nil && state.Lflag&unix.ECHO == 0
	})
	if _, err := c.master.WriteString(line + "\n"); err != nil {
		t.Fatal(err)
	}
}

// configureOnMachine runs --configure at a terminal, on a machine that trusts p, and
// shows afterwards what it has written.
func configureOnMachine(t *testing.T, p *pki, f *fakesub, before, flags string, talk func(*typist)) (said, shown string) {
	t.Helper()
	h := newMTAHost(t)
	command, err := os.ReadFile(bin("rtls-send"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"rtls-send": command, "roots.pem": p.PEM()} {
		if err := os.WriteFile(filepath.Join(h.dir, name), content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := inMachine(t, h.dir, "cron", "", "sh", "-c", fmt.Sprintf(`cd %[1]s && cp roots.pem /etc/ssl/certs/ca-certificates.crt
export HOME=%[1]s/home PATH=%[1]s:$PATH
%[2]s
rtls-send --configure sender@example.org --host localhost --port %[3]s --tls implicit %[4]s
echo exit $?
cd home/.config/rtls && stat -c '%%a %%n' * && cat rtls.toml && rtls-send --check --login`, h.dir, before, f.port(), flags))
	c := newTypist(t)
	var out strings.Builder
	cmd.Stdin, cmd.Stderr, cmd.Stdout = c.slave, c.slave, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	talk(c)
	err = cmd.Wait()
	if t.Failed() {
		t.Logf("%v: %s\n%s", err, out.String(), c.text())
	}
	return out.String(), c.text()
}

// passwordIs lets log in who says so.
func passwordIs(user, password string) func(*talk, string) bool {
	return func(_ *talk, line string) bool {
		return line == "AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password))
	}
}

// --configure asks at a terminal, tries what it is told, and keeps what works where
// nobody else can read it.
func TestConfigureAsksPassword(t *testing.T) {
	p := newPKI(t)
	f := (&fakesub{auth: passwordIs("sender", "canary-right")}).start(t, p)
	const prompt = "Password of sender@example.org at localhost: "
	said, shown := configureOnMachine(t, p, f, "", "", func(c *typist) {
		c.answer(t, prompt, 1, "canary-wrong")
		c.answer(t, prompt, 2, "canary-right")
	})
	for _, want := range []string{
		"rtls.toml written; the login works\nexit 0\n", "600 password\n600 rtls.toml\n", `user = "sender"`,
		"/home/.config/rtls/password\"\n", "logged in with PLAIN\n",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
	if strings.Contains(said+shown, "canary") || !strings.Contains(shown, "535") {
		t.Errorf("shown: %q", shown)
	}
	f.stop()
	if heard := f.commands("MAIL"); len(heard) > 0 {
		t.Errorf("%q", heard)
	}

	// Without a login that works nothing is written.
	f = (&fakesub{auth: passwordIs("nobody", "none")}).start(t, p)
	said, _ = configureOnMachine(t, p, f, "", "", func(c *typist) {
		for i := range 3 {
			c.answer(t, prompt, i+1, "canary-wrong")
		}
	})
	if !strings.HasPrefix(said, "exit 77\n") || strings.Contains(said, "written") {
		t.Errorf("%q", said)
	}
}

// The password can be systemd's, or a keyring's.
func TestConfigurePasswordIn(t *testing.T) {
	p := newPKI(t)
	prompt := "Password of sender@example.org at localhost: "
	answer := func(c *typist) { c.answer(t, prompt, 1, "canary-right") }

	f := (&fakesub{auth: passwordIs("sender@example.org", "canary-right")}).start(t, p)
	said, _ := configureOnMachine(t, p, f, "", `--password-in=systemd
export CREDENTIALS_DIRECTORY=$HOME/credentials && mkdir $CREDENTIALS_DIRECTORY
systemd-creds decrypt --name=rtls-send.password $HOME/.config/rtls/password.cred $CREDENTIALS_DIRECTORY/rtls-send.password`, answer)
	for _, want := range []string{"LoadCredentialEncrypted=rtls-send.password:", "600 password.cred\n", `password_credential = "rtls-send.password"`, "logged in with PLAIN\n"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}

	// The keyring of a desktop, without the desktop.
	f = (&fakesub{auth: passwordIs("sender@example.org", "canary-right")}).start(t, p)
	said, _ = configureOnMachine(t, p, f, `mkdir -m 700 home home/run && export XDG_RUNTIME_DIR=$HOME/run
export DBUS_SESSION_BUS_ADDRESS=$(dbus-daemon --session --fork --print-address)
printf pass | gnome-keyring-daemon --unlock --components=secrets >/dev/null`, "--password-in=keyring", answer)
	for _, want := range []string{`password_command = ["secret-tool", "lookup", "application", "rtls-send", "user", "sender@example.org", "host", "localhost"]`, "logged in with PLAIN\n"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
}

// A command with rights that its caller has not got would lend them to whoever names a
// file or a program.
func TestSetIDIsRefused(t *testing.T) {
	dir, err := os.MkdirTemp("", "rtls-") // not t.TempDir, which is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	raw, err := os.ReadFile(bin("rtls-send"))
	if err != nil {
		t.Fatal(err)
	}
	command := filepath.Join(dir, "rtls-send")
	if err := os.WriteFile(command, raw, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]int{0o755: 0, 0o755 | os.ModeSetuid: 77, 0o755 | os.ModeSetgid: 77} {
		if err := os.Chmod(command, mode); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(command, "--version")
		cmd.Env = quickExit
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want || want != 0 && !strings.Contains(string(out), "must not be set-user-ID") {
			t.Errorf("%v: %s, %v", mode, out, err)
		}
	}
}
