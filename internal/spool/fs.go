package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// FS is what a spool wants of a file system, so that a test can make each call
// fail, or forget what was not made durable. It is safe for concurrent use.
type FS interface {
	// Create opens a new file in dir that has no name, or a hidden one made of name
	// where the system knows no such files.
	Create(dir, name string, mode os.FileMode) (Draft, error)
	// Open opens a file for reading. It follows no symbolic link and waits for no
	// other end of a pipe.
	Open(name string) (File, error)
	// Rename never replaces a file: fs.ErrExist.
	Rename(from, to string) error
	Remove(name string) error
	// Mkdir makes a directory that only its owner can enter.
	Mkdir(name string) error
	// Stat follows no symbolic link.
	Stat(name string) (Info, error)
	Names(dir string) ([]string, error)
	// WriteFile writes a small file durably, in place of one of that name.
	WriteFile(name string, content []byte) error
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
}

// Draft is a file being written.
type Draft interface {
	io.Writer
	// Finish makes the content durable.
	Finish() error
	// Link gives the finished file a name. It never replaces one: fs.ErrExist.
	Link(name string) error
	// SyncAll makes everything on the file system durable, names too: for who
	// cannot open the directory.
	SyncAll() error
	Close() error
}

// File is a file open for reading.
type File interface {
	io.ReaderAt
	io.Closer
	Info() (Info, error)
	// Lock takes the lock that ends with this File, exclusive or shared. It does not
	// wait: false where others have it.
	Lock(exclusive bool) (bool, error)
}

// Info describes a file.
type Info struct {
	Regular, Dir  bool
	Mode          uint32 // permissions, with set-group-ID and sticky
	Size          int64
	Inode         uint64
	Links         uint64
	Owner         int
	ModTimeSecond int64
}

// OS is the operating system's file system.
type OS struct {
	named bool // as if it knew no files without a name
}

var _ FS = OS{}

// retry repeats a call that a signal has interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func open(path string, flags int, mode os.FileMode) (f *os.File, err error) {
	err = retry(func() error {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, uint32(mode.Perm()))
		if err == nil {
			f = os.NewFile(uintptr(fd), path)
		}
		return err
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return f, nil
}

type draft struct {
	f    *os.File
	path string // of the hidden name; empty: it has none
}

func (o OS) Create(dir, name string, mode os.FileMode) (Draft, error) {
	d := &draft{}
	f, err := open(dir, unix.O_TMPFILE|unix.O_WRONLY, mode)
	if o.named && err == nil {
		err = errors.Join(f.Close(), unix.EOPNOTSUPP)
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EINVAL) {
		d.path = filepath.Join(dir, "."+name)
		f, err = open(d.path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, mode)
	}
	if err != nil {
		return nil, err
	}
	d.f = f
	if err := f.Chmod(mode); err != nil { // whatever the umask is
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *draft) Write(p []byte) (int, error) { return d.f.Write(p) }
func (d *draft) Finish() error               { return d.f.Sync() }

func (d *draft) Link(name string) error {
	if d.path != "" {
		// Not a link: for a moment the file would have two names.
		err := OS{}.Rename(d.path, name)
		if err == nil {
			d.path = ""
		}
		return err
	}
	from := fmt.Sprintf("/proc/self/fd/%d", d.f.Fd())
	if err := unix.Linkat(unix.AT_FDCWD, from, unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW); err != nil {
		return &os.LinkError{Op: "link", Old: "a file without a name", New: name, Err: err}
	}
	return nil
}

func (d *draft) SyncAll() error {
	if err := retry(func() error { return unix.Syncfs(int(d.f.Fd())) }); err != nil {
		return &os.PathError{Op: "syncfs", Path: d.f.Name(), Err: err}
	}
	return nil
}

func (d *draft) Close() error {
	err := d.f.Close()
	if d.path != "" {
		err = errors.Join(err, os.Remove(d.path))
	}
	return err
}

type file struct{ *os.File }

func (OS) Open(name string) (File, error) {
	f, err := open(name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (f file) Info() (Info, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(int(f.Fd()), &st) }); err != nil {
		return Info{}, &os.PathError{Op: "fstat", Path: f.Name(), Err: err}
	}
	return infoOf(&st), nil
}

func (f file) Lock(exclusive bool) (bool, error) {
	how := unix.LOCK_NB | unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_NB | unix.LOCK_EX
	}
	err := retry(func() error { return unix.Flock(int(f.Fd()), how) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
	return true, nil
}

func infoOf(st *unix.Stat_t) Info {
	kind := st.Mode & unix.S_IFMT
	return Info{
		Regular:       kind == unix.S_IFREG,
		Dir:           kind == unix.S_IFDIR,
		Mode:          st.Mode & 0o7777,
		Size:          st.Size,
		Inode:         st.Ino,
		Links:         uint64(st.Nlink),
		Owner:         int(st.Uid),
		ModTimeSecond: st.Mtim.Sec,
	}
}

func (OS) Stat(name string) (Info, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Lstat(name, &st) }); err != nil {
		return Info{}, &os.PathError{Op: "lstat", Path: name, Err: err}
	}
	return infoOf(&st), nil
}

func (OS) Rename(from, to string) error {
	err := retry(func() error {
		return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		if err := os.Link(from, to); err != nil {
			return err
		}
		return os.Remove(from)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func (OS) Remove(name string) error { return os.Remove(name) }
func (OS) Mkdir(name string) error  { return os.Mkdir(name, 0o700) }

func (OS) Names(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

func (o OS) WriteFile(name string, content []byte) error {
	temporary := name + ".new"
	f, err := open(temporary, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temporary, name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return o.SyncDir(filepath.Dir(name))
}

func (OS) SyncDir(dir string) error {
	f, err := open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
