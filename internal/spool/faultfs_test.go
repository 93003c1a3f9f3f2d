package spool

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"

	"rtls/internal/faultdisk"
)

// faultFS is a file system on a disk that breaks.
type faultFS struct {
	*faultdisk.Disk
	under FS
}

// some is how many changes of names in a directory a crash leaves.
func some(_ string, n int) int { return rand.IntN(n + 1) }

func (f *faultFS) Create(dir, name string, mode os.FileMode) (Draft, error) {
	if err := f.Step("create", dir); err != nil {
		return nil, err
	}
	d, err := f.under.Create(dir, name, mode)
	if err != nil {
		return nil, err
	}
	return &faultDraft{f: f, Draft: d}, nil
}

func (f *faultFS) Open(name string) (File, error) {
	if err := f.Step("open", name); err != nil {
		return nil, err
	}
	file, err := f.under.Open(name)
	if err != nil {
		return nil, err
	}
	return &faultFile{f, file}, nil
}

func (f *faultFS) Rename(from, to string) error {
	if err := f.Step("rename", from, to); err != nil {
		return err
	}
	err := f.under.Rename(from, to)
	if err == nil {
		f.Did(func() error { return os.Rename(to, from) }, filepath.Dir(from), filepath.Dir(to))
	}
	return err
}

func (f *faultFS) Remove(name string) error {
	if err := f.Step("remove", name); err != nil {
		return err
	}
	kept := f.Bury()
	// The grave must not add to the file's names.
	err := os.Rename(name, kept)
	if err == nil {
		f.Did(func() error { return os.Rename(kept, name) }, filepath.Dir(name))
	}
	return err
}

func (f *faultFS) Mkdir(name string) error {
	if err := f.Step("mkdir", name); err != nil {
		return err
	}
	err := f.under.Mkdir(name)
	if err == nil {
		f.Did(func() error { return os.RemoveAll(name) }, filepath.Dir(name))
	}
	return err
}

func (f *faultFS) Stat(name string) (Info, error) {
	if err := f.Step("stat", name); err != nil {
		return Info{}, err
	}
	return f.under.Stat(name)
}

func (f *faultFS) Names(dir string) ([]string, error) {
	if err := f.Step("list", dir); err != nil {
		return nil, err
	}
	return f.under.Names(dir)
}

// WriteFile is durable and atomic in itself.
func (f *faultFS) WriteFile(name string, content []byte) error {
	if err := f.Step("write file", name); err != nil {
		return err
	}
	return f.under.WriteFile(name, content)
}

func (f *faultFS) SyncDir(dir string) error {
	if err := f.Step("sync", dir); err != nil {
		return err
	}
	f.Durable(func(d string) bool { return d == dir })
	return nil
}

type faultDraft struct {
	Draft
	f        *faultFS
	finished bool
}

func (d *faultDraft) Write(p []byte) (int, error) {
	if err := d.f.Step("write", len(p)); err != nil {
		n, _ := d.Draft.Write(p[:len(p)/2])
		return n, err
	}
	return d.Draft.Write(p)
}

func (d *faultDraft) Finish() error {
	if err := d.f.Step("finish"); err != nil {
		return err
	}
	d.finished = true
	return nil
}

func (d *faultDraft) Link(name string) error {
	if err := d.f.Step("link", name); err != nil {
		return err
	}
	if !d.finished {
		return errors.New("a file got its name before its content was durable")
	}
	err := d.Draft.Link(name)
	if err == nil {
		d.f.Did(func() error { return os.Remove(name) }, filepath.Dir(name))
	}
	return err
}

func (d *faultDraft) SyncAll() error {
	if err := d.f.Step("sync all"); err != nil {
		return err
	}
	d.f.Durable(func(string) bool { return true })
	return nil
}

func (d *faultDraft) Close() error {
	return errors.Join(d.f.Step("close"), d.Draft.Close())
}

type faultFile struct {
	f *faultFS
	File
}

func (o *faultFile) ReadAt(p []byte, at int64) (int, error) {
	if err := o.f.Step("read", at); err != nil {
		return 0, err
	}
	return o.File.ReadAt(p, at)
}

func (o *faultFile) Info() (Info, error) {
	if err := o.f.Step("info"); err != nil {
		return Info{}, err
	}
	return o.File.Info()
}

func (o *faultFile) Lock(exclusive bool) (bool, error) {
	if err := o.f.Step("lock"); err != nil {
		return false, err
	}
	return o.File.Lock(exclusive)
}
