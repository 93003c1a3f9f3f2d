// Package faultfs is a file system for tests on which the n-th call fails, or at
// which the machine stops and forgets what was not made durable.
package faultfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"rtls/internal/faultdisk"
	"rtls/store/internal/vfs"
)

// ErrCrash is what every call returns after the crash.
var ErrCrash = faultdisk.ErrCrash

// FS wraps another file system on a disk that breaks.
type FS struct {
	*faultdisk.Disk
	under vfs.FS
}

// New returns a file system on which call number n fails with err. grave is an
// empty directory for its own use.
func New(under vfs.FS, grave string, n int, err error) *FS {
	return &FS{faultdisk.New(grave, n, err), under}
}

// ShortWrite makes the first write from call n on write half of what it was given.
func ShortWrite(under vfs.FS, grave string, n int) *FS {
	return &FS{faultdisk.ShortWrite(grave, n), under}
}

func (f *FS) Temp(dir, name string) (vfs.Temp, error) {
	if err := f.Step("temp", dir); err != nil {
		return nil, err
	}
	t, err := f.under.Temp(dir, name)
	if err != nil {
		return nil, err
	}
	return &temp{f: f, t: t}, nil
}

func (f *FS) Open(name string) (vfs.File, error) {
	if err := f.Step("open", name); err != nil {
		return nil, err
	}
	return f.under.Open(name)
}

func (f *FS) Link(from, to string) error {
	if err := f.Step("link", from, to); err != nil {
		return err
	}
	err := f.under.Link(from, to)
	if err == nil {
		f.Did(func() error { return os.Remove(to) }, filepath.Dir(to))
	}
	return err
}

func (f *FS) Rename(from, to string) error {
	if err := f.Step("rename", from, to); err != nil {
		return err
	}
	err := f.under.Rename(from, to)
	if err == nil {
		dirs := []string{filepath.Dir(from)}
		if d := filepath.Dir(to); d != dirs[0] {
			dirs = append(dirs, d)
		}
		f.Did(func() error { return os.Rename(to, from) }, dirs...)
	}
	return err
}

func (f *FS) Remove(name string) error {
	if err := f.Step("remove", name); err != nil {
		return err
	}
	kept := f.Bury()
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = os.Rename(name, kept)
	} else if err = os.Link(name, kept); err == nil {
		err = os.Remove(name)
	}
	if err == nil {
		f.Did(func() error { return os.Rename(kept, name) }, filepath.Dir(name))
	}
	return err
}

func (f *FS) RemoveAll(name string) error {
	if err := f.Step("remove all", name); err != nil {
		return err
	}
	kept := f.Bury()
	err := os.Rename(name, kept)
	if err == nil {
		f.Did(func() error { return os.Rename(kept, name) }, filepath.Dir(name))
	}
	return err
}

func (f *FS) Mkdir(name string) error {
	if err := f.Step("mkdir", name); err != nil {
		return err
	}
	err := f.under.Mkdir(name)
	if err == nil {
		f.Did(func() error { return os.RemoveAll(name) }, filepath.Dir(name))
	}
	return err
}

// Chmod is durable at once: permissions are no part of what can be lost.
func (f *FS) Chmod(name string, mode os.FileMode) error {
	if err := f.Step("chmod", name); err != nil {
		return err
	}
	return f.under.Chmod(name, mode)
}

func (f *FS) Stat(name string) (vfs.Info, error) {
	if err := f.Step("stat", name); err != nil {
		return vfs.Info{}, err
	}
	return f.under.Stat(name)
}

func (f *FS) Names(dir string) ([]string, error) {
	if err := f.Step("list", dir); err != nil {
		return nil, err
	}
	return f.under.Names(dir)
}

func (f *FS) Files(dir string) (names, odd []string, err error) {
	if err := f.Step("list", dir); err != nil {
		return nil, nil, err
	}
	return f.under.Files(dir)
}

// WriteFile is durable and atomic in itself.
func (f *FS) WriteFile(name string, content []byte) error {
	if err := f.Step("write file", name); err != nil {
		return err
	}
	return f.under.WriteFile(name, content)
}

// Append is lost in a crash, or some of it.
func (f *FS) Append(name string, content []byte) error {
	if err := f.Step("append", name, len(content)); err != nil {
		return err
	}
	info, err := f.under.Stat(name)
	if err != nil {
		return err
	}
	size := info.Size
	if f.Shortens("append", len(content)) {
		if err = f.under.Append(name, content[:len(content)/2]); err == nil {
			err = io.ErrShortWrite
		}
		return err
	}
	err = f.under.Append(name, content)
	if err == nil {
		f.Did(func() error {
			err := os.Truncate(name, size+int64(len(content)/2))
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it was removed for good
			}
			return err
		}, name)
	}
	return err
}

func (f *FS) ReadFile(name string) ([]byte, error) {
	if err := f.Step("read file", name); err != nil {
		return nil, err
	}
	return f.under.ReadFile(name)
}

func (f *FS) SyncDir(dir string) error { return f.sync(dir, f.under.SyncDir) }

func (f *FS) SyncFile(name string) error { return f.sync(name, f.under.SyncFile) }

func (f *FS) sync(name string, under func(string) error) error {
	if err := f.Step("sync", name); err != nil {
		return err
	}
	if err := under(name); err != nil {
		return err
	}
	f.Durable(func(d string) bool { return d == name })
	return nil
}

// temp is a Temp whose content is lost in a crash unless it was finished.
type temp struct {
	f        *FS
	t        vfs.Temp
	finished bool
}

func (t *temp) Write(p []byte) (int, error) {
	if err := t.f.Step("write", len(p)); err != nil {
		return 0, err
	}
	if t.f.Shortens("write", len(p)) {
		n, err := t.t.Write(p[:len(p)/2])
		if err == nil {
			err = io.ErrShortWrite
		}
		return n, err
	}
	return t.t.Write(p)
}

func (t *temp) SetTime(when time.Time) error {
	if err := t.f.Step("set time"); err != nil {
		return err
	}
	return t.t.SetTime(when)
}

func (t *temp) Finish() error {
	if err := t.f.Step("finish"); err != nil {
		return err
	}
	t.finished = true
	return t.t.Finish()
}

func (t *temp) Link(name string) error {
	if err := t.f.Step("name", name); err != nil {
		return err
	}
	err := t.t.Link(name)
	if err != nil {
		return err
	}
	if !t.finished {
		return errors.New("faultfs: a file got its name before its content was durable")
	}
	t.f.Did(func() error { return os.Remove(name) }, filepath.Dir(name))
	return nil
}

func (t *temp) Open() (vfs.File, error) {
	if err := t.f.Step("open temporary file"); err != nil {
		return nil, err
	}
	return t.t.Open()
}

func (t *temp) Close() error {
	err := t.f.Step("close")
	return errors.Join(err, t.t.Close())
}
