package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"rtls/internal/users"
)

// State is a directory with what a server has to remember from one run to the next:
//
//	salt-key                  32 octets, see Gate.SaltKey
//	throttle                  see throttleFile
//	app-passwords/USER/NAME   an empty file, changed when the app password was last used
//
// Losing it does no harm that lasts: it is made anew. It belongs to one server, and
// commands of the administrator look into it. It is safe for concurrent use.
type State struct {
	dir    string
	logger *slog.Logger

	mu   sync.Mutex // guards what follows
	used map[string]time.Time
}

// MakeState opens a state directory for a server, and makes it where there is none.
func MakeState(dir string, logger *slog.Logger) (*State, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	return OpenState(dir, logger)
}

// OpenState opens a state directory that is there: it fails with fs.ErrNotExist.
func OpenState(dir string, logger *slog.Logger) (*State, error) {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return nil, fmt.Errorf("state directory: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("state directory: %s is not a directory", dir)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("state directory: %s is %w; run chmod 700 %[1]s", dir, users.ErrPermissions)
	}
	return &State{dir: dir, logger: logger, used: make(map[string]time.Time)}, nil
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
	if err := replace(s.path("salt-key"), key, -1, -1); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	return key, nil
}

// usedStep is how exactly the last use of an app password is known, so that a login
// does not cost a write.
const usedStep = time.Hour

func (s *State) usedFile(user, app string) string {
	return filepath.Join(s.path("app-passwords"), user, app)
}

// Use notes that an app password was used.
func (s *State) Use(user, app string) {
	now, key := time.Now(), user+"/"+app
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.used[key]) < usedStep {
		return
	}
	if len(s.used) >= maxRecords {
		clear(s.used) // each costs a write to get back
	}
	s.used[key] = now
	if err := touch(s.usedFile(user, app), now); err != nil {
		s.logger.Warn("the use of an app password was not noted", "user", user, "app", app, "err", err)
	}
}

func touch(path string, now time.Time) error {
	err := os.Chtimes(path, now, now)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// Used says when an app password was last used; ok is false if nobody knows.
func (s *State) Used(user, app string) (at time.Time, ok bool) {
	info, err := os.Stat(s.usedFile(user, app))
	if err != nil {
		return time.Time{}, false
	}
	return info.ModTime(), true
}

// Forget takes out what is known of an app password, or of a user if app is empty.
func (s *State) Forget(user, app string) error {
	path := s.usedFile(user, app)
	if app != "" {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return os.RemoveAll(path)
}
