package e2e

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rtls/internal/imap/control"
	"rtls/internal/owner"
	"rtls/internal/testpki"
)

// usersIMAPD is a server of root's that is not started yet. Its users have user ids of
// their own, carol root's; whose dave's mail is says his directory.
func usersIMAPD(t *testing.T, p *pki) (d *imapd, uids map[string]int) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can serve several users")
	}
	d = makeIMAPD(t, p, testpki.Leaf{Names: []string{"localhost"}}, `control = "DIR/control"`)
	uids = map[string]int{imapUser: 61001, "bob": 61002, "carol": 0, "dave": 61003}
	for _, name := range []string{"bob", "carol", "dave"} {
		d.addUser(t, name)
	}
	raw, err := os.ReadFile(d.path("passwd"))
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for line := range strings.Lines(string(raw)) {
		if name, _, _ := strings.Cut(line, ":"); name != "dave" {
			line = strings.Replace(line, ":::", fmt.Sprintf(":%d:%[1]d:", uids[name]), 1)
		}
		text += line
	}
	if err := os.WriteFile(d.path("passwd"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, uid := range uids {
		dir := filepath.Join(d.path("mail"), name)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	for dir := d.path("mail"); dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return d, uids
}

// children are the processes that a process has started, by user id.
func children(t *testing.T, pid int) map[int][]int {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	byUID := make(map[int][]int)
	for _, path := range tasks {
		raw, _ := os.ReadFile(path) // the thread may have ended
		for word := range strings.FieldsSeq(string(raw)) {
			child, err := strconv.Atoi(word)
			if err != nil {
				t.Fatal(err)
			}
			if uid, _, err := owner.Of(fmt.Sprintf("/proc/%d", child)); err == nil {
				byUID[uid] = append(byUID[uid], child)
			}
		}
	}
	return byUID
}

// As root, rtls-imapd serves users of the system: each by a process of that user's, which
// touches that user's files and no others.
func TestIMAPDUsers(t *testing.T) {
	p := newPKI(t)
	d, uids := usersIMAPD(t, p)
	deliver := func(name string, args ...string) {
		t.Helper()
		args = append([]string{"--config", d.path("rtls.toml"), "-d", name}, args...)
		r := run(t, strings.NewReader("Subject: hi\n\nhello\n"), "rtls-lda", args...)
		if r.code != 0 {
			t.Fatalf("rtls-lda: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
	}
	deliver(imapUser)
	deliver("bob")
	deliver("dave", "-o", fmt.Sprintf("lda.user=%d:%[1]d", uids["dave"]))
	if r := run(t, nil, "rtls-imapd", "--config", d.path("rtls.toml"), "--check-config"); r.code != 0 {
		t.Fatalf("--check-config: exit code %d\n%s", r.code, r.stderr)
	}
	d.start(t)
	pid := d.cmd.Process.Pid

	conns := make(map[string]*imapConn)
	for name := range uids {
		c := d.dial(t, p, nil)
		if name == "carol" {
			c.fails("NO", "[UNAVAILABLE]", "LOGIN carol %q", imapPassword)
			continue
		}
		c.ok(`ID ("name" "client of %s")`, name)
		c.ok("LOGIN %s %q", name, imapPassword)
		if lines := c.ok("SELECT INBOX"); !slices.Contains(lines, "* 1 EXISTS") {
			t.Errorf("%s: %q", name, lines)
		}
		c.ok(`STORE 1 +FLAGS (\Flagged $Label)`)
		c.append("INBOX", "", []byte("Subject: more\r\n\r\nmore\r\n"))
		c.ok("CREATE Archive")
		c.ok("COPY 1 Archive")
		if lines := c.ok("UID SEARCH TEXT hello"); !slices.Contains(lines, "* SEARCH 1") {
			t.Errorf("%s: %q", name, lines)
		}
		conns[name] = c
	}
	t.Run("files", func(t *testing.T) {
		for name, uid := range uids {
			files := 0
			err := filepath.WalkDir(filepath.Join(d.path("mail"), name), func(path string, e fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				files++
				if got, gid, err := owner.Of(path); err != nil || got != uid || gid != uid {
					t.Errorf("%s belongs to %d:%d, %v, not to %d", path, got, gid, err, uid)
				}
				return nil
			})
			if err != nil || name != "carol" && files < 10 || name == "carol" && files != 1 {
				t.Errorf("%s: %d files, %v", name, files, err)
			}
		}
		fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil || len(fds) < 4 {
			t.Fatal(fds, err)
		}
		for _, fd := range fds {
			if target, _ := os.Readlink(fd); strings.HasPrefix(target, d.path("mail")+"/") && !strings.Contains(target, "/.imapd") {
				t.Errorf("root's process has %s open", target)
			}
		}
	})
	t.Run("processes", func(t *testing.T) {
		all := children(t, pid)
		for name, uid := range uids {
			want := 1
			if name == "carol" {
				want = 0
			}
			if len(all[uid]) != want {
				t.Errorf("%s: processes %v", name, all[uid])
			}
			for _, child := range all[uid] {
				status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", child))
				if err != nil {
					t.Fatal(err)
				}
				for _, field := range []string{"Uid", "Gid"} {
					if want := fmt.Sprintf("\n%s:\t%d\t%[2]d\t%[2]d\t%[2]d\n", field, uid); !strings.Contains(string(status), want) {
						t.Errorf("not %q in\n%s", want, status)
					}
				}
			}
		}
		if len(all) != 3 {
			t.Errorf("processes of users: %v", all)
		}
	})

	// Mail that comes is told by the process of whom it is for.
	conns["bob"].write("x IDLE\r\n")
	conns["bob"].read()
	deliver("bob")
	for line := ""; line != "* 3 EXISTS"; {
		line = conns["bob"].read()
	}
	t.Run("who and kick", func(t *testing.T) {
		list := func() map[string]control.Session {
			r := run(t, nil, "rtls-imapd", "--config", d.path("rtls.toml"), "who", "--json")
			var all []control.Session
			if err := json.Unmarshal([]byte(r.stdout), &all); r.code != 0 || err != nil {
				t.Fatal(r, err)
			}
			byUser := make(map[string]control.Session)
			for _, s := range all {
				byUser[s.User] = s
			}
			return byUser
		}
		all := list()
		if s := all["bob"]; s.State != "idle" || s.Mailbox != "INBOX" || s.Client != "client of bob" || !strings.HasPrefix(s.TLS, "TLS 1.") {
			t.Errorf("got %+v", s)
		}
		if s := all[imapUser]; s.State != "selected" || s.Remote != conns[imapUser].conn.LocalAddr().String() {
			t.Errorf("got %+v", s)
		}
		if r := run(t, nil, "rtls-imapd", "--config", d.path("rtls.toml"), "kick", "bob"); r.code != 0 {
			t.Fatal(r)
		}
		for line := ""; line != "* BYE the administrator has ended this session"; {
			line = conns["bob"].read()
		}
	})
	t.Run("disabled", func(t *testing.T) {
		if r := run(t, nil, "rtls-imapd", "--config", d.path("rtls.toml"), "user", "disable", "dave"); r.code != 0 {
			t.Fatal(r)
		}
		conns["dave"].write("x IDLE\r\n")
		for line := ""; line != "* BYE the user may not log in any more"; {
			line = conns["dave"].read()
		}
	})
	// A process that dies is that user's trouble, and for as long as until the next login.
	before := children(t, pid)[uids[imapUser]]
	if err := syscall.Kill(before[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if line, err := conns[imapUser].tryRead(); err == nil {
		t.Errorf("got %q", line)
	}
	conns[imapUser] = d.login(t, p, "INBOX")
	if after := children(t, pid)[uids[imapUser]]; len(after) != 1 || after[0] == before[0] {
		t.Errorf("processes %v, then %v", before, after)
	}
	// systemd tells all processes to end; sessions hear of it as they always do.
	conns[imapUser].write("x IDLE\r\n")
	conns[imapUser].read()
	var all []int
	for _, pids := range children(t, pid) {
		all = append(all, pids...)
	}
	for _, child := range all {
		if err := syscall.Kill(child, syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
	conns[imapUser].write("DONE\r\n")
	if r := conns[imapUser].tagged("x"); r.status != "OK" {
		t.Errorf("got %+v", r)
	}
	d.terminate(t)
	if line := conns[imapUser].read(); line != "* BYE [UNAVAILABLE] localhost is shutting down" {
		t.Errorf("got %q", line)
	}
	d.wait(t)
	for deadline := time.Now().Add(imapTimeout); ; time.Sleep(10 * time.Millisecond) {
		all = slices.DeleteFunc(all, func(pid int) bool { return syscall.Kill(pid, 0) != nil })
		if len(all) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("processes are left: %v", all)
		}
	}
}

// Where root stays root, what it writes must be in a place that nobody else can change.
func TestIMAPDUsersRefused(t *testing.T) {
	p := newPKI(t)
	d, _ := usersIMAPD(t, p)
	if err := os.Chown(d.path("mail"), 61009, 61009); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--check-config"}, nil} {
		r := run(t, nil, "rtls-imapd", append([]string{"--config", d.path("rtls.toml")}, args...)...)
		if r.code != 78 || !strings.Contains(r.stderr, "mail is not root's alone") || !strings.Contains(r.stderr, "write state = ") {
			t.Errorf("%q: exit code %d\n%s", args, r.code, r.stderr)
		}
	}
	if r := run(t, nil, "rtls-imapd", "--worker"); r.code != 64 || !strings.Contains(r.stderr, "nobody's mail is served as root") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
}
