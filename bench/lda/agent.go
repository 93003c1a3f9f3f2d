package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// uid and gid are nobody's on Debian. The agents deliver as that user: dovecot-lda
// does not do it as root.
const uid, gid = 65534, 65534

// agent is a program that delivers one message from standard input.
type agent struct {
	name string
	pkg  string // Debian package; empty: ours
	// prepare writes into an empty directory what the agent needs and returns the
	// command that delivers, and the Maildir.
	prepare func(dir string) (argv []string, maildir string, err error)
}

// agents are ours, then its peers.
func agents(bin string) []agent {
	return []agent{
		{"rtls-lda", "", func(dir string) ([]string, string, error) {
			config, err := configure(dir, []string{"u"})
			return []string{bin, "-c", config, "-f", "sender@example.com", "-d", "u", "--queue-id", "4Q1"}, filepath.Join(dir, "store", "u", "Maildir"), err
		}},
		{"dovecot-lda", "dovecot-core", func(dir string) ([]string, string, error) {
			config := filepath.Join(dir, "dovecot.conf")
			maildir := filepath.Join(dir, "Maildir")
			text := fmt.Sprintf("base_dir = %s/run\nlog_path = %s/log\nssl = no\nquota_full_tempfail = yes\nmail_location = maildir:%s\n", dir, dir, maildir)
			return []string{"/usr/lib/dovecot/dovecot-lda", "-c", config, "-f", "sender@example.com"}, maildir, os.WriteFile(config, []byte(text), 0o600)
		}},
		{"maildrop", "maildrop", func(dir string) ([]string, string, error) {
			filter, maildir := filepath.Join(dir, "filter"), filepath.Join(dir, "Maildir")
			if err := makeMaildir(maildir); err != nil {
				return nil, "", err
			}
			return []string{"/usr/bin/maildrop", filter}, maildir, os.WriteFile(filter, []byte("to \""+maildir+"\"\n"), 0o600)
		}},
		{"procmail", "procmail", func(dir string) ([]string, string, error) {
			rc, maildir := filepath.Join(dir, "rc"), filepath.Join(dir, "Maildir")
			if err := makeMaildir(maildir); err != nil {
				return nil, "", err
			}
			text := fmt.Sprintf("MAILDIR=%s\nDEFAULT=%s/\nORGMAIL=%s/\n", dir, maildir, maildir)
			return []string{"/usr/bin/procmail", "-t", "-f", "sender@example.com", rc}, maildir, os.WriteFile(rc, []byte(text), 0o600)
		}},
	}
}

func makeMaildir(dir string) error {
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// configure writes a configuration of rtls-lda for some users.
func configure(dir string, users []string) (config string, err error) {
	config = filepath.Join(dir, "rtls.toml")
	text := fmt.Sprintf("hostname = \"mx.example.org\"\n[store]\nroot = \"%s/store\"\nusers = \"%s/users\"\n[lda]\ncert = \"%s/mx.pem\"\nkey = \"%s/mx.key\"\n", dir, dir, dir, dir)
	if err := os.Mkdir(filepath.Join(dir, "store"), 0o700); err != nil {
		return "", err
	}
	for name, text := range map[string]string{config: text, filepath.Join(dir, "users"): strings.Join(users, ":!\n") + ":!\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	return config, nil
}

// placed is an agent with a directory of its own.
type placed struct {
	agent
	argv    []string
	home    string
	maildir string
}

// place makes an empty directory and the agent's files in it.
func (a agent) place(parent, name string) (*placed, error) {
	p := &placed{agent: a, home: filepath.Join(parent, a.name+"-"+name)}
	if err := os.Mkdir(p.home, 0o700); err != nil {
		return nil, err
	}
	var err error
	if p.argv, p.maildir, err = a.prepare(p.home); err != nil {
		return nil, err
	}
	return p, give(p.home)
}

// give makes all that is in a directory nobody's.
func give(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, uid, gid))
	})
}

func asNobody() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
}

// patience is how long a delivery of one message may take, and hangs what is said of
// one that takes longer.
const (
	patience = 15 * time.Second
	hangs    = "hangs"
)

// deliver runs a delivery, behind a prefix like "strace", and says with which status
// it ended: a number, or the name of a signal.
func (p *placed) deliver(ctx context.Context, message []byte, prefix ...string) (exit string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	argv := append(prefix, p.argv...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = bytes.NewReader(message)
	cmd.Dir = p.home
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + p.home, "USER=nobody", "LOGNAME=nobody", "SHELL=/bin/sh"}
	cmd.SysProcAttr = asNobody()
	cmd.SysProcAttr.Setpgid = true // what strace runs has to end with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err = cmd.Run(); err != nil && cmd.ProcessState == nil {
		return "", err
	}
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", argv, err, out.Bytes())
	}
	if ctx.Err() != nil {
		return hangs, err
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return unix.SignalName(status.Signal()), err
	}
	return fmt.Sprint(status.ExitStatus()), err
}

// version is that of the Debian package.
func (a agent) version(ctx context.Context) (string, error) {
	if a.pkg == "" {
		return "", nil
	}
	out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${Version}", a.pkg).Output()
	return string(out), err
}

// messageOf makes a message of about n octets.
func messageOf(n int, eol string) []byte {
	lines := []string{"From: bob@example.com", "To: alice@example.org", "Subject: bench", "Message-ID: <1@example.com>", ""}
	text := []byte(strings.Join(lines, eol) + eol)
	for len(text) < n {
		text = append(text, "The quick brown fox jumps over the lazy dog, again and again."+eol...)
	}
	return text
}
