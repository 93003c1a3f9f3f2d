package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rtls/internal/owner"
)

// newUsersHost makes a host of root's whose users have user ids of their own, which it
// returns. One of them the system knows.
func newUsersHost(t *testing.T) (h *mailHost, uids map[string]int) {
	t.Helper()
	h = newMTAHost(t)
	uids = map[string]int{"alice": 61001, "bob": 61002, "carol@example.org": 61003, "dave": 61004}
	uids["games"], _ = ids(t, "games")
	passwd := ""
	for name, uid := range uids {
		dir := filepath.Join(h.root, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, uid, uid); err != nil {
			t.Fatal(err)
		}
		switch name {
		case "games":
		case "dave":
			passwd += fmt.Sprintf("%s:!:%d:%[2]d::::userdb_quota_rule=*:messages=1\n", name, uid)
		default:
			passwd += fmt.Sprintf("%s:!:%d:%[2]d\n", name, uid)
		}
	}
	config, err := os.ReadFile(h.config)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(config), "[store]\n", "[store]\nfirst_system_uid = 1\n", 1)
	for path, text := range map[string]string{filepath.Join(h.dir, "users"): passwd, h.config: text} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Nobody but root may read what is root's.
	for path, mode := range map[string]os.FileMode{h.root: 0o755, h.config: 0o600, filepath.Join(h.dir, "users"): 0o600, filepath.Join(h.dir, "mx.key"): 0o600} {
		if err := errors.Join(os.Chown(path, 0, 0), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	return h, uids
}

// A server of root's takes the mail of such users by LMTP, and what comes of it is theirs.
func testPostfixLMTPUsers(t *testing.T) {
	h, uids := newUsersHost(t)
	p := newPostfix(t, h)
	dir := filepath.Join(h.dir, "queue", "rtls")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h.socket = filepath.Join(dir, "lmtp")
	server := startProcess(t, "LMTP on", exec.Command(filepath.Join(h.dir, "rtls-lda"), "--config", h.config, "--lmtp", "unix:"+h.socket+",mode=0660,group=postfix"))
	p.start(t, h.snippet(t, "postfix-lmtp-users.cf"), "lmtp_tls_loglevel = 1", "local_recipient_maps =")
	p.exercise(t, habits{bounceStatus: true})
	p.submit(t, "<sender@example.com>", plainMail, "games@example.org", "alice+lists@example.org")
	p.await(t, "games", 1)
	p.submit(t, "<sender@example.com>", plainMail, "root@example.org")
	eventually(t, "mail for root is refused", func() bool {
		return strings.Contains(p.log(), "to=<root@example.org>") && strings.Contains(p.log(), "no such user here")
	})

	for name, uid := range uids {
		err := filepath.WalkDir(filepath.Join(h.root, name), func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if got, _, err := owner.Of(path); err != nil || got != uid {
				t.Errorf("%s belongs to %d, %v, not to %d", path, got, err, uid)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	p.checkSecured(t, server)
}
