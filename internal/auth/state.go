package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// State is a directory with what a server has to remember from one run to the next:
//
//	salt-key        32 octets, see Gate.SaltKey
//
// Losing it harms nobody: it is made anew. It is the server's alone.
type State struct{ dir string }

// OpenState opens a state directory, and makes it where there is none.
func OpenState(dir string) (*State, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return nil, fmt.Errorf("state directory: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("state directory: %s is not a directory", dir)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("state directory: %s is %w; run chmod 700 %[1]s", dir, ErrPermissions)
	}
	return &State{dir}, nil
}

func (s *State) path(name string) string { return filepath.Join(s.dir, name) }

// SaltKey returns the key that Gate.SaltKey is for, made at the first call.
func (s *State) SaltKey() ([]byte, error) {
	key, err := os.ReadFile(s.path("salt-key"))
	if err == nil && len(key) == sha256.Size {
		return key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	key = make([]byte, sha256.Size)
	rand.Read(key)
	if err := replace(s.path("salt-key"), key, nil); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	return key, nil
}
