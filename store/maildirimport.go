package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"rtls/store/internal/vfs"
)

// ImportMaildir appends the messages of the Maildir dir to a mailbox, and those of
// its Maildir++ folders to mailboxes of their names, below it unless it is INBOX,
// which are made where they are missing: ErrNoMailbox, ErrName, ErrImporting,
// ErrLeftOut. Messages are known again by the unique part of their names. Flags come
// from the names, keywords from letters, dates from the files. The tag is what the name
// says if it is bound to the octets; the origin is unknown, since the bond is no secret
// and anybody can have made the file. On error, what is counted is there and no other.
func (a *Account) ImportMaildir(ctx context.Context, mailbox, dir string, report ImportReport) (Imported, error) {
	i := &maildirImport{a: a, report: &report}
	path, err := filepath.Abs(dir)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err == nil {
		err = i.plan(mailbox, path)
	}
	if err == nil {
		err = i.run(ctx)
	}
	if err == nil {
		err = i.done.leftOut()
	}
	if err != nil {
		return i.done, fmt.Errorf("import Maildir %s: %w", dir, err)
	}
	return i.done, nil
}

type maildirImport struct {
	a       *Account
	report  *ImportReport
	sources []importSource
	step    Step
	done    Imported
	now     lookup // in the source that is being imported
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
	for _, n := range slices.Compact(names) {
		if len(n) < 2 || n[0] != '.' || n == ".." {
			continue
		}
		if there, err := i.a.mailboxIn(filepath.Join(dir, n)); err != nil {
			return err
		} else if !there {
			continue
		}
		name, err := folderName(n)
		if err != nil { // it is none of a Maildir++
			i.left(filepath.Join(dir, n), err)
			continue
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
		i.step.AllOctets += info.Size
		files = append(files, f)
	}
	i.step.AllMessages += len(files)
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
		i.now = lookup{v: s.v}
		into, err := i.a.StartImport(ctx, "maildir:"+s.v.dir, s.mailbox, "")
		if err != nil {
			return err
		}
		for _, f := range s.files {
			if err = i.message(ctx, into, s.v, f, &letters); err != nil {
				break
			}
		}
		if err == nil {
			i.done.Gone += into.Gone()
			var changed int
			changed, err = into.Finish(ctx)
			i.done.Changed += changed
		}
		if err := errors.Join(err, into.Close()); err != nil {
			return err
		}
	}
	return nil
}

// message imports one message, unless it is known. One that cannot be read is left
// out.
func (i *maildirImport) message(ctx context.Context, into *Import, from *view, f file, letters *letterTable) error {
	p := parseName(f.name)
	path := from.path(f.inNew, f.name)
	defer func() { i.report.step(i.step) }()
	i.step.Messages++
	if into.Has(string(p.key)) {
		i.done.Known++
		if info, err := i.a.fs.Stat(path); err == nil {
			i.step.Octets += info.Size
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return into.Update(ctx, string(p.key), p.flags, letters.keywords(p.extra))
	}
	source, info, err := i.open(path)
	if errors.Is(err, fs.ErrNotExist) {
		if now, ok, findErr := i.now.find(p.key); findErr != nil {
			err = findErr
		} else if ok {
			f, p, path = now, parseName(now.name), from.path(now.inNew, now.name)
			source, info, err = i.open(path)
		}
	}
	if err != nil {
		i.left(path, err)
		return ctx.Err()
	}
	defer source.Close()
	i.step.Octets += info.Size
	d, err := into.Start(ctx)
	if err != nil {
		return err
	}
	defer d.Abort()
	if unread, err := copySource(d, source, info.Size); unread != nil {
		i.left(path, unread)
		return nil
	} else if err != nil {
		return err
	}
	meta := Meta{Tag: p.tag, Flags: p.flags, Keywords: letters.keywords(p.extra), Date: info.ModTime}
	if c := d.draft.sums.sum(); p.bound && !c.binds(&p) {
		i.a.log.Error("message has been altered: its tag is unknown now", "name", p.base, "tag", p.tag.String(), "origin", p.origin.String())
		meta.Tag = TagUnknown
	}
	added, err := into.Append(ctx, d, string(p.key), meta)
	if errors.Is(err, ErrQuota) {
		i.report.failed(path, err)
	}
	return i.done.count(added, info.Size, err)
}

func (i *maildirImport) open(path string) (vfs.File, vfs.Info, error) {
	f, err := i.a.fs.Open(path)
	if err != nil {
		return nil, vfs.Info{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, info, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// left counts a message that the source does not give.
func (i *maildirImport) left(path string, err error) {
	i.done.Failed++
	i.report.failed(path, err)
}

// copySource copies a file into a delivery. What goes wrong is the source's fault if it
// is unread.
func copySource(d *Delivery, source vfs.File, size int64) (unread, err error) {
	in := &sourceReader{r: io.NewSectionReader(source, 0, size)}
	n, err := io.Copy(d, in)
	if err == nil && n != size {
		in.err = io.ErrUnexpectedEOF
	}
	return in.err, err
}

// sourceReader tells errors of the source from others.
type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}
