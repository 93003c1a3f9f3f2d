package fulltext

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"rtls/internal/imap/search"
	"rtls/store"
)

// Index is the text index of an account. It is safe for concurrent use, by any number
// of processes at once.
type Index struct {
	account *store.Account
	dir     string
	log     *slog.Logger

	writing sync.Mutex // who writes holds it, and the file lock

	mu    sync.Mutex // guards what follows
	set   *set
	stamp time.Time         // of the directory when set was read
	done  map[string]uint32 // by mailbox: UIDs below are known to be in the index
}

// ErrBusy says that another process writes the index.
var ErrBusy = errors.New("text index is being written by another process")

// New returns the index of an account, without looking whether there is one.
func New(account *store.Account, log *slog.Logger) *Index {
	return &Index{
		account: account, dir: account.CacheDir("text"), log: log,
		set: newSet(nil), done: make(map[string]uint32),
	}
}

// Reader returns a Reader for a mailbox.
func (x *Index) Reader(box *store.Mailbox) *Reader {
	return &Reader{box: box, snap: box.Snapshot(), set: x.current(), trouble: x.remove}
}

// current is the set that the directory has now.
func (x *Index) current() *set {
	x.mu.Lock()
	defer x.mu.Unlock()
	info, err := os.Stat(x.dir)
	if err != nil {
		x.stamp = time.Time{}
		if x.set.docs > 0 {
			x.set = newSet(nil)
			clear(x.done)
		}
		return x.set
	}
	if !info.ModTime().Equal(x.stamp) {
		x.stamp = info.ModTime()
		x.load()
	}
	return x.set
}

// load reads the segments that are new. It must be called with mu held.
func (x *Index) load() {
	names, err := os.ReadDir(x.dir)
	if err != nil {
		x.log.Warn("read text index", "dir", x.dir, "err", err)
		names = nil
	}
	have := make(map[uint64]*segment)
	for _, s := range x.set.segments {
		have[s.id] = s
	}
	var segments []*segment
	gone := len(have)
	for _, name := range names {
		id, ok := idOf(name.Name())
		if !ok {
			continue
		}
		s := have[id]
		if s != nil {
			gone--
		} else if s, err = readSegment(x.dir, id); err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				x.removeFile(filepath.Join(x.dir, name.Name()), err)
			}
			continue
		}
		segments = append(segments, s)
	}
	before := x.set.docs
	x.set = newSet(segments)
	if gone > 0 && x.set.docs < before {
		clear(x.done) // some may not be there any more
	}
}

// remove takes a segment away that cannot be read.
func (x *Index) remove(s *segment, reason error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.removeFile(s.path, reason)
	clear(x.done)
}

// removeFile removes one that is damaged, or of another form. Other trouble may pass.
func (x *Index) removeFile(path string, reason error) {
	level := slog.LevelWarn
	if errors.Is(reason, errForm) {
		level = slog.LevelInfo
	}
	x.log.Log(context.Background(), level, "text index cannot be used", "path", path, "err", reason)
	if !errors.Is(reason, errDamaged) && !errors.Is(reason, errForm) {
		return
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		x.log.Warn("remove from text index", "path", path, "err", err)
	}
}

// reload brings the set up to date after a change of our own.
func (x *Index) reload() *set {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stamp = time.Time{}
	x.load()
	return x.set
}

// lock makes the caller the only one who writes: ErrBusy. It also makes the directory,
// and removes what writers have left in part.
func (x *Index) lock() (unlock func(), err error) {
	if err := os.Mkdir(x.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(x.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrBusy
		}
		return nil, err
	}
	left, err := filepath.Glob(filepath.Join(x.dir, partPrefix+"*"))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// Update brings the messages of a mailbox into the index, the latest first: ErrBusy.
// left says that some are to be taken a moment later. It calls pace often, an error of
// which ends the update; what is in the index by then stays. progress may be nil.
func (x *Index) Update(ctx context.Context, box *store.Mailbox, pace Pace, progress func(done, total int)) (left bool, err error) {
	x.writing.Lock()
	defer x.writing.Unlock()
	snap, from := box.Snapshot(), x.doneBelow(box)
	first, _ := snap.Find(from)
	if first == snap.Len() {
		return false, nil
	}
	unlock, err := x.lock()
	if err != nil {
		return false, fmt.Errorf("update text index: %w", err)
	}
	defer unlock()
	u := &update{x: x, box: box, pace: pace, set: x.current()}
	for at := snap.Len() - 1; at >= first && err == nil; at-- {
		err = u.message(ctx, snap.At(at))
		if progress != nil {
			progress(snap.Len()-at, snap.Len()-first)
		}
	}
	if ferr := u.flush(); err == nil {
		err = ferr
	}
	if err == nil {
		err = x.mergeDue(pace)
	}
	if err != nil {
		return false, fmt.Errorf("update text index: %w", err)
	}
	if !u.early && !u.failed {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.done[box.ObjectID()] = snap.UIDNext()
	}
	return u.early, nil
}

// doneBelow is the UID from which on messages are to be looked at.
func (x *Index) doneBelow(box *store.Mailbox) uint32 {
	x.current() // forgets what was done if that is gone
	id := box.ObjectID()
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.done[id]
}

// Pace is called often by who works on an index, and may take its time. free says that
// little memory is held at the moment.
type Pace func(free bool) error

// update is one that is under way.
type update struct {
	x     *Index
	box   *store.Mailbox
	pace  Pace
	set   *set
	terms *terms // nil until it is needed
	batch batch

	early  bool // a file has changed just now
	failed bool // a message could not be read
}

// settled is how old a file's time has to be: what is changed after that gets another.
const settled = time.Second

func (u *update) message(ctx context.Context, m store.Message) error {
	if err := u.pace(u.terms == nil); err != nil {
		return err
	}
	d := doc{identity: m.Key.Identity()}
	state, ok := u.box.FileState(m.UID)
	d.FileState = state
	if _, known := u.set.find(d); known && ok {
		return nil
	}
	if err := u.read(ctx, m); err != nil {
		if ctx.Err() != nil {
			return err
		}
		if !errors.Is(err, store.ErrNoMessage) {
			u.failed = true
			u.x.log.Warn("message does not come into the text index", "mailbox", u.box.Name(), "uid", m.UID, "err", err)
		}
	}
	if u.batch.full() {
		return u.flush()
	}
	return nil
}

// read takes a message into the batch.
func (u *update) read(ctx context.Context, m store.Message) error {
	c, err := u.box.Open(ctx, m.UID)
	if err != nil {
		return err
	}
	defer c.Close()
	d := doc{m.Key.Identity(), c.State()}
	if age := time.Since(time.Unix(0, d.Modified)); age >= 0 && age < settled {
		u.early = true
		return nil
	}
	if u.terms == nil {
		u.terms = newTerms()
	}
	u.terms.clear()
	whole, err := u.texts(ctx, c)
	if err != nil {
		return err
	}
	if !c.Unchanged() {
		u.early = true
		return nil
	}
	u.batch.add(d, u.terms.list, !whole)
	return nil
}

// texts gathers the terms of a message. One that makes a decoder panic is opaque: it
// must not end the server, as it does not where a session searches.
func (u *update) texts(ctx context.Context, c *store.Content) (whole bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			u.x.log.Error("panic", "value", fmt.Sprint(v), "stack", string(debug.Stack()))
			whole, err = false, nil
		}
	}()
	return search.Texts(ctx, c, u.terms)
}

// flush makes a segment of what has been read.
func (u *update) flush() error {
	if len(u.batch.docs) == 0 {
		return nil
	}
	_, err := u.batch.write(u.x.dir)
	u.batch, u.terms = batch{}, nil // several megabytes, while others have their turn
	if err != nil {
		return err
	}
	u.set = u.x.reload()
	return nil
}

// mergeDue merges segments until there are few.
func (x *Index) mergeDue(pace Pace) error {
	for {
		from := due(x.current().segments)
		if from == nil {
			return nil
		}
		if err := x.replace(from, func(doc) bool { return true }, pace); err != nil {
			return err
		}
	}
}

// replace puts one segment in the place of several.
func (x *Index) replace(from []*segment, keep func(doc) bool, pace Pace) error {
	_, bad, err := merge(x.dir, from, keep, pace)
	if bad != nil {
		x.remove(bad, err)
		x.reload()
	}
	if err != nil {
		return err
	}
	for _, s := range from {
		if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	x.reload()
	return nil
}
