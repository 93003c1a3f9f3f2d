// Package index is the store's memory of what a directory cannot say: UIDs,
// change numbers, keywords and counters. It defines the interface that an engine
// implements; SQLite is the one there is.
package index

import (
	"context"
	"errors"
	"math"
)

// ErrNoMailbox says that an index has no such mailbox.
var ErrNoMailbox = errors.New("mailbox is not in the index")

// Index is one account's index. It is safe for concurrent use, by several
// processes too.
type Index interface {
	// View runs f on one state of the index, which f must not change.
	View(ctx context.Context, f func(Tx) error) error
	// Update runs f while nobody else can change the index. If f returns nil,
	// what it did is durable when Update returns nil; otherwise none of it has
	// happened.
	Update(ctx context.Context, f func(Tx) error) error
	Close() error
}

// Tx is a transaction. It belongs to the goroutine that runs the function it was
// handed to.
type Tx interface {
	// Mailbox finds a mailbox by its object identifier: ErrNoMailbox.
	Mailbox(object string) (Mailbox, error)
	// MailboxAt finds the mailbox that was last seen at a directory: ErrNoMailbox.
	MailboxAt(dir string) (Mailbox, error)
	// Mailboxes returns all mailboxes, in no order.
	Mailboxes() ([]Mailbox, error)
	// PutMailbox writes a mailbox, a new one if it has the ID 0, and returns it
	// with its ID.
	PutMailbox(m Mailbox) (Mailbox, error)
	// DeleteMailbox forgets a mailbox with all its messages.
	DeleteMailbox(id int64) error

	// Messages calls f for the messages with a ModSeq above since, by UID. Their
	// strings share memory: one that is kept for long is better cloned.
	Messages(id int64, since uint64, f func(Message) error) error
	// NamesInNew returns the names of the messages whose file is in new/.
	NamesInNew(id int64) ([]string, error)
	// Put writes messages, in place of those with their UIDs.
	Put(id int64, messages []Message) error
	// Count counts the messages with UIDs from a UID on.
	Count(id int64, from uint32) (uint32, error)
	// Expunge forgets messages and notes modseq for their UIDs in the log.
	Expunge(id int64, uids []uint32, modseq uint64) error
	// Expunged calls f for the UIDs in the log with a ModSeq above since, by UID.
	Expunged(id int64, since uint64, f func(uid uint32) error) error
	// TrimLog drops the oldest entries of the log so that about keep stay, and
	// returns the highest ModSeq that was dropped.
	TrimLog(id int64, keep int64) (floor uint64, err error)

	// NextUIDValidity returns a number above every one it has returned before,
	// and at least low.
	NextUIDValidity(low uint32) (uint32, error)
}

// Mailbox is what is kept of a mailbox.
type Mailbox struct {
	ID          int64
	Object      string // identifier that stays when the mailbox is renamed
	Dir         string // directory in which it was last seen
	UIDValidity uint32
	UIDNext     uint32
	ModSeq      uint64 // highest of its messages, and of its log
	LogFloor    uint64 // the log is complete for changes above it
	LogLen      int64
	RecentFrom  uint32 // lowest UID that has not been shown as recent

	Messages, Unseen, Deleted uint32
	Size, DeletedSize         int64

	// Stamp of the directory cur/ at the last scan that saw all of it; zero when
	// it has changed since, or may have.
	CurModified, CurChanged int64

	// Cache names the packed view that was written last, see viewcache.go of
	// package store; empty if there is none.
	Cache string
}

// Message is what is kept of a message.
type Message struct {
	UID      uint32
	ModSeq   uint64
	Name     string // of the file, flags included
	New      bool   // the file is in new/, not in cur/
	Size     int64  // octets on the wire
	Date     int64  // internal date, seconds since 1970; NoDate: nobody has looked yet
	Keywords string // sorted, separated by one space
}

// NoDate is the Date of a message whose file nobody has looked at.
const NoDate = math.MinInt64
