package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"rtls/internal/auth"
	"rtls/internal/testpki"
	"rtls/internal/tlsconf"
	"rtls/store"
)

// site is a server.
type site struct {
	addr    string
	root    string   // a directory for each user, with the Maildir in it
	maildir string   // of alice
	index   []string // patterns of the files that it makes beside her mail
	pki     *tls.Config
	command []string
	cmd     *exec.Cmd
	uid     int // that the mail has to belong to; -1: whoever runs this

	delivered int
}

// freeAddr finds a port on loopback that nobody has.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// start starts the server. What it says goes to a file, as on any site.
func (s *site) start(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(filepath.Dir(s.root), "stderr"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.command[0], s.command[1:]...)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd = cmd
	deadline := time.Now().Add(20 * time.Second)
	for {
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Second}, "tcp", s.addr, s.pki)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not answer: %w", cmd.Path, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *site) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	_ = s.cmd.Wait()
}

// certificate writes a certificate for a site and sets what its clients trust.
func (s *site) certificate(dir string) (certFile, keyFile string, err error) {
	ca, err := testpki.New()
	if err != nil {
		return "", "", err
	}
	if certFile, keyFile, err = ca.WriteFiles(dir, "site", testpki.Leaf{Names: []string{"127.0.0.1"}}); err != nil {
		return "", "", err
	}
	caFile := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(caFile, ca.PEM(), 0o600); err != nil {
		return "", "", err
	}
	s.pki, err = tlsconf.Client(caFile, "127.0.0.1")
	return certFile, keyFile, err
}

const (
	password   = "secret"
	freshUsers = 9
)

// users are alice, whose mailbox is large; hashed, whose password Dovecot has to hash
// at each login; fresh, who log in once; and idle, who have little mail.
func users() (names []string) {
	names = []string{"alice", "hashed"}
	for i := range freshUsers {
		names = append(names, fmt.Sprintf("fresh%d", i))
	}
	for i := range idleUsers {
		names = append(names, fmt.Sprintf("idle%d", i))
	}
	return names
}

// startBoth starts both servers, with n messages in alice's INBOX.
func startBoth(ctx context.Context, dir string, n int) (ours, peer *site, err error) {
	if err := os.Chmod(dir, 0o711); err != nil { // Dovecot's processes have other users
		return nil, nil, err
	}
	if ours, err = startOurs(ctx, dir); err != nil {
		return nil, nil, err
	}
	if peer, err = startDovecot(ctx, dir); err != nil {
		ours.stop()
		return nil, nil, err
	}
	err = fill(n, os.Getenv("CRLF") != "", ours.maildir, peer.maildir)
	for i := 0; i < idleUsers && err == nil; i++ {
		user := fmt.Sprintf("idle%d", i)
		err = fill(100, false, ours.maildirOf(user), peer.maildirOf(user))
	}
	if err == nil {
		err = peer.own()
	}
	if err == nil {
		err = errors.Join(ours.makeMailboxes(), peer.makeMailboxes())
	}
	if err != nil {
		ours.stop()
		peer.stop()
	}
	return ours, peer, err
}

func (s *site) maildirOf(user string) string { return filepath.Join(s.root, user, "Maildir") }

// makeMailboxes makes those that messages are copied to.
func (s *site) makeMailboxes() error {
	c, err := s.login("alice")
	if err != nil {
		return err
	}
	if err := c.do("CREATE Sent", "CREATE Copies", "CREATE Moved"); err != nil {
		return err
	}
	return c.leave()
}

const oursConf = `
hostname = "localhost"
[store]
root = "%[1]s/users"
users = "%[1]s/passwd"
[imapd]
listen = ["%[4]s"]
cert = "%[2]s"
key = "%[3]s"
`

// startOurs builds rtls-imapd and runs it as anybody would.
func startOurs(ctx context.Context, dir string) (*site, error) {
	dir = filepath.Join(dir, "ours")
	s := &site{root: filepath.Join(dir, "users"), uid: -1}
	if err := os.MkdirAll(s.root, 0o700); err != nil {
		return nil, err
	}
	program := filepath.Join(dir, "rtls-imapd")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "rtls/cmd/rtls-imapd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as "make build" does
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build rtls-imapd: %w\n%s", err, out)
	}
	db := auth.Open(filepath.Join(dir, "passwd"))
	for _, user := range users() {
		if err := store.Create(filepath.Join(s.root, user), nil); err != nil {
			return nil, err
		}
		if err := db.Add(user, password); err != nil {
			return nil, err
		}
	}
	s.maildir = s.maildirOf("alice")
	s.index = []string{filepath.Join(s.root, "alice", ".rtls")}
	cert, key, err := s.certificate(dir)
	if err != nil {
		return nil, err
	}
	if s.addr, err = freeAddr(); err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "rtls.toml")
	if err := os.WriteFile(conf, fmt.Appendf(nil, oursConf, dir, cert, key, s.addr), 0o600); err != nil {
		return nil, err
	}
	s.command = []string{program, "--config", conf}
	return s, s.start(ctx)
}

// Beyond what any site has to write, these are not Dovecot's defaults: the limits of
// sessions, which the scenarios go beyond.
const dovecotConf = `
base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_cert = <%[2]s
ssl_key = <%[3]s
mail_location = maildir:%[1]s/users/%%u/Maildir
first_valid_uid = 1
mail_max_userip_connections = 100
passdb {
  driver = passwd-file
  args = %[1]s/passwd
}
passdb {
  driver = static
  args = password=` + password + `
}
userdb {
  driver = static
  args = uid=%[4]d gid=%[5]s home=%[1]s/users/%%u
}
service imap-login {
  chroot =
  process_limit = 500
  inet_listener imap {
    port = 0
  }
  inet_listener imaps {
    port = %[6]s
    ssl = yes
  }
}
`

func startDovecot(ctx context.Context, dir string) (*site, error) {
	if _, err := os.Stat("/usr/lib/dovecot/imap"); err != nil {
		return nil, fmt.Errorf("dovecot-imapd is not installed: %w", err)
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "dovecot")
	s := &site{root: filepath.Join(dir, "users")}
	if s.uid, err = strconv.Atoi(nobody.Uid); err != nil {
		return nil, err
	}
	for _, user := range users() {
		for _, d := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(s.maildirOf(user), d), 0o711); err != nil {
				return nil, err
			}
		}
	}
	s.maildir = s.maildirOf("alice")
	s.index = []string{filepath.Join(s.maildir, "dovecot*")}
	if err := s.hash(dir); err != nil {
		return nil, err
	}
	cert, key, err := s.certificate(dir)
	if err != nil {
		return nil, err
	}
	if s.addr, err = freeAddr(); err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(s.addr, ":")
	conf := filepath.Join(dir, "dovecot.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, dovecotConf, dir, cert, key, s.uid, nobody.Gid, port), 0o600); err != nil {
		return nil, err
	}
	s.command = []string{"dovecot", "-F", "-c", conf}
	return s, s.start(ctx)
}

// hash gives Dovecot hashes that cost what ours cost. Users that are not in the file
// have a password that is not hashed.
func (s *site) hash(dir string) error {
	path := filepath.Join(dir, "passwd")
	db := auth.Open(path) // Dovecot reads such files, too
	for _, user := range users() {
		if user == "hashed" || strings.HasPrefix(user, "fresh") {
			if err := db.Add(user, password); err != nil {
				return err
			}
		}
	}
	dovecot, err := user.Lookup("dovecot")
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(dovecot.Uid)
	if err != nil {
		return err
	}
	return os.Chown(path, uid, -1)
}

// own gives the mail to whom the server reads it as.
func (s *site) own() error {
	return filepath.WalkDir(s.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, s.uid, -1)
	})
}

// files are those that the server has made beside the mail.
func (s *site) files() (list []string, err error) {
	for _, pattern := range s.index {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		list = append(list, found...)
	}
	return list, nil
}

// forget removes what the server has worked out, also from its memory. No session may
// be open.
func (s *site) forget(ctx context.Context) error {
	s.stop()
	list, err := s.files()
	for _, path := range list {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return errors.Join(err, s.start(ctx))
}

// kib is how much room that takes.
func (s *site) kib() float64 {
	var n int64
	list, _ := s.files()
	for _, path := range list {
		n += octetsBelow(path)
	}
	return float64(n) / 1024
}

// octetsBelow is how large the files of a directory are.
func octetsBelow(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n
}

// family are the process numbers of the server's processes.
func (s *site) family() map[string]bool {
	family := map[string]bool{strconv.Itoa(s.cmd.Process.Pid): true}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for grown := true; grown; { // a parent can have a higher number than its child
		grown = false
		for _, path := range stats {
			pid := filepath.Base(filepath.Dir(path))
			raw, err := os.ReadFile(path)
			_, rest, ok := strings.Cut(string(raw), ") ")
			if fields := strings.Fields(rest); err == nil && ok && len(fields) > 1 && family[fields[1]] && !family[pid] {
				family[pid], grown = true, true
			}
		}
	}
	return family
}

// processorTime is what the server's processes have used so far.
func (s *site) processorTime() (d time.Duration) {
	for pid := range s.family() {
		threads, _ := filepath.Glob("/proc/" + pid + "/task/*/schedstat")
		for _, path := range threads {
			raw, _ := os.ReadFile(path) // nothing, of one that has ended
			first, _, _ := strings.Cut(string(raw), " ")
			n, _ := strconv.ParseInt(first, 10, 64)
			d += time.Duration(n)
		}
	}
	return d
}

// timed is how long f takes, or with CPU=1 how much of that the server's processes
// were running.
func (s *site) timed(f func() error) (time.Duration, error) {
	if os.Getenv("CPU") != "" {
		before := s.processorTime()
		err := f()
		return s.processorTime() - before, err
	}
	start := time.Now()
	err := f()
	return time.Since(start), err
}
