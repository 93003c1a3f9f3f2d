package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"rtls/store/internal/vfs"
)

// ExportMaildir copies the messages of a mailbox into the Maildir dir, durably, and
// makes that if it is not there: ErrNoMailbox. Names stay, and so do flags, tag and
// origin; dates are those of the files; keywords are letters as Dovecot has them,
// as far as there are letters. Messages that are there already are passed over, so
// that an export that was cut off can be repeated.
func (a *Account) ExportMaildir(ctx context.Context, mailbox, dir string) error {
	m, err := a.Mailbox(ctx, mailbox)
	if err != nil {
		return err
	}
	if err = errors.Join(m.exportTo(ctx, filepath.Clean(dir)), m.Close()); err != nil {
		return fmt.Errorf("export mailbox %q: %w", m.name, err)
	}
	return nil
}

func (m *Mailbox) exportTo(ctx context.Context, dir string) error {
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
	for i := 0; i < s.Len() && err == nil; i++ {
		if err = ctx.Err(); err == nil && !there[s.At(i).Key] {
			err = v.exportFile(s, i, to)
		}
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

func (v *view) exportFile(s *Snapshot, at int, to *destination) error {
	msg := s.At(at)
	from := v.at(s, at)
	const tries = 3
	for range tries {
		p := parseName(from.name)
		name := string(appendInfo([]byte(p.base), p.flags, to.lettersOf(v, p.extra, s.message(at).Keywords)))
		err := v.copyFile(from, to.v, name, msg.Date)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if from, err = v.findFile(msg.Key); errors.Is(err, ErrNoMessage) {
			return nil // expunged meanwhile
		} else if err != nil {
			return err
		}
	}
	return fmt.Errorf("message %s is renamed faster than it can be copied", msg.Key)
}

// ImportMaildir appends the messages of the Maildir dir to a mailbox, and those of
// its Maildir++ folders to mailboxes of their names, below it unless it is INBOX,
// which are made where they are missing. It returns how many: ErrNoMailbox,
// ErrName. Flags, tag and origin come from the names, keywords from letters, dates
// from the files. On error, the messages counted are there and no other. progress
// may be nil.
func (a *Account) ImportMaildir(ctx context.Context, mailbox, dir string, progress Progress) (n int, err error) {
	i := &maildirImport{a: a, progress: progress}
	if err = i.plan(mailbox, filepath.Clean(dir)); err == nil {
		err = i.run(ctx)
	}
	if err != nil {
		return i.n, fmt.Errorf("import Maildir %s: %w", dir, err)
	}
	return i.n, nil
}

type maildirImport struct {
	a           *Account
	progress    Progress
	sources     []importSource
	done, total int64
	n           int
}

// importSource is one folder.
type importSource struct {
	v       *view
	mailbox string
	files   []file
}

func (i *maildirImport) plan(mailbox, dir string) error {
	target, err := cleanName(mailbox)
	if err != nil {
		return err
	}
	if _, err := i.a.existing(target); err != nil {
		return err
	}
	if err := i.add(target, dir); err != nil {
		return err
	}
	names, err := i.a.fs.Names(dir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, n := range names {
		if len(n) < 2 || n[0] != '.' || n == ".." {
			continue
		}
		if there, err := i.a.mailboxIn(filepath.Join(dir, n)); err != nil {
			return err
		} else if !there {
			continue
		}
		name, err := folderName(n)
		if err != nil {
			return err
		}
		if target != inbox {
			name = target + separator + name
		}
		if err := i.add(name, filepath.Join(dir, n)); err != nil {
			return err
		}
	}
	return nil
}

func (i *maildirImport) add(mailbox, dir string) error {
	v := &view{a: i.a, dir: dir}
	listed, err := v.listAll()
	if err != nil {
		return err
	}
	var files []file
	for _, f := range listed {
		info, err := i.a.fs.Stat(v.path(f.inNew, f.name))
		if errors.Is(err, fs.ErrNotExist) || (err == nil && !info.Mode.IsRegular()) {
			continue
		}
		if err != nil {
			return err
		}
		i.total += info.Size
		files = append(files, f)
	}
	slices.SortFunc(files, func(x, y file) int { return compareNames(x.name, y.name) })
	i.sources = append(i.sources, importSource{v, mailbox, files})
	return nil
}

func (i *maildirImport) run(ctx context.Context) error {
	for _, s := range i.sources {
		if err := i.a.CreateMailbox(ctx, s.mailbox, ""); err != nil && !errors.Is(err, ErrMailboxExists) {
			return err
		}
		letters, err := s.v.letterTable()
		if err != nil {
			return err
		}
		m, err := i.a.Mailbox(ctx, s.mailbox)
		if err != nil {
			return err
		}
		for _, f := range s.files {
			if err = i.message(ctx, m, s.v, f, &letters); err != nil {
				break
			}
		}
		if err := errors.Join(err, m.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (i *maildirImport) message(ctx context.Context, m *Mailbox, from *view, f file, letters *letterTable) error {
	path := from.path(f.inNew, f.name)
	info, err := i.a.fs.Stat(path)
	if err != nil {
		return err
	}
	source, err := i.a.fs.Open(path)
	if err != nil {
		return err
	}
	defer source.Close()
	p := parseName(f.name)
	meta := Meta{Tag: p.tag, Origin: p.origin, Flags: p.flags, Keywords: letters.keywords(p.extra), Date: info.ModTime}
	if err := i.copy(ctx, m, source, info, &p, meta); err != nil {
		return err
	}
	i.n++
	i.done += info.Size
	if i.progress != nil {
		i.progress(i.done, i.total)
	}
	return nil
}

func (i *maildirImport) copy(ctx context.Context, m *Mailbox, source vfs.File, info vfs.Info, p *parsedName, meta Meta) error {
	d, err := i.a.Deliver(ctx, m.name)
	if err != nil {
		return err
	}
	defer d.Abort()
	n, err := io.Copy(d, io.NewSectionReader(source, 0, info.Size))
	if err == nil && n != info.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	if c := d.draft.sums.sum(); p.bound && !c.binds(p) {
		i.a.log.Error("message has been altered: its tag is unknown now", "name", p.base, "tag", p.tag.String(), "origin", p.origin.String())
		meta.Tag, meta.Origin = TagUnknown, OriginUnknown
	}
	_, err = m.Append(ctx, d, meta)
	return err
}
