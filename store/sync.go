package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"rtls/store/internal/index"
	"rtls/store/internal/vfs"
)

// Foreign programs rename, add and delete files at any time, and a listing made
// meanwhile can miss a name that was there all along. So:
//
//   - A name that is listed proves that a message is there, or was a moment ago.
//   - A name that is not listed proves nothing. A message is gone only if two
//     listings of both directories lack it, during which neither directory
//     changed, and its last known file name leads nowhere.
//   - A stamp that is younger than the clock is fine-grained cannot show that a
//     directory has not changed.

// file is a name in a listing.
type file struct {
	name  string
	inNew bool
}

// sync brings the index up to date with the directories and returns the view.
func (v *view) sync(ctx context.Context) (*Snapshot, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.gone.Load() {
		return nil, fmt.Errorf("%w: it was deleted or renamed", ErrNoMailbox)
	}
	ix, err := v.a.index(ctx)
	if err != nil {
		return nil, err
	}
	if err := ix.View(ctx, func(tx index.Tx) error { return v.refresh(tx) }); err != nil {
		return nil, err
	}
	if err := v.scan(ctx); err != nil {
		if errors.Is(err, fs.ErrNotExist) && !v.a.isMailbox(v.dir) {
			err = fmt.Errorf("%w: it was deleted or renamed", ErrNoMailbox)
		}
		return nil, err
	}
	return v.snap.Load(), nil
}

// scan lists what may have changed and acts on what it sees. It must be called
// with mu held.
func (v *view) scan(ctx context.Context) error {
	newStamp, curStamp, err := v.stamps()
	if err != nil {
		return err
	}
	lookNew := newStamp != v.look.new || !settled(v.look.new, v.look.newAt)
	lookCur := v.dueCur(curStamp)
	if !lookNew && !lookCur {
		return nil
	}
	// new/ comes first: what moves from there to cur/ meanwhile is seen in one
	// of them.
	now := time.Now()
	listed, err := v.list(true, nil)
	if err != nil {
		return err
	}
	if lookCur {
		if listed, err = v.list(false, listed); err != nil {
			return err
		}
	}
	d := v.compare(listed, lookCur)
	if len(d.missing) > 0 {
		if d.missing, err = v.confirm(d.missing); err != nil {
			return err
		}
	}
	if d.any() {
		if err := v.update(ctx, d); err != nil {
			return err
		}
	}
	v.look.new, v.look.newAt = newStamp, now
	if lookCur {
		v.look.cur, v.look.curAt = curStamp, now
		v.look.cost = time.Since(now)
		v.look.again = d.unsure
	} else if len(d.added) > 0 {
		v.look.again = true // they were moved to cur/
	}
	return nil
}

// dueCur says whether to list cur/. That takes long in a large mailbox, and each
// change of our own is a reason to, so it is given a twentieth of the time.
func (v *view) dueCur(stamp vfs.Stamp) bool {
	if v.look.cur == (vfs.Stamp{}) {
		return true
	}
	if stamp == v.look.cur && v.look.trusted() {
		return false
	}
	return time.Since(v.look.curAt) >= 20*v.look.cost
}

func (v *view) stamps() (newStamp, curStamp vfs.Stamp, err error) {
	info, err := v.a.fs.Stat(v.sub("new"))
	if errors.Is(err, fs.ErrNotExist) && v.a.isMailbox(v.dir) {
		if err = v.a.makeMaildir(v.dir); err == nil {
			info, err = v.a.fs.Stat(v.sub("new"))
		}
	}
	if err != nil {
		return newStamp, curStamp, fmt.Errorf("look at mailbox: %w", err)
	}
	newStamp = info.Stamp
	info, err = v.a.fs.Stat(v.sub("cur"))
	if err != nil {
		return newStamp, curStamp, fmt.Errorf("look at mailbox: %w", err)
	}
	return newStamp, info.Stamp, nil
}

func (v *view) list(inNew bool, listed []file) ([]file, error) {
	dir := "cur"
	if inNew {
		dir = "new"
	}
	names, err := v.a.fs.Names(v.sub(dir))
	if err != nil {
		return nil, fmt.Errorf("list mailbox: %w", err)
	}
	listed = slices.Grow(listed, len(names))
	for _, name := range names {
		if name != "" && name[0] != '.' {
			listed = append(listed, file{name, inNew})
		}
	}
	return listed, nil
}

// difference is what a listing and the view do not agree on.
type difference struct {
	added   []file // of keys that are not known
	moved   []file // known keys with other names
	twice   []file // keys that were listed before, by another name
	left    []file // names in new/ of messages that have one in cur/
	missing []int  // indexes of messages that were not listed
	unsure  bool   // cur/ has to be listed again
}

func (d *difference) any() bool {
	return len(d.added) > 0 || len(d.moved) > 0 || len(d.twice) > 0 || len(d.missing) > 0
}

// compare finds the difference. whole says that all names were listed.
func (v *view) compare(listed []file, whole bool) *difference {
	d := &difference{}
	s := v.snap.Load()
	seen := make([]bool, s.Len())
	fresh := make(map[Key]bool)
	for _, f := range listed {
		key := parseName(f.name).key
		at, known := v.find(s, key)
		switch {
		case !known && fresh[key]:
			d.twice = append(d.twice, f)
		case !known:
			fresh[key] = true
			d.added = append(d.added, f)
		case s.is(at, f):
			seen[at] = true
		case seen[at]:
			d.twice = append(d.twice, f)
		default:
			// Its usual name may come later in the listing; update tells.
			d.moved = append(d.moved, f)
		}
	}
	moved := d.moved
	d.moved = nil
	for _, f := range moved {
		at, _ := v.find(s, parseName(f.name).key)
		if seen[at] {
			d.twice = append(d.twice, f)
			continue
		}
		seen[at] = true
		d.moved = append(d.moved, f)
	}
	if !whole {
		return d
	}
	for i, ok := range seen {
		if !ok {
			d.missing = append(d.missing, i)
		}
	}
	d.unsure = d.any()
	return d
}

// at is the file that the view has of a message.
func (v *view) at(s *Snapshot, i int) file {
	c, j := s.locate(i)
	return file{c.name(j), c.rows[j].inNew}
}

// confirm returns those of the messages that are gone, by the rule above.
func (v *view) confirm(missing []int) ([]int, error) {
	s := v.snap.Load()
	for range 2 {
		newBefore, curBefore, err := v.stamps()
		if err != nil {
			return nil, err
		}
		now := time.Now()
		if !settled(newBefore, now) || !settled(curBefore, now) {
			return nil, nil // too much is going on; another time
		}
		listed, err := v.list(true, nil)
		if err != nil {
			return nil, err
		}
		if listed, err = v.list(false, listed); err != nil {
			return nil, err
		}
		there := make(map[Key]bool, len(listed))
		for _, f := range listed {
			there[parseName(f.name).key] = true
		}
		missing = slices.DeleteFunc(missing, func(i int) bool {
			c, j := s.locate(i)
			return there[c.key(j)]
		})
		newAfter, curAfter, err := v.stamps()
		if err != nil {
			return nil, err
		}
		if newBefore != newAfter || curBefore != curAfter {
			return nil, nil
		}
	}
	gone := missing[:0]
	for _, i := range missing {
		f := v.at(s, i)
		_, err := v.a.fs.Stat(v.path(f.inNew, f.name))
		if errors.Is(err, fs.ErrNotExist) {
			gone = append(gone, i)
		}
	}
	return gone, nil
}

// update writes a difference into the index. The listing may be older than what
// the index says by now, so each name is looked at once more. It must be called
// with mu held.
func (v *view) update(ctx context.Context, d *difference) error {
	before := v.snap.Load()
	gone := make([]uint32, 0, len(d.missing))
	for _, i := range d.missing {
		c, j := before.locate(i)
		gone = append(gone, c.rows[j].uid)
	}
	return v.change(ctx, func(_ index.Tx, c *change) error {
		s := v.snap.Load()
		for _, uid := range gone {
			// A message that has changed since was not gone then.
			if before == s {
				c.removed = append(c.removed, uid)
			}
		}
		if err := v.adoptMoved(s, d, c); err != nil {
			return err
		}
		if err := v.sortOutTwice(s, d); err != nil {
			return err
		}
		if err := v.adoptAdded(s, d, c); err != nil {
			return err
		}
		if err := v.adoptLetters(s, c.put); err != nil {
			return err
		}
		if len(c.put) > 0 || len(c.removed) > 0 {
			modSeq := c.next(s)
			for i := range c.put {
				c.put[i].ModSeq = modSeq
			}
		}
		return nil
	})
}

// adoptMoved takes over the names that messages have got from somebody else, with
// the flags in them.
func (v *view) adoptMoved(s *Snapshot, d *difference, c *change) error {
	for _, f := range d.moved {
		at, ok := v.find(s, parseName(f.name).key)
		if !ok || s.is(at, f) {
			continue
		}
		switch _, err := v.a.fs.Stat(v.path(f.inNew, f.name)); {
		case errors.Is(err, fs.ErrNotExist):
			continue // it has moved on
		case err != nil:
			return err
		}
		msg := s.message(at)
		msg.Name, msg.New = f.name, f.inNew
		c.put = append(c.put, msg)
	}
	return nil
}

// sortOutTwice looks at names whose key another file has, too. Most often one of
// the two is gone by now. Two names of one file are one message: what is left of
// a move from new/ to cur/ that was cut off. Two files are two messages, and the
// second gets a key of its own.
func (v *view) sortOutTwice(s *Snapshot, d *difference) error {
	for _, f := range d.twice {
		p := parseName(f.name)
		other, ok := v.twin(s, d, f, p.key)
		if !ok {
			continue
		}
		mine, err := v.a.fs.Stat(v.path(f.inNew, f.name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		theirs, err := v.a.fs.Stat(v.path(other.inNew, other.name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if mine.Inode == theirs.Inode {
			d.oneOf(f, other)
			continue
		}
		own := file{string(v.a.names.key()) + strings.TrimPrefix(f.name, string(p.key)), f.inNew}
		err = v.a.fs.Rename(v.path(f.inNew, f.name), v.path(own.inNew, own.name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("give a message a name of its own: %w", err)
		}
		v.a.log.Warn("two messages had one name", "dir", v.dir, "name", f.name, "now", own.name)
		d.added = append(d.added, own)
	}
	return nil
}

// oneOf leaves one of two names of a file. The name in new/ is removed, but not
// before that in cur/ is durable.
func (d *difference) oneOf(f, other file) {
	if f.inNew == other.inNew {
		return // somebody's link; the one that was seen first is as good
	}
	if at := slices.Index(d.added, other); at >= 0 {
		if f.inNew {
			d.added[at] = f // adoptAdded finds the name in cur/ again
		}
		return
	}
	if f.inNew {
		d.left = append(d.left, f)
	}
}

// twin is the other file of a key.
func (v *view) twin(s *Snapshot, d *difference, f file, key Key) (file, bool) {
	same := func(g file) bool { return g != f && parseName(g.name).key == key }
	for _, list := range [][]file{d.moved, d.added} {
		if i := slices.IndexFunc(list, same); i >= 0 {
			return list[i], true
		}
	}
	if at, ok := v.find(s, key); ok {
		return v.at(s, at), !s.is(at, f)
	}
	return file{}, false
}

// adoptAdded gives new messages their UIDs, in the order of their names, and moves
// them from new/ to cur/: listing new/ must stay cheap (S3 to S4).
func (v *view) adoptAdded(s *Snapshot, d *difference, c *change) error {
	slices.SortFunc(d.added, func(x, y file) int { return compareNames(x.name, y.name) })
	moved := d.left
	for _, f := range d.added {
		if _, known := v.find(s, parseName(f.name).key); known {
			continue // another process was faster
		}
		msg, ok, err := v.examine(f)
		if err != nil {
			return err
		}
		if !ok {
			d.unsure = true
			continue
		}
		if f.inNew {
			if name, ok := v.moveToCur(f.name); ok {
				moved = append(moved, f)
				msg.Name, msg.New = name, false
			}
		}
		if c.m.UIDNext >= freed {
			return fmt.Errorf("mailbox %s has used up its UIDs", v.dir)
		}
		msg.UID = c.m.UIDNext
		c.m.UIDNext++
		c.put = append(c.put, msg)
	}
	return v.finishMove(moved)
}

// moveToCur gives a file in new/ a second name in cur/. It does not matter if
// that fails: the message stays where it is.
func (v *view) moveToCur(name string) (string, bool) {
	target := name
	if !strings.Contains(name, ":") {
		target = string(appendInfo([]byte(name), 0, ""))
	}
	from, to := v.path(true, name), v.path(false, target)
	err := v.a.fs.Link(from, to)
	if errors.Is(err, fs.ErrExist) {
		// Perhaps we were cut off here the last time.
		a, aerr := v.a.fs.Stat(from)
		b, berr := v.a.fs.Stat(to)
		if aerr == nil && berr == nil && a.Inode == b.Inode {
			err = nil
		}
	}
	if err != nil {
		v.a.log.Warn("message stays in new/", "dir", v.dir, "name", name, "err", err)
	}
	return target, err == nil
}

// finishMove removes the names in new/, once those in cur/ are durable: at no time
// is there a message without a durable name.
func (v *view) finishMove(moved []file) error {
	if len(moved) == 0 {
		return nil
	}
	if err := v.a.fs.SyncDir(v.sub("cur")); err != nil {
		return err
	}
	for _, f := range moved {
		if err := v.a.fs.Remove(v.path(true, f.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("move message to cur/: %w", err)
		}
	}
	return nil
}

// examine finds out what the index wants to know of a new file. It returns false
// for what is no message, or is gone.
func (v *view) examine(f file) (msg index.Message, ok bool, err error) {
	path := v.path(f.inNew, f.name)
	info, err := v.a.fs.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && !info.Mode.IsRegular()) {
		return msg, false, nil
	}
	if err != nil {
		return msg, false, err
	}
	msg = index.Message{Name: f.name, New: f.inNew, Date: info.ModTime.Unix(), Size: info.Size}
	p := parseName(f.name)
	if p.wireSize >= 0 && p.fileSize == info.Size {
		msg.Size = p.wireSize
		return msg, true, nil
	}
	file, err := v.a.fs.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return msg, false, nil
	case err != nil:
		v.a.log.Warn("message cannot be read", "path", path, "err", err)
		return msg, true, nil
	}
	defer file.Close()
	bare, err := countBare(file, info.Size)
	if err != nil {
		return msg, false, fmt.Errorf("read message: %w", err)
	}
	msg.Size += bare
	return msg, true, nil
}

// compareNames orders names as people would: numbers in them by value.
func compareNames(x, y string) int {
	for x != "" && y != "" {
		nx, ny := digits(x), digits(y)
		if nx > 0 && ny > 0 {
			a, b := strings.TrimLeft(x[:nx], "0"), strings.TrimLeft(y[:ny], "0")
			if len(a) != len(b) {
				return len(a) - len(b)
			}
			if a != b {
				return strings.Compare(a, b)
			}
			x, y = x[nx:], y[ny:]
			continue
		}
		if x[0] != y[0] {
			return int(x[0]) - int(y[0])
		}
		x, y = x[1:], y[1:]
	}
	return len(x) - len(y)
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
