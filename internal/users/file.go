package users

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"rtls/internal/config"
)

// File is a file with one line per user, "name:hash:..."; package auth knows what a
// hash is, and Lookup what follows it. Empty lines and those that start with "#" are
// passed over. Where a name stands twice the first line counts. The file is read again
// when it has changed. A File is safe for concurrent use.
type File struct {
	path string

	mu    sync.Mutex // guards what follows
	text  []byte     // never modified, only replaced
	stamp Stamp      // of the file that text came from
}

// Open returns the users in the file at path. It reads nothing yet.
func Open(path string) *File { return &File{path: path} }

// Path is where the file is.
func (u *File) Path() string { return u.path }

// Stamp tells versions of the file apart. The change time is in it for those who
// write into the file within one tick of the modification time.
type Stamp struct {
	dev, ino         uint64
	size             int64
	modified, change time.Time
}

// StampOf is the stamp of a file.
func StampOf(info fs.FileInfo) Stamp {
	s := Stamp{size: info.Size(), modified: info.ModTime()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.dev, s.ino = sys.Dev, sys.Ino
		s.change = time.Unix(sys.Ctim.Unix())
	}
	return s
}

// Text returns what the file holds, which nobody may modify, and its stamp. Its errors
// are those of Known.
func (u *File) Text() ([]byte, Stamp, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	info, err := os.Stat(u.path)
	if err != nil {
		return nil, Stamp{}, u.explain(err)
	}
	if u.text != nil && StampOf(info) == u.stamp {
		return u.text, u.stamp, nil
	}
	text, info, err := Read(u.path)
	if err != nil {
		return nil, Stamp{}, u.explain(err)
	}
	u.text, u.stamp = text, StampOf(info)
	return u.text, u.stamp, nil
}

func (u *File) explain(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there are no users yet; add one with rtls-imapd user add NAME: %w", err)
	}
	return fmt.Errorf("user database: %w", err)
}

// ErrPermissions says that group or others may read the user database.
var ErrPermissions = errors.New("open to group or others")

// maxFile is where a user database stops being one; a million users fit.
const maxFile = 256 << 20

// Read returns a file that only its owner may read, as a user database is, and what it was when it was read.
func Read(path string) ([]byte, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // not to wait for a FIFO's writer
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("%s is not a file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, nil, fmt.Errorf("%s is %w; run chmod 600 %[1]s", path, ErrPermissions)
	case info.Size() > maxFile:
		return nil, nil, fmt.Errorf("%s is too large: %d octets", path, info.Size())
	}
	text := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	_, err = text.ReadFrom(io.LimitReader(f, maxFile))
	return text.Bytes(), info, err
}

// Find returns what stands behind the name in the name's line, and the number of
// the line. It searches the text as it is: for a delivery, which asks once, that is
// a fraction of the time that a table takes to make.
func Find(text []byte, name string) (rest []byte, line int, ok bool) {
	if config.ValidUser(name) != nil || name[0] == '#' {
		return nil, 0, false
	}
	key := []byte(name + ":")
	at := 0
	if !bytes.HasPrefix(text, key) {
		at = bytes.Index(text, append([]byte("\n"), key...)) + 1
		if at == 0 {
			return nil, 0, false
		}
	}
	rest, _, _ = bytes.Cut(text[at+len(key):], []byte("\n"))
	return bytes.TrimSuffix(rest, []byte("\r")), bytes.Count(text[:at], []byte("\n")) + 1, true
}

// Known says whether there is such a user. The error is for a file that cannot be
// read or is open to group or others (ErrPermissions); its text says what to do.
// It wraps fs.ErrNotExist where there is no file.
func (u *File) Known(name string) (bool, error) {
	text, _, err := u.Text()
	if err != nil {
		return false, err
	}
	_, _, ok := Find(text, name)
	return ok, nil
}
