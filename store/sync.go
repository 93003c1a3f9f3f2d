package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
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

// look is what was last seen of the directories.
type look struct {
	new, cur vfs.Stamp     // when they were listed; zero: never, or not whole
	newAt    time.Time     // by our clock
	curAt    time.Time     // likewise
	cost     time.Duration // of listing cur/
	again    bool          // something was in motion, cur/ has to be listed again
}

func (l *look) trusted() bool {
	return !l.again && l.cur != (vfs.Stamp{}) && settled(l.cur, l.curAt)
}

// settle is more than the granularity of the clock that file systems stamp
// directories with.
const settle = 50 * time.Millisecond

// settled says whether a later change must have another stamp than this one, which
// was read at the time now.
func settled(s vfs.Stamp, now time.Time) bool {
	last := max(s.Modified, s.Changed)
	distance := now.UnixNano() - last
	return distance > int64(settle) || distance < -int64(settle)
}
