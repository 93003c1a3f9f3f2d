// Package faultfs is a file system for tests on which the n-th call fails, or at
// which the machine stops and forgets what was not made durable.
package faultfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"rtls/store/internal/vfs"
)

// ErrCrash is what every call returns after the crash.
var ErrCrash = errors.New("the machine has stopped")

// FS wraps another file system, counts calls and breaks the one that it was told
// to break. Reading calls count, too.
type FS struct {
	under vfs.FS
	grave string // keeps what was removed, on the same file system

	mu     sync.Mutex // guards what follows
	calls  int
	broken int   // number of the call to break; 0 is none
	err    error // what it returns; ErrCrash stops the machine
	short  bool  // break the next write from there on by writing half
	hit    string
	dead   bool
	ops    []op
	buried int
}

// op is a change of names that may not be durable yet.
type op struct {
	dirs    []string // whose names it changes
	durable bool
	undo    func() error
}

// New returns a file system on which call number n fails with err. grave is an
// empty directory for its own use.
func New(under vfs.FS, grave string, n int, err error) *FS {
	return &FS{under: under, grave: grave, broken: n, err: err}
}

// ShortWrite makes the first write from call n on write half of what it was given.
func ShortWrite(under vfs.FS, grave string, n int) *FS {
	return &FS{under: under, grave: grave, broken: n, short: true}
}

// Hit says which call was broken; empty if none was reached.
func (f *FS) Hit() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hit
}

// step counts a call and says whether it is the one.
func (f *FS) step(what string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return ErrCrash
	}
	f.calls++
	if f.short || f.calls != f.broken {
		return nil
	}
	f.hit = fmt.Sprintf("call %d: %s %v", f.calls, what, args)
	f.dead = errors.Is(f.err, ErrCrash)
	return &os.PathError{Op: what, Path: fmt.Sprint(args...), Err: f.err}
}

func (f *FS) did(undo func() error, dirs ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops = append(f.ops, op{dirs: dirs, undo: undo})
}

// Lose applies the crash to the disk: in each directory the changes of names that
// were not made durable are undone, all but the first keep(directory, how many
// there are).
func (f *FS) Lose(keep func(dir string, n int) int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	pending := make(map[string]int)
	for _, o := range f.ops {
		if !o.durable {
			for _, dir := range o.dirs {
				pending[dir]++
			}
		}
	}
	left := make(map[string]int)
	for dir, n := range pending {
		left[dir] = keep(dir, n)
	}
	var undone []op
	for _, o := range f.ops {
		if o.durable {
			continue
		}
		lost := false
		for _, dir := range o.dirs {
			lost = lost || left[dir] <= 0
		}
		for _, dir := range o.dirs {
			left[dir]--
			if lost {
				left[dir] = 0 // what comes later in this directory is lost as well
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

func (f *FS) grave1() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.buried++
	return filepath.Join(f.grave, fmt.Sprint(f.buried))
}

func (f *FS) Temp(dir, name string) (vfs.Temp, error) {
	if err := f.step("temp", dir); err != nil {
		return nil, err
	}
	t, err := f.under.Temp(dir, name)
	if err != nil {
		return nil, err
	}
	return &temp{f: f, t: t}, nil
}

func (f *FS) Open(name string) (vfs.File, error) {
	if err := f.step("open", name); err != nil {
		return nil, err
	}
	return f.under.Open(name)
}

func (f *FS) Link(from, to string) error {
	if err := f.step("link", from, to); err != nil {
		return err
	}
	err := f.under.Link(from, to)
	if err == nil {
		f.did(func() error { return os.Remove(to) }, filepath.Dir(to))
	}
	return err
}

func (f *FS) Rename(from, to string) error {
	if err := f.step("rename", from, to); err != nil {
		return err
	}
	err := f.under.Rename(from, to)
	if err == nil {
		dirs := []string{filepath.Dir(from)}
		if d := filepath.Dir(to); d != dirs[0] {
			dirs = append(dirs, d)
		}
		f.did(func() error { return os.Rename(to, from) }, dirs...)
	}
	return err
}

func (f *FS) Remove(name string) error {
	if err := f.step("remove", name); err != nil {
		return err
	}
	kept := f.grave1()
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
		f.did(func() error { return os.Rename(kept, name) }, filepath.Dir(name))
	}
	return err
}

func (f *FS) RemoveAll(name string) error {
	if err := f.step("remove all", name); err != nil {
		return err
	}
	kept := f.grave1()
	err := os.Rename(name, kept)
	if err == nil {
		f.did(func() error { return os.Rename(kept, name) }, filepath.Dir(name))
	}
	return err
}

func (f *FS) Mkdir(name string) error {
	if err := f.step("mkdir", name); err != nil {
		return err
	}
	err := f.under.Mkdir(name)
	if err == nil {
		f.did(func() error { return os.RemoveAll(name) }, filepath.Dir(name))
	}
	return err
}

// Chmod is durable at once: permissions are no part of what can be lost.
func (f *FS) Chmod(name string, mode os.FileMode) error {
	if err := f.step("chmod", name); err != nil {
		return err
	}
	return f.under.Chmod(name, mode)
}

func (f *FS) Stat(name string) (vfs.Info, error) {
	if err := f.step("stat", name); err != nil {
		return vfs.Info{}, err
	}
	return f.under.Stat(name)
}

func (f *FS) Names(dir string) ([]string, error) {
	if err := f.step("list", dir); err != nil {
		return nil, err
	}
	return f.under.Names(dir)
}

// WriteFile is durable and atomic in itself.
func (f *FS) WriteFile(name string, content []byte) error {
	if err := f.step("write file", name); err != nil {
		return err
	}
	return f.under.WriteFile(name, content)
}

// Append is lost in a crash, or some of it.
func (f *FS) Append(name string, content []byte) error {
	if err := f.step("append", name, len(content)); err != nil {
		return err
	}
	info, err := f.under.Stat(name)
	if err != nil {
		return err
	}
	size := info.Size
	if f.shortens("append", len(content)) {
		if err = f.under.Append(name, content[:len(content)/2]); err == nil {
			err = io.ErrShortWrite
		}
		return err
	}
	err = f.under.Append(name, content)
	if err == nil {
		f.did(func() error {
			err := os.Truncate(name, size+int64(len(content)/2))
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it was removed for good
			}
			return err
		}, name)
	}
	return err
}

// shortens says whether this write is the one to write half.
func (f *FS) shortens(what string, n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	short := f.short && f.hit == "" && f.calls >= f.broken && n > 1
	if short {
		f.hit = fmt.Sprintf("call %d: short %s", f.calls, what)
	}
	return short
}

func (f *FS) ReadFile(name string) ([]byte, error) {
	if err := f.step("read file", name); err != nil {
		return nil, err
	}
	return f.under.ReadFile(name)
}

func (f *FS) SyncDir(dir string) error {
	if err := f.step("sync", dir); err != nil {
		return err
	}
	if err := f.under.SyncDir(dir); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.ops {
		for _, d := range f.ops[i].dirs {
			f.ops[i].durable = f.ops[i].durable || d == dir
		}
	}
	return nil
}

// temp is a Temp whose content is lost in a crash unless it was finished.
type temp struct {
	f        *FS
	t        vfs.Temp
	finished bool
}

func (t *temp) Write(p []byte) (int, error) {
	if err := t.f.step("write", len(p)); err != nil {
		return 0, err
	}
	if t.f.shortens("write", len(p)) {
		n, err := t.t.Write(p[:len(p)/2])
		if err == nil {
			err = io.ErrShortWrite
		}
		return n, err
	}
	return t.t.Write(p)
}

func (t *temp) SetTime(when time.Time) error {
	if err := t.f.step("set time"); err != nil {
		return err
	}
	return t.t.SetTime(when)
}

func (t *temp) Finish() error {
	if err := t.f.step("finish"); err != nil {
		return err
	}
	t.finished = true
	return t.t.Finish()
}

func (t *temp) Link(name string) error {
	if err := t.f.step("name", name); err != nil {
		return err
	}
	err := t.t.Link(name)
	if err != nil {
		return err
	}
	if !t.finished {
		return errors.New("faultfs: a file got its name before its content was durable")
	}
	t.f.did(func() error { return os.Remove(name) }, filepath.Dir(name))
	return nil
}

func (t *temp) Open() (vfs.File, error) {
	if err := t.f.step("open temporary file"); err != nil {
		return nil, err
	}
	return t.t.Open()
}

func (t *temp) Close() error {
	err := t.f.step("close")
	return errors.Join(err, t.t.Close())
}
