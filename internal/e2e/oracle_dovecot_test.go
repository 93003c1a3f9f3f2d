package e2e

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"rtls/internal/testpki"
)

// dovecot is a running Dovecot. Every user exists, has imapPassword, and keeps mail
// in mail/USER.
type dovecot struct {
	dir, addr string
	uid, gid  int
}

const dovecotOracleConf = `base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_cert = <%[2]s
ssl_key = <%[3]s
mail_location = maildir:%[1]s/mail/%%u
mail_attribute_dict = file:%[1]s/mail/%%u/dovecot-attributes
first_valid_uid = 1
auth_failure_delay = 0
mail_max_userip_connections = 100
protocol imap {
  imap_metadata = yes
}
namespace inbox {
  inbox = yes
  separator = /
}
passdb {
  driver = static
  args = password=%[7]s
}
userdb {
  driver = static
  args = uid=%[4]d gid=%[5]d home=%[1]s/home/%%u
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service imap-login {
  chroot =
  inet_listener imap {
    port = 0
  }
  inet_listener imaps {
    port = %[6]s
    ssl = yes
  }
}
`

// startDovecot starts Debian's dovecot-imapd with a certificate for localhost. It has
// to be started by root, whom it does not serve as.
func startDovecot(t *testing.T, p *pki) *dovecot {
	t.Helper()
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: its parents are closed to Dovecot's users.
	dir, err := os.MkdirTemp("", "rtls-dovecot-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	d := &dovecot{dir: dir}
	d.uid, _ = strconv.Atoi(nobody.Uid)
	d.gid, _ = strconv.Atoi(nobody.Gid)
	for _, sub := range []string{"", "home", "mail"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d.own(t, filepath.Join(dir, "home"))
	d.own(t, filepath.Join(dir, "mail"))
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.addr = free.Addr().String()
	free.Close()
	_, port, _ := strings.Cut(d.addr, ":")
	cert, key, err := p.WriteFiles(dir, "server", testpki.Leaf{Names: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "dovecot.conf")
	text := fmt.Sprintf(dovecotOracleConf, dir, cert, key, d.uid, d.gid, port, strings.ReplaceAll(imapPassword, " ", ""))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d.start(t, exec.Command("dovecot", "-F", "-c", conf))
	return d
}

// start starts the process and waits until it accepts connections. The end of the
// test ends it.
func (d *dovecot) start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start Dovecot, which make setup installs: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
	})
	for deadline := time.Now().Add(imapTimeout); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", d.addr)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-ended:
			log, _ := os.ReadFile(filepath.Join(d.dir, "log"))
			t.Fatalf("Dovecot ended: %s\n%s", cmd.ProcessState, log)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// own gives files to the user that Dovecot serves as.
func (d *dovecot) own(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, d.uid, d.gid)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// put puts a message into a user's INBOX. Messages get their UIDs in the order of n.
func (d *dovecot) put(t *testing.T, user string, n int, raw []byte, date time.Time) {
	t.Helper()
	dir := filepath.Join(d.dir, "mail", user)
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	temp := filepath.Join(dir, "tmp", fmt.Sprint(n))
	if err := os.WriteFile(temp, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(temp, date, date); err != nil {
		t.Fatal(err)
	}
	d.own(t, dir)
	if err := os.Rename(temp, filepath.Join(dir, "new", fmt.Sprintf("%d.M%06dP1.oracle", date.Unix(), n))); err != nil {
		t.Fatal(err)
	}
}
