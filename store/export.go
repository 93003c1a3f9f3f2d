package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
)

// ExportMaildir copies the messages of a mailbox into the Maildir dir, durably, and
// makes that if it is not there: ErrNoMailbox. Names stay, and so do flags, tag and
// origin; dates are those of the files; keywords are letters as Dovecot has them,
// as far as there are letters. Messages that are there already are passed over, so
// that an export that was cut off can be repeated. progress may be nil.
func (a *Account) ExportMaildir(ctx context.Context, mailbox, dir string, progress Progress) error {
	m, err := a.Mailbox(ctx, mailbox)
	if err != nil {
		return err
	}
	if err = errors.Join(m.exportTo(ctx, filepath.Clean(dir), progress), m.Close()); err != nil {
		return fmt.Errorf("export mailbox %q: %w", m.name, err)
	}
	return nil
}

func (m *Mailbox) exportTo(ctx context.Context, dir string, progress Progress) error {
	v, to := m.v, &destination{v: &view{a: m.v.a, dir: dir}}
	if err := v.a.makeDestination(dir); err != nil {
		return err
	}
	listed, err := to.v.listAll()
	if err != nil {
		return err
	}
	there := make(map[Key]bool, len(listed))
	var used letterSet
	for _, f := range listed {
		there[parseName(f.name).key] = true
		used.add(f.name)
	}
	s := m.Snapshot()
	keywords := make(map[string]bool)
	for i := range s.Len() {
		for _, k := range s.At(i).Keywords {
			keywords[k] = true
		}
	}
	to.letters, err = to.v.lettersFor(func() letterSet { return used }, slices.Sorted(maps.Keys(keywords)))
	count, now := exportCount{progress, stepOf(s)}, &lookup{v: v}
	for i := 0; i < s.Len() && err == nil; i++ {
		if err = ctx.Err(); err == nil && !there[s.At(i).Key] {
			err = v.exportFile(s, i, now, to)
		}
		count.done(s.At(i).Size)
	}
	return errors.Join(err, v.a.fs.SyncDir(to.v.sub("cur")))
}

// makeDestination makes the Maildir dir durably, if it is not there.
func (a *Account) makeDestination(dir string) error {
	made := a.fs.Mkdir(dir)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return made
	}
	// One that is there may have been made a moment ago. That above it may be
	// somebody else's, and then is none that we made anything in.
	err := a.fs.SyncDir(filepath.Dir(dir))
	if err != nil && (made == nil || !errors.Is(err, fs.ErrPermission)) {
		return err
	}
	return a.makeMaildir(dir)
}

func (v *view) listAll() ([]file, error) {
	listed, err := v.list(true, nil)
	if err != nil {
		return nil, err
	}
	return v.list(false, listed)
}

// exportFile copies a message under the name that it has now. One that was expunged
// meanwhile is none.
func (v *view) exportFile(s *Snapshot, at int, now *lookup, to *destination) error {
	msg, from := s.At(at), v.at(s, at)
	const tries = 3
	for range tries {
		p := parseName(from.name)
		name := string(appendInfo([]byte(p.base), p.flags, to.lettersOf(v, p.extra, s.message(at).Keywords)))
		err := v.copyFile(from, to.v, name, msg.InternalDate())
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		there := false
		if from, there, err = now.find(msg.Key); err != nil || !there {
			return err
		}
	}
	return fmt.Errorf("message %s is renamed faster than it can be copied", msg.Key)
}
