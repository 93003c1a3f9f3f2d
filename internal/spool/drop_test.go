package spool

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// asEnv makes this binary do one thing as another user.
const asEnv = "RTLS_TEST_SPOOL_AS"

func TestMain(m *testing.M) {
	if what := os.Getenv(asEnv); what != "" {
		verb, dir, _ := strings.Cut(what, ":")
		if err := actAs(verb, dir); err != nil {
			fmt.Println("error:", err)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func actAs(verb, dir string) error {
	s, err := Open(dir, false, Config{})
	if err != nil {
		return err
	}
	switch verb {
	case "add", "choose":
		r := letter()
		if verb == "choose" {
			r.Route = Route{Host: "evil.example.org"}
		}
		id, err := s.Add(r, strings.NewReader(text), nil)
		if err == nil {
			fmt.Print(id)
		}
		return err
	case "flush":
		to := &server{}
		r, err := (&Flusher{Spool: s, Transport: to}).Flush(context.Background())
		if err == nil {
			err = r.Err
		}
		for _, g := range to.got {
			fmt.Printf("%s of %d: %v\n", g.ID, g.UID, g.text == text)
		}
		return err
	}
	// Everything that one is not allowed to do.
	for _, call := range []struct {
		what string
		err  error
	}{
		{"read", func() error { _, err := os.ReadFile(s.path("drop", verb)); return err }()},
		{"remove", os.Remove(s.path("drop", verb))},
		{"rename", os.Rename(s.path("drop", verb), s.path("drop", sampleID))},
		{"list drop", func() error { _, err := os.ReadDir(s.path("drop", "")); return err }()},
		{"list queue", func() error { _, err := os.ReadDir(s.path("queue", "")); return err }()},
		{"write queue", os.WriteFile(s.path("queue", sampleID), nil, 0o600)},
	} {
		if !os.IsPermission(call.err) {
			return fmt.Errorf("%s: %v", call.what, call.err)
		}
	}
	if _, err := s.List(); err != ErrNotOwner {
		return fmt.Errorf("list: %v", err)
	}
	return nil
}

func as(t *testing.T, id uint32, what string) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), asEnv+"="+what, "GORACE=atexit_sleep_ms=0")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s as %d: %v\n%s", what, id, err, out)
	}
	return string(out)
}

// Users without any right leave messages with a flusher that has none either, and
// learn nothing of each other.
func TestDrop(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("it needs several users, and only root can be all of them")
	}
	const owner, alice, mallory = 64001, 64002, 64003
	base := t.TempDir()
	must(t, os.Chmod(filepath.Dir(base), 0o711))
	must(t, os.Chmod(base, 0o711))
	dir := filepath.Join(base, "spool")
	must(t, os.Mkdir(dir, 0o711))
	must(t, os.Chown(dir, owner, owner))
	must(t, os.Chmod(dir, 0o711))
	if out := as(t, alice, "add:"+dir); !strings.Contains(out, ErrNotOwner.Error()) {
		t.Errorf("a spool without a door: %s", out)
	}
	drop := filepath.Join(dir, "drop")
	must(t, os.Mkdir(drop, 0o700))
	must(t, os.Chown(drop, owner, owner))
	must(t, os.Chmod(drop, 0o733|os.ModeSetgid|os.ModeSticky))
	if out := as(t, owner, "flush:"+dir); out != "" { // which makes the other directories
		t.Fatal(out)
	}
	id := as(t, alice, "add:"+dir)
	if !ValidID(id) {
		t.Fatal(id)
	}
	info, err := OS{}.Stat(filepath.Join(drop, id))
	if err != nil || info.Owner != alice || info.Mode != 0o640 {
		t.Errorf("%+v, %v", info, err)
	}
	if out := as(t, mallory, id+":"+dir); out != "" {
		t.Errorf("mallory can: %s", out)
	}
	linked := as(t, alice, "add:"+dir)
	must(t, os.Link(filepath.Join(drop, linked), filepath.Join(base, "other")))
	chosen := as(t, alice, "choose:"+dir)
	root := as(t, 0, "add:"+dir) // who is a stranger here, too
	out := as(t, owner, "flush:"+dir)
	want := fmt.Sprintf("%s of %d: true\n%s of 0: true\n", id, alice, root)
	if out != want {
		t.Errorf("the flusher says %q, want %q", out, want)
	}
	for what, id := range map[string]string{"a server of one's own": chosen, "two names": linked} {
		if _, err := os.Stat(filepath.Join(dir, "failed", id)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if names, err := os.ReadDir(drop); err != nil || len(names) > 0 {
		t.Errorf("left: %v, %v", names, err)
	}
}

// Without the group's bit a dropped file is its writer's alone.
func TestDropMode(t *testing.T) {
	w := newWorld(t)
	s, err := w.open(OS{})
	must(t, err)
	id := stranger(s).put(t, letter())
	info, err := OS{}.Stat(s.path("drop", id))
	if err != nil || info.Mode != 0o600 {
		t.Errorf("%+v, %v", info, err)
	}
}
