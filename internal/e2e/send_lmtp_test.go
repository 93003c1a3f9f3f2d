package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// startOnSocket starts f on a Unix socket. The paths of sockets are short, so it is in
// a directory of its own.
func (f *fakesub) startOnSocket(t *testing.T, p *pki) *fakesub {
	t.Helper()
	dir, err := os.MkdirTemp("", "rtls-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	f.socket = filepath.Join(dir, "socket")
	return f.start(t, p)
}

// socketAccount is the configuration of an account at a Unix socket, with a queue.
func socketAccount(t *testing.T, socket string, keys ...string) string {
	t.Helper()
	return fmt.Sprintf("hostname = \"client.example.org\"\n[send]\nspool = %q\n[send.account.test]\nfrom = \"sender@example.org\"\nhost = \"unix:%s\"\n%s\n",
		filepath.Join(t.TempDir(), "spool"), socket, strings.Join(keys, "\n"))
}

// TestConformanceSLocal has the rows about servers on a Unix socket and those that
// deliver.
func TestConformanceSLocal(t *testing.T) {
	p := newPKI(t)
	t.Run("S51_unix_socket", func(t *testing.T) { s51(t, p) })
	t.Run("S52_lmtp", func(t *testing.T) { s52(t, p) })
}

func s51(t *testing.T, p *pki) {
	verified := []string{"tls_name = \"localhost\"", fmt.Sprintf("ca_file = %q", p.caFile)}
	for _, tc := range []struct {
		name string
		f    *fakesub
		keys []string
		args []string
		code int
		says string // where nothing may cross
		mail string // how MAIL ends
	}{
		{"LMTP with STARTTLS", &fakesub{lmtp: true, starttls: true, clear: []string{"STARTTLS"}}, append(verified, "lmtp = true"), []string{yes}, 0, "", " REQUIRETLS"},
		{"SMTP with STARTTLS", &fakesub{starttls: true, clear: []string{"STARTTLS"}}, verified, []string{yes}, 0, "", " REQUIRETLS"},
		{"implicit TLS", &fakesub{lmtp: true}, append(verified, "lmtp = true", `tls = "implicit"`), []string{yes}, 0, "", " REQUIRETLS"},
		{"somebody else", &fakesub{lmtp: true}, []string{`tls_name = "other.example.org"`, fmt.Sprintf("ca_file = %q", p.caFile), "lmtp = true", `tls = "implicit"`}, []string{"--requiretls=auto"}, 69, "5.7.10", ""},
		{"no STARTTLS", &fakesub{lmtp: true, plain: true, clear: without("STARTTLS")}, append(verified, "lmtp = true"), []string{"--requiretls=auto"}, 69, "5.7.10", ""},
		{"no REQUIRETLS", &fakesub{lmtp: true, starttls: true, clear: []string{"STARTTLS"}, ehlo: without("REQUIRETLS")}, append(verified, "lmtp = true"), []string{yes}, 69, "5.7.30", ""},
		{"no TLS, required", &fakesub{lmtp: true, plain: true, clear: everything}, []string{"lmtp = true", `tls = "none"`}, []string{yes}, 69, "5.7.10", ""},
		{"no TLS, required by default", &fakesub{lmtp: true, plain: true, clear: everything}, []string{"lmtp = true", `tls = "none"`}, nil, 69, "5.7.10", ""},
		{"no TLS, not required", &fakesub{lmtp: true, plain: true, clear: everything}, []string{"lmtp = true", `tls = "none"`}, []string{"--requiretls=auto"}, 0, "", " SIZE=149"},
		{"no TLS, SMTP", &fakesub{plain: true, clear: everything}, []string{`tls = "none"`, `requiretls = "auto"`}, nil, 0, "", " SIZE=149"},
		{"not LMTP", &fakesub{plain: true, clear: everything}, []string{"lmtp = true", `tls = "none"`, `requiretls = "auto"`}, nil, 69, "another protocol", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := tc.f.startOnSocket(t, p)
			receipt := filepath.Join(t.TempDir(), "receipt")
			message := "Date: Wed, 25 Nov 2026 01:02:03 +0000\nMessage-ID: <id@example.org>\n" + canary
			r := sends(t, socketAccount(t, f.socket, tc.keys...), message, append(tc.args, "-v", "--receipt", receipt, "b@example.net")...)
			if r.code != tc.code || !strings.Contains(r.stderr, tc.says) {
				t.Errorf("%+v", r)
			}
			if tc.code != 0 {
				f.nothingCrossed(t)
				return
			}
			m := f.one(t)
			if !strings.HasPrefix(m.mail, "MAIL FROM:<sender@example.org>") || !strings.HasSuffix(m.mail, tc.mail) {
				t.Errorf("%q", m.mail)
			}
			proof, err := os.ReadFile(receipt)
			clear := f.plain
			if err != nil || strings.Contains(string(proof), `"verified_by":"none"`) != clear || strings.Contains(string(proof), `"conforming":true`) == clear ||
				clear && !strings.Contains(r.stderr, "over none, requiretls=auto") {
				t.Errorf("%s, %v\n%s", proof, err, r.stderr)
			}
		})
	}
}

// lmtpRefusing answers for some recipients with something else than 250.
func lmtpRefusing(replies map[string]string) *fakesub {
	return &fakesub{lmtp: true, plain: true, clear: everything, script: func(line string, _ bool) string { return replies[line] }}
}

var clearLMTP = []string{"lmtp = true", `tls = "none"`, `requiretls = "auto"`}

// rcpts is who got a message.
func (m *submitted) to() []string {
	var all []string
	for _, line := range m.rcpts {
		addr, _, _ := strings.Cut(strings.TrimPrefix(line, "RCPT TO:<"), ">")
		all = append(all, addr)
	}
	return all
}

// s52: after the text each recipient has an answer of its own. Who has the message does
// not get it again; the queue keeps it for who may get it later; who never will is told
// to the caller or, from the queue, to the sender.
func s52(t *testing.T, p *pki) {
	later := map[string]string{".<c@example.net>": "452 4.2.2 mailbox full"}
	never := map[string]string{".<d@example.net>": "550 5.1.1 no such user"}
	all := []string{"b@example.net", "c@example.net", "d@example.net"}
	var room atomic.Bool // the mailbox is full no more
	start := func(t *testing.T, replies map[string]string) (f *fakesub, config string) {
		f = lmtpRefusing(replies)
		refusing := f.script
		f.script = func(line string, inTLS bool) string {
			if room.Load() {
				return ""
			}
			return refusing(line, inTLS)
		}
		f.startOnSocket(t, p)
		config = filepath.Join(t.TempDir(), "rtls.toml")
		if err := os.WriteFile(config, []byte(socketAccount(t, f.socket, clearLMTP...)), 0o600); err != nil {
			t.Fatal(err)
		}
		return f, config
	}
	command := func(t *testing.T, config string, args ...string) result {
		return runEnv(t, quickExit, strings.NewReader(canary), "rtls-send", append([]string{"-C", config}, args...)...)
	}

	t.Run("some later", func(t *testing.T) {
		f, config := start(t, later)
		if r := command(t, config, all...); r.code != 0 || r.stderr != "" {
			t.Errorf("%+v", r)
		}
		list := command(t, config, "-bp").stdout
		if !strings.Contains(list, "to <c@example.net>\n") || strings.Contains(list, "    to <b@") {
			t.Errorf("queued:\n%s", list)
		}
		room.Store(true)
		if r := command(t, config, "-qI"); r.code != 64 { // a text is needed
			t.Errorf("%+v", r)
		}
		if r := command(t, config, "-qSsender"); r.code != 0 || r.stderr != "" {
			t.Errorf("%+v", r)
		}
		f.stop()
		if len(f.messages) != 2 || !slices.Equal(f.messages[0].to(), []string{all[0], all[2]}) || !slices.Equal(f.messages[1].to(), all[1:2]) {
			t.Errorf("%+v", f.messages)
		}
	})
	room.Store(false)

	t.Run("some never", func(t *testing.T) {
		f, config := start(t, never)
		r := command(t, config, all...)
		if r.code != 65 || !strings.Contains(r.stderr, "5.1.1") || !strings.Contains(r.stderr, "delivered to <b@example.net>, <c@example.net>") {
			t.Errorf("%+v", r)
		}
		if r := command(t, config, "-bP"); r.stdout != "0\n" {
			t.Errorf("%+v", r)
		}
		f.one(t)
	})

	t.Run("all three", func(t *testing.T) {
		f, config := start(t, map[string]string{".<c@example.net>": later[".<c@example.net>"], ".<d@example.net>": never[".<d@example.net>"]})
		r := command(t, config, all...)
		if r.code != 65 || !strings.Contains(r.stderr, "for <c@example.net>\n") {
			t.Errorf("%+v", r)
		}
		if list := command(t, config, "-bp").stdout; !strings.Contains(list, "to <c@example.net>\n    unix:") || strings.Contains(list, "    to <d@") {
			t.Errorf("queued:\n%s", list)
		}
		f.one(t)
	})

	t.Run("from the queue", func(t *testing.T) {
		f, config := start(t, map[string]string{".<c@example.net>": later[".<c@example.net>"], ".<d@example.net>": never[".<d@example.net>"]})
		if r := command(t, config, append([]string{"-odq"}, all...)...); r.code != 0 {
			t.Errorf("%+v", r)
		}
		command(t, config, "-q")
		list := command(t, config, "-bp").stdout
		for _, line := range []string{"to <b@example.net>, has it\n", "to <c@example.net>\n", "to <d@example.net>, refused\n"} {
			if !strings.Contains(list, line) {
				t.Errorf("no %q in\n%s", line, list)
			}
		}
		f.stop()
		if len(f.messages) != 2 || !slices.Equal(f.messages[0].to(), all[:1]) || !slices.Equal(f.messages[1].to(), []string{"sender@example.org"}) ||
			!strings.Contains(string(f.messages[1].raw), "Final-Recipient: rfc822; d@example.net\r\n") || strings.Contains(string(f.messages[1].raw), "c@example.net") {
			t.Errorf("%+v", f.messages)
		}
	})

	t.Run("no queue", func(t *testing.T) {
		f := lmtpRefusing(later).startOnSocket(t, p)
		config := strings.Replace(socketAccount(t, f.socket, clearLMTP...), "spool = ", "state = ", 1)
		r := sends(t, config, canary, all...)
		if r.code != 75 || !strings.Contains(r.stderr, "delivered to <b@example.net>, <d@example.net>") {
			t.Errorf("%+v", r)
		}
		f.one(t)
	})
}

// rtls-send hands a tagged message to rtls-lda, over its Unix socket.
func TestSendToLDA(t *testing.T) {
	h := newMailHost(t, t.TempDir())
	h.serve(t)
	config := socketAccount(t, h.socket, "lmtp = true", `tls_name = "mx.example.org"`, fmt.Sprintf("ca_file = %q", filepath.Join(h.dir, "ca.pem")))
	if r := sends(t, config, canary, "alice@mx.example.org", "carol@example.org"); r.code != 0 || r.stderr != "" {
		t.Fatalf("%+v", r)
	}
	for _, user := range []string{"alice", "carol@example.org"} {
		if m := h.one(t, user); m.tag != "require/esmtp" || !strings.Contains(m.raw, "canary-body") {
			t.Errorf("%s: %s\n%s", user, m.tag, m.raw)
		}
	}
	// The text as a chunk, with a reply for each recipient behind the last.
	r := sends(t, config+"bdat = true\n", canary, "-v", "alice@mx.example.org", "bob@mx.example.org")
	if r.code != 0 || !strings.Contains(r.stderr, "> BDAT ") || h.delivered("alice") != 2 || h.delivered("bob") != 1 {
		t.Errorf("%+v", r)
	}
	r = sends(t, config, "", "--check")
	if r.code != 0 || !strings.Contains(r.stdout, "unix:"+h.socket) || !strings.Contains(r.stdout, "requiretls  yes") {
		t.Errorf("%+v", r)
	}
}

// dovecotLMTP is a Dovecot that does nothing but deliver. %s: its directory.
const dovecotLMTP = `base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
protocols = lmtp
listen = 127.0.0.1
ssl = no
mail_location = maildir:~/Maildir
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=%[1]s/home/%%n allow_all_users=yes
}
service lmtp {
  unix_listener lmtp {
    mode = 0600
  }
}
`

// TestSendToDovecot: Dovecot delivers to one user and not yet to another, whose
// directory is closed. It knows no TLS on its socket, and gets nothing that requires it.
func TestSendToDovecot(t *testing.T) {
	dir, err := os.MkdirTemp("", "rtls-dovecot-") // not t.TempDir: its parents are closed to Dovecot's users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	closed := filepath.Join(dir, "home", "c")
	for path, mode := range map[string]os.FileMode{dir: 0o755, filepath.Join(dir, "home"): 0o777, closed: 0o700} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	conf := filepath.Join(dir, "dovecot.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, dovecotLMTP, dir), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("dovecot", "-F", "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			said, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("Dovecot said:\n%s", said)
		}
	})
	socket := filepath.Join(dir, "run", "lmtp")
	eventually(t, "Dovecot listens", func() bool { _, err := os.Stat(socket); return err == nil })

	inbox := func(user string) int {
		files, _ := filepath.Glob(filepath.Join(dir, "home", user, "Maildir", "new", "*"))
		return len(files)
	}
	config := socketAccount(t, socket, "lmtp = true", `tls = "none"`)
	if r := sends(t, config, canary, "b@example.net"); r.code != 69 || !strings.Contains(r.stderr, "5.7.10") || inbox("b") != 0 {
		t.Errorf("%+v", r)
	}
	lightly := "--requiretls=auto"
	if r := sends(t, config, canary, lightly, "b@example.net", "c@example.net"); r.code != 0 || r.stderr != "" || inbox("b") != 1 {
		t.Errorf("%+v, %d", r, inbox("b"))
	}
	if err := os.Chmod(closed, 0o777); err != nil {
		t.Fatal(err)
	}
	if r := sends(t, config, "", "-qRc@example.net"); r.code != 0 || inbox("b") != 1 || inbox("c") != 1 {
		t.Errorf("%+v, %d and %d", r, inbox("b"), inbox("c"))
	}
}
