package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rtls/internal/config"
	"rtls/internal/users"
	"rtls/store"
)

// What root would write into an account of somebody else, that user could not use.
func TestAccountOfSomebodyElse(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	c := config.Store{Root: dir, Users: filepath.Join(dir, "passwd")}
	if err := os.WriteFile(c.Users, []byte("alice:*\nbob:*\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &accounts{lookup: users.NewDirectory(c).Lookup, options: &store.Options{Hostname: "localhost"}}
	for _, user := range []string{"alice", "bob"} {
		account, err := a.open(t.Context(), user)
		if err != nil {
			t.Fatal(err)
		}
		if err := account.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := os.Chown(filepath.Join(dir, "bob"), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if _, err := a.open(t.Context(), "bob"); err == nil || !strings.Contains(err.Error(), "belongs to uid 65534, and rtls-imapd serves as uid 0") {
		t.Errorf("got %v", err)
	}
}
