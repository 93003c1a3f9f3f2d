package store

import (
	"context"
	"errors"
	"fmt"

	"rtls/store/internal/index"
)

// Replace appends a message, to the mailbox that its delivery was started on, and
// removes the one with UID old from this mailbox, in one change of the index (RFC
// 8508). A quota is asked for what the account gains by both: nothing is refused that
// does not gain. It fails with ErrNoMessage where there is none to be replaced, and
// with ErrQuota; then nothing has changed, and the delivery is aborted. The old
// message goes when the new one is durable: cut off, or with an error, it may leave
// both, but never none.
func (m *Mailbox) Replace(ctx context.Context, old uint32, p Pending) (uid uint32, err error) {
	defer p.Delivery.Abort()
	v, done := m.v, dealt(ctx)
	if err := v.a.prepare(&p); err != nil {
		return 0, err
	}
	if v.a.limited() {
		if err := v.a.counted(ctx); err != nil {
			return 0, err
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	var linked []string // paths
	err = v.change(ctx, func(tx index.Tx, c *change) error {
		linked = nil
		s := v.snap.Load()
		at, ok := s.Find(old)
		if !ok {
			return fmt.Errorf("%w: UID %d", ErrNoMessage, old)
		}
		to, err := v.target(tx, p.Delivery.dir, c)
		if err != nil {
			return err
		}
		uids, names, err := to.append(tx, v, []Pending{p}, sizeOf(s, []uint32{old}))
		for _, name := range names {
			linked = append(linked, to.v.path(false, name))
		}
		if err != nil {
			return err
		}
		uid, linked = uids[0], nil // from here on there is no way back
		return v.remove(s, []int{at}, c, done)
	})
	if err != nil {
		for _, path := range linked {
			err = errors.Join(err, v.a.fs.Remove(path))
		}
		return 0, fmt.Errorf("replace message: %w", err)
	}
	v.a.announce(p.Delivery.dir)
	return uid, nil
}

// append names messages in the destination, of which v may be the mailbox itself, and
// writes them into the index. lost is what the account loses by the same change.
func (d *destination) append(tx index.Tx, v *view, list []Pending, lost Quota) (uids []uint32, linked []string, err error) {
	if d.v == v {
		return v.append(tx, d.c, list, lost, v.snap.Load().usedLetters)
	}
	var failed error
	uids, linked, err = d.v.append(tx, d.c, list, lost, d.usedLetters(tx, &failed))
	if err = errors.Join(err, failed); err == nil {
		err = d.v.write(tx, d.c)
	}
	return uids, linked, err
}
