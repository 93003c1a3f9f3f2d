package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"rtls/store/internal/index"
)

// Expunge removes the messages with the given UIDs for good, whatever their
// flags; UIDs that are not there are passed over. It is durable when it returns.
// On error some may be gone.
func (m *Mailbox) Expunge(ctx context.Context, uids []uint32) error {
	v := m.v
	v.mu.Lock()
	defer v.mu.Unlock()
	err := v.change(ctx, func(_ index.Tx, c *change) error {
		s := v.snap.Load()
		var rows []int
		for _, uid := range sorted(uids) {
			if at, ok := s.Find(uid); ok {
				rows = append(rows, at)
			}
		}
		return v.remove(s, rows, c, dealt(ctx))
	})
	if err != nil {
		return fmt.Errorf("expunge: %w", err)
	}
	return nil
}

// remove deletes files, then makes that durable and lets the index forget them:
// the other way round a crash could bring a message back as a new one.
func (v *view) remove(s *Snapshot, rows []int, c *change, done *atomic.Int64) error {
	if len(rows) == 0 {
		return nil
	}
	if err := v.removeTwins(s, rows); err != nil {
		return err
	}
	for _, at := range rows {
		msg := s.At(at)
		if err := v.removeFile(v.at(s, at), msg.Key); err != nil {
			return err
		}
		c.removed = append(c.removed, msg.UID)
		done.Add(1)
	}
	c.next(s)
	return v.a.fs.SyncDir(v.sub("cur"))
}

func (v *view) removeFile(f file, key Key) error {
	const tries = 3
	for range tries {
		err := v.a.fs.Remove(v.path(f.inNew, f.name))
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if f, err = v.findFile(key); errors.Is(err, ErrNoMessage) {
			return nil // somebody else was faster
		} else if err != nil {
			return err
		}
	}
	return fmt.Errorf("message %s is renamed faster than it can be removed", key)
}
