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
//
// Whoever has been told that a message is delivered expects to see it. One in new/
// is seen by the next scan, always: that directory is kept nearly empty, and listed
// whenever its stamp is not proof. cur/ can hold a million names, which take a second
// to list, and each change of our own gives it another stamp. So:
//
//   - With up to curFew messages cur/ is listed whenever the stamp is no proof.
//   - With more, a stamp that is not our doing has it listed at once, unless that
//     takes more than a fifth of the time: while other programs keep changing it.
//   - After our own changes it is listed in a twentieth of the time, for what may
//     have happened within the same tick of the clock, or amid them.
//   - Nothing waits for more than curWithin, or twice what the listing takes if that
//     is longer, and who watches the mailbox is told when the wait is over.

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
		if there, merr := v.a.mailboxIn(v.dir); errors.Is(err, fs.ErrNotExist) && !there && merr == nil {
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
	var odd []string
	if lookCur {
		if listed, odd, err = v.files(false, listed); err != nil {
			return err
		}
	}
	d := v.compare(listed, lookCur)
	d.surely(odd)
	if lookCur {
		v.look.cur, v.look.own, v.look.curAt, v.look.cost = curStamp, curStamp, now, time.Since(now)
	}
	if err := v.act(ctx, d); err != nil {
		v.look.cur = vfs.Stamp{} // all of it has to be seen again
		return err
	}
	v.look.new, v.look.newAt = newStamp, now
	if lookCur {
		v.look.again = d.unsure
		if !d.unsure {
			v.twins = d.twins // of others nothing is left
		}
	}
	return nil
}

// act brings a difference into the index. It must be called with mu held.
func (v *view) act(ctx context.Context, d *difference) (err error) {
	if len(d.missing) > 0 {
		if d.missing, err = v.confirm(d.missing); err != nil {
			return err
		}
	}
	if !d.any() {
		return nil
	}
	return v.update(ctx, d)
}

const (
	curFew    = 4096
	curWithin = 10 * time.Second
)

// dueCur says whether to list cur/, by the rule above.
func (v *view) dueCur(stamp vfs.Stamp) bool {
	l := &v.look
	if l.cur == (vfs.Stamp{}) {
		return true
	}
	if stamp == l.cur && l.trusted() {
		return false
	}
	if v.snap.Load().Len() <= curFew {
		return true
	}
	wait := 20 * l.cost
	if stamp != l.own {
		wait = 4 * l.cost
	}
	wait = min(wait, max(curWithin, 2*l.cost))
	now := time.Now()
	due := l.curAt.Add(l.cost + wait)
	if !now.Before(due) {
		return true
	}
	if l.promised.Before(now) || due.Before(l.promised) {
		l.promised = due
		time.AfterFunc(due.Sub(now), v.announce) // does no harm to a view that is closed
	}
	return false
}

// ownChange notes the stamp that cur/ got by f, if it had the one that is known.
func (v *view) ownChange(f func() error) error {
	before, _ := v.a.fs.Stat(v.sub("cur")) // if that fails, nothing is known
	err := f()
	if before.Stamp == v.look.own {
		after, _ := v.a.fs.Stat(v.sub("cur"))
		v.look.own = after.Stamp
	}
	return err
}

func (v *view) stamps() (newStamp, curStamp vfs.Stamp, err error) {
	info, err := v.a.fs.Stat(v.sub("new"))
	if there, merr := v.a.mailboxIn(v.dir); errors.Is(err, fs.ErrNotExist) && there && merr == nil {
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
	listed, _, err := v.files(inNew, listed)
	return listed, err
}

// files is list, and tells the names of what may be no regular file.
func (v *view) files(inNew bool, listed []file) (all []file, odd []string, err error) {
	dir := "cur"
	if inNew {
		dir = "new"
	}
	names, odd, err := v.a.fs.Files(v.sub(dir))
	if err != nil {
		return nil, nil, fmt.Errorf("list mailbox: %w", err)
	}
	listed = slices.Grow(listed, len(names))
	for _, name := range names {
		if name != "" && name[0] != '.' {
			listed = append(listed, file{name, inNew})
		}
	}
	return listed, odd, nil
}

// look is what was last seen of the directories.
type look struct {
	new, cur vfs.Stamp     // when they were listed; zero: never, or not whole
	newAt    time.Time     // by our clock
	curAt    time.Time     // likewise
	own      vfs.Stamp     // what cur has become by our own changes
	cost     time.Duration // of listing cur/
	again    bool          // something was in motion, cur/ has to be listed again
	promised time.Time     // when watchers are told that cur/ can be listed again
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
