package owner

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// nobody is a user who has nothing.
const nobody = 65534

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
}

func TestAs(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} { // the second is the test's own, too
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	inside := filepath.Join(dir, "theirs")
	if err := os.Mkdir(inside, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(inside, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	uid, gid, err := Of(inside)
	if err != nil || uid != nobody || gid != nobody {
		t.Fatal(uid, gid, err)
	}
	failed := errors.New("failed")
	err = As(uid, gid, func() error {
		if err := os.WriteFile(filepath.Join(inside, "file"), nil, 0o600); err != nil {
			return err
		}
		if _, err := os.ReadFile("/etc/shadow"); !errors.Is(err, os.ErrPermission) {
			t.Errorf("what only root may read could be read: %v", err)
		}
		return failed
	})
	if !errors.Is(err, failed) {
		t.Fatal(err)
	}
	if uid, gid, err := Of(filepath.Join(inside, "file")); err != nil || uid != nobody || gid != nobody {
		t.Error(uid, gid, err)
	}
	if os.Geteuid() != 0 || os.Getegid() != 0 {
		t.Error("not root any more")
	}
	if _, err := os.ReadFile("/etc/shadow"); err != nil {
		t.Error(err)
	}
}

// Become cannot be undone, so it is tried in a process of its own.
func TestBecome(t *testing.T) {
	needRoot(t)
	if os.Getenv("OWNER_TEST_BECOME") != "" {
		if err := Become(nobody, nobody); err != nil {
			t.Fatal(err)
		}
		groups, err := os.Getgroups()
		if os.Getuid() != nobody || os.Getegid() != nobody || err != nil || len(groups) != 1 || groups[0] != nobody {
			t.Error(os.Getuid(), os.Getegid(), groups, err)
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestBecome$", "-test.v")
	cmd.Env = append(os.Environ(), "OWNER_TEST_BECOME=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
