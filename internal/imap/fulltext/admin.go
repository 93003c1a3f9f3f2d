package fulltext

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"rtls/store"
)

// UpdateAll brings the messages of all mailboxes into the index, as fast as it can:
// ErrBusy. progress may be nil.
func (x *Index) UpdateAll(ctx context.Context, progress func(done, total int)) error {
	_, total, err := x.account.Usage(ctx)
	if err != nil {
		return fmt.Errorf("update text index: %w", err)
	}
	before := 0
	err = x.eachMailbox(ctx, func(box *store.Mailbox) error {
		err := x.updateWhole(ctx, box, func(done, _ int) {
			if progress != nil {
				progress(before+done, max(int(total), before+done)) // mail may have come
			}
		})
		before += box.Snapshot().Len()
		return err
	})
	if err != nil {
		return err
	}
	return x.dropUnused(ctx, atOnce(ctx))
}

// atOnce is the Pace of who does not wait.
func atOnce(ctx context.Context) Pace {
	return func(bool) error { return ctx.Err() }
}

// updateWhole waits for files that have changed just now. It does not try for ever:
// somebody may keep changing them.
func (x *Index) updateWhole(ctx context.Context, box *store.Mailbox, progress func(done, total int)) error {
	const tries = 3
	for range tries {
		left, err := x.Update(ctx, box, atOnce(ctx), progress)
		if err != nil || !left {
			return err
		}
		if !wait(ctx, settled) {
			return ctx.Err()
		}
	}
	return nil
}

// eachMailbox calls f with every mailbox of the account, until it returns an error.
func (x *Index) eachMailbox(ctx context.Context, f func(box *store.Mailbox) error) error {
	list, err := x.account.Mailboxes(ctx)
	if err != nil {
		return err
	}
	for _, info := range list {
		box, err := x.account.Mailbox(ctx, info.Name)
		if errors.Is(err, store.ErrNoMailbox) {
			continue
		}
		if err != nil {
			return err
		}
		if err := errors.Join(f(box), box.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes the index: ErrBusy.
func (x *Index) Remove() error {
	if _, err := os.Stat(x.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	x.writing.Lock()
	defer x.writing.Unlock()
	unlock, err := x.lock()
	if err != nil {
		return fmt.Errorf("remove text index: %w", err)
	}
	defer unlock()
	if err := os.RemoveAll(x.dir); err != nil {
		return fmt.Errorf("remove text index: %w", err)
	}
	return nil
}

// Size is what is known of how many messages, and how many octets that takes.
func (x *Index) Size() (messages int, octets int64) {
	s := x.current()
	for _, g := range s.segments {
		if info, err := os.Stat(g.path); err == nil {
			octets += info.Size()
		}
	}
	return s.docs, octets
}

// Check reads all of the index and calls found for what is damaged, as store.Account's
// Check does; with repair it removes that. What is missing is searched for in the mail.
func (x *Index) Check(ctx context.Context, repair bool, found func(store.Finding) error) error {
	names, err := os.ReadDir(x.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("check text index: %w", err)
	}
	for _, name := range names {
		id, ok := idOf(name.Name())
		if !ok {
			continue
		}
		err := x.checkSegment(ctx, id)
		if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, errForm) {
			continue // the next who uses the index removes one of another form
		}
		if !errors.Is(err, errDamaged) {
			return fmt.Errorf("check text index: %w", err)
		}
		f := store.Finding{
			Kind: store.KindIndex, Path: filepath.Join(".rtls", "text", name.Name()),
			Text: "is a damaged part of the text index", Repair: "remove it", Fixed: repair,
		}
		if repair {
			if err := os.Remove(filepath.Join(x.dir, name.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("check text index: %w", err)
			}
		}
		if err := found(f); err != nil {
			return err
		}
	}
	return nil
}

// checkSegment reads a segment to its end.
func (x *Index) checkSegment(ctx context.Context, id uint64) error {
	s, err := readSegment(x.dir, id)
	if err != nil {
		return err
	}
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	src := &source{segment: s, f: f}
	for {
		last := src.entries.term
		if err := errors.Join(ctx.Err(), src.advance()); err != nil {
			return err
		}
		if src.ended {
			return nil
		}
		docs := 0
		sound := src.entries.list.each(len(s.docs), func(int) { docs++ })
		if !sound || docs == 0 || src.entries.term < last {
			return fmt.Errorf("%w: list in %s", errDamaged, s.path)
		}
	}
}

// identities are those of all messages of the account.
func (x *Index) identities(ctx context.Context) (map[uint64]bool, error) {
	used := make(map[uint64]bool)
	err := x.eachMailbox(ctx, func(box *store.Mailbox) error {
		snap := box.Snapshot()
		for at := range snap.Len() {
			used[snap.At(at).Key.Identity()] = true
		}
		return ctx.Err()
	})
	return used, err
}

// dropUnused drops what is known of messages that are gone, and what is known twice,
// once that is more than half of all.
func (x *Index) dropUnused(ctx context.Context, pace Pace) error {
	const few = 1024
	s := x.current()
	_, messages, err := x.account.Usage(ctx)
	if err != nil || int64(s.docs) <= 2*messages+few {
		return err
	}
	used, err := x.identities(ctx)
	if err != nil {
		return err
	}
	x.writing.Lock()
	defer x.writing.Unlock()
	unlock, err := x.lock()
	if err != nil {
		return err
	}
	defer unlock()
	kept := make(map[doc]bool)
	for _, one := range slices.Clone(x.current().segments) {
		err := x.replace([]*segment{one}, func(d doc) bool {
			keep := used[d.identity] && !kept[d]
			kept[d] = kept[d] || keep
			return keep
		}, pace)
		if err != nil {
			return err
		}
	}
	return x.mergeDue(pace)
}
