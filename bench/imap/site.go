package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"rtls/internal/imap/server"
	"rtls/internal/testpki"
	"rtls/internal/tlsconf"
	"rtls/store"
)

// site is a server with one user, alice, whose password is secret.
type site struct {
	addr    string
	maildir string
	index   []string // patterns of the files that it makes beside the mail
	pki     *tls.Config
	cmd     *exec.Cmd
	uid     int // that the mail has to belong to
}

// freeAddr finds a port on loopback that nobody has.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (s *site) start(ctx context.Context, cmd *exec.Cmd) error {
	cmd.Stderr = os.Stderr
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

// certificate writes a certificate for a site and returns what its clients trust.
func certificate(dir string) (certFile, keyFile string, pki *tls.Config, err error) {
	ca, err := testpki.New()
	if err != nil {
		return "", "", nil, err
	}
	if certFile, keyFile, err = ca.WriteFiles(dir, "site", testpki.Leaf{Names: []string{"127.0.0.1"}}); err != nil {
		return "", "", nil, err
	}
	caFile := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(caFile, ca.PEM(), 0o600); err != nil {
		return "", "", nil, err
	}
	pki, err = tlsconf.Client(caFile, "127.0.0.1")
	return certFile, keyFile, pki, err
}

func startOurs(ctx context.Context, dir string) (*site, error) {
	dir = filepath.Join(dir, "ours")
	account := filepath.Join(dir, "alice")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	if err := store.Create(account, nil); err != nil {
		return nil, err
	}
	s := &site{maildir: filepath.Join(account, "Maildir"), index: []string{filepath.Join(account, ".rtls")}, uid: -1}
	cert, key, pki, err := certificate(dir)
	if err != nil {
		return nil, err
	}
	s.pki = pki
	if s.addr, err = freeAddr(); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return s, s.start(ctx, exec.Command(self, "serve", s.addr, cert, key, dir))
}

type anyPassword struct{}

func (anyPassword) Login(context.Context, netip.Addr, string, string) (bool, error) { return true, nil }

// serve is the process of our server.
func serve(ctx context.Context, args []string) error {
	config, err := tlsconf.Server(args[1], args[2])
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	s := &server.Server{
		Hostname: "localhost",
		TLS:      config,
		Auth:     anyPassword{},
		OpenAccount: func(_ context.Context, user string) (*store.Account, error) {
			return store.Open(filepath.Join(args[3], user), nil)
		},
	}
	return s.Serve(ctx, l)
}

const dovecotConf = `
base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_cert = <%[2]s
ssl_key = <%[3]s
mail_location = maildir:%[1]s/Maildir
first_valid_uid = 1
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=%[4]d gid=%[5]s home=%[1]s/home
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

func startDovecot(ctx context.Context, dir string) (*site, error) {
	if _, err := os.Stat("/usr/lib/dovecot/imap"); err != nil {
		return nil, fmt.Errorf("dovecot-imapd is not installed: %w", err)
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "dovecot")
	s := &site{maildir: filepath.Join(dir, "Maildir"), index: []string{filepath.Join(dir, "Maildir", "dovecot*")}}
	if s.uid, err = strconv.Atoi(nobody.Uid); err != nil {
		return nil, err
	}
	for _, d := range []string{dir, filepath.Join(dir, "home"), s.maildir, filepath.Join(s.maildir, "cur"), filepath.Join(s.maildir, "new"), filepath.Join(s.maildir, "tmp")} {
		if err := os.Mkdir(d, 0o711); err != nil {
			return nil, err
		}
	}
	if s.addr, err = freeAddr(); err != nil {
		return nil, err
	}
	cert, key, pki, err := certificate(dir)
	if err != nil {
		return nil, err
	}
	s.pki = pki
	_, port, _ := strings.Cut(s.addr, ":")
	conf := filepath.Join(dir, "dovecot.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, dovecotConf, dir, cert, key, s.uid, nobody.Gid, port), 0o600); err != nil {
		return nil, err
	}
	return s, s.start(ctx, exec.Command("dovecot", "-F", "-c", conf))
}

// own gives the mail to whom the server reads it as.
func (s *site) own() error {
	return filepath.WalkDir(filepath.Dir(s.maildir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || path != s.maildir && !strings.HasPrefix(path, s.maildir+"/") && filepath.Base(path) != "home" {
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

// forget removes what the server has worked out. No session may be open.
func (s *site) forget() error {
	list, err := s.files()
	for _, path := range list {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// kib is how much room that takes.
func (s *site) kib() float64 {
	var n int64
	list, _ := s.files()
	for _, path := range list {
		_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
				n += info.Size()
			}
			return nil
		})
	}
	return float64(n) / 1024
}

// processorTime is what the server's processes have used so far.
func (s *site) processorTime() (d time.Duration) {
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
	for pid := range family {
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

// ask runs a command in a session of its own. It returns how long it took, or with
// CPU=1 how much of that the server's processes were running.
func (s *site) ask(command string) (took time.Duration, err error) {
	conn, err := tls.Dial("tcp", s.addr, s.pki)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 256<<10)
	do := func(command string) error {
		if _, err := fmt.Fprintf(conn, "zz9 %s\r\n", command); err != nil {
			return err
		}
		for {
			line, err := r.ReadSlice('\n')
			switch {
			case errors.Is(err, bufio.ErrBufferFull):
			case err != nil:
				return err
			case strings.HasPrefix(string(line[:min(len(line), 7)]), "zz9 OK "):
				return nil
			case strings.HasPrefix(string(line[:min(len(line), 4)]), "zz9 "):
				return fmt.Errorf("%s: %s", command, line)
			}
		}
	}
	for _, c := range []string{"LOGIN alice secret", "SELECT INBOX"} {
		if err := do(c); err != nil {
			return 0, err
		}
	}
	if os.Getenv("CPU") != "" {
		before := s.processorTime()
		err = do(command)
		took = s.processorTime() - before
	} else {
		start := time.Now()
		err = do(command)
		took = time.Since(start)
	}
	if err != nil {
		return 0, err
	}
	return took, do("LOGOUT")
}
