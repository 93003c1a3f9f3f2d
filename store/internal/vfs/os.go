package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// OS is the operating system's file system.
type OS struct{}

var _ FS = OS{}

const (
	fileMode = 0o600
	dirMode  = 0o700
)

func (OS) Temp(dir, name string) (Temp, error) {
	// A file without a name leaves nothing behind, whatever ends the process.
	// NFS and some others know no such thing.
	fd, err := open(dir, unix.O_TMPFILE|unix.O_WRONLY, fileMode)
	if err == nil {
		return &temp{f: os.NewFile(uintptr(fd), dir)}, nil
	}
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EINVAL) {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return nil, err
	}
	return &temp{f: f, path: path}, nil
}

func open(path string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, mode)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// temp is a file without a name, or with one in path.
type temp struct {
	f    *os.File
	path string
}

func (t *temp) Write(p []byte) (int, error) { return t.f.Write(p) }

func (t *temp) SetTime(when time.Time) error {
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(when.UnixNano())}
	if t.path != "" {
		return unix.UtimesNanoAt(unix.AT_FDCWD, t.path, ts, unix.AT_SYMLINK_NOFOLLOW)
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, t.self(), ts, 0)
}

func (t *temp) self() string { return fmt.Sprintf("/proc/self/fd/%d", t.f.Fd()) }

func (t *temp) Finish() error {
	if err := t.f.Sync(); err != nil {
		return err
	}
	if t.path == "" {
		return nil // it lives as long as it is open
	}
	// Some file systems report a full disk no sooner than here.
	f := t.f
	t.f = nil
	return f.Close()
}

func (t *temp) Link(name string) error {
	if t.path != "" {
		return OS{}.Link(t.path, name)
	}
	err := unix.Linkat(unix.AT_FDCWD, t.self(), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		return &os.LinkError{Op: "link", Old: "temporary file", New: name, Err: err}
	}
	return nil
}

func (t *temp) Open() (File, error) {
	if t.path != "" {
		return OS{}.Open(t.path)
	}
	f, err := os.Open(t.self())
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (t *temp) Close() (err error) {
	if t.f != nil {
		err = t.f.Close()
		t.f = nil
	}
	if t.path != "" {
		err = errors.Join(err, os.Remove(t.path))
		t.path = ""
	}
	return err
}

type file struct{ *os.File }

func (f file) Stat() (Info, error) {
	var st unix.Stat_t
	for {
		err := unix.Fstat(int(f.Fd()), &st)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return Info{}, &os.PathError{Op: "fstat", Path: f.Name(), Err: err}
		}
		return infoOf(&st), nil
	}
}

func (OS) Open(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (OS) Link(from, to string) error { return os.Link(from, to) }

func (OS) Rename(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return renameByLink(from, to)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// renameByLink is for file systems without RENAME_NOREPLACE, such as NFS. A
// directory, which can have no second name, is renamed when nothing is in the way;
// an empty one in the way would be replaced, which loses nothing.
func renameByLink(from, to string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		if _, err := os.Lstat(to); err == nil {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: fs.ErrExist}
		}
		return os.Rename(from, to)
	}
	if err := os.Link(from, to); err != nil {
		return err
	}
	return os.Remove(from)
}

func (OS) Remove(name string) error    { return os.Remove(name) }
func (OS) RemoveAll(name string) error { return os.RemoveAll(name) }
func (OS) Mkdir(name string) error     { return os.Mkdir(name, dirMode) }

// Chmod opens what it changes: only so the system leaves a symbolic link alone.
func (OS) Chmod(name string, mode os.FileMode) error {
	fd, err := open(name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	return os.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), mode)
}

func (OS) Stat(name string) (Info, error) {
	var st unix.Stat_t
	for {
		err := unix.Lstat(name, &st)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return Info{}, &os.PathError{Op: "lstat", Path: name, Err: err}
		}
		return infoOf(&st), nil
	}
}

func infoOf(st *unix.Stat_t) Info {
	mode := os.FileMode(st.Mode & 0o777)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		mode |= os.ModeDir
	default:
		mode |= os.ModeIrregular
	}
	return Info{
		Mode:    mode,
		Size:    st.Size,
		ModTime: time.Unix(st.Mtim.Unix()),
		Inode:   st.Ino,
		Links:   uint64(st.Nlink),
		Owner:   st.Uid,
		Stamp:   Stamp{Modified: st.Mtim.Nano(), Changed: st.Ctim.Nano()},
	}
}

func (o OS) Names(dir string) ([]string, error) {
	names, _, err := o.Files(dir)
	return names, err
}

func (o OS) WriteFile(name string, content []byte) error {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, ".rtls-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails, as it should, after the rename
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return o.SyncDir(dir)
}

func (OS) Append(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

func (OS) SyncFile(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (OS) ReadFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const limit = 16 << 20 // what is larger is none of ours
	content, err := io.ReadAll(io.LimitReader(f, limit))
	if err == nil && len(content) == limit {
		err = fmt.Errorf("%s is too large", name)
	}
	return content, err
}

func (OS) SyncDir(dir string) error {
	fd, err := open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	err = unix.Fsync(fd)
	if cerr := unix.Close(fd); err == nil {
		err = cerr
	}
	if err != nil {
		return &os.PathError{Op: "fsync", Path: dir, Err: err}
	}
	return nil
}
