package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"rtls/internal/commands"
	"rtls/internal/owner"
	"rtls/internal/testpki"
)

const (
	user     = "alice@example.org"
	sender   = "bob@example.com"
	password = "correct horse battery staple"
)

// site is a whole mail site on loopback: configuration, certificates and the
// processes that run it.
type site struct {
	dir string // everything but bin/, temporary
	ca  *testpki.CA

	submission string // host:port of the relay
	imap       string // host:port of rtls-imapd
	procs      []*exec.Cmd
}

func newSite(ctx context.Context) (*site, error) {
	if _, err := os.Stat("cmd/rtls-send"); err != nil {
		return nil, fmt.Errorf("run it at the root of the source tree: %w", err)
	}
	if err := commands.Build(ctx, "bin"); err != nil {
		return nil, err
	}
	const nobody = 65534 // no mail is delivered as root
	if err := owner.Become(nobody, nobody); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "rtls-demo-")
	if err != nil {
		return nil, err
	}
	s := &site{dir: dir}
	if err := s.prepare(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// bin is a command's path, which is relative: whoever runs it may not be let into the
// directories above.
func (s *site) bin(name string) string { return "./bin/" + name }

// prepare writes certificates and configuration.
func (s *site) prepare() error {
	ca, err := testpki.New()
	if err != nil {
		return err
	}
	s.ca = ca
	if err := os.WriteFile(s.path("ca.pem"), ca.PEM(), 0o644); err != nil {
		return err
	}
	if _, _, err := ca.WriteFiles(s.dir, "localhost", testpki.Leaf{Names: []string{"localhost", "127.0.0.1"}}); err != nil {
		return err
	}
	if _, _, err := ca.WriteFiles(s.dir, "other", testpki.Leaf{Names: []string{"mail.example.net"}}); err != nil {
		return err
	}
	if err := os.WriteFile(s.path("password"), []byte(password+"\n"), 0o600); err != nil {
		return err
	}
	if s.submission, err = freeAddr(); err != nil {
		return err
	}
	if s.imap, err = freeAddr(); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(s.submission)
	config := fmt.Sprintf(`# Written by make demo.
hostname = "localhost"

[send.account.demo]
from = %q
host = "localhost"
port = %s
ca_file = %q
user = %q
password_file = %q

[store]
root = %q
users = %q

[lda]
cert = %q
key = %q

[imapd]
listen = [%q]
cert = %q
key = %q
`, sender, port, s.path("ca.pem"), sender, s.path("password"),
		s.path("mail"), s.path("passwd"),
		s.path("localhost.pem"), s.path("localhost.key"),
		s.imap, s.path("localhost.pem"), s.path("localhost.key"))
	return os.WriteFile(s.path("rtls.toml"), []byte(config), 0o600)
}

// start adds the user and starts the three servers as processes.
func (s *site) start(ctx context.Context) error {
	if err := os.Mkdir(s.path("mail"), 0o700); err != nil {
		return err
	}
	add := exec.CommandContext(ctx, s.bin("rtls-imapd"), "--config", s.path("rtls.toml"),
		"user", "add", "--password-file", s.path("password"), user)
	if out, err := add.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", add, err, out)
	}
	if err := s.spawn("IMAPS on", s.bin("rtls-imapd"), "--config", s.path("rtls.toml")); err != nil {
		return err
	}
	// rtls-lda would start this by its whole path, which may be closed to nobody.
	if err := s.spawn("LMTP on", s.bin("rtls-lda-full"), "--config", s.path("rtls.toml"), "--lmtp", "unix:"+s.path("lmtp")); err != nil {
		return err
	}
	return s.spawnRelay("relay", "--listen", s.submission, "--requiretls", "--lmtp", s.path("lmtp"))
}

// spawnRelay starts this program again, as a relay whose events go to
// NAME.log.
func (s *site) spawnRelay(name string, args ...string) error {
	base := []string{"relay", "--ca", s.path("ca.pem"), "--cert", s.path("localhost"), "--log", s.path(name + ".log")}
	return s.spawn("relay on", "/proc/self/exe", append(base, args...)...)
}

// spawn starts a process and waits for its line of readiness, which holds the
// text ready, on standard error. What it writes goes to a file, so that it can
// outlive this process.
func (s *site) spawn(ready, path string, args ...string) error {
	name := s.path(fmt.Sprintf("%02d-%s.stderr", len(s.procs), filepath.Base(path)))
	stderr, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer stderr.Close()
	cmd := exec.Command(path, args...)
	cmd.Stderr = stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the demo, which ends them in order
	if err := cmd.Start(); err != nil {
		return err
	}
	s.procs = append(s.procs, cmd)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		said, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if bytes.Contains(said, []byte(ready)) {
			return nil
		}
		if err := syscall.Kill(cmd.Process.Pid, 0); errors.Is(err, syscall.ESRCH) {
			break
		}
	}
	said, _ := os.ReadFile(name)
	return fmt.Errorf("%s is not ready:\n%s", cmd, said)
}

// close ends what was started, last first, and removes the directory.
func (s *site) close() {
	for i := len(s.procs) - 1; i >= 0; i-- {
		cmd := s.procs[i]
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // its status says nothing: it was told to end
		late.Stop()
	}
	os.RemoveAll(s.dir)
}

// explain prints what a person can do with a site that is left running.
func (s *site) explain(w io.Writer) error {
	if err := s.writeClientFiles(); err != nil {
		return err
	}
	var pids []string
	for _, cmd := range s.procs {
		pids = append(pids, fmt.Sprint(cmd.Process.Pid))
	}
	_, port, _ := net.SplitHostPort(s.imap)
	fmt.Fprintf(w, `
It goes on running. Send mail of your own:

    printf 'Subject: hi\n\nhello\n' | bin/rtls-send --config %[2]s/rtls.toml --requiretls=yes %[1]s

Read it with curl, neomutt or mbsync; the password is in %[2]s/password:

    curl --cacert %[2]s/ca.pem --user '%[1]s:%[3]s' 'imaps://localhost:%[4]s/INBOX?KEYWORD%%20$RequireTLS'
    neomutt -n -F %[2]s/neomuttrc
    mbsync -c %[2]s/mbsyncrc -a && ls %[2]s/mbsync/INBOX/new

End it:

    kill %[5]s; rm -r %[2]s
`, user, s.dir, password, port, strings.Join(pids, " "))
	return nil
}

func (s *site) writeClientFiles() error {
	_, port, _ := net.SplitHostPort(s.imap)
	if err := os.MkdirAll(s.path("mbsync"), 0o700); err != nil {
		return err
	}
	neomutt := fmt.Sprintf(`set folder = "imaps://localhost:%s/"
set spoolfile = "+INBOX"
set imap_user = %q
set imap_pass = %q
set ssl_ca_certificates_file = %q
`, port, user, password, s.path("ca.pem"))
	mbsync := fmt.Sprintf(`IMAPAccount demo
Host localhost
Port %s
User %s
Pass %q
SSLType IMAPS
CertificateFile %s

IMAPStore far
Account demo

MaildirStore near
Path %s/
Inbox %s/INBOX
SubFolders Verbatim

Channel demo
Far :far:
Near :near:
Patterns *
Create Near
SyncState *
`, port, user, password, s.path("ca.pem"), s.path("mbsync"), s.path("mbsync"))
	if err := os.WriteFile(s.path("neomuttrc"), []byte(neomutt), 0o600); err != nil {
		return err
	}
	return os.WriteFile(s.path("mbsyncrc"), []byte(mbsync), 0o600)
}

// freeAddr finds a port on loopback that nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// send pipes a message into rtls-send and returns its exit code and what it
// said.
func (s *site) send(ctx context.Context, raw []byte, args ...string) (code int, said string, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.bin("rtls-send"), append([]string{"--config", s.path("rtls.toml")}, args...)...)
	cmd.Stdin = bytes.NewReader(raw)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	err = cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		err = nil
	}
	if err != nil {
		return 0, "", fmt.Errorf("rtls-send: %w", err)
	}
	return cmd.ProcessState.ExitCode(), strings.TrimSpace(stderr.String()), nil
}

// lines reads a log from an offset and returns its whole lines and the offset
// behind them.
func lines(path string, from int64) (found [][]byte, next int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, from, err
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return nil, from, err
	}
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return found, from, nil
		}
		if err != nil {
			return nil, from, err
		}
		found = append(found, line)
		from += int64(len(line))
	}
}
