package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"rtls/store/internal/index"
)

// Pending is a message that is written and is to be appended.
type Pending struct {
	Delivery *Delivery // started on the mailbox that it is appended to
	Meta     Meta
}

// Append commits a delivery started on this mailbox with flags and keywords, and
// returns its UID (S1 to S4). On error nothing was stored and the delivery is
// aborted. It fails with ErrQuota where there is no room.
func (m *Mailbox) Append(ctx context.Context, d *Delivery, meta Meta) (uid uint32, err error) {
	uids, err := m.AppendAll(ctx, []Pending{{d, meta}})
	if err != nil {
		return 0, err
	}
	return uids[0], nil
}

// AppendAll is Append of several messages, in one change: all or none (RFC 3502). Cut
// off by a crash it may have appended some.
func (m *Mailbox) AppendAll(ctx context.Context, list []Pending) (uids []uint32, err error) {
	list = slices.Clone(list)
	for _, p := range list {
		defer p.Delivery.Abort()
	}
	v, done := m.v, dealt(ctx)
	for i := range list {
		if list[i].Delivery.dir != v.dir {
			return nil, fmt.Errorf("delivery is for another mailbox than %q", m.name)
		}
		if err := v.a.prepare(&list[i]); err != nil {
			return nil, err
		}
		done.Add(1)
	}
	if v.a.limited() {
		if err := v.a.counted(ctx); err != nil {
			return nil, err
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	var linked []string
	// The names appear while the index is locked: whoever lists them next finds
	// them in the index.
	err = v.change(ctx, func(tx index.Tx, c *change) error {
		uids, linked, err = v.append(tx, c, list, Quota{}, v.snap.Load().usedLetters)
		return err
	})
	if err != nil {
		for _, name := range linked {
			err = errors.Join(err, v.a.fs.Remove(v.path(false, name)))
		}
		return nil, fmt.Errorf("append message: %w", err)
	}
	return uids, nil
}

// prepare makes the content of a message durable: S1 to S2.
func (a *Account) prepare(p *Pending) (err error) {
	if p.Meta.Keywords, err = cleanKeywords(p.Meta.Keywords); err != nil {
		return err
	}
	if p.Meta.Date.IsZero() {
		p.Meta.Date = a.clock() // of the file too, so that both are the same
	}
	return p.Delivery.finish(p.Meta)
}

// append names messages in cur/ and puts them into a change. lost is what the account
// loses by the same change, and used are the letters that are in names. linked are the
// names that it has given, also on error.
func (v *view) append(tx index.Tx, c *change, list []Pending, lost Quota, used func() letterSet) (uids []uint32, linked []string, err error) {
	s := v.snap.Load()
	need := Quota{-lost.Bytes, -lost.Messages}
	var keywords []string
	for _, p := range list {
		need.Bytes += p.Delivery.draft.content.wireSize
		need.Messages++
		keywords = append(keywords, p.Meta.Keywords...)
	}
	if err := v.a.room(tx, need); err != nil {
		return nil, nil, err
	}
	letters, err := v.lettersFor(used, keywords)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range list {
		if c.m.UIDNext >= freed {
			return nil, linked, fmt.Errorf("mailbox %s has used up its UIDs", v.dir)
		}
		p.Delivery.letters = letters.letters("", p.Meta.Keywords)
		_, path, err := p.Delivery.name(p.Meta, true)
		if err != nil {
			return nil, linked, err
		}
		linked = append(linked, filepath.Base(path))
		uids = append(uids, c.m.UIDNext)
		c.put = append(c.put, index.Message{
			UID: c.m.UIDNext, ModSeq: c.next(s), Name: filepath.Base(path),
			Size: p.Delivery.draft.content.wireSize, Date: p.Meta.Date.Unix(), Keywords: strings.Join(p.Meta.Keywords, " "),
		})
		c.m.UIDNext++
	}
	if len(list) == 0 {
		return nil, nil, nil
	}
	return uids, linked, v.a.fs.SyncDir(v.sub("cur"))
}
