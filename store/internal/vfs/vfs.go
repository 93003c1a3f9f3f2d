// Package vfs is the store's file system: the few operations that a message's
// life takes, so that a test can make each of them fail, or forget what was not
// made durable.
package vfs

import (
	"io"
	"os"
	"time"
)

// FS is a file system. Names are paths. It is safe for concurrent use.
type FS interface {
	// Temp opens a file for a message that nobody else can see: in the
	// directory dir, without a name where the system knows how, else with name.
	Temp(dir, name string) (Temp, error)
	// Open opens a file for reading.
	Open(name string) (File, error)
	// Link gives a file a second name. It never replaces one.
	Link(from, to string) error
	// Rename renames a file or directory. It never replaces one: fs.ErrExist.
	Rename(from, to string) error
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// RemoveAll removes a directory with all that is in it.
	RemoveAll(name string) error
	// Mkdir makes a directory that only its owner can enter.
	Mkdir(name string) error
	// Chmod sets the permissions of a file or directory; it follows no symbolic link.
	Chmod(name string, mode os.FileMode) error
	// Stat follows no symbolic link.
	Stat(name string) (Info, error)
	// Names lists a directory in no order. While others rename in it, names can
	// be missing and others can come twice.
	Names(dir string) ([]string, error)
	// Files is Names, and tells as well which of them may be something else than a
	// regular file: all of them where the file system does not say in a listing.
	Files(dir string) (names, odd []string, err error)
	// WriteFile writes a small file durably, in place of one of that name.
	WriteFile(name string, content []byte) error
	// Append adds to a file that is there, with one call of the system. What it has
	// added is not durable, and an error can leave some of it.
	Append(name string, content []byte) error
	// SyncFile makes durable what was added to a file.
	SyncFile(name string) error
	// ReadFile reads a small file.
	ReadFile(name string) ([]byte, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
}

// Temp is a file being written. It belongs to one goroutine, but for Link and Open.
type Temp interface {
	io.Writer
	// SetTime sets the time of last modification.
	SetTime(t time.Time) error
	// Finish makes the content durable; nothing can be written after it.
	Finish() error
	// Link gives the finished file a name that others see, as often as it is
	// called, by several goroutines too. It never replaces one: fs.ErrExist.
	Link(name string) error
	// Open opens the finished file for reading.
	Open() (File, error)
	// Close releases the file and whatever temporary name it has. It does not
	// take back a Link.
	Close() error
}

// File is a file open for reading.
type File interface {
	io.ReaderAt
	io.Closer
	// Stat describes the open file, whatever name it has by now.
	Stat() (Info, error)
}

// Info is what the store wants to know of a file or directory.
type Info struct {
	Mode    os.FileMode
	Size    int64
	ModTime time.Time
	Inode   uint64
	Links   uint64
	Owner   uint32
	Stamp   Stamp
}

// Stamp changes whenever a directory does, within the granularity of the file
// system's clock.
type Stamp struct{ Modified, Changed int64 } // nanoseconds
