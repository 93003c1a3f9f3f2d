package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"rtls/internal/testpki"
)

// example is an indented block of docs/operations.md that begins with a line, which is
// the name of a file behind "# ".
func example(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`(?m)(^    .*\n|^\n)+`).FindAllString(string(raw), -1)
	for _, block := range blocks {
		text := strings.ReplaceAll("\n"+block, "\n    ", "\n")
		for _, one := range regexp.MustCompile(`\n\n+`).Split(text, -1) {
			if strings.Contains(one+"\n", "# "+name+"\n") {
				return strings.TrimLeft(one, "\n") + "\n"
			}
		}
	}
	t.Fatalf("docs/operations.md has no example %s", name)
	return ""
}

// The example for who knows passwords and runs behind a socket of systemd.
func TestIMAPDCheckerOfSystemd(t *testing.T) {
	p := newPKI(t)
	d := makeIMAPD(t, p, testpki.Leaf{Names: []string{"localhost"}}, `checker_socket = "DIR/check.socket"`)
	socket, service := example(t, "/etc/systemd/system/rtls-check.socket"), example(t, "/etc/systemd/system/rtls-check@.service")
	for text, want := range map[string][]string{
		socket:  {"\nAccept=yes\n", "\nListenStream=/run/rtls-check\n", "\nSocketMode=0600\n"},
		service: {"\nStandardInput=socket\n", "\nExecStart=/usr/local/lib/rtls/check\n"},
	} {
		for _, line := range want {
			if !strings.Contains(text, line) {
				t.Errorf("the test is of %q, which is not in %q", line, text)
			}
		}
	}
	// pwauth in the place of Debian's, which asks for the machine's users.
	pwauth := "#!/bin/sh\nread -r user; read -r password; echo \"$user\" >&2\n[ \"$user\" = down ] && exit 50\n[ \"$password\" = 'pass \\word ü' ] || exit 2\n"
	for name, text := range map[string]string{"pwauth": pwauth, "check": example(t, "/usr/local/lib/rtls/check")} {
		if err := os.WriteFile(d.path(name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	manager := exec.Command("systemd-socket-activate", "--accept", "--inetd", "--listen="+d.path("check.socket"),
		"--setenv=PATH="+d.dir+":"+os.Getenv("PATH"), d.path("check"))
	log := &imapLog{changed: make(chan struct{})}
	manager.Stderr = log
	if err := manager.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = manager.Process.Kill()
		_ = manager.Wait() // it was killed
		if t.Failed() {
			text, _ := log.now()
			t.Logf("systemd-socket-activate: %s", text)
		}
	})
	for deadline := time.Now().Add(imapTimeout); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("unix", d.path("check.socket"))
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	d.admin(t, "user", "add", "--no-password", "bob")
	d.admin(t, "user", "add", "--no-password", "down")
	d.start(t)
	c := d.dial(t, p, nil)
	c.fails("NO", "[AUTHENTICATIONFAILED]", `LOGIN bob "wrong"`)
	c.write("x LOGIN bob {10+}\r\npass\nword x\r\n")
	if r := c.tagged("x"); r.status == "OK" {
		t.Errorf("a password of two lines: %s %s", r.status, r.text)
	}
	d.dial(t, p, nil).fails("NO", "[UNAVAILABLE]", `LOGIN down "x"`)
	c = d.dial(t, p, nil)
	c.write("x LOGIN bob {13+}\r\npass \\word ü\r\n")
	if r := c.tagged("x"); r.status != "OK" {
		t.Fatalf("the right password: %s %s", r.status, r.text)
	}
	c.ok("SELECT INBOX")
	if names, err := filepath.Glob(d.path("mail/bob/Maildir")); err != nil || len(names) != 1 {
		t.Errorf("account of bob: %q, %v", names, err)
	}
}
