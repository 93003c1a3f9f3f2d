// Package faultdisk is what file systems for tests have in common: the n-th call fails,
// or the machine stops at it and forgets what was not made durable.
package faultdisk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// ErrCrash is what every call returns after the crash.
var ErrCrash = errors.New("the machine has stopped")

// Disk counts calls and breaks the one that it was told to break. Reading calls count,
// too. It is safe for concurrent use.
type Disk struct {
	grave string

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

// New returns a disk on which call number n fails with err. grave is an empty directory
// for its own use, on the same file system.
func New(grave string, n int, err error) *Disk {
	return &Disk{grave: grave, broken: n, err: err}
}

// ShortWrite returns one on which the first write from call n on writes half of what it
// was given.
func ShortWrite(grave string, n int) *Disk {
	return &Disk{grave: grave, broken: n, short: true}
}

// Hit says which call was broken; empty if none was reached.
func (d *Disk) Hit() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hit
}

// Step counts a call and says whether it is the one.
func (d *Disk) Step(what string, args ...any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return ErrCrash
	}
	d.calls++
	if d.short || d.calls != d.broken {
		return nil
	}
	d.hit = fmt.Sprintf("call %d: %s %v", d.calls, what, args)
	d.dead = errors.Is(d.err, ErrCrash)
	return &os.PathError{Op: what, Path: fmt.Sprint(args...), Err: d.err}
}

// Shortens says whether a write of n octets is the one to write half.
func (d *Disk) Shortens(what string, n int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	short := d.short && d.hit == "" && d.calls >= d.broken && n > 1
	if short {
		d.hit = fmt.Sprintf("call %d: short %s", d.calls, what)
	}
	return short
}

// Did notes a change of names in directories, and how to undo it.
func (d *Disk) Did(undo func() error, dirs ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ops = append(d.ops, op{dirs: dirs, undo: undo})
}

// Durable notes that what was done so far in some directories cannot be lost any more.
func (d *Disk) Durable(in func(dir string) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.ops {
		for _, dir := range d.ops[i].dirs {
			d.ops[i].durable = d.ops[i].durable || in(dir)
		}
	}
}

// Lose applies the crash to the disk: in each directory the changes of names that
// were not made durable are undone, all but the first keep(directory, how many
// there are).
func (d *Disk) Lose(keep func(dir string, n int) int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	left := make(map[string]int)
	for _, o := range d.ops {
		if !o.durable {
			for _, dir := range o.dirs {
				left[dir]++
			}
		}
	}
	for dir, n := range left {
		left[dir] = keep(dir, n)
	}
	var undone []op
	for _, o := range d.ops {
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

// Bury returns a name for what is removed, so that it can come back.
func (d *Disk) Bury() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.buried++
	return filepath.Join(d.grave, fmt.Sprint(d.buried))
}
