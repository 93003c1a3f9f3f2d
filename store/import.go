package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrImporting says that another import into the account is under way.
var ErrImporting = errors.New("another import into this account is under way; wait for its end")

// Import takes in the messages of one source mailbox, each of them once, however often
// it is repeated and wherever it was cut off. It belongs to one goroutine.
//
// A message is known again by the identifier that its source has for it. Two things
// remember that: the file's name, whose key is made of the identifier (I and 32 digits
// in the place of random bits), and the journal of the import (see journal.go). The
// name is there with the message. The journal still knows a message that was moved or
// expunged since; what it knows of it is durable when Close has returned.
type Import struct {
	a       *Account
	m       *Mailbox
	epoch   string
	journal *journal
	made    map[string]uint32 // UIDs by what the keys in the mailbox say
	found   []string          // identifiers that only the mailbox knows: the journal is to learn them
	asked   map[string]bool   // messages that the source still has
	times   map[digest]int    // that content has been seen in this run
	lock    *os.File

	updates map[flagsDelta][]update // that wait
	waiting int                     // how many
	changed int
}

// Imported is what became of the messages of a source.
type Imported struct {
	Added   int   `json:"added"`
	Known   int   `json:"known"`   // imported earlier, or the same as one that was
	Gone    int   `json:"gone"`    // imported earlier, and not in the source any more
	Changed int   `json:"changed"` // of the known ones: flags that the source has changed have come
	Failed  int   `json:"failed"`  // each was named
	Octets  int64 `json:"octets"`  // of those that were added
}

// Add adds what became of others.
func (i *Imported) Add(o Imported) {
	i.Added += o.Added
	i.Known += o.Known
	i.Gone += o.Gone
	i.Changed += o.Changed
	i.Failed += o.Failed
	i.Octets += o.Octets
}

// count counts a message. One that there is no room for is left out, and the others go
// on.
func (i *Imported) count(added bool, size int64, err error) error {
	switch {
	case added:
		i.Added++
		i.Octets += size
	case errors.Is(err, ErrQuota):
		i.Failed++
		return nil
	case err == nil:
		i.Known++
	}
	return err
}

// leftOut is ErrLeftOut if there are such messages.
func (i *Imported) leftOut() error {
	if i.Failed > 0 {
		return fmt.Errorf("%d %w", i.Failed, ErrLeftOut)
	}
	return nil
}

// StartImport starts the import of a source into a mailbox: ErrNoMailbox, ErrImporting.
// The source is whatever tells it from others. An epoch is that in which its identifiers
// of messages have their meaning, as UIDVALIDITY is; of messages that were imported in
// another one, those with the same content are taken to be the same.
func (a *Account) StartImport(ctx context.Context, source, mailbox, epoch string) (_ *Import, err error) {
	m, err := a.Mailbox(ctx, mailbox)
	if err != nil {
		return nil, err
	}
	i := &Import{a: a, m: m, epoch: epoch, asked: make(map[string]bool), times: make(map[digest]int), updates: make(map[flagsDelta][]update)}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.Close())
		}
	}()
	if err := i.start(source); err != nil {
		return nil, fmt.Errorf("start import into mailbox %q: %w", m.name, err)
	}
	return i, nil
}

func (i *Import) start(source string) error {
	dir := i.a.importDir()
	for _, d := range []string{i.a.private(), dir} {
		if err := i.a.fs.Mkdir(d); err == nil {
			if err := i.a.fs.SyncDir(filepath.Dir(d)); err != nil {
				return err
			}
		} else if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	var err error
	if i.lock, err = lockImports(filepath.Join(dir, "lock")); err != nil {
		return err
	}
	if i.journal, err = i.a.openJournal(dir, source, i.m.ObjectID(), i.epoch); err != nil {
		return err
	}
	i.made = make(map[string]uint32)
	for n, s := 0, i.m.Snapshot(); n < s.Len(); n++ {
		if mark, ok := importMark(s.At(n).Key); ok {
			i.made[mark] = s.At(n).UID
		}
	}
	return nil
}

func (a *Account) importDir() string { return filepath.Join(a.private(), "imports") }

// lockImports holds off other imports until the file is closed.
func lockImports(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EWOULDBLOCK):
			err = ErrImporting
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return f, nil
	}
}

// mark is what a key says of the message with an identifier.
func (i *Import) mark(id string) string {
	sum := sha256.Sum256([]byte(i.journal.source + "\x00" + i.m.ObjectID() + "\x00" + i.epoch + "\x00" + id))
	return hex.EncodeToString(sum[:16])
}

// importMark finds the mark in a key.
func importMark(key Key) (string, bool) {
	rest, ok := strings.CutSuffix(string(key), importKeyEnd)
	const markLen = 32
	if !ok || len(rest) < markLen+1 || rest[len(rest)-markLen-1] != 'I' {
		return "", false
	}
	return rest[len(rest)-markLen:], true
}

const importKeyEnd = ".rtls"

// Has says whether a message was imported. It counts as one that the source still has.
func (i *Import) Has(id string) bool {
	first := !i.asked[id]
	i.asked[id] = true
	if i.journal.ids[id] {
		return true
	}
	_, there := i.made[i.mark(id)]
	if there && first {
		i.found = append(i.found, id)
	}
	return there
}

// Start starts the delivery of a message, to be handed to Append when it is written.
func (i *Import) Start(ctx context.Context) (*Delivery, error) { return i.a.Deliver(ctx, i.m.name) }

// Append appends a message that Has does not know. It adds nothing, and returns false,
// if it was imported in another epoch. An empty identifier stands for the content: the
// n-th message of this Import with the same octets is the same each time, and Update is
// called for it. Of the
// keywords those are kept that can be some; a tag's are not among them. On error
// with added set the message is there, and the journal may not know it. The delivery
// is settled in any case.
func (i *Import) Append(ctx context.Context, d *Delivery, id string, meta Meta) (added bool, err error) {
	defer d.Abort()
	content := d.draft.sums.sum()
	sum := digest(content.digest[:16])
	if id == "" {
		i.times[sum]++
		id = fmt.Sprintf("%x.%d", sum, i.times[sum])
		if i.Has(id) {
			return false, i.Update(ctx, id, meta.Flags, meta.Keywords)
		}
	}
	i.asked[id] = true
	flags, keywords := cleanWords(meta.Keywords)
	meta.Flags, meta.Keywords = meta.Flags|flags, keywords
	e := entry{sum: sum, epoch: i.epoch, id: id, flags: newSourceFlags(meta.Flags, keywords), hasFlags: true}
	if i.journal.others[sum] > 0 {
		i.journal.others[sum]--
		e.kind = entrySame
		return false, i.journal.note(e)
	}
	now := i.a.clock()
	d.key = Key(fmt.Sprintf("%d.M%dI%s%s", now.Unix(), now.Nanosecond()/1000, i.mark(id), importKeyEnd))
	if _, err := i.m.Append(ctx, d, meta); err != nil {
		return false, err
	}
	return true, i.journal.note(e)
}

// cleanWords takes the keywords, and the flag that has no letter elsewhere, out of what
// somebody's mail has for keywords. It says nothing of the tag (D10).
func cleanWords(words []string) (flags Flags, keywords []string) {
	for _, word := range words {
		switch {
		case strings.EqualFold(word, forwarded):
			flags |= Passed
		case validKeyword(word):
			keywords = append(keywords, word)
		}
	}
	return flags, keywords
}

// Gone is how many messages were imported earlier and were not asked about: the source
// has them no more, if it was asked about all that it has.
func (i *Import) Gone() (n int) {
	for id := range i.journal.ids {
		if !i.asked[id] {
			n++
		}
	}
	return n
}

// Close ends the import.
func (i *Import) Close() error {
	err := i.m.Close()
	for _, id := range i.found {
		err = errors.Join(err, i.journal.note(entry{epoch: i.epoch, id: id}))
	}
	if i.journal != nil {
		err = errors.Join(err, i.journal.close())
	}
	if i.lock != nil {
		err = errors.Join(err, i.lock.Close())
	}
	return err
}

// ImportReport is told how an import goes, from one goroutine. Either may be nil.
type ImportReport struct {
	Progress Progress
	Failed   func(message string, err error) // a message that was left out
}

// Progress is told how far an export or import has come.
type Progress func(Step)

// Step is how far it has come. All of what is not known is 0.
type Step struct {
	Messages, AllMessages int
	Octets, AllOctets     int64
}

func (r *ImportReport) step(s Step) {
	if r.Progress != nil {
		r.Progress(s)
	}
}

func (r *ImportReport) failed(message string, err error) {
	if r.Failed != nil {
		r.Failed(message, err)
	}
}

// ErrLeftOut says that an import has left out messages and has taken in all others.
var ErrLeftOut = errors.New("messages were left out")
