package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
)

// errCrash is what every call returns after the crash.
var errCrash = errors.New("the machine has stopped")

// faultFS is a file system on which the n-th call fails, or at which the machine
// stops and forgets what was not made durable.
type faultFS struct {
	under FS
	grave string // keeps what was removed, on the same file system

	mu     sync.Mutex // guards what follows
	calls  int
	broken int   // number of the call to break; 0 is none
	err    error // what it returns; errCrash stops the machine
	hit    string
	dead   bool
	ops    []nameOp
	buried int
}

// nameOp is a change of names that may not be durable yet.
type nameOp struct {
	dirs    []string
	durable bool
	undo    func() error
}

func (f *faultFS) step(what string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return errCrash
	}
	f.calls++
	if f.calls != f.broken {
		return nil
	}
	f.hit = fmt.Sprintf("call %d: %s %v", f.calls, what, args)
	f.dead = errors.Is(f.err, errCrash)
	return &os.PathError{Op: what, Path: fmt.Sprint(args...), Err: f.err}
}

func (f *faultFS) did(undo func() error, dirs ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops = append(f.ops, nameOp{dirs: dirs, undo: undo})
}

// lose applies the crash to the disk: in each directory some of the changes of names
// that were not made durable are undone, the later ones.
func (f *faultFS) lose() error {
	pending := make(map[string]int)
	for _, o := range f.ops {
		if !o.durable {
			for _, dir := range o.dirs {
				pending[dir]++
			}
		}
	}
	for dir, n := range pending {
		pending[dir] = rand.IntN(n + 1)
	}
	var undone []nameOp
	for _, o := range f.ops {
		if o.durable {
			continue
		}
		lost := false
		for _, dir := range o.dirs {
			lost = lost || pending[dir] <= 0
		}
		for _, dir := range o.dirs {
			pending[dir]--
			if lost {
				pending[dir] = 0
			}
		}
		if lost {
			undone = append(undone, o)
		}
	}
	for i := len(undone) - 1; i >= 0; i-- {
		if err := undone[i].undo(); err != nil {
			return fmt.Errorf("undo: %w", err)
		}
	}
	return nil
}

func (f *faultFS) Create(dir, name string, mode os.FileMode) (Draft, error) {
	if err := f.step("create", dir); err != nil {
		return nil, err
	}
	d, err := f.under.Create(dir, name, mode)
	if err != nil {
		return nil, err
	}
	return &faultDraft{f: f, Draft: d}, nil
}

func (f *faultFS) Open(name string) (File, error) {
	if err := f.step("open", name); err != nil {
		return nil, err
	}
	file, err := f.under.Open(name)
	if err != nil {
		return nil, err
	}
	return &faultFile{f, file}, nil
}

func (f *faultFS) Rename(from, to string) error {
	if err := f.step("rename", from, to); err != nil {
		return err
	}
	err := f.under.Rename(from, to)
	if err == nil {
		f.did(func() error { return os.Rename(to, from) }, filepath.Dir(from), filepath.Dir(to))
	}
	return err
}

func (f *faultFS) Remove(name string) error {
	if err := f.step("remove", name); err != nil {
		return err
	}
	f.mu.Lock()
	f.buried++
	kept := filepath.Join(f.grave, fmt.Sprint(f.buried))
	f.mu.Unlock()
	// The grave must not add to the file's names.
	err := os.Rename(name, kept)
	if err == nil {
		f.did(func() error { return os.Rename(kept, name) }, filepath.Dir(name))
	}
	return err
}

func (f *faultFS) Mkdir(name string) error {
	if err := f.step("mkdir", name); err != nil {
		return err
	}
	err := f.under.Mkdir(name)
	if err == nil {
		f.did(func() error { return os.RemoveAll(name) }, filepath.Dir(name))
	}
	return err
}

func (f *faultFS) Stat(name string) (Info, error) {
	if err := f.step("stat", name); err != nil {
		return Info{}, err
	}
	return f.under.Stat(name)
}

func (f *faultFS) Names(dir string) ([]string, error) {
	if err := f.step("list", dir); err != nil {
		return nil, err
	}
	return f.under.Names(dir)
}

// WriteFile is durable and atomic in itself.
func (f *faultFS) WriteFile(name string, content []byte) error {
	if err := f.step("write file", name); err != nil {
		return err
	}
	return f.under.WriteFile(name, content)
}

func (f *faultFS) SyncDir(dir string) error {
	if err := f.step("sync", dir); err != nil {
		return err
	}
	f.durable(func(d string) bool { return d == dir })
	return nil
}

func (f *faultFS) durable(in func(dir string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.ops {
		for _, d := range f.ops[i].dirs {
			f.ops[i].durable = f.ops[i].durable || in(d)
		}
	}
}

type faultDraft struct {
	Draft
	f        *faultFS
	finished bool
}

func (d *faultDraft) Write(p []byte) (int, error) {
	if err := d.f.step("write", len(p)); err != nil {
		n, _ := d.Draft.Write(p[:len(p)/2])
		return n, err
	}
	return d.Draft.Write(p)
}

func (d *faultDraft) Finish() error {
	if err := d.f.step("finish"); err != nil {
		return err
	}
	d.finished = true
	return nil
}

func (d *faultDraft) Link(name string) error {
	if err := d.f.step("link", name); err != nil {
		return err
	}
	if !d.finished {
		return errors.New("a file got its name before its content was durable")
	}
	err := d.Draft.Link(name)
	if err == nil {
		d.f.did(func() error { return os.Remove(name) }, filepath.Dir(name))
	}
	return err
}

func (d *faultDraft) SyncAll() error {
	if err := d.f.step("sync all"); err != nil {
		return err
	}
	d.f.durable(func(string) bool { return true })
	return nil
}

func (d *faultDraft) Close() error {
	return errors.Join(d.f.step("close"), d.Draft.Close())
}

type faultFile struct {
	f *faultFS
	File
}

func (o *faultFile) ReadAt(p []byte, at int64) (int, error) {
	if err := o.f.step("read", at); err != nil {
		return 0, err
	}
	return o.File.ReadAt(p, at)
}

func (o *faultFile) Info() (Info, error) {
	if err := o.f.step("info"); err != nil {
		return Info{}, err
	}
	return o.File.Info()
}

func (o *faultFile) Lock(exclusive bool) (bool, error) {
	if err := o.f.step("lock"); err != nil {
		return false, err
	}
	return o.File.Lock(exclusive)
}
