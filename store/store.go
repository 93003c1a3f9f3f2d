package store

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"
)

// Errors that callers branch on. They may come wrapped.
var (
	ErrNoAccount     = errors.New("no such account")
	ErrNoMailbox     = errors.New("no such mailbox")
	ErrNoMessage     = errors.New("no such message")
	ErrMailboxExists = errors.New("mailbox exists already")
	ErrName          = errors.New("mailbox name is not allowed")
	ErrPermissions   = errors.New("account is open to group or others")
)

// Options configure an open account. The zero value works.
type Options struct {
	Clock    func() time.Time // default time.Now; never trusted for order or uniqueness
	Hostname string           // in file names; default os.Hostname
	Logger   *slog.Logger     // default: discard
}

// Create makes the account in dir, with an INBOX, durable when it returns. It
// fails with fs.ErrExist where there is one.
func Create(dir string, opt *Options) error { panic("stub") }

// Account is an open account. It is safe for concurrent use, by any number of
// processes at once.
type Account struct{}

// Open opens the account in dir. It touches no index until a method needs it: a
// delivery does not. It fails with ErrNoAccount where there is none and with
// ErrPermissions where group or others may enter.
func Open(dir string, opt *Options) (*Account, error) { panic("stub") }

// Close releases the account. Deliveries that were not committed are aborted.
func (a *Account) Close() error { panic("stub") }

// Key names a message: the base name of its file up to the first "," or ":".
type Key string

// Meta is what is known of a message apart from its bytes.
type Meta struct {
	Tag      Tag
	Origin   Origin
	Flags    Flags
	Keywords []string  // kept only with Mailbox.Append
	Date     time.Time // internal date; zero means now
}

// Deliver starts the delivery of a message into a mailbox (state S1). The
// mailbox has to exist.
func (a *Account) Deliver(ctx context.Context, mailbox string) (*Delivery, error) { panic("stub") }

// Delivery is a message being written. It belongs to one goroutine.
type Delivery struct{}

var _ io.Writer = (*Delivery)(nil)

// Write appends to the message, whose bytes are kept as they are.
func (d *Delivery) Write(p []byte) (int, error) { panic("stub") }

// Commit makes the message durable and then visible (S1 to S3). When it returns
// nil the message has been delivered; on error nothing was, and the delivery is
// aborted.
func (d *Delivery) Commit(meta Meta) (Key, error) { panic("stub") }

// Abort forgets the delivery and leaves nothing behind. It is always safe to
// call, also after Commit, when it does nothing.
func (d *Delivery) Abort() error { panic("stub") }

// MailboxInfo is one mailbox of a listing.
type MailboxInfo struct {
	Name       string // UTF-8, hierarchy separator "/", INBOX in capitals
	Exists     bool   // false for a subscription without a mailbox
	Subscribed bool
	SpecialUse string // "Sent", "Drafts", "Trash", "Junk", "Archive" or empty (RFC 6154)
}

// Mailboxes lists all mailboxes and subscriptions, sorted by name, INBOX first.
func (a *Account) Mailboxes(ctx context.Context) ([]MailboxInfo, error) { panic("stub") }

// CreateMailbox makes a mailbox, and the mailboxes above it in the hierarchy.
func (a *Account) CreateMailbox(ctx context.Context, name, specialUse string) error { panic("stub") }

// DeleteMailbox removes a mailbox with its messages; those below it stay.
func (a *Account) DeleteMailbox(ctx context.Context, name string) error { panic("stub") }

// RenameMailbox renames a mailbox and those below it. Renaming INBOX moves its
// messages and leaves it empty (RFC 9051 section 6.3.6).
func (a *Account) RenameMailbox(ctx context.Context, from, to string) error { panic("stub") }

// Subscribe sets or clears a subscription; the mailbox need not exist.
func (a *Account) Subscribe(ctx context.Context, name string, on bool) error { panic("stub") }

// Status is what is shown of a mailbox that is not open.
type Status struct {
	Messages, Unseen, Deleted, Recent uint32
	UIDValidity, UIDNext              uint32
	HighestModSeq                     uint64
	Size, DeletedSize                 int64 // octets on the wire
}

// Status brings a mailbox's index up to date and returns its counters. It costs
// what changed, not what is there.
func (a *Account) Status(ctx context.Context, name string) (Status, error) { panic("stub") }

// Mailbox opens a mailbox and brings its index up to date. All callers in a
// process share one view of it.
func (a *Account) Mailbox(ctx context.Context, name string) (*Mailbox, error) { panic("stub") }

// Mailbox is an open mailbox. It is safe for concurrent use. Close it when done.
type Mailbox struct{}

// Close releases the mailbox.
func (m *Mailbox) Close() error { panic("stub") }

// Name is the mailbox's name.
func (m *Mailbox) Name() string { panic("stub") }

// Sync looks at the directories, gives new messages their UIDs, durably, and
// returns the view after it. It is cheap when nothing changed.
func (m *Mailbox) Sync(ctx context.Context) (*Snapshot, error) { panic("stub") }

// Snapshot returns the view of the last change known to this process, at no cost.
func (m *Mailbox) Snapshot() *Snapshot { panic("stub") }

// Watch returns a channel that receives a value some time after each change,
// whoever made it; changes may be merged. It is closed when ctx ends.
func (m *Mailbox) Watch(ctx context.Context) <-chan struct{} { panic("stub") }

// Snapshot is an immutable view of a mailbox, ordered by UID.
type Snapshot struct{}

func (s *Snapshot) UIDValidity() uint32   { panic("stub") }
func (s *Snapshot) UIDNext() uint32       { panic("stub") }
func (s *Snapshot) HighestModSeq() uint64 { panic("stub") }

// Len is the number of messages.
func (s *Snapshot) Len() int { panic("stub") }

// At returns the message with sequence number i+1.
func (s *Snapshot) At(i int) Message { panic("stub") }

// Find returns the index of the message with a UID, or, where there is none, the
// index at which it would stand, and false.
func (s *Snapshot) Find(uid uint32) (int, bool) { panic("stub") }

// Message is one message of a snapshot.
type Message struct {
	UID      uint32
	ModSeq   uint64
	Key      Key
	Size     int64 // octets on the wire: every line ends in CRLF
	Date     time.Time
	Flags    Flags
	Keywords []string // sorted; never to be modified
	Tag      Tag
	Origin   Origin
}

// Flags are the system flags of a message.
type Flags uint8

const (
	Answered Flags = 1 << iota
	Deleted
	Draft
	Flagged
	Passed // $Forwarded
	Seen
)

// FlagOp says what a FlagChange does with its flags and keywords.
type FlagOp uint8

const (
	FlagsAdd FlagOp = iota
	FlagsRemove
	FlagsReplace
)

// FlagChange is a change of flags and keywords.
type FlagChange struct {
	UIDs     []uint32 // those that are not there are passed over
	Op       FlagOp
	Flags    Flags
	Keywords []string

	// With Conditional set, messages whose ModSeq is above UnchangedSince are
	// left alone (RFC 7162 section 3.1.3).
	Conditional    bool
	UnchangedSince uint64
}

// SetFlags changes flags and keywords. It returns the UIDs, in order, of messages
// that a condition kept from being changed. The tag is not a keyword and is out
// of its reach.
func (m *Mailbox) SetFlags(ctx context.Context, change FlagChange) (modified []uint32, err error) {
	panic("stub")
}

// Vanished returns the UIDs, in order, of messages expunged with a ModSeq above
// since. The log of expunged messages is bounded: complete is false when it does
// not reach back that far, and then every UID below UIDNext that is not in the
// snapshot has to be taken for vanished (RFC 7162 section 3.2.5.1).
func (m *Mailbox) Vanished(ctx context.Context, since uint64) (uids []uint32, complete bool, err error) {
	panic("stub")
}

// ClaimRecent returns the lowest UID that no session has been shown as recent
// yet, and takes all messages from there on for the caller (RFC 3501 section
// 2.3.2).
func (m *Mailbox) ClaimRecent(ctx context.Context) (from uint32, err error) { panic("stub") }

// Append commits a delivery started on this mailbox with flags and keywords, and
// returns its UID (S1 to S4).
func (m *Mailbox) Append(ctx context.Context, d *Delivery, meta Meta) (uid uint32, err error) {
	panic("stub")
}

// UIDPair tells where a copied message went.
type UIDPair struct{ Source, Dest uint32 }

// Copy copies messages with flags, keywords, date, tag and origin into another
// mailbox: all or none. uidValidity is the destination's.
func (m *Mailbox) Copy(ctx context.Context, uids []uint32, dest string) (uidValidity uint32, pairs []UIDPair, err error) {
	panic("stub")
}

// Move is Copy, and the messages are gone from here. At no time is a message in
// neither mailbox.
func (m *Mailbox) Move(ctx context.Context, uids []uint32, dest string) (uidValidity uint32, pairs []UIDPair, err error) {
	panic("stub")
}

// Expunge removes the messages with the given UIDs for good, whatever their
// flags.
func (m *Mailbox) Expunge(ctx context.Context, uids []uint32) error { panic("stub") }

// Open opens a message's content.
func (m *Mailbox) Open(ctx context.Context, uid uint32) (*Content, error) { panic("stub") }

// Content is a message in wire form: its bytes, where a line feed that has no
// carriage return before it is preceded by one. Files that have none are read
// in place. It is safe for concurrent reads.
type Content struct{}

var _ io.ReaderAt = (*Content)(nil)

func (c *Content) ReadAt(p []byte, off int64) (int, error) { panic("stub") }

// Size is the number of octets in wire form.
func (c *Content) Size() int64 { panic("stub") }

func (c *Content) Close() error { panic("stub") }
