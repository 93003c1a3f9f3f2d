package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"time"
)

// dovecot has doveadm work on a Maildir. Its figures include the start of a process,
// 20 ms or so. It keeps its own files elsewhere, and wants a user other than root.
type dovecot struct {
	dir  string
	user *user.User
}

// newDovecot prepares it for a Maildir that root has made; nil where there is no
// doveadm, or we are not root.
func newDovecot(dir, maildir string) (*dovecot, error) {
	if _, err := exec.LookPath("doveadm"); err != nil || os.Getuid() != 0 {
		return nil, nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return nil, nil
	}
	d := &dovecot{dir: filepath.Join(dir, "dovecot"), user: nobody}
	for _, sub := range []string{"", "run", "index", "control"} {
		if err := os.MkdirAll(filepath.Join(d.dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	for _, above := range []string{dir, filepath.Dir(maildir)} {
		if err := os.Chmod(above, 0o755); err != nil {
			return nil, err
		}
	}
	for _, tree := range []string{d.dir, maildir} {
		if err := give(tree, nobody); err != nil {
			return nil, err
		}
	}
	return d, os.WriteFile(d.config(), fmt.Appendf(nil, `base_dir = %[1]s/run
log_path = /dev/stderr
mail_location = maildir:%[2]s:INDEX=%[1]s/index:CONTROL=%[1]s/control
mail_uid = %[3]s
mail_gid = %[4]s
stats_writer_socket_path =
`, d.dir, maildir, nobody.Uid, nobody.Gid), 0o644)
}

func give(tree string, owner *user.User) error {
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(owner.Gid)
	if err != nil {
		return err
	}
	return filepath.WalkDir(tree, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
}

func (d *dovecot) config() string { return filepath.Join(d.dir, "dovecot.conf") }

// do runs a doveadm command and takes its time.
func (d *dovecot) do(args ...string) (time.Duration, error) {
	var stderr bytes.Buffer
	cmd := exec.Command("doveadm", append([]string{"-c", d.config()}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + d.dir, "USER=" + d.user.Username}
	cmd.Stderr = &stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("doveadm %q: %w: %s", args, err, stderr.Bytes())
	}
	return time.Since(start), nil
}
