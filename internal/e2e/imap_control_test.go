package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"rtls/internal/imap/control"
	"rtls/internal/testpki"
)

// What rtls-imapd(8) promises of who and kick.
func TestIMAPDWhoAndKick(t *testing.T) {
	p := newPKI(t)
	d := makeIMAPD(t, p, testpki.Leaf{Names: []string{"localhost"}}, `control = "DIR/control"`, `listen_starttls = ["127.0.0.1:0"]`)
	command := func(code int, args ...string) result {
		t.Helper()
		r := run(t, nil, "rtls-imapd", append([]string{"--config", d.path("rtls.toml")}, args...)...)
		if r.code != code {
			t.Fatalf("%q: exit code %d, want %d\n%s%s", args, r.code, code, r.stdout, r.stderr)
		}
		return r
	}
	command(69, "who") // it does not run
	d.addUser(t, "bob@example.org")
	d.start(t)
	if info, err := os.Stat(d.path("control")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	if r := command(0, "who", "--json"); strings.TrimSpace(r.stdout) != "[]" {
		t.Errorf("nobody is there: %s", r.stdout)
	}

	idling, other, bob := d.dial(t, p, nil), d.login(t, p, ""), d.dial(t, p, nil)
	idling.ok(`ID ("name" "test` + "\t" + `" "version" "7" "os" "x")`)
	idling.ok("LOGIN %s %q", imapUser, imapPassword)
	idling.ok("SELECT INBOX")
	idling.write("x IDLE\r\n")
	idling.read()
	bob.ok("LOGIN bob@example.org %q", imapPassword)
	bob.ok("NOOP")
	dialClear(t, d.waitLog(t, regexp.MustCompile(`STARTTLS on (127\.0\.0\.1:\d+)`))[1])

	list := func() []control.Session {
		t.Helper()
		var all []control.Session
		if err := json.Unmarshal([]byte(command(0, "who", "--json").stdout), &all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	all := list()
	if len(all) != 4 {
		t.Fatalf("%d sessions: %+v", len(all), all)
	}
	byRemote := make(map[string]control.Session)
	for _, s := range all {
		byRemote[s.Remote] = s
	}
	s := byRemote[idling.conn.LocalAddr().String()]
	if s.User != imapUser || s.State != "idle" || s.Mailbox != "INBOX" || s.Client != "test? 7" || s.TLS != "TLS 1.3" || !strings.HasPrefix(s.Cipher, "TLS_") ||
		s.In < 100 || s.Out < 1000 || time.Since(s.Since) > imapTimeout {
		t.Errorf("the one that idles: %+v", s)
	}
	if s := byRemote[other.conn.LocalAddr().String()]; s.User != imapUser || s.State != "authenticated" || s.Mailbox != "" {
		t.Errorf("the other: %+v", s)
	}
	if s := all[3]; s.State != "clear" || s.User != "" || s.TLS != "" {
		t.Errorf("the one in clear: %+v", s)
	}
	table := command(0, "who").stdout
	for _, word := range []string{"SESSION", imapUser, "bob@example.org", "INBOX", "idle", "TLS 1.3"} {
		if !strings.Contains(table, word) {
			t.Errorf("%s is missing:\n%s", word, table)
		}
	}

	if r := command(0, "kick", fmt.Sprint(s.ID)); r.stdout != "1 ended\n" {
		t.Errorf("kick: %s", r.stdout)
	}
	if line := idling.read(); !strings.HasPrefix(line, "* BYE ") || !strings.Contains(line, "administrator") {
		t.Errorf("instead of BYE: %s", line)
	}
	idling.closed()
	other.ok("NOOP")
	command(0, "kick", imapUser)
	if line := other.read(); !strings.HasPrefix(line, "* BYE ") {
		t.Errorf("instead of BYE: %s", line)
	}
	other.closed()
	bob.ok("NOOP")
	command(67, "kick", imapUser)
	command(67, "kick", fmt.Sprint(s.ID))
	if all := list(); len(all) != 2 {
		t.Errorf("left: %+v", all)
	}
	d.refusesOthers(t)

	// A server that was killed leaves its socket, and the next one takes it over.
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-d.ended
	d.checked = true
	command(69, "who")
	d.start(t)
	command(0, "who")
}

// refusesOthers asks as nobody, with a socket whose mode would let that pass.
// Relative to its directory, as those above cannot be entered.
func (d *imapd) refusesOthers(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Log("only root can ask as somebody else")
		return
	}
	if err := os.Chmod(d.path("control"), 0o777); err != nil {
		t.Fatal(err)
	}
	script := `import os,socket
os.setuid(65534)
s=socket.socket(socket.AF_UNIX); s.connect("control"); s.sendall(b'{"do":"who"}\n'); print(len(s.recv(1000)))`
	cmd := exec.CommandContext(t.Context(), "python3", "-c", script)
	cmd.Dir = d.dir
	out, _ := cmd.CombinedOutput()
	if text := string(out); strings.TrimSpace(text) != "0" && !strings.Contains(text, "ConnectionReset") && !strings.Contains(text, "BrokenPipe") {
		t.Errorf("nobody gets %s", out)
	}
	d.waitLog(t, regexp.MustCompile(`control refused.*uid=65534`))
}
